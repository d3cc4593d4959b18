"""What confuses what: classes by training frequency, splits, and the confusions that count most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.confusion import (
    Flow,
    confusion_matrix,
    frequent_confusions,
    in_blocks,
    row_shares,
    split_flow,
)
from bce3s.page.content import Figure, Gallery, Section, Table
from bce3s.page.drawing import NAMED, draw_matrix, shortened
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.plotting import COLOURS, new_figure
from bce3s.tables import mean_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCKS = 200  # cells in a row at most
LISTED = 10
PICTURED, PICTURES = 3, 4  # confusions of which images are shown, and images of each
TEXT = """\
Of the images of each class (row), the share that the model calls each class (column). Classes are
in the order of their training frequency, so what lies left of the diagonal is called something more
frequent: the mark of a long tail.

The flow between splits sums this up: of the images of a split, the share that is called a class of
each split, as a mean over the split's classes."""


def confusion(runs: list[PageRun]) -> Section | None:
    """Heat map and table of confusions for each group's first seed; flow between splits of all."""
    groups = measured(runs)
    if not groups:
        return None
    matrices = {run.name: _matrix(run) for group in groups for run in group.runs}
    flows = {
        run.name: split_flow(matrices[run.name], run.outputs.class_counts, run.thresholds)
        for group in groups
        for run in group.runs
    }
    firsts = [(group, matrices[group.runs[0].name]) for group in groups]
    figures = [_heat_figure(*first) for first in firsts]
    figures.append(_flow_figure(groups, flows))
    tables = [_flow_table(groups, flows), *(_frequent(*first) for first in firsts)]
    galleries = [made for first in firsts if (made := _pictures(*first))]
    return Section(
        'confusion', 'What is taken for what', TEXT, figures, tables, left_out(runs), galleries
    )


def _matrix(run: PageRun) -> NDArray:
    outputs = run.outputs
    return confusion_matrix(outputs.labels, outputs.logits.argmax(axis=1), outputs.logits.shape[1])


# ---------------------------------------------------------------------------------------- heat map
def _heat_figure(group: Group, matrix: NDArray) -> Figure:
    shares = row_shares(matrix[np.ix_(group.order, group.order)])
    size = len(shares)
    blocks = min(size, BLOCKS)
    cells = np.sqrt((shares if blocks == size else in_blocks(shares, blocks)) / 100)
    own = np.eye(blocks, dtype=bool)
    figure, axes = new_figure(4.8, 4.7)
    numbers = np.where(shares >= 0.5, shares, np.nan)
    draw_matrix(axes, group, np.where(own, cells, 0), np.where(own, 0, cells), numbers)
    axes.set_xlabel('called' + (' (the most frequent class first)' if size > NAMED else ''))
    axes.set_ylabel('true class')
    caption = (
        f'{group.title}: blue is right, orange a confusion; the stronger, the larger the share of '
        'the row (square-root scale).'
    )
    lower, upper = np.nansum(np.tril(shares, -1)), np.nansum(np.triu(shares, 1))
    if lower + upper > 0:
        caption += (
            f' {100 * lower / (lower + upper):.0f} % of the confusions (classes counting alike) '
            'are with a more frequent class, left of the diagonal.'
        )
    if blocks < size:
        caption += f' {size} classes in {blocks} blocks of neighbours in frequency.'
    return Figure.of(figure, 'Heat map of the confusion matrix', caption)


