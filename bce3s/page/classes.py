"""Each class: its accuracy over its training images, and what it is taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.multi_label_report import class_measure, probability, several
from bce3s.page.content import Cell, Figure, Section, Table
from bce3s.page.drawing import draw_splits, shortened
from bce3s.page.runs import Group, PageRun, grouped, same_classes
from bce3s.plotting import GRID, INK, SPLIT_COLOURS, new_figure
from bce3s.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 30  # up to so many classes are drawn one by one
ROW, DOT = 17, 9  # of a class, and of a group's dot in it, in CSS pixels
WINDOW = 0.2  # of the classes, over which a running mean is taken
LABEL_COLUMNS = (
    'Threshold: the score, a sigmoid, above which an image is called the class; precision, recall '
    'and F1 are those at it.'
)
CONFUSED = 3  # up to so many groups have a column of what a class is taken for


def class_accuracy(runs: list[PageRun]) -> Section:
    """Few classes: each of them, with a dot a group. Many: a cloud for each group, and the running
    means of all in one figure."""
    figures, families = [], same_classes(grouped(runs))
    for family in families:
        if len(family[0].counts) <= NAMED:
            figures.append(_named_figure(family))
        else:
            figures += [_cloud_figure(group) for group in family]
            figures += [_means_figure(family)] if len(family) > 1 else []
    said = [_said(group) for family in families for group in family]
    text = 'How well a class is recognised, over how many training images it had.'
    title = f'{_measure(families[0][0])} per class'
    return Section('class-accuracy', title, '\n\n'.join([text, *said]), figures)


def _measure(group: Group) -> str:
    """At the beginning of a title."""
    return 'AP' if several(group.report) else 'Accuracy'


def _said(group: Group) -> str:
    """The worst class, how many are seldom recognised, how far frequency decides."""
    counts, values = group.counts, group.accuracies
    known = np.isfinite(values)
    if not known.any():
        return f'{group.name}: no class has an image.'
    worst = worst_first(values, counts)[0]
    text = (
        f'{group.name}: the worst class is {group.report["classes"][worst]} '
        f'({counted(counts[worst], "training image")}) with {values[worst]:.1f} %; below 50 %: '
        f'{int((values[known] < 50).sum()):,} of {counted(int(known.sum()), "class")}.'
    )
    if len({*counts[known]}) > 1 and len({*values[known]}) > 1:
        from scipy.stats import spearmanr

        rank = spearmanr(counts[known], values[known]).statistic
        measure = class_measure(group.report)
        text += f' Rank correlation of {measure} and training images: {rank:.2f}.'
    return text


# ------------------------------------------------------------------------------------- few classes
def _named_figure(family: list[Group]) -> Figure:
    """A row a class, so that a phone shows them all."""
    first = family[0]
    order, size = first.order, len(first.order)
    row = max(ROW, DOT * len(family) + 6)
    figure, axes = new_figure(4.8, (row * size + 60) / 96)
    for j, group in enumerate(family):
        places = np.arange(size) + (j - (len(family) - 1) / 2) * DOT / row
        look = dict(color=group.colour, clip_on=False)
        for run in group.runs if len(group.runs) > 1 else ():
            axes.plot(run.accuracies[order], places, 'o', markersize=2.5, alpha=0.5, mew=0, **look)
        means = group.accuracies[order]
        axes.hlines(places, 0, means, color=group.colour, linewidth=0.9, alpha=0.35)
        axes.plot(means, places, 'o', markersize=5.5, mec='white', mew=0.6, **look)
    names = [shortened(str(first.report['classes'][k]), 24) for k in order]
    texts = [f'{name} ({n:,})' for name, n in zip(names, first.counts[order], strict=True)]
    axes.set_yticks(range(size), texts)
    axes.tick_params(axis='y', length=0)
    axes.set_ylim(size - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.grid(axis='x')
    axes.set_xlabel(f'{class_measure(first.report)} (%)')
    draw_splits(axes, first.splits[order], 'y', GRID, letter=7 / (row * size))
    caption = 'Classes from the most to the least frequent, with their training images.'
    if any(len(group.runs) > 1 for group in family):
        caption += ' Large dots are means over seeds, small ones single seeds.'
    title = f'{_measure(first)} of {counted(size, "class")}'
    return Figure.of(figure, title, caption, key=[group.cell for group in family])


# ------------------------------------------------------------------------------------ many classes
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
    counts, values, splits = group.counts, group.accuracies, group.splits
    figure, axes = new_figure()
    few = len(counts) <= 1000
    look = dict(markersize=3.5 if few else 2, alpha=0.75 if few else 0.4, mew=0)
    look |= dict(clip_on=False, rasterized=len(counts) > 3000)  # dots at 0 and at 100
    key = []
    for name in SPLITS:
        if (splits == name).any():
            at, colour = splits == name, SPLIT_COLOURS[name]
            axes.plot(counts[at], values[at], 'o', color=colour, **look)
            key.append(Cell(name.capitalize(), colour))
    axes.plot(*running_mean(counts, values), color=INK)
    _frequency_axes(axes, group)
    axes.set_title(shortened(group.name, 50))
    title = f'{_measure(group)} of {len(counts)} classes over their training images: {group.name}'
    caption = (
        f'A dot a class{", mean over seeds" if len(group.runs) > 1 else ""}; the line is the '
        'running mean over a fifth of the classes.'
    )
    return Figure.of(figure, title, caption, key=key)


def _means_figure(family: list[Group]) -> Figure:
    figure, axes = new_figure()
    for group in family:
        axes.plot(*running_mean(group.counts, group.accuracies), color=group.colour)
    _frequency_axes(axes, family[0])
    axes.set_title('Running means')
    key = [group.cell for group in family]
    return Figure.of(figure, 'Running means', 'The lines of the other figures in one.', key=key)


def _frequency_axes(axes: Axes, group: Group) -> None:
    counts = group.counts
    axes.set_xscale('log')
    axes.set_xlim(max(counts.min(), 1) / 1.15, max(counts.max(), 1) * 1.15)
    axes.set(ylim=(0, 100), yticks=range(0, 101, 20))
    axes.grid(axis='y')
    axes.set(xlabel='training images of the class', ylabel=f'{class_measure(group.report)} (%)')


# ------------------------------------------------------------------------------------------- table
def class_table(runs: list[PageRun]) -> Section:
    """Every class, the worst first; a table for each list of classes."""
    families = same_classes(grouped(runs))
    table = _label_table if several(runs[0].report) else _table
    tables = [table(family, len(families) > 1) for family in families]
    text = 'The worst classes first: by the mean over all runs, then by training images.'
    if several(runs[0].report):
        text += f' {LABEL_COLUMNS}'
    elif any(run.outputs is not None for run in runs):
        text += (
            ' "Taken for" is the most frequent wrong answer, with its share of the images of the '
            'class.'
        )
    return Section('classes', 'All classes', text, tables=tables)


def worst_first(accuracy: NDArray, counts: NDArray) -> NDArray[np.int64]:
    """Classes by accuracy, then training images, then their number; those without images last.

    Args:
        accuracy: (K,), nan where a class has no image. counts: (K,).
    """
    return np.lexsort((np.arange(len(counts)), counts, np.nan_to_num(accuracy, nan=np.inf)))


def most_frequent_errors(group: Group) -> list[tuple[int, float] | None] | None:
    """For each class the wrong answer given most often and its share in percent, over the images of
    all seeds; None for a class without an error, and for a group without outputs."""
    known = [run.outputs for run in group.runs if run.outputs is not None]
    if not known:
        return None
    size = known[0].logits.shape[1]
    labels = np.concatenate([outputs.labels for outputs in known])
    answers = np.concatenate([outputs.logits.argmax(axis=1) for outputs in known])
    images = np.bincount(labels, minlength=size)
    wrong = labels != answers
    # (class, answer) as one number: K x K counts would not fit for 8,142 classes
    pairs, number = np.unique(labels[wrong] * size + answers[wrong], return_counts=True)
    best: list[tuple[int, float] | None] = [None] * size
    for i in np.lexsort((-pairs, number)):  # ascending: the last one written is the most frequent
        label, answer = divmod(int(pairs[i]), size)
        best[label] = answer, 100 * float(number[i]) / float(images[label])
    return best


def _table(family: list[Group], titled: bool) -> Table:
    first = family[0]
    counts, splits = first.counts, first.splits
    names = [str(name) for name in first.report['classes']]
    accuracies = [group.accuracies for group in family]
    errors = [most_frequent_errors(group) for group in family] if len(family) <= CONFUSED else []
    # One group needs no name: the page's title has it.
    alone = len(family) == 1
    header = ['Class', 'Split', 'Training images']
    header += ['Accuracy'] if alone else [f'{group.name} (%)' for group in family]
    for group, found in zip(family, errors, strict=False):
        if found is not None:
            header.append('Taken for' if alone else f'Taken for by {group.name}')
    rows = []
    for k in worst_first(np.mean(accuracies, axis=0), counts):
        split = Cell(splits[k].capitalize(), SPLIT_COLOURS[splits[k]])
        row = [names[k], split, str(counts[k]), *(_percent(values[k]) for values in accuracies)]
        row += [_error(found[k], names) for found in errors if found is not None]
        rows.append(row)
    caption = ', '.join(group.name for group in family) if titled else ''
    return Table(header, rows, caption, left=2, interactive=True)


def _label_table(family: list[Group], titled: bool) -> Table:
    """Of classes of which an image may have several."""
    first, alone = family[0], len(family) == 1
    header = ['Class', 'Split', 'Training positives', 'Positives here']
    columns: list[list[str]] = []
    for group in family:
        keys = ('precision', 'recall', 'f1_per_class') if alone else ('f1_per_class',)
        cells = [[*map(_percent, _decided(group, key))] for key in keys]
        if alone:
            limits = [f'{probability(t):.3f}' for t in _decided(group, 'thresholds')]
            header += ['AP', 'Threshold', 'Precision', 'Recall', 'F1']
            cells.insert(0, limits)
        else:
            header += [f'AP, {group.name} (%)', f'F1, {group.name} (%)']
        columns += [[*map(_percent, group.accuracies)], *cells]
    rows = []
    means = np.mean([group.accuracies for group in family], axis=0)
    for k in worst_first(means, first.counts):
        split = Cell(first.splits[k].capitalize(), SPLIT_COLOURS[first.splits[k]])
        numbers = str(first.counts[k]), str(first.report['positives'][k])
        row = [str(first.report['classes'][k]), split, *numbers]
        rows.append([*row, *(column[k] for column in columns)])
    caption = ', '.join(group.name for group in family) if titled else ''
    return Table(header, rows, caption, left=2, interactive=True)


def _decided(group: Group, key: str) -> NDArray[np.float64]:
    """(K,) of the ``decisions``, mean over seeds; NaN where undefined."""
    lists = [run.report['decisions'][key] for run in group.runs]
    return np.mean(np.array(lists, dtype=float), axis=0)  # None becomes NaN


def _percent(value: float) -> Cell:
    return Cell('-') if np.isnan(value) else Cell(f'{value:.1f}', bar=float(value))


def _error(found: tuple[int, float] | None, names: list[str]) -> str:
    return '' if found is None else f'{names[found[0]]} ({found[1]:.0f} %)'
