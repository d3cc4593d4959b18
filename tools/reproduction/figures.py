"""The figure of a table. No state of pyplot is touched."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bce3s.plotting import COLOURS, LOSS_COLOURS
from reproduction.collect import Collected, CollectedRow

# Distinguishable with any colour vision, and in grey by their markers.
LOSSES = {'CE': (LOSS_COLOURS['ce'], 'D'), 'BCE': (LOSS_COLOURS['bce'], 'o')}
OTHER = ('#333333', 's')
OFFSET = 0.14  # dots: CE above, BCE below the line
SCORES = {'s_pos': LOSS_COLOURS['bce'], 's_neg': LOSS_COLOURS['ce'], 'b': '#222222'}
COLUMNS, BINS, WIDTH = 4, 120, 0.38  # violins


def draw(collected: Collected) -> Figure:
    """The figure of the table's kind, with its title."""
    kinds = {'curves': draw_curves, 'dots': draw_dots, 'violins': draw_violins}
    figure = kinds[collected.table.drawing.kind](collected)
    title = textwrap.fill(
        f'{collected.title} ({collected.summary})', int(figure.get_figwidth() * 9.5)
    )
    figure.suptitle(title, x=0.01, ha='left', fontsize=12, fontweight='bold')
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=110, layout='constrained')