# -------------------------------------------------------------------------------------------- flow
def _flow_figure(groups: list[Group], flows: dict[str, Flow]) -> Figure:
    """A bar for each split and group, divided by what its images are called."""
    rows = {
        split: [(group, row) for group in groups if (row := _row(group, flows, split))]
        for split in SPLITS
    }
    figure, axes = new_figure(4.8, (66 + 24 * (sum(map(len, rows.values())) + 3)) / 96)
    place, ticks = 0.0, {}
    for split, some in rows.items():
        if not some:
            continue
        heading = f'{split.capitalize()} images are called'
        axes.text(0, place, heading, color=COLOURS[split], weight='bold', va='center')
        for group, row in some:
            place += 1
            ticks[place] = shortened(group.name, 20)
            _draw_bar(axes, place, row)
        place += 1.15
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place - 0.5, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel('% of the images (each class counting alike)')
    axes.tick_params(axis='y', length=0)
    axes.spines['left'].set_visible(False)
    rare = next(split for split in reversed(SPLITS) if rows[split])
    said = [
        ', '.join(f'{share:.0f} % a {s.capitalize()} class' for s, share in row.items())
        + f' ({group.name})'
        for group, row in rows[rare]
    ]
    caption = f'Of the {rare.capitalize()} images are called: {"; ".join(said)}.'
    return Figure.of(figure, 'What the images of each split are called', caption)


def _row(group: Group, flows: dict[str, Flow], true: str) -> dict[str, float]:
    """Mean over the seeds of what a split's images are called; empty if it has none."""
    cells = {s: group.over_seeds(lambda run, s=s: flows[run.name][true][s]) for s in SPLITS}
    return {split: share for split, share in cells.items() if share is not None}


def _draw_bar(axes: Axes, place: float, shares: dict[str, float]) -> None:
    left = 0.0
    for split, share in shares.items():
        axes.barh(place, share, 0.8, left, color=COLOURS[split], edgecolor='white', linewidth=0.8)
        if share >= 6:
            text = f'{split.capitalize()} {share:.0f}' if share >= 24 else f'{share:.0f}'
            look = dict(color='white', ha='center', va='center_baseline')
            axes.text(left + share / 2, place, text, **look)
        left += share


def _flow_table(groups: list[Group], flows: dict[str, Flow]) -> Table:
    rows = [
        [
            group.name,
            true.capitalize(),
            *(mean_std([flows[run.name][true][s] for run in group.runs], 1) for s in SPLITS),
        ]
        for group in groups
        for true in SPLITS
        if _row(group, flows, true)
    ]
    header = ['Runs', 'Images of', *(f'Called {split.capitalize()}' for split in SPLITS)]
    return Table(header, rows, 'Flow between splits (% of the images, mean over classes)', left=2)


# --------------------------------------------------------------------------------------- the worst
def _pictures(group: Group, matrix: NDArray) -> Gallery | None:
    """Images of the most frequent confusions, of each those that the model is surest of; None:
    there is no confusion, or the images are not at hand.
    """
    outputs, pictures = group.outputs, group.runs[0].pictures
    if pictures is None:
        return None
    predicted = outputs.logits.argmax(axis=1)
    found = []
    for worst in frequent_confusions(matrix, PICTURED):
        indices = np.flatnonzero((outputs.labels == worst.true) & (predicted == worst.predicted))
        excess = outputs.logits[indices, worst.predicted] - outputs.logits[indices, worst.true]
        surest = indices[np.argsort(-excess, kind='stable')][:PICTURES]
        names = outputs.classes[worst.true], f'called {outputs.classes[worst.predicted]}'
        found += [pictures.picture(i, *names) for i in surest]
    caption = (
        f'{group.title}: of each of the {PICTURED} most frequent confusions the images that the '
        'model is surest of.'
    )
    return Gallery('Images that are confused', caption, found) if found else None


def _frequent(group: Group, matrix: NDArray) -> Table:
    names, splits = group.outputs.classes, group.splits
    rows = [
        [
            names[found.true],
            splits[found.true].capitalize(),
            names[found.predicted],
            splits[found.predicted].capitalize(),
            f'{found.share:.0f} %',
            str(found.count),
        ]
        for found in frequent_confusions(matrix, LISTED)
    ]
    header = ['Class', 'Split', 'Called', 'Split', 'Share', 'Images']
    return Table(header, rows, f'Most frequent confusions, {group.title}', left=4)
