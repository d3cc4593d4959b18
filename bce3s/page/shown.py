"""What the sections that need outputs have in common: which runs are drawn, in what order."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.evaluation.accuracy import COLUMNS as COLUMNS
from bce3s.page.sections import Group, PageRun, grouped
from bce3s.page.svg import FEW, INK, MANY, MEDIUM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bce3s.engine.outputs import Outputs

COLOURS = {'all': INK, 'many': MANY, 'medium': MEDIUM, 'few': FEW}
# Of images that hold no CSS variable: at least 3 : 1 on the light and the dark surface.
RIGHT, WRONG = '#1795b5', '#e06a1f'
NAMED = 24  # classes up to which rows and columns are named
NUMBERED = 12  # classes up to which the cells of a matrix have numbers


class Shown(NamedTuple):
    """A group of runs with the one that is drawn, its first seed.

    Attributes:
        group: the runs of it that have outputs.
        run: the first of them. outputs: its own.
        order: (K,) classes by falling training count.
        splits: (K,) split of each class, in the classes' own order.
    """

    group: Group
    run: PageRun
    outputs: Outputs
    order: NDArray[np.int64]
    splits: NDArray

    @property
    def title(self) -> str:
        """The group, and the seed where there are several."""
        seed = f', seed {self.run.report["seed"]}' if len(self.group.runs) > 1 else ''
        return f'{self.group.name}{seed}'


def shown(runs: list[PageRun]) -> list[Shown]:
    """The groups of which a run has outputs that can be measured: images, and finite logits."""
    drawn = []
    for group in grouped(runs):
        usable = [run for run in group.runs if run.outputs is not None and _sound(run.outputs)]
        if not usable:
            continue
        outputs = usable[0].outputs
        order = np.argsort(-np.asarray(outputs.class_counts), kind='stable')
        splits = split_of(outputs.class_counts, thresholds(usable[0]))
        kept = Group(group.name, usable, group.colour)
        drawn.append(Shown(kept, usable[0], outputs, order, splits))
    return drawn


def _sound(outputs: Outputs) -> bool:
    return len(outputs.labels) > 0 and bool(np.isfinite(outputs.logits).all())


def left_out(runs: list[PageRun]) -> list[str]:
    """A note on each run whose outputs are there, but cannot be measured."""
    return [
        f'{run.name} is left out: '
        + ('there are no images.' if not len(run.outputs.labels) else 'its logits are not finite.')
        for run in runs
        if run.outputs is not None and not _sound(run.outputs)
    ]


def thresholds(run: PageRun) -> Thresholds:
    """Where Many ends and Few begins, as its report says."""
    return Thresholds(**run.report.get('thresholds') or {})


def seeds_said(drawn: Sequence[Shown]) -> str:
    """A sentence, empty where each group is one run."""
    if all(len(one.group.runs) == 1 for one in drawn):
        return ''
    return ' Drawn is the first seed of each group.'


def spread(values: Sequence[float | None], digits: int = 1) -> str:
    """``mean ± standard deviation`` over seeds; one value alone; a dash for none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return '-'
    mean = f'{statistics.fmean(known):.{digits}f}'
    return mean if len(known) == 1 else f'{mean} ± {statistics.stdev(known):.{digits}f}'


def over_seeds(one: Shown, figure: Callable[[PageRun], float | None]) -> float | None:
    """The mean of a figure over the group's runs; None where none has it."""
    known = [value for value in map(figure, one.group.runs) if value is not None]
    return statistics.fmean(known) if known else None


def ranges(splits: NDArray) -> dict[str, tuple[int, int]]:
    """Split -> its first place and the one after its last, along classes ordered by frequency."""
    found = {}
    for name in SPLITS:
        places = np.flatnonzero(splits == name)
        if len(places):
            found[name] = (int(places[0]), int(places[-1]) + 1)
    return found


def split_axes(
    axes: Axes, splits: NDArray, sides: str = 'xy', colour: str = INK, letter: float = 0.023
) -> None:
    """Lines between the splits of classes ordered by frequency, and their names along the axes.

    Args:
        axes: whose coordinates are places of classes, from 0; cells reach from -1/2 to 1/2.
        splits: (K,) in that order.
        sides: ``x``, ``y`` or both.
        colour: of the lines.
        letter: width of one as a share of the axis; a name without room is left out.
    """
    found, size = ranges(splits), len(splits)
    for name, (first, last) in found.items():
        middle = (first + last - 1) / 2
        text = name.capitalize() if (last - first) / size > letter * len(name) else ''
        look = dict(color=COLOURS[name], fontweight='bold')
        if 'x' in sides:
            axes.annotate(
                text, (middle, 1), (0, 4), ha='center', va='bottom', **look, **_edge('x', axes)
            )
        if 'y' in sides:
            axes.annotate(
                text,
                (1, middle),
                (5, 0),
                ha='left',
                va='center',
                rotation=270,
                **look,
                **_edge('y', axes),
            )
        if first:
            for side, line in (('x', axes.axvline), ('y', axes.axhline)):
                if side in sides:
                    line(first - 0.5, color=colour, linewidth=0.8)


def _edge(side: str, axes: Axes) -> dict:
    """Data along one axis, the axes' own edge across."""
    transform = axes.get_xaxis_transform() if side == 'x' else axes.get_yaxis_transform()
    return dict(xycoords=transform, textcoords='offset points', annotation_clip=False)


def name_classes(axes: Axes, names: list[str]) -> None:
    """Names along both axes of a matrix of classes, as far as there is room."""
    axes.tick_params(length=0)
    if len(names) > NAMED:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    upright = max(map(len, names)) * len(names) > 60
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
    axes.set_yticks(range(len(names)), names)


def strongest(classes: int) -> float:
    """The opacity of a full cell: less than 1 where numbers in ink are to be read on it."""
    return 0.8 if classes <= NUMBERED else 1.0
