"""Every class in a table, the worst first: what it is taken for, and how that differs by run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bce3s.page.class_accuracy import class_means, same_classes, splits_of
from bce3s.page.sections import Cell, Group, PageRun, Section, Table, grouped
from bce3s.page.svg import SPLIT_COLOURS, VARIABLES

CONFUSED = 3  # up to so many groups have a column of what a class is taken for
TEXT = (
    'The worst classes first: by the mean over all runs, then by training images. "Taken for" is '
    'the most frequent wrong answer, with its share of the images of the class.'
)


def class_table(runs: list[PageRun]) -> Section:
    """A table for each list of classes."""
    families = same_classes(grouped(runs))
    tables = [_table(family, len(families) > 1) for family in families]
    text = TEXT if any(run.outputs is not None for run in runs) else TEXT.split(' "Taken')[0]
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
    report = family[0].runs[0].report
    counts, splits = np.asarray(report['class_counts']), splits_of(family[0])
    names = [str(name) for name in report['classes']]
    accuracies = [class_means(group) for group in family]
    errors = [most_frequent_errors(group) for group in family] if len(family) <= CONFUSED else []
    header = ['Class', 'Split', 'Training images']
    # One group needs no name: the page's title has it.
    header += ['Accuracy'] if len(family) == 1 else [f'{group.name} (%)' for group in family]
    for group, found in zip(family, errors, strict=False):
        if found is not None:
            header.append('Taken for' if len(family) == 1 else f'Taken for by {group.name}')
    rows = []
    for k in worst_first(np.mean(accuracies, axis=0), counts):
        row = [
            names[k],
            Cell(splits[k].capitalize(), colour=VARIABLES[SPLIT_COLOURS[splits[k]]]),
            str(counts[k]),
            *(_percent(values[k]) for values in accuracies),
        ]
        row += [_error(found[k], names) for found in errors if found is not None]
        rows.append(row)
    caption = ', '.join(group.name for group in family) if titled else ''
    return Table(header, rows, caption, left=2, interactive=True)


def _percent(value: float) -> Cell:
    return Cell('-') if np.isnan(value) else Cell(f'{value:.1f}', bar=float(value))


def _error(found: tuple[int, float] | None, names: list[str]) -> str:
    return '' if found is None else f'{names[found[0]]} ({found[1]:.0f} %)'
