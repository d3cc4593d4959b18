"""How the features came to be: neural collapse over the epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bce3s.page.labels import end_labels
from bce3s.page.sections import Figure, Group, PageRun, Section, grouped
from bce3s.page.svg import MUTED, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = list[tuple[int, float]]
SIZE = 300, 215  # px of a small figure
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


def collapse(runs: list[PageRun]) -> Section | None:
    """What FeatureMeasuresHook wrote into measures.json."""
    groups = grouped(runs)
    figures = []
    for key, (title, caption, log) in MEASURES.items():
        solid, dashed = ((lambda run, k=key, s=s: _measured(run, s, k)) for s in ('train', 'test'))
        figure = _figure(groups, solid, title, caption, log=log, dashed=dashed)
        figures += [figure] if figure else []
    if not figures:
        return None
    text = (
        'Measures of "BCE vs. CE in Deep Feature Learning" on the training images (solid) and the '
        'evaluation images (dashed), which go through the network without augmentation.'
        + _seeds_said(groups)
        + (' A dotted line: the last validation before a second stage.' * bool(_stage_ends(groups)))
    )
    return Section('collapse', 'Neural collapse', text, figures)


# ------------------------------------------------------------------------------------------ numbers
def _measured(run: PageRun, split: str, key: str) -> Points:
    rows = (run.measures or {}).get('epochs', [])
    points = [(row['epoch'], (row.get(split) or {}).get(key)) for row in rows]
    return [(epoch, value) for epoch, value in points if _number(value)]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def mean_curve(curves: list[Points]) -> Points:
    """The mean over seeds at the epochs that all of them have."""
    curves = [dict(points) for points in curves if points]
    if not curves:
        return []
    epochs = sorted(set.intersection(*(set(points) for points in curves)))
    return [(e, sum(points[e] for points in curves) / len(curves)) for e in epochs]


# ------------------------------------------------------------------------------------------ drawing
def _figure(
    groups: list[Group],
    points: Callable[[PageRun], Points],
    title: str,
    caption: str,
    log: bool = False,
    dashed: Callable[[PageRun], Points] | None = None,
) -> Figure | None:
    """Mean over seeds as a line, single seeds as faint ones; None without two points of any run.

    Args:
        points: of a run. dashed: a second curve of it.
    """
    if not any(len(points(run)) > 1 for group in groups for run in group.runs):
        return None
    figure, axes = new_figure(*SIZE)
    ends, values = [], []
    for group in groups:
        for one, line in ((points, '-'), (dashed, (0, (3, 2)))):
            curves = [one(run) for run in group.runs] if one else []
            _draw(axes, curves, group.colour, line)
            values += [value for curve in curves for _, value in curve]
            if one is points and (mean := mean_curve(curves)):
                ends.append((mean[-1][1], group.name, group.colour))
    # A logarithm of what has become 0 would end the line.
    if log and min(values) > 0 and max(values) / min(values) > 5:
        axes.set_yscale('log')
    if not log and max(values) <= 100 < axes.get_ylim()[1]:  # percent
        axes.set_ylim(top=101)
    if not log and not any(values):
        axes.set_ylim(0, 1)
    for end in _stage_ends(groups):
        axes.axvline(end, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.grid(axis='y')
    axes.set_xlabel('epoch')
    axes.set_title(title)
    end_labels(axes, ends)
    names = ', '.join(group.name for group in groups)
    return Figure(to_svg(figure, f'{title} over the epochs: {names}'), caption, small=True)


def _draw(axes: Axes, curves: list[Points], colour: str, line) -> None:
    mean = mean_curve(curves)
    if len(curves) > 1:
        for curve in curves:
            if curve:
                look = dict(color=colour, linestyle=line, linewidth=0.8, alpha=0.4)
                axes.plot(*zip(*curve, strict=True), **look)
    if mean:
        marker = 'o' if len(mean) == 1 else None
        axes.plot(
            *zip(*mean, strict=True),
            color=colour,
            linestyle=line,
            linewidth=1.8,
            marker=marker,
            markersize=4,
        )


def _stage_ends(groups: list[Group]) -> set[int]:
    """Epochs after which a second stage begins, as far as validations tell."""
    ends = set()
    for group in groups:
        for run in group.runs:
            rows = run.report.get('history') or []
            first = [row['epoch'] for row in rows if row.get('stage') == 1 and row.get('epoch')]
            if first and any(row.get('stage') == 2 for row in rows):
                ends.add(max(first))
    return ends


def _seeds_said(groups: list[Group]) -> str:
    if all(len(group.runs) == 1 for group in groups):
        return ''
    return ' Thick lines are means over seeds, thin ones single seeds.'
