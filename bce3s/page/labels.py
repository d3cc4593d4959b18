"""What is written into figures: names at the ends of lines, bands of the splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 14  # characters of a name in a figure
LINE = 13  # px between two names


def shortened(name: str, length: int = LONGEST) -> str:
    """A name with its middle left out, where it is long: names often differ at their ends."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f'{name[: length - 1 - tail]}…{name[-tail:]}'


def end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Names right of the axes at the heights where lines end, moved apart where they would meet.

    Args:
        axes: with its final limits and scale.
        ends: (y, name, colour) each.
    """
    ends = [end for end in ends if np.isfinite(end[0])]
    if not ends:
        return
    height = axes.figure.bbox.height * 0.72  # about that of the axes; layout comes later
    low, high = (_scaled(axes, y) for y in axes.get_ylim())
    wanted = [(_scaled(axes, y) - low) / (high - low) * height for y, _, _ in ends]
    places = apart(wanted, LINE, height)
    for (_, name, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            shortened(name),
            (1, place / height),
            (5, 0),
            xycoords='axes fraction',
            textcoords='offset points',
            va='center',
            color=colour,
            fontsize=11,
        )


def _scaled(axes: Axes, y: float) -> float:
    return float(axes.yaxis.get_transform().transform(y))


def apart(wanted: list[float], distance: float, top: float) -> list[float]:
    """Places at least ``distance`` apart in the order of ``wanted``, as near to it as a pass
    upwards and one downwards bring them; from 0 to ``top`` where they fit.

    >>> apart([1.0, 2.0, 50.0], 10, 100)
    [1.0, 11.0, 50.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = list(wanted)
    floor = 0.0
    for i in order:
        places[i] = floor = max(places[i], floor)
        floor += distance
    ceiling = top
    for i in reversed(order):
        places[i] = ceiling = min(places[i], ceiling)
        ceiling -= distance
    return places
