"""Published and measured values as dots: a line for each experiment, a panel for each measure."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reproduction.collect import Collected, CollectedRow
from reproduction.draw_curves import loss_style

OFFSET = 0.14  # CE above, BCE below the line


def draw_dots(collected: Collected) -> Figure:
    """Filled dots are ours (headline selection, bars of one standard deviation over seeds), hollow
    ones published.
    """
    measures = collected.table.drawing.measures
    lines = _lines(collected)
    size = (4.6 * len(measures) + 2.2, 0.36 * len(lines) + 1.9)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    (grid,) = figure.subplots(1, len(measures), squeeze=False, sharey=True)
    names = {column.measure: column.name for column in collected.table.columns}
    for axes, measure in zip(grid, measures, strict=True):
        for place, rows in enumerate(lines.values()):
            for i, row in enumerate(rows):
                shift = OFFSET * (2 * i - 1) if len(rows) > 1 else 0.0
                _dot(axes, collected, row, measure, place + shift)
        axes.set_title(names[measure], loc='left')
        axes.grid(color='0.9', linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ('top', 'right'):
            axes.spines[side].set_visible(False)
    grid[0].set_yticks(range(len(lines)), list(lines))
    grid[0].set_ylim(len(lines) - 0.4, -0.6)
    figure.legend(handles=_legend(collected), loc='outside lower left', ncols=4, frameon=False)
    return figure


def _lines(collected: Collected) -> dict[str, list[CollectedRow]]:
    """Rows that differ in the loss alone share a line."""
    lines: dict[str, list[CollectedRow]] = {}
    for row in collected.shown:
        lines.setdefault(collected.told_apart(row), []).append(row)
    return lines


def _dot(axes: Axes, collected: Collected, row: CollectedRow, measure: str, height: float) -> None:
    colour, marker = loss_style(row)
    published = row.row.published.get(measure)
    if published is not None:
        axes.plot(published, height, marker, markerfacecolor='none', color=colour, markersize=7)
    found = row.measured(measure, collected.table.selections[0])
    if found is not None:
        axes.errorbar(found.mean, height, xerr=found.std, fmt=marker, color=colour, markersize=5)


def _legend(collected: Collected) -> list[Line2D]:
    styles: dict[str, tuple[str, str]] = {}
    for row in collected.shown:
        styles.setdefault(row.labels.get('loss', ''), loss_style(row))
    ours = f'ours, {collected.table.selections[0]}'
    handles = []
    for loss, (colour, marker) in styles.items():
        name = f'{loss} ' if loss else ''
        plain = dict(color=colour, marker=marker, linestyle='')
        handles.append(Line2D([], [], label=f'{name}{ours}', markersize=5, **plain))
        if any(row.row.printed for row in collected.shown):
            plain = {**plain, 'markerfacecolor': 'none', 'markersize': 7}
            handles.append(Line2D([], [], label=f'{name}published', **plain))
    return handles