def _tidy(axes: Axes, grid: str = 'both') -> None:
    axes.grid(axis=grid, color='0.9', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


# -------------------------------------------------------------------------------------------- dots
def draw_dots(collected: Collected) -> Figure:
    """A line for each experiment, a panel for each measure. Filled dots are ours (headline
    selection, bars of one standard deviation over seeds), hollow ones published.
    """
    measures = collected.table.drawing.measures
    lines: dict[str, list[CollectedRow]] = {}  # rows that differ in the loss alone share one
    for row in collected.rows:
        if row.done or row.row.printed:
            lines.setdefault(collected.name_of(row), []).append(row)
    figure = _figure(4.6 * len(measures) + 2.2, 0.36 * len(lines) + 1.9)
    (grid,) = figure.subplots(1, len(measures), squeeze=False, sharey=True)
    names = {column.measure: column.name for column in collected.table.columns}
    for axes, measure in zip(grid, measures, strict=True):
        for place, rows in enumerate(lines.values()):
            for i, row in enumerate(rows):
                shift = OFFSET * (2 * i - 1) if len(rows) > 1 else 0.0
                _dot(axes, collected, row, measure, place + shift)
        axes.set_title(names[measure], loc='left')
        _tidy(axes)
    grid[0].set_yticks(range(len(lines)), list(lines))
    grid[0].set_ylim(len(lines) - 0.4, -0.6)
    handles = []
    for loss in dict.fromkeys(row.loss for row in collected.rows):
        colour, marker = LOSSES.get(loss, OTHER)
        style = dict(color=colour, marker=marker, linestyle='')
        ours = f'{loss} ours, {collected.table.selections[0]}'.strip()
        handles.append(Line2D([], [], label=ours, **style))
        if any(row.row.printed for row in collected.rows if row.loss == loss):
            style['markerfacecolor'] = 'none'
            handles.append(Line2D([], [], label=f'{loss} published'.strip(), **style))
    figure.legend(handles=handles, loc='outside lower left', ncols=4, frameon=False)
    return figure


def _dot(axes: Axes, collected: Collected, row: CollectedRow, measure: str, height: float) -> None:
    colour, marker = LOSSES.get(row.loss, OTHER)
    if row.loss not in LOSSES:
        colour = COLOURS.get(measure.split('.')[1], colour)
    published = row.row.published.get(measure)
    if published is not None:
        axes.plot(published, height, marker, markerfacecolor='none', color=colour, markersize=7)
    if found := row.values(measure, collected.table.selections[0]):
        deviation = statistics.stdev(found) if len(found) > 1 else None
        mean = statistics.fmean(found)
        axes.errorbar(mean, height, xerr=deviation, fmt=marker, color=colour, markersize=5)


# ------------------------------------------------------------------------------------------ curves
def draw_curves(collected: Collected) -> Figure:
    """Measures over the epochs, CE and BCE in one panel, as Figures 2 and 4-6 of the ICML paper: a
    row of panels for each combination of the panel labels, a column for each measure.
    """
    drawing = collected.table.drawing
    panels = _panels(collected, [row for row in collected.rows if row.done])
    figure = _figure(3.9 * len(drawing.measures) + 0.6, 2.7 * len(panels) + 0.9)
    grid = figure.subplots(len(panels), len(drawing.measures), squeeze=False, sharex=True)
    for line, (labels, rows) in zip(grid, panels.items(), strict=True):
        for axes, measure in zip(line, drawing.measures, strict=True):
            for row in rows:
                _curve(axes, row, measure)
            axes.set_yscale('log')
            _tidy(axes)
        line[0].set_ylabel(', '.join(labels))
    for axes, measure in zip(grid[0], drawing.measures, strict=True):
        kind, name = measure.split('.', 1)
        axes.set_title(f'{name.upper()}, {"training" if kind == "train" else kind} set')
    for axes in grid[-1]:
        axes.set_xlabel('epoch')
    grid[0][0].legend(frameon=False)
    return figure


def _panels(
    collected: Collected, rows: Sequence[CollectedRow]
) -> dict[tuple[str, ...], list[CollectedRow]]:
    """Rows by their panel labels."""
    panels: dict[tuple[str, ...], list[CollectedRow]] = {}
    for row in rows:
        key = tuple(row.row.labels[label] for label in collected.table.drawing.panel)
        panels.setdefault(key, []).append(row)
    return panels


def _curve(axes: Axes, row: CollectedRow, measure: str) -> None:
    """The mean over seeds, in a band from the lowest to the highest."""
    curves = [job.curve(measure) for job in row.done]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not epochs:
        return
    values = np.array([[curve[epoch] for epoch in epochs] for curve in curves])
    colour, marker = LOSSES.get(row.loss, OTHER)
    style = dict(color=colour, marker=marker, markevery=max(len(epochs) // 10, 1), markersize=4)
    axes.plot(epochs, values.mean(0), label=row.loss, **style)
    axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


# ----------------------------------------------------------------------------------------- violins
def draw_violins(collected: Collected) -> Figure:
    """Distributions of final biases and scores, as Figures 3 and 7 of the ICML paper: a panel for
    each combination of the panel labels; along its axis what is varied.

    Scores (without bias, training set) are violins of all finished seeds together, each as wide as
    its fullest bin; biases are dots, one per class. At full scale the published means are bars.
    """
    drawing = collected.table.drawing
    panels = _panels(collected, collected.rows)
    lines = -(-len(panels) // COLUMNS)
    figure = _figure(4.1 * min(len(panels), COLUMNS) + 0.4, 3.5 * lines + 1.0)
    grid = figure.subplots(lines, min(len(panels), COLUMNS), squeeze=False, sharey='row')
    for axes, (key, rows) in zip(grid.flat, panels.items(), strict=False):
        for place, row in enumerate(rows):
            _violins(axes, place, row, published=not collected.scale.label)
        axes.set_xticks(range(len(rows)), [row.row.labels[drawing.across] for row in rows])
        axes.set_title(', '.join(key), loc='left')
        axes.set_xlabel(drawing.across)
        _tidy(axes, 'y')
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel('score without bias, bias')
    handles: list = [
        Patch(color=SCORES['s_pos'], alpha=0.55, label='positive scores'),
        Patch(color=SCORES['s_neg'], alpha=0.55, label='negative scores'),
        Line2D([], [], color=SCORES['b'], marker='o', linestyle='', label='biases (one per class)'),
    ]
    if not collected.scale.label:
        handles.append(Line2D([], [], color='0.4', linewidth=1.0, label='published means'))
    figure.legend(handles=handles, loc='outside lower left', ncols=4, frameon=False)
    return figure


def _violins(axes: Axes, place: int, row: CollectedRow, published: bool) -> None:
    spread = [one for job in row.done if (one := job.distributions())]
    for name in ('s_neg', 's_pos'):
        if histograms := [one[name] for one in spread if one[name]]:
            heights, density = pooled(histograms)
            half = WIDTH * density / density.max()
            # a line too, so that a distribution of almost no spread is seen
            style = dict(color=SCORES[name], alpha=0.55, linewidth=1.2)
            axes.fill_betweenx(heights, place - half, place + half, **style)
    biases = [b for one in spread for b in one['b']]
    axes.plot([place] * len(biases), biases, 'o', color=SCORES['b'], markersize=2.5, zorder=3)
    for name, colour in SCORES.items() if published else ():
        value = row.row.published.get(f'train.{name}_mean')
        if value is not None:
            axes.hlines(value, place - WIDTH, place + WIDTH, color=colour, linewidth=1.0)


def pooled(histograms: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Heights and counts of several histograms together: each bin's count goes to the bin of the
    common range that its centre lies in.
    """
    centres, counts = [], []
    for one in histograms:
        edges = np.linspace(one['low'], one['high'], len(one['counts']) + 1)
        centres.append((edges[1:] + edges[:-1]) / 2)
        counts.append(np.asarray(one['counts'], float))
    low, high = min(one['low'] for one in histograms), max(one['high'] for one in histograms)
    if len(histograms) == 1 or high <= low:
        return centres[0], counts[0]
    bins = min(BINS, max(map(len, counts)))
    total, edges = np.histogram(
        np.concatenate(centres), bins=bins, range=(low, high), weights=np.concatenate(counts)
    )
    return (edges[1:] + edges[:-1]) / 2, total
