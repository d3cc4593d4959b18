"""Measures over the epochs, CE and BCE in one panel, as Figures 2 and 4-6 of the ICML paper."""

from __future__ import annotations

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from reproduction.collect import Collected, CollectedRow

# Told apart by readers with any colour vision, and in grey by their markers.
LOSSES = {'CE': ('#2F5F93', 'D'), 'BCE': ('#C0334A', 'o')}
OTHER = ('#333333', 's')


class _PlainNumbers(LogFormatter):
    """0.3 instead of 3e-01, where there is a label at all."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f'{x:g}' if super().__call__(x, pos) else ''


def loss_style(row: CollectedRow) -> tuple[str, str]:
    """Colour and marker of a row's loss."""
    return LOSSES.get(row.labels.get('loss', ''), OTHER)


def draw_curves(collected: Collected) -> Figure:
    """A row of panels for each combination of the panel labels, a column for each measure."""
    drawing = collected.table.drawing
    rows = [row for row in collected.shown if row.results]
    panels: dict[str, list[CollectedRow]] = {}
    for row in rows:
        name = ', '.join(_named(label, row.labels[label]) for label in drawing.panel)
        panels.setdefault(name, []).append(row)
    size = (3.9 * len(drawing.measures) + 0.6, 2.7 * len(panels) + 0.9)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    grid = figure.subplots(len(panels), len(drawing.measures), squeeze=False, sharex=True)
    for axes_of_row, (name, members) in zip(grid, panels.items(), strict=True):
        for axes, measure in zip(axes_of_row, drawing.measures, strict=True):
            _panel(axes, members, measure)
        axes_of_row[0].set_ylabel(name)
    for axes, measure in zip(grid[0], drawing.measures, strict=True):
        axes.set_title(_title(measure))
    for axes in grid[-1]:
        axes.set_xlabel('epoch')
    grid[0][0].legend(frameon=False)
    return figure


def _named(label: str, value: str) -> str:
    return value if label in ('model', 'optimizer', 'data') else f'{label} {value}'


def _title(measure: str) -> str:
    kind, name = measure.split('.', 1)
    return f'{name.upper()}, {"training" if kind == "train" else kind} set'


def _panel(axes: Axes, rows: list[CollectedRow], measure: str) -> None:
    for row in rows:
        colour, marker = loss_style(row)
        curves = [dict(result.curve(measure)) for result in row.results]
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        if not epochs:
            continue
        values = [[curve[epoch] for curve in curves] for epoch in epochs]
        axes.plot(
            epochs,
            [statistics.fmean(seeds) for seeds in values],
            color=colour,
            marker=marker,
            markevery=max(len(epochs) // 10, 1),
            markersize=4,
            linewidth=1.5,
            label=row.labels.get('loss', row.row.cell.key),
        )
        if len(curves) > 1:
            low, high = [min(seeds) for seeds in values], [max(seeds) for seeds in values]
            axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_yscale('log')
    for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        ticks(_PlainNumbers(minor_thresholds=(2, 0.5)))
    axes.grid(color='0.9', which='both', linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
