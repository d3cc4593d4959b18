"""Numbers -> ``posthoc.json``, ``posthoc.md`` and the table on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bce3s.evaluation.accuracy import COLUMNS
from bce3s.files import write_all
from bce3s.tables import markdown_table, percent

EXPLANATION = (
    'Percent; All, Many, Medium and Few are means of per-class accuracies. Logit adjustment: '
    'z_j - tau log pi_j, less the mean of log pi (Menon et al., ICLR 2021). Log-odds adjustment: '
    'z_j - tau log(pi_j / (1 - pi_j)), of sigmoids (as in Bal-BCE of LiVT, CVPR 2023). '
    'Multiplicative adjustment: z_j pi_j^-tau (Hasegawa and Sato, ICLR 2024). '
    'tau-normalisation: w_j / |w_j|^tau, with the biases kept (Kang et al., ICLR 2020). Where tau '
    'is not given it is that of 0, 0.05, ..., 3 with the highest All. Temperature: z_j / T with '
    'the largest likelihood (Guo et al., ICML 2017); it changes no prediction. Nearest class mean: '
    'of the training features. ECE: expected calibration error in 15 bins, all images of the split '
    'alike. NLL: mean negative log likelihood of an image.'
)
KINDS = {
    'sigmoid': 'The network was trained with BCE: the confidence is the sigmoid of the largest '
    'logit, and the likelihood is that of all yes-or-no questions.',
    'softmax': 'The network was trained with CE: the confidence is the largest softmax '
    'probability.',
}


def write_posthoc(report: dict[str, Any], directory: str | Path) -> Path:
    """Write ``posthoc.json`` and ``posthoc.md``, each whole or not at all.

    Returns:
        The path of ``posthoc.md``.
    """
    text = json.dumps(report, indent=1, allow_nan=False)
    return write_all({'posthoc.json': text, 'posthoc.md': format_posthoc(report)}, directory)


def posthoc_table(report: dict[str, Any]) -> str:
    """A row a method, the network as trained first."""
    columns = [name.capitalize() for name in COLUMNS]
    header = ['Method', 'Parameter', *columns, *(f'ECE {name}' for name in columns), 'NLL']
    rows = [_row(row) for row in report['rows']]
    return markdown_table(header, rows, left=2, aligned=True)


def _row(row: dict[str, Any]) -> list[str]:
    values = ' and '.join(f'{value:.3g}' for value in row['values'])
    ece = row['ece'] or dict.fromkeys(COLUMNS)
    return [
        row['method'],
        f'{row["parameter"]} = {values}' if values else '-',
        *(percent(row[name]) for name in COLUMNS),
        *(percent(ece[name]) for name in COLUMNS),
        '-' if row['nll'] is None else f'{row["nll"]:.4f}',
    ]


def how_chosen(report: dict[str, Any]) -> str:
    """On which images the parameters were chosen, in a sentence."""
    if report['cross_fitted']:
        return (
            f'There are no other images to choose the parameters on than the {report["samples"]} '
            f'of the {report["measured_on"]} set that are measured: each half of them is measured '
            'with the parameter that the other half chose (cross-fitted; both are given).'
        )
    return (
        f'Parameters were chosen on the {report["tuned_on"]} set alone; the figures are those of '
        f'the {report["samples"]} images of the {report["measured_on"]} set.'
    )


def format_posthoc(report: dict[str, Any]) -> str:
    """``posthoc.md``."""
    versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    many, few = report['thresholds']['many'], report['thresholds']['few']
    splits = f'Many: more than {many} training images, Medium: {few} to {many}, Few: fewer.'
    parts = [
        f'# Post-hoc methods: {report["config"]}, seed {report["seed"]}',
        posthoc_table(report),
        how_chosen(report),
        *report['notes'],
        f'{EXPLANATION} {KINDS[report["score"]]} {splits}',
        '## How it was made',
        f'- {report["checkpoint"]}\n- {versions}',
    ]
    return '\n\n'.join(parts) + '\n'
