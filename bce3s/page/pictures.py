"""Images of a run side by side, with what they are and what the model calls them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bce3s.errors import BCE3SError
from bce3s.page.labels import shortened
from bce3s.page.sections import Figure
from bce3s.page.shown import Shown
from bce3s.page.svg import MUTED, new_figure, to_svg

COLUMNS, SIDE = 4, 64


def pictures(one: Shown, found: Sequence[tuple[int, int, int]], label: str, caption: str) -> Figure:
    """A thumbnail of each, its class above it and what it is called below.

    Args:
        one: whose ``outputs.images`` are files.
        found: index of the image, its class, the class that it is called.
        label: what the figure shows, for those who do not see it.
        caption: below the figure.
    """
    rows = -(-len(found) // COLUMNS)
    figure, axes = new_figure(460, 20 + 140 * rows)
    axes.remove()
    for place, axes in zip(found, figure.subplots(rows, COLUMNS, squeeze=False).flat, strict=False):
        _draw(axes, one, *place)
    for axes in figure.axes[len(found) :]:
        axes.axis('off')
    return Figure(to_svg(figure, label), caption)


def _draw(axes, one: Shown, index: int, true: int, called: int) -> None:
    picture = _thumbnail(one.outputs.images[index])
    if picture is None:
        axes.text(0.5, 0.5, 'gone', ha='center', va='center', color=MUTED)
    else:
        axes.imshow(picture, aspect='equal')
    axes.set_title(shortened(one.outputs.classes[true], 14), loc='center')
    axes.set_xlabel(shortened(one.outputs.classes[called], 14), color=MUTED)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _thumbnail(path: str) -> NDArray[np.uint8] | None:
    """(SIDE, SIDE, 3), the centre; None: the file cannot be read any more."""
    from bce3s.datasets.decoding import read_centre

    try:
        return read_centre(path, SIDE, SIDE).permute(1, 2, 0).numpy()
    except BCE3SError:
        return None
