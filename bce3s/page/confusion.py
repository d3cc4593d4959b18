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
from bce3s.page.labels import shortened
from bce3s.page.pictures import pictures
from bce3s.page.sections import Figure, PageRun, Section, Table
from bce3s.page.shown import (
    COLOURS,
    NAMED,
    NUMBERED,
    RIGHT,
    WRONG,
    Shown,
    left_out,
    name_classes,
    over_seeds,
    shown,
    split_axes,
    spread,
    strongest,
    thresholds,
)
from bce3s.page.svg import INK, SURFACE, heat_map, new_figure, to_svg

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
    drawn = shown(runs)
    if not drawn:
        return None
    matrices = {run.name: _matrix(run) for one in drawn for run in one.group.runs}
    flows = {
        run.name: split_flow(matrices[run.name], run.outputs.class_counts, thresholds(run))
        for one in drawn
        for run in one.group.runs
    }
    figures = [_heat_figure(one, matrices[one.run.name]) for one in drawn]
    figures.append(_flow_figure(drawn, flows))
    figures += filter(None, (_pictures(one, matrices[one.run.name]) for one in drawn))
    tables = [_flow_table(drawn, flows)]
    tables += [_frequent(one, matrices[one.run.name]) for one in drawn]
    return Section('confusion', 'What is taken for what', TEXT, figures, tables, left_out(runs))


def _matrix(run: PageRun) -> NDArray:
    outputs = run.outputs
    predicted = outputs.logits.argmax(axis=1)
    return confusion_matrix(outputs.labels, predicted, outputs.logits.shape[1])


# ----------------------------------------------------------------------------------------- heat map
def _heat_figure(one: Shown, matrix: NDArray) -> Figure:
    ordered = matrix[np.ix_(one.order, one.order)]
    shares, size = row_shares(ordered), len(ordered)
    figure, axes = new_figure(460, 450)
    blocks = min(size, BLOCKS)
    cells = shares if blocks == size else in_blocks(shares, blocks)
    where = dict(extent=(-0.5, size - 0.5, size - 0.5, -0.5), aspect='equal')
    own = np.eye(blocks, dtype=bool)
    for colour, mask in ((RIGHT, own), (WRONG, ~own)):
        heat_map(axes, strongest(size) * np.sqrt(np.where(mask, cells, 0) / 100), colour, **where)
    split_axes(axes, one.splits[one.order])
    names = [shortened(one.outputs.classes[k]) for k in one.order]
    name_classes(axes, names)
    axes.set_xlabel('called' + (' (the most frequent class first)' if size > NAMED else ''))
    axes.set_ylabel('true class')
    if size <= NUMBERED:
        _number_cells(axes, shares)
    axes.set_title(one.title, pad=22)
    label = f'Heat map of the confusion matrix of {one.title}'
    return Figure(to_svg(figure, label), _heat_caption(one, shares, blocks))


def _number_cells(axes: Axes, shares: NDArray) -> None:
    for (true, predicted), share in np.ndenumerate(shares):
        if share >= 0.5:
            axes.text(
                predicted, true, f'{share:.0f}', ha='center', va='center', fontsize=10, color=INK
            )


def _heat_caption(one: Shown, shares: NDArray, blocks: int) -> str:
    upper = np.nansum(np.triu(shares, 1))
    lower = np.nansum(np.tril(shares, -1))
    text = (
        f'{one.title}: blue is right, orange a confusion; the stronger, the larger the share of '
        'the row (square-root scale).'
    )
    if lower + upper > 0:
        text += (
            f' {100 * lower / (lower + upper):.0f} % of the confusions (classes counting alike) '
            'are with a more frequent class, left of the diagonal.'
        )
    if blocks < len(shares):
        text += f' {len(shares)} classes in {blocks} blocks of neighbours in frequency.'
    return text


