"""Numbers -> ``features.json``, ``features.md`` and ``features.png``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bce3s.evaluation.figures import draw_features
from bce3s.files import write_all
from bce3s.tables import markdown_table, percent

MEANS = ('all', 'many', 'medium', 'few', 'plain')
HEADER = ('All', 'Many', 'Medium', 'Few', 'All samples alike')
METRIC_NAMES = {'cosine': 'cosine', 'euclidean': 'Euclidean'}
OPEN_SET_NAMES = {'auroc': 'AUROC', 'oscr': 'OSCR', 'fpr95': 'FPR at 95 % TPR (lower is better)'}
Row = tuple[str, dict[str, float | None]]


def write_features(report: dict[str, Any], directory: str | Path) -> Path:
    """Write ``features.json``, ``features.md`` and ``features.png``, each whole or not at all.

    Returns:
        The path of ``features.md``.
    """
    contents = {
        'features.json': json.dumps(report, indent=1, allow_nan=False),
        'features.png': draw_features(report),
        'features.md': format_features(report),
    }
    return write_all(contents, directory)


# ------------------------------------------------------------------------------------------ tables
def closed_set_rows(report: dict[str, Any]) -> list[Row]:
    """The classifier, what the features alone tell, and retrieval from both galleries."""
    ks, training = report['ks'], report['from_training']['figures']
    rows = [('Classifier', report['classifier'])]
    rows += [
        (f'Nearest class mean, {METRIC_NAMES[metric]}', means)
        for metric, means in report['nearest_class_mean'].items()
    ]
    rows += [(f'kNN, k = {k}, majority', training[f'knn_{k}']) for k in ks]
    rows += [(f'kNN, k = {k}, weighted', training[f'weighted_{k}']) for k in ks if k > 1]
    for gallery, where in (('from_training', 'from training set'), ('within_test', 'within test')):
        figures = report[gallery]['figures']
        rows += [(f'Recall@{k} {where}', figures[f'recall_{k}']) for k in ks]
        rows.append((f'MAP@R {where}', figures['map_r']))
    return rows


def _cells(means: dict[str, float | None]) -> list[str]:
    return [percent(means.get(name)) for name in MEANS]


def closed_set_table(report: dict[str, Any]) -> str:
    """A row a figure, a column a split."""
    rows = [[name, *_cells(means)] for name, means in closed_set_rows(report)]
    return markdown_table(['Figure', *HEADER], rows, aligned=True)


def open_set_table(report: dict[str, Any]) -> str:
    """AUROC, OSCR and FPR of each unknown set and each score; empty without unknown sets."""
    rows = [
        [entry['unknown_set'], entry['score'], title, *_cells(entry[key])]
        for entry in report['open_set']
        for key, title in OPEN_SET_NAMES.items()
    ]
    header = ['Unknown', 'Score', 'Figure', *HEADER]
    return markdown_table(header, rows, left=3, aligned=True) if rows else ''


def threshold_table(report: dict[str, Any]) -> str:
    """What a given threshold rejects of the unknown and of the known."""
    rows = [
        [
            entry['unknown_set'],
            f'{entry["score"]} at {name}',
            f'{row["threshold"]:.4f}',
            percent(100 - row['unknown_accepted']),
            *_cells(row['known_rejected']),
        ]
        for entry in report['open_set']
        if 'zero' in entry['at']
        for name, row in entry['at'].items()
    ]
    header = ['Unknown', 'Threshold', 'Value', 'Unknown rejected']
    known = [f'Known rejected: {HEADER[0]}', *HEADER[1:]]
    return markdown_table([*header, *known], rows, left=2, aligned=True) if rows else ''


def format_tables(report: dict[str, Any]) -> str:
    """The tables, for the terminal."""
    tables = (closed_set_table(report), open_set_table(report), threshold_table(report))
    return '\n\n'.join(table for table in tables if table)


# ------------------------------------------------------------------------------------------- texts
def _explanation(report: dict[str, Any]) -> str:
    many, few = report['thresholds']['many'], report['thresholds']['few']
    lacking = report['from_training']['without_relevant']
    alone = report['within_test']['without_relevant']
    text = (
        f'Percent. All, Many (more than {many} training images), Medium ({few} to {many}) and Few '
        '(fewer) are means of per-class figures; the last column averages over all test images '
        "alike. '-' is a split without a class, or a figure that is not defined.\n\n"
        'Features are those before the classifier, of images that are not augmented; neighbours '
        'are found by exact search and compared by cosine. kNN: majority of the k nearest training '
        'features, or weights exp(cos / 0.07); of equal classes the one with the nearest member. '
        'Nearest class mean: means of the training features, of unit length for the cosine. '
        "Recall@k: an image of the query's class is among the k nearest. MAP@R: mean of 1/R sum_i "
        'P(i) over the R images of the class, P(i) the precision at i where the i-th is of the '
        'class, else 0. Within test: the other test images are the gallery.'
    )
    if lacking or alone:
        text += (
            f'\n\n{lacking} queries have no image of their class in the training set and {alone} '
            'none in the test set but themselves: they are no part of Recall@k and MAP@R.'
        )
    return text


OPEN_SET_EXPLANATION = (
    'Known are the test images, unknown those of classes that the model was not trained on; known '
    'is positive, and an image is accepted if its score is at least the threshold (above it, where '
    'that is zero or the uniform threshold). AUROC: a known '
    'image scores higher than an unknown one (50 is no information). OSCR: area under the share of '
    'known images that are accepted and classified right, over the share of unknown ones accepted; '
    'at most the accuracy. FPR at 95 % TPR: unknown images accepted where 95 % of the known (of '
    'the split) are. Thresholds of the largest logit: zero (a sigmoid of 1/2, meaningful for BCE '
    'only) and the one of the uniform accuracy: on the training images (uniform), or on the test '
    'images, without any unknown one. The latter is cross-fitted: each half of the known images is '
    'held to the threshold that the other half chose; the value given, and used for the unknown, '
    'is that of both halves.'
)


def _origin(report: dict[str, Any]) -> str:
    versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    lines = [
        f'config {report["config"]}, seed {report["seed"]}, {report["checkpoint"]}',
        f'{report["dataset"]}: {report["train_samples"]} training and {report["test_samples"]} '
        f'{report["split"]} images, {len(report["class_counts"])} classes, features of '
        f'{report["dimensions"]} dimensions',
        f'{versions}, {report["search"]}',
    ]
    return '\n'.join(f'- {line}' for line in lines)


def format_features(report: dict[str, Any]) -> str:
    """``features.md``."""
    parts = [
        f'# Features: {report["config"]}, seed {report["seed"]}, epoch {report["epoch"] or "-"}',
        closed_set_table(report),
        _explanation(report),
        '![features](features.png)',
    ]
    if report['open_set']:
        parts += [
            '## Open set',
            open_set_table(report),
            threshold_table(report),
            OPEN_SET_EXPLANATION,
        ]
    parts += ['## How it was made', _origin(report)]
    return '\n\n'.join(parts) + '\n'
