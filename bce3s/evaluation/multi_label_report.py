"""What a report says where an image has several labels: its texts, and the rows of its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bce3s.datasets.long_tailed import Thresholds, split_of
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.multi_label import LEAST_F1
from bce3s.tables import escaped, markdown_table, percent
from bce3s.wording import counted

LISTS = ('thresholds', 'precision', 'recall', 'f1_per_class')  # (K,) of ``decisions``
F1_AT = {'f1': 'the thresholds of the classes', 'f1_half': 'probability 0.5'}  # of ``decisions``
F1_HEADER = ('F1 at', *(name.capitalize() for name in COLUMNS), 'Micro')
CLASS_HEADER = (
    *('Class', 'Split', 'Training positives', 'AP', 'Threshold'),
    *('Precision', 'Recall', 'F1'),
)


def several(report: Mapping[str, Any]) -> bool:
    """Whether the report is of images with several labels."""
    return bool(report.get('multilabel'))


def measure_of(report: Mapping[str, Any]) -> str:
    """What All, Many, Medium and Few are: ``accuracy``, or ``mAP`` of several labels."""
    return 'mAP' if several(report) else 'accuracy'


def class_measure(report: Mapping[str, Any]) -> str:
    """What these are means of over the classes: ``accuracy`` or ``AP``."""
    return 'AP' if several(report) else 'accuracy'


def look_through_decisions(report: Mapping[str, Any]) -> None:
    """Raises KeyError, TypeError or ValueError for what is wrong with ``decisions``."""
    found = report['decisions']
    for key in ('f1', 'f1_half'):
        _ = [_number(found[key][column]) for column in (*COLUMNS, 'micro')]
    for key in LISTS:
        if len([*map(_number, found[key])]) != len(report['classes']):
            raise ValueError(f"the decisions' {key} are not one a class")
    if not all(math.isfinite(t) for t in found['thresholds']):
        raise ValueError('a threshold is not finite')
    _ = [report['classes'][k] for k in (*found['fallback'], *found['uncalled'])]
    _ = found['chosen_on']
    _ = [_number(report[key]) for key in ('micro_ap', 'coverage_error', 'ranking_loss')]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def trained_on(report: Mapping[str, Any]) -> str:
    """How much: images, or labels of images."""
    unit = 'label' if several(report) else 'image'
    return counted(sum(report['class_counts']), f'training {unit}')


def probability(logit: float) -> float:
    """The sigmoid.

    >>> probability(0.0), probability(-1000.0)
    (0.5, 0.0)
    """
    return (1 + math.tanh(logit / 2)) / 2


def span(thresholds: Sequence[float]) -> str:
    """The lowest and the highest of thresholds (logits) as scores.

    >>> span([0.0, 2.0]), span([0.0])
    ('0.500 to 0.881', '0.500')
    """
    ends = [f'{probability(t):.3f}' for t in (min(thresholds), max(thresholds))]
    return ' to '.join(dict.fromkeys(ends))


def rankings_sentence(report: Mapping[str, Any]) -> str:
    """The figures beside mAP."""
    return (
        f'Micro AP (all pairs of image and class alike) {percent(report["micro_ap"])}, coverage '
        f'error {report["coverage_error"]:.2f} labels, ranking loss '
        f'{percent(report["ranking_loss"])}, label ranking AP '
        f'{percent(report["label_ranking_ap"])}.'
    )


def untested_sentence(report: Mapping[str, Any], most: int = 10) -> str:
    """The classes that mAP leaves out; empty if there is none."""
    without = [k for k, ap in enumerate(report['per_class']) if ap is None]
    if not without:
        return ''
    names = ', '.join(str(report['classes'][k]) for k in without[:most])
    more = f' and {len(without) - most:,} more' if len(without) > most else ''
    return (
        f'In no mean, for the {report["split"]} set has no image that is known to have it, or none '
        f'that is known not to: {names}{more}.'
    )


def f1_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Of the thresholds of the classes, and of probability 0.5, for ``F1_HEADER``."""
    found = report['decisions']
    return [
        [name, *(percent(found[key][column]) for column in (*COLUMNS, 'micro'))]
        for key, name in F1_AT.items()
    ]


def decisions_sentence(report: Mapping[str, Any]) -> str:
    """Where the thresholds of the classes come from, and what is measured with them."""
    found = report['decisions']
    text = (
        'An image is called a class if its score, the sigmoid of its logit, is above the threshold '
        f'of that class ({span(found["thresholds"])}), which gives the largest F1 on the '
        f'{found["chosen_on"]} images.'
    )
    if found['fallback']:
        text += (
            f' {counted(len(found["fallback"]), "class")} without a positive or a negative among '
            'them: the threshold is 0.5.'
        )
    if found['uncalled']:
        text += (
            f' {counted(len(found["uncalled"]), "class")} with an F1 below {LEAST_F1:g} % at any '
            'threshold: the threshold is the highest score there.'
        )
    if found['cross_fitted']:
        text += (
            ' The figures are those of each half of these images at the thresholds that the other '
            'half chose (cross-fitted).'
        )
    return f'{text} Percent, means of F1 over the classes; Micro: all pairs alike.'


def decisions_text(report: Mapping[str, Any]) -> list[str]:
    """The section of ``report.md`` on thresholds."""
    table = markdown_table(F1_HEADER, f1_rows(report))
    return ['## Labels above their thresholds', escaped(decisions_sentence(report)), table]


def class_rows(report: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Header and a row a class, the lowest AP first, classes without AP last."""
    found, counts = report['decisions'], report['class_counts']
    ap = np.array(report['per_class'], dtype=float)  # None becomes NaN
    split = split_of(counts, Thresholds(**report['thresholds']))
    order = np.lexsort((np.arange(len(ap)), counts, np.nan_to_num(ap, nan=np.inf)))
    rows = [
        [
            str(report['classes'][k]),
            split[k].capitalize(),
            str(counts[k]),
            percent(report['per_class'][k]),
            f'{probability(found["thresholds"][k]):.3f}',
            *(percent(found[key][k]) for key in LISTS[1:]),
        ]
        for k in order
    ]
    return CLASS_HEADER, rows
