"""What the figures of the page share: matrices of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.page.runs import Group
from bce3s.plotting import COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RIGHT, WRONG = '#1795b5', '#e06a1f'
LONGEST = 14  # characters of a name in a figure
NAMED = 24  # classes up to which rows and columns are named
NUMBERED = 12  # classes up to which the cells of a matrix have numbers


def shortened(name: str, length: int = LONGEST) -> str:
    """A name with its middle left out, where it is long: names often differ at their ends."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f'{name[: length - 1 - tail]}…{name[-tail:]}'


# ------------------------------------------------------------------------------ matrices of classes
def draw_matrix(
    axes: Axes, group: Group, right: NDArray, wrong: NDArray, numbers: NDArray | None = None
) -> None:
    """A matrix over the classes by falling frequency, in two colours on white.

    Args:
        axes: gets the names of splits and, where there are few, of classes.
        group: of the classes.
        right, wrong: (n, n) how strong each colour is, 0 to 1, n at most K.
        numbers: (K, K) to be written into the cells of few classes; NaN: nothing.
    """
    from matplotlib.colors import to_rgb

    size = len(group.order)
    full = 0.8 if size <= NUMBERED else 1.0  # ink is to be read on it
    image = np.ones((*right.shape, 3))
    for values, colour in ((right, RIGHT), (wrong, WRONG)):
        strength = full * np.clip(np.nan_to_num(values), 0, 1)[..., None]
        image *= 1 - strength * (1 - np.array(to_rgb(colour)))
    axes.imshow(image, interpolation='none', extent=(-0.5, size - 0.5, size - 0.5, -0.5))
    draw_splits(axes, group.splits[group.order])
    axes.tick_params(length=0)
    names = [shortened(str(group.report['classes'][k])) for k in group.order]
    if size > NAMED:
        axes.set(xticks=[], yticks=[])
    else:
        upright = max(map(len, names)) * size > 60
        axes.set_xticks(range(size), names, rotation=90 if upright else 0)
        axes.set_yticks(range(size), names)
    if numbers is not None and size <= NUMBERED:
        for (row, column), value in np.ndenumerate(numbers):
            if np.isfinite(value):
                look = dict(ha='center', va='center_baseline', fontsize=7.5)
                axes.text(column, row, f'{value:.0f}', **look)
    axes.set_title(group.title, pad=16)


def ranges(splits: NDArray) -> dict[str, tuple[int, int]]:
    """Split -> its first place and the one after its last, along classes ordered by frequency."""
    places = {name: np.flatnonzero(splits == name) for name in SPLITS}
    return {name: (int(at[0]), int(at[-1]) + 1) for name, at in places.items() if len(at)}


def draw_splits(
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
    at = {
        'x': dict(ha='center', va='bottom', xytext=(0, 3), xycoords=axes.get_xaxis_transform()),
        'y': dict(va='center', rotation=270, xytext=(4, 0), xycoords=axes.get_yaxis_transform()),
    }
    lines = {'x': axes.axvline, 'y': axes.axhline}
    for name, (first, last) in ranges(splits).items():
        middle = (first + last - 1) / 2
        text = name.capitalize() if (last - first) / len(splits) > letter * len(name) else ''
        look = dict(color=COLOURS[name], weight='bold', annotation_clip=False)
        for side in sides:
            place = (middle, 1) if side == 'x' else (1, middle)
            axes.annotate(text, place, textcoords='offset points', **look, **at[side])
            if first:
                lines[side](first - 0.5, color=colour, linewidth=0.7)
