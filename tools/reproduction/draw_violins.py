"""Distributions of final biases and scores as violins, as Figures 3 and 7 of the ICML paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reproduction.collect import Collected, CollectedRow

COLOURS = {'s_pos': '#C0334A', 's_neg': '#2F5F93', 'b': '#222222'}
NAMES = {'s_pos': 'positive scores', 's_neg': 'negative scores', 'b': 'biases'}
COLUMNS = 4
BINS = 120
WIDTH = 0.38


def draw_violins(collected: Collected) -> Figure:
    """A panel for each combination of the panel labels; along its axis what is varied.

    Scores (without bias, training set) are violins of all finished seeds together, each as wide as
    its fullest bin; biases are dots, one a class. At full scale the published means are bars.
    """
    drawing = collected.table.drawing
    panels: dict[tuple[str, ...], list[CollectedRow]] = {}
    for row in collected.shown:
        key = tuple(row.labels[label] for label in drawing.panel)
        panels.setdefault(key, []).append(row)
    lines = -(-len(panels) // COLUMNS)
    size = (4.1 * min(len(panels), COLUMNS) + 0.4, 3.5 * lines + 1.0)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    grid = figure.subplots(lines, min(len(panels), COLUMNS), squeeze=False, sharey='row')
    for axes, (key, rows) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, collected, rows)
        varied = key[drawing.panel.index('varied')] if 'varied' in drawing.panel else drawing.across
        axes.set_title(', '.join(part for part in key if part != varied), loc='left')
        axes.set_xlabel({'initial bias': 'mean of the initial biases'}.get(varied, varied))
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel('score without bias, bias')
    figure.legend(handles=_legend(collected), loc='outside lower left', ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, collected: Collected, rows: Sequence[CollectedRow]) -> None:
    for place, row in enumerate(rows):
        spread = [result.distributions() for result in row.results]
        spread = [one for one in spread if one]
        for name in ('s_neg', 's_pos'):
            _violin(axes, place, [one[name] for one in spread if one[name]], COLOURS[name])
        biases = [b for one in spread for b in one['b']]
        axes.plot([place] * len(biases), biases, 'o', color=COLOURS['b'], markersize=2.5, zorder=3)
        if not collected.scale.label:
            _published(axes, place, row)
    across = collected.table.drawing.across
    names = [row.labels[across].replace(' (', '\n(') for row in rows]
    axes.set_xticks(range(len(rows)), names, fontsize=8 if any('\n' in n for n in names) else None)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.grid(axis='y', color='0.9', linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)


def _violin(axes: Axes, place: float, histograms: list[dict[str, Any]], colour: str) -> None:
    if not histograms:
        return
    heights, density = pooled(histograms)
    half = WIDTH * density / density.max()
    # a line too, so that a distribution of almost no spread is seen
    axes.fill_betweenx(heights, place - half, place + half, color=colour, alpha=0.55, linewidth=1.2)


def pooled(histograms: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Heights and counts of several histograms together: each bin's count goes to the bin of the
    common range that its centre lies in.
    """
    low = min(one['low'] for one in histograms)
    high = max(one['high'] for one in histograms)
    if len(histograms) == 1 or high <= low:
        one = histograms[0]
        counts = np.asarray(one['counts'], float)
        return _centres(one['low'], one['high'], len(counts)), counts
    centres = [_centres(one['low'], one['high'], len(one['counts'])) for one in histograms]
    counts = [np.asarray(one['counts'], float) for one in histograms]
    bins = min(BINS, max(len(one) for one in counts))
    total, edges = np.histogram(
        np.concatenate(centres), bins=bins, range=(low, high), weights=np.concatenate(counts)
    )
    return (edges[1:] + edges[:-1]) / 2, total


def _centres(low: float, high: float, bins: int) -> np.ndarray:
    edges = np.linspace(low, high, bins + 1)
    return (edges[1:] + edges[:-1]) / 2


def _published(axes: Axes, place: float, row: CollectedRow) -> None:
    for name, colour in COLOURS.items():
        value = row.row.published.get(f'train.{name}_mean')
        if value is not None:
            axes.hlines(value, place - WIDTH, place + WIDTH, color=colour, linewidth=1.0)


def _legend(collected: Collected) -> list:
    scores = ('s_pos', 's_neg')
    handles: list = [Patch(color=COLOURS[n], alpha=0.55, label=NAMES[n]) for n in scores]
    dot = dict(color=COLOURS['b'], marker='o', linestyle='', markersize=4)
    handles.append(Line2D([], [], label=f'{NAMES["b"]} (one a class)', **dot))
    if not collected.scale.label:
        handles.append(Line2D([], [], color='0.4', linewidth=1.0, label='published means'))
    return handles