# --------------------------------------------------------------------------------------------- flow
def _flow_figure(drawn: list[Shown], flows: dict[str, Flow]) -> Figure:
    """A bar for each split and group, divided by what its images are called."""
    blocks = {split: [one for one in drawn if _row(one, flows, split)] for split in SPLITS}
    bars = sum(map(len, blocks.values()))
    figure, axes = new_figure(460, 66 + 24 * (bars + 3))
    place, ticks = 0.0, {}
    for split, some in blocks.items():
        if not some:
            continue
        heading = f'{split.capitalize()} images are called'
        axes.text(0, place, heading, color=COLOURS[split], fontweight='bold', va='center')
        for one in some:
            place += 1
            ticks[place] = one.group.name
            _bar(axes, place, _row(one, flows, split))
        place += 1.15
    axes.set_yticks(list(ticks), [shortened(name, 20) for name in ticks.values()])
    axes.set_ylim(place - 0.5, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel('% of the images (each class counting alike)')
    axes.tick_params(axis='y', length=0, labelcolor=INK)
    axes.spines['left'].set_visible(False)
    caption = _flow_caption(drawn, flows)
    return Figure(to_svg(figure, f'What the images of each split are called. {caption}'), caption)


def _row(one: Shown, flows: dict[str, Flow], true: str) -> dict[str, float]:
    """Mean over the seeds of what a split's images are called; empty if it has none."""
    cells = {s: over_seeds(one, lambda run, s=s: flows[run.name][true][s]) for s in SPLITS}
    return {split: share for split, share in cells.items() if share is not None}


def _bar(axes: Axes, place: float, shares: dict[str, float]) -> None:
    left = 0.0
    for split, share in shares.items():
        axes.barh(place, share, 0.8, left, color=COLOURS[split], edgecolor=SURFACE, linewidth=1)
        if share >= 6:
            name = f'{split.capitalize()} ' if share >= 24 else ''
            axes.text(
                left + share / 2,
                place,
                f'{name}{share:.0f}',
                color=SURFACE,
                ha='center',
                va='center_baseline',
            )
        left += share


def _flow_caption(drawn: list[Shown], flows: dict[str, Flow]) -> str:
    """The symptom in numbers: rare images called frequent classes."""
    rare = next(split for split in reversed(SPLITS) if any(_row(o, flows, split) for o in drawn))
    said = []
    for one in drawn:
        row = _row(one, flows, rare)
        parts = [f'{row[s]:.0f} % a {s.capitalize()} class' for s in SPLITS if s in row]
        if row:
            said.append(f'{", ".join(parts)} ({one.group.name})')
    return f'Of the {rare.capitalize()} images are called: {"; ".join(said)}.'


def _flow_table(drawn: list[Shown], flows: dict[str, Flow]) -> Table:
    rows = []
    for one in drawn:
        for true in SPLITS:
            if not _row(one, flows, true):
                continue
            cells = [
                spread([flows[run.name][true][split] for run in one.group.runs]) for split in SPLITS
            ]
            rows.append([one.group.name, true.capitalize(), *cells])
    header = ['Runs', 'Images of', *(f'Called {split.capitalize()}' for split in SPLITS)]
    return Table(header, rows, 'Flow between splits (% of the images, mean over classes)', left=2)


# ---------------------------------------------------------------------------------------- the worst
def _pictures(one: Shown, matrix: NDArray) -> Figure | None:
    """Images of the most frequent confusions, of each those that the model is surest of; None:
    there is no confusion, or the images are no files.
    """
    outputs = one.outputs
    predicted = outputs.logits.argmax(axis=1)
    found = []
    for worst in frequent_confusions(matrix, PICTURED):
        taken = (outputs.labels == worst.true) & (predicted == worst.predicted)
        indices = np.flatnonzero(taken)
        excess = outputs.logits[indices, worst.predicted] - outputs.logits[indices, worst.true]
        surest = indices[np.argsort(-excess, kind='stable')][:PICTURES]
        found += [(int(i), worst.true, worst.predicted) for i in surest]
    if not found or not outputs.images:
        return None
    caption = (
        f'{one.title}: images of the most frequent confusions, of each those that the model is '
        'surest of; above each its class, below it what it is called.'
    )
    return pictures(one, found, caption, caption)


def _frequent(one: Shown, matrix: NDArray) -> Table:
    names, splits = one.outputs.classes, one.splits
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
    return Table(header, rows, f'Most frequent confusions, {one.title}', left=4)
