"""Over the epochs: accuracy and learning rate, and neural collapse."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.multi_label_report import measure_of
from bce3s.page.content import Figure, Section
from bce3s.page.runs import Group, PageRun, grouped
from bce3s.plotting import COLOURS, DASHED, DOTTED, MUTED, new_figure

Points = list[tuple[int, float]]


class Line(NamedTuple):
    """A curve of each seed; ``name``, if any, stands in the key."""

    curves: list[Points]
    colour: str
    name: str
    dashes: Any = '-'


# key of measures.json: title, caption, whether on a logarithmic scale
MEASURES = {
    'nc1': ('NC1', 'Scatter within classes over that between them; 0 is collapse.', True),
    'nc2': ('NC2', 'Distance of the classifier weights from a simplex; 0 is collapse.', True),
    'nc3': ('NC3', 'Distance of the class means from their weights; 0 is collapse.', True),
    'e_com': ('Compactness', 'Of the features of a class, in percent; higher is tighter.', False),
    'e_dis': ('Distinctiveness', 'Between classes, in percent; higher is farther.', False),
    'uniform_accuracy': (
        'Uniform accuracy',
        'Images whose own score alone passes one threshold for all, in percent.',
        False,
    ),
}
LINES = ' Thick lines are means over seeds, thin ones single seeds.'
STAGES = ' A dotted line: the end of the first stage, as far as validations tell.'


def training(runs: list[PageRun]) -> Section | None:
    """Accuracy by split over the epochs that were validated, and the learning rate."""
    groups, measure = grouped(runs), measure_of(runs[0].report)
    figures = [
        _figure([group], group.name, f'The {measure} by split, in percent.', lines)
        for group in groups
        if _some(lines := _histories(group))
    ]
    rates = [Line([_rates(run) for run in g.runs], g.colour, g.name) for g in groups]
    if _some(rates):
        figures.append(_figure(groups, 'Learning rate', 'Of the last step of an epoch.', rates))
    figures += _branch(groups)
    text = f'How the {measure} came to be.' + _said(groups)
    return Section('training', 'Training', text, figures) if figures else None


def _branch(groups: list[Group]) -> list[Figure]:
    """Whether the contrastive branch lives: docs/contrastive.md."""

    def lines(key: str, dashes: Any = '-', named: bool = True) -> list[Line]:
        return [
            Line([_health(run, key) for run in g.runs], g.colour, g.name * named, dashes)
            for g in groups
        ]

    share, cosines = lines('share'), lines('cos_own') + lines('cos_other', DASHED, named=False)
    caption = 'Of the gradient that reaches the features; below 0.01 the branch is inert.'
    about = 'Of projections with the bank: own class (solid), others (dashed). All 1 is collapse.'
    if not _some(share):
        return []
    return [
        _figure(groups, 'Contrastive branch: share', caption, share, log=True),
        _figure(groups, 'Contrastive branch: cosines', about, cosines),
    ]


def collapse(runs: list[PageRun]) -> Section | None:
    """What FeatureMeasuresHook wrote into measures.json."""
    groups, figures = grouped(runs), []
    for key, (title, caption, log) in MEASURES.items():
        lines = [
            Line([_measured(run, split, key) for run in g.runs], g.colour, name, dashes)
            for g in groups
            for split, dashes, name in (('train', '-', g.name), ('test', DASHED, ''))
        ]
        if _some(lines):
            figures.append(_figure(groups, title, caption, lines, log))
    text = (
        'Measures of "BCE vs. CE in Deep Feature Learning" on the training images (solid) and the '
        'evaluation images (dashed), which go through the network without augmentation.'
        + _said(groups)
    )
    return Section('collapse', 'Neural collapse', text, figures) if figures else None


def _some(lines: list[Line]) -> bool:
    """Whether there is more than a point."""
    return any(len(curve) > 1 for line in lines for curve in line.curves)


def _said(groups: list[Group]) -> str:
    seeds = any(len(group.runs) > 1 for group in groups)
    return LINES * seeds + STAGES * bool(_stage_ends(groups))


# ----------------------------------------------------------------------------------------- numbers
def _numbers(pairs: Iterable[tuple[int | None, object]]) -> Points:
    return [
        (epoch, value)
        for epoch, value in pairs
        if epoch and isinstance(value, int | float) and np.isfinite(value)
    ]


def _measured(run: PageRun, split: str, key: str) -> Points:
    rows = (run.measures or {}).get('epochs', [])
    return _numbers((row['epoch'], (row.get(split) or {}).get(key)) for row in rows)


def _health(run: PageRun, key: str) -> Points:
    return _numbers((row['epoch'], row[key]) for row in run.report.get('contrastive') or [])


def _histories(group: Group) -> list[Line]:
    """A line for each split that has classes."""
    histories = [run.report.get('history') or [] for run in group.runs]
    lines = [
        Line(
            [_numbers((row['epoch'], row[column]) for row in rows) for rows in histories],
            COLOURS[column],
            column.capitalize(),
        )
        for column in COLUMNS
    ]
    return [line for line in lines if any(line.curves)]


def _rates(run: PageRun) -> Points:
    """The last learning rate of each epoch that the training logged."""
    rates: dict[int, float] = {}
    for path in sorted(run.folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
            try:
                row = json.loads(line)
                rates[row['epoch']] = row['lr']
            except (ValueError, KeyError, TypeError):  # a validation, or a line that was cut
                continue
    return _numbers(sorted(rates.items()))


def mean_curve(curves: list[Points]) -> Points:
    """The mean over seeds at the epochs that all of them have."""
    curves = [dict(points) for points in curves if points]
    if not curves:
        return []
    epochs = sorted(set.intersection(*(set(points) for points in curves)))
    return [(e, sum(points[e] for points in curves) / len(curves)) for e in epochs]


def _stage_ends(groups: list[Group]) -> set[int]:
    """Epochs after which a second stage begins."""
    ends = set()
    for run in (run for group in groups for run in group.runs):
        rows = run.report.get('history') or []
        first = [row['epoch'] for row in rows if row.get('stage') == 1 and row.get('epoch')]
        if first and any(row.get('stage') == 2 for row in rows):
            ends.add(max(first))
    return ends


# ----------------------------------------------------------------------------------------- drawing
def _figure(
    groups: list[Group], title: str, caption: str, lines: list[Line], log: bool = False
) -> Figure:
    """Means over seeds as lines, single seeds as faint ones."""
    figure, axes = new_figure(3.1, 2.5)
    for line in lines:
        look = dict(color=line.colour, linestyle=line.dashes)
        for curve in line.curves if len(line.curves) > 1 else ():
            if curve:
                axes.plot(*zip(*curve, strict=True), linewidth=0.6, alpha=0.4, **look)
        if mean := mean_curve(line.curves):
            look |= dict(label=line.name or None, marker='o' if len(mean) == 1 else None)
            axes.plot(*zip(*mean, strict=True), linewidth=1.4, markersize=3, **look)
    values = [value for line in lines for curve in line.curves for _, value in curve]
    # A logarithm of what has become 0 would end the line.
    if log and min(values) > 0 and max(values) / min(values) > 5:
        axes.set_yscale('log')
    for end in _stage_ends(groups):
        axes.axvline(end, color=MUTED, linewidth=0.7, linestyle=DOTTED)
    axes.grid(axis='y')
    axes.set_xlabel('epoch')
    axes.set_title(title)
    figure.legend(loc='outside lower center', ncols=4, labelcolor='linecolor', handlelength=0.8)
    return Figure.of(figure, f'{title} over the epochs', caption, small=True)
