"""All, Many, Medium and Few of every group as a chart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bce3s.evaluation.accuracy import COLUMNS
from bce3s.page.sections import Cell, Figure, Group
from bce3s.page.svg import GRID, MUTED, SURFACE, VARIABLES, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, GAP = 20, 16  # px of a group's row, and between two columns


def figures(group: Group, column: str) -> list[float | None]:
    """All, Many, Medium or Few of each seed."""
    return [run.report[column] for run in group.runs]


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def group_cell(group: Group) -> Cell:
    """A group's name with its colour."""
    return Cell(group.name, colour=VARIABLES[group.colour])


def glance_chart(groups: list[Group]) -> Figure:
    """For All, Many, Medium and Few a row a group: seeds as dots, mean and standard deviation."""
    block = ROW * len(groups) + GAP
    height = len(COLUMNS) * block + 46
    figure, axes = new_figure(460, height)
    axes.set_xlim(*_limits(groups))
    for i, column in enumerate(COLUMNS):
        for j, group in enumerate(groups):
            _row(axes, figures(group, column), i * block + j * ROW, group.colour)
    axes.set_yticks(
        [i * block + (len(groups) - 1) * ROW / 2 for i in range(len(COLUMNS))],
        [c.capitalize() for c in COLUMNS],
    )
    for i in range(1, len(COLUMNS)):
        axes.axhline(i * block - (ROW + GAP) / 2, color=GRID, linewidth=0.8)
    axes.set_ylim((len(COLUMNS) - 1) * block + (len(groups) - 0.4) * ROW, -0.6 * ROW)
    axes.grid(axis='x')
    axes.tick_params(axis='y', length=0, labelsize=12)
    axes.spines['left'].set_visible(False)
    axes.set_xlabel('accuracy (%)')
    names = ', '.join(group.name for group in groups)
    caption = ''
    if any(len(group.runs) > 1 for group in groups):
        caption = 'Mean over seeds, bars of one standard deviation, small dots for the seeds.'
    return Figure(
        to_svg(figure, f'Accuracy on All, Many, Medium and Few of {names}'),
        caption,
        key=[group_cell(group) for group in groups],
    )


def _limits(groups: list[Group]) -> tuple[float, float]:
    """Of the axis of accuracy: what is there, with room for its text, but no accuracy that cannot
    be; dots need no zero.
    """
    known = [v for g in groups for c in COLUMNS for v in figures(g, c) if v is not None]
    low, high = min(known, default=0), max(known, default=100)
    room = max(0.2 * (high - low), 5)
    return max(low - room, 0), min(high + room, 100)


def _row(axes: Axes, values: list[float | None], y: float, colour: str) -> None:
    known = [value for value in values if value is not None]
    if not known:
        at = dict(transform=axes.get_yaxis_transform(), va='center')
        axes.text(0.02, y, 'no class', color=MUTED, fontsize=11, **at)
        return
    middle, (low, high) = statistics.fmean(known), axes.get_xlim()
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    bar = max(middle - spread, low), min(middle + spread, high)
    whole = dict(color=colour, clip_on=False)  # dots at 0 and at 100
    if len(known) > 1:
        axes.plot(bar, [y, y], color=colour, linewidth=1.6)
        axes.plot(known, [y] * len(known), 'o', markersize=3, alpha=0.55, mew=0, **whole)
    axes.plot(middle, y, 'o', markersize=8, mec=SURFACE, mew=1, **whole)
    first, last = min(*known, bar[0]), max(*known, bar[1])
    left = first - low > high - last  # beside the bar, where there is more room
    axes.annotate(
        f'{middle:.1f}',
        (first if left else last, y),
        (-9 if left else 9, 0),
        textcoords='offset points',
        ha='right' if left else 'left',
        va='center',
        color=colour,
        fontsize=11,
    )
