"""The picture of a report: accuracy and training count of each class, the most frequent first."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.wording import counted

# Told apart by readers with any colour vision, and in grey (after Paul Tol's "bright").
COLOURS = {'many': '#A3BFDC', 'medium': '#E6DD9F', 'few': '#F6B5BC'}
DARK = {'many': '#2F5F93', 'medium': '#8A7A12', 'few': '#C0334A'}
COUNT_COLOUR = '#333333'
NAMED = 30  # up to so many classes are named and their counts marked


def draw_report(report: dict[str, Any]) -> bytes:
    """Bars of the per-class accuracies in the order of training frequency, coloured by split.

    Args:
        report: what ``build_report`` gives: ``per_class``, ``class_counts``, ``thresholds``, the
            split means.

    Returns:
        A PNG file. No state of pyplot is touched.
    """
    # Not at the top: a table of reports does not wait for matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(report['class_counts'])
    order = np.argsort(-counts, kind='stable')
    accuracy = np.array([np.nan if a is None else a for a in report['per_class']], dtype=float)[
        order
    ]
    split = split_of(counts, Thresholds(**report['thresholds']))[order]

    figure = Figure(figsize=(10, 4.6), dpi=130, layout='constrained')
    axes = figure.add_subplot()
    axes.bar(
        np.arange(len(order)),
        np.nan_to_num(accuracy),
        width=0.82,
        color=[COLOURS[name] for name in split],
    )
    _draw_missing(axes, np.flatnonzero(np.isnan(accuracy)))
    _draw_means(axes, report, split)
    right = _draw_counts(axes, counts[order])
    _label(axes, right, report, order)
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def _draw_missing(axes, places: np.ndarray) -> None:
    """A cross on the axis where a class has no test sample: its accuracy is unknown, not 0."""
    axes.plot(places, np.full(len(places), 1.0), 'x', color='0.5', markersize=4)


def _draw_means(axes, report: dict[str, Any], split: np.ndarray) -> None:
    """A line at the mean of each split over its classes; its figure stands above the bars."""
    for name in SPLITS:
        places = np.flatnonzero(split == name)
        if report[name] is None or not len(places):
            continue
        left, right = places[0] - 0.5, places[-1] + 0.5
        axes.hlines(report[name], left, right, color=DARK[name], linewidth=2.4, zorder=3)
        text = f'{name.capitalize()} {report[name]:.1f}'
        narrow = right - left <= 0.15 * len(split)
        number = counted(len(places), 'class')
        text = text.replace(' ', '\n') if narrow else f'{text}\n{number}'
        axes.text(
            (left + right) / 2,
            115,
            text,
            color=DARK[name],
            ha='center',
            va='top',
            fontsize=9.5,
            fontweight='bold',
        )
        if left > 0:
            axes.axvline(left, color='0.6', linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)


def _draw_counts(axes, counts: np.ndarray):
    """The training count on a logarithmic axis of its own."""
    right = axes.twinx()
    right.plot(
        np.arange(len(counts)),
        counts,
        color=COUNT_COLOUR,
        linewidth=1.2,
        marker='o' if len(counts) <= NAMED else None,
        markersize=3.5,
    )
    right.set_yscale('log')
    right.set_ylim(max(0.8, counts.min() / 2), counts.max() * 2.5)
    right.set_ylabel('training images of the class (line)', color=COUNT_COLOUR)
    return right


def _label(axes, right, report: dict[str, Any], order: np.ndarray) -> None:
    axes.set_ylim(0, 117)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlim(-0.9, len(order) - 0.1)
    axes.set_ylabel('accuracy (%, bars)')
    axes.grid(axis='y', color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    for side in (axes, right):
        side.spines['top'].set_visible(False)
    if len(order) <= NAMED:
        names = [str(report['classes'][k])[:16] for k in order]
        slant = max(map(len, names)) * len(names) > 140
        axes.set_xticks(
            range(len(order)), names, rotation=40 if slant else 0, ha='right' if slant else 'center'
        )
        axes.set_xlabel('class, the most frequent in training first')
    else:
        axes.set_xlabel('classes, ordered by training frequency')
    epoch = '' if report['epoch'] is None else f', epoch {report["epoch"]}'
    axes.set_title(
        f'{report["dataset"]}: All {report["all"]:.2f} ({report["selection"]}{epoch})',
        loc='left',
        fontweight='bold',
    )
    axes.set_title(
        f'{report["config"]}, seed {report["seed"]}', loc='right', fontsize=8.5, color='0.4'
    )
