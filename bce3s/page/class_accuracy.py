"""Accuracy of each class over its number of training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.page.glance import group_cell
from bce3s.page.labels import end_labels, shortened
from bce3s.page.sections import Cell, Figure, Group, PageRun, Section, grouped
from bce3s.page.shown import split_axes
from bce3s.page.svg import GRID, INK, SPLIT_COLOURS, SURFACE, VARIABLES, new_figure, to_svg
from bce3s.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 30  # up to so many classes are drawn one by one
ROW, DOT = 17, 9  # px of a class, and of a group's dot in it, at least
WINDOW = 0.2  # of the classes, over which a running mean is taken
TEXT = 'How well a class is recognised, over how many training images it had.'


def class_accuracy(runs: list[PageRun]) -> Section:
    """Few classes: each of them, with a dot a group. Many: a cloud for each group, and the running
    means of all in one figure."""
    figures, families = [], same_classes(grouped(runs))
    for family in families:
        if len(family[0].runs[0].report['classes']) <= NAMED:
            figures.append(_named_figure(family))
        else:
            figures += [_cloud_figure(group) for group in family]
            figures += [_means_figure(family)] if len(family) > 1 else []
    text = '\n\n'.join([TEXT, *(said for family in families for said in map(_said, family))])
    return Section('class-accuracy', 'Accuracy per class', text, figures)


def _said(group: Group) -> str:
    """The worst class, how many are seldom recognised, how far frequency decides."""
    report, values = group.runs[0].report, class_means(group)
    counts, known = np.asarray(report['class_counts']), np.isfinite(values)
    if not known.any():
        return f'{group.name}: no class has an image.'
    worst = np.lexsort((counts, np.where(known, values, np.inf)))[0]
    text = (
        f'{group.name}: the worst class is {report["classes"][worst]} '
        f'({counted(counts[worst], "training image")}) with {values[worst]:.1f} %; below 50 %: '
        f'{int((values[known] < 50).sum()):,} of {counted(int(known.sum()), "class")}.'
    )
    if len({*counts[known]}) > 1 and len({*values[known]}) > 1:
        from scipy.stats import spearmanr

        rank = spearmanr(counts[known], values[known]).statistic
        text += f' Rank correlation of accuracy and training images: {rank:.2f}.'
    return text


def same_classes(groups: list[Group]) -> list[list[Group]]:
    """The groups that know the same classes with the same training counts, together."""
    families: dict[tuple, list[Group]] = {}
    for group in groups:
        report = group.runs[0].report
        key = tuple(report['classes']), tuple(report['class_counts'])
        families.setdefault(key, []).append(group)
    return list(families.values())


def class_means(group: Group) -> NDArray[np.float64]:
    """(K,) accuracy of each class, mean over seeds; nan for a class without images."""
    rows = [[np.nan if a is None else a for a in run.report['per_class']] for run in group.runs]
    return np.mean(rows, axis=0)


def splits_of(group: Group) -> NDArray:
    """(K,) split of each class."""
    report = group.runs[0].report
    return split_of(report['class_counts'], Thresholds(**report['thresholds']))


# -------------------------------------------------------------------------------------- few classes
def _named_figure(family: list[Group]) -> Figure:
    """A row a class, so that a phone shows them all."""
    report = family[0].runs[0].report
    counts, splits = np.asarray(report['class_counts']), splits_of(family[0])
    order = np.argsort(-counts, kind='stable')
    row = max(ROW, DOT * len(family) + 6)
    figure, axes = new_figure(460, row * len(order) + 60)
    for j, group in enumerate(family):
        places = np.arange(len(order)) + (j - (len(family) - 1) / 2) * DOT / row
        for run in group.runs if len(group.runs) > 1 else ():
            values = [np.nan if a is None else a for a in run.report['per_class']]
            seeds = np.array(values, dtype=float)[order]
            look = dict(color=group.colour, markersize=3, alpha=0.5, mew=0, clip_on=False)
            axes.plot(seeds, places, 'o', **look)
        means = class_means(group)[order]
        axes.hlines(places, 0, means, color=group.colour, linewidth=1.2, alpha=0.35)
        look = dict(color=group.colour, markersize=7, mec=SURFACE, mew=0.8, clip_on=False)
        axes.plot(means, places, 'o', **look)
    names = [shortened(str(report['classes'][k]), 24) for k in order]
    texts = [f'{name} ({count:,})' for name, count in zip(names, counts[order], strict=True)]
    axes.set_yticks(range(len(order)), texts)
    axes.tick_params(axis='y', length=0)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.grid(axis='x')
    axes.set_xlabel('accuracy (%)')
    split_axes(axes, splits[order], 'y', GRID, letter=7 / (row * len(order)))
    several = any(len(group.runs) > 1 for group in family)
    caption = 'Classes from the most to the least frequent, with their training images.' + (
        ' Large dots are means over seeds, small ones single seeds.' if several else ''
    )
    label = f'Accuracy of {counted(len(order), "class")}, the most frequent first'
    return Figure(to_svg(figure, label), caption, key=[group_cell(group) for group in family])


# ------------------------------------------------------------------------------------- many classes
def running_mean(counts: NDArray, values: NDArray) -> tuple[NDArray, NDArray]:
    """Mean accuracy over a window of classes that follow each other in frequency.

    Args:
        counts, values: (K,) training images and accuracies.

    Returns:
        Counts, ascending and each once, and at each the mean over the ``WINDOW * K`` classes (at
        least 5) around those that have it, in the order of frequency; fewer at both ends.
    """
    known = np.isfinite(values)
    order = np.argsort(counts[known], kind='stable')
    x, y = counts[known][order], values[known][order]
    half = max(round(WINDOW * len(x)), 5) // 2
    total = np.concatenate([[0], np.cumsum(y)])
    places, first, number = np.unique(x, return_index=True, return_counts=True)
    low = np.maximum(first - half, 0)
    high = np.minimum(first + number + half, len(x))
    return places, (total[high] - total[low]) / np.maximum(high - low, 1)


def _cloud_figure(group: Group) -> Figure:
    counts = np.asarray(group.runs[0].report['class_counts'])
    values, splits = class_means(group), splits_of(group)
    figure, axes = new_figure(460, 300)
    size, alpha = (4.5, 0.75) if len(counts) <= 1000 else (2.5, 0.4)
    for name in SPLITS:
        mask = splits == name
        axes.plot(
            counts[mask],
            values[mask],
            'o',
            color=SPLIT_COLOURS[name],
            markersize=size,
            alpha=alpha,
            mew=0,
            clip_on=False,  # dots at 0 and at 100
            rasterized=len(counts) > 3000,
        )
    axes.plot(*running_mean(counts, values), color=INK, linewidth=1.8)
    _frequency_axes(axes, counts)
    axes.set_title(shortened(group.name, 50))
    caption = 'A dot a class' + (', mean over seeds' if len(group.runs) > 1 else '')
    return Figure(
        to_svg(
            figure, f'Accuracy of {len(counts)} classes over their training images: {group.name}'
        ),
        f'{caption}; the line is the running mean over a fifth of the classes.',
        key=[
            Cell(name.capitalize(), colour=VARIABLES[SPLIT_COLOURS[name]])
            for name in SPLITS
            if (splits == name).any()
        ],
    )


def _means_figure(family: list[Group]) -> Figure:
    counts = np.asarray(family[0].runs[0].report['class_counts'])
    figure, axes = new_figure(460, 300)
    ends = []
    for group in family:
        x, y = running_mean(counts, class_means(group))
        axes.plot(x, y, color=group.colour, linewidth=2)
        ends.append((y[-1], group.name, group.colour))
    _frequency_axes(axes, counts)
    axes.set_title('Running means')
    end_labels(axes, ends)
    names = ', '.join(group.name for group in family)
    return Figure(
        to_svg(figure, f'Running mean of the accuracy over the training images: {names}'),
        'The lines of the other figures in one.',
    )


def _frequency_axes(axes: Axes, counts: NDArray) -> None:
    axes.set_xscale('log')
    axes.set_xlim(max(counts.min(), 1) / 1.15, max(counts.max(), 1) * 1.15)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(axis='y')
    axes.set_xlabel('training images of the class')
    axes.set_ylabel('accuracy (%)')
