"""The picture of a long tail: training images of each class, the most frequent first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bce3s.datasets.frequencies import gini, imbalance_factor
from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.plotting import COLOURS, DASHED, DOTTED, INK, LIGHT, MUTED, new_figure, style, to_png
from bce3s.wording import counted

OTHERS = {'val': (MUTED, DASHED), 'test': (INK, DOTTED)}  # lines of the evaluation splits


@style()
def draw_frequencies(
    title: str, images: dict[str, Sequence[int]], thresholds: Thresholds | None = None
) -> bytes:
    """Counts on a logarithmic axis, coloured by Many, Medium, Few; the other splits as lines.

    Args:
        title: the name of the data set.
        images: split -> (K,) images of each class; ``train`` decides the order.
        thresholds: of Many and Few.

    Returns:
        A PNG file.
    """
    thresholds = thresholds or Thresholds()
    order = np.argsort(-np.asarray(images['train']), kind='stable')
    counts = np.asarray(images['train'])[order]
    figure, axes = new_figure(10, 4.6)
    axes.set_yscale('log')
    axes.set_ylim(0.7, counts.max() * 2.2)
    axes.set_xlim(-0.6, len(counts) - 0.4)
    _draw_splits(axes, counts, thresholds)
    _draw_others(axes, images, order)
    axes.set_xlabel('classes, ordered by training frequency')
    axes.set_ylabel('images of the class')
    axes.grid(axis='y')
    axes.set_title(title)
    axes.set_title(
        f'{counts.sum():,} training images, imbalance factor {imbalance_factor(counts):,.5g}, '
        f'Gini {gini(counts):.3f}',
        loc='right',
        weight='normal',
    )
    axes.legend(loc='upper right')
    return to_png(figure, dpi=130)


def _draw_splits(axes, counts: np.ndarray, thresholds: Thresholds) -> None:
    """A filled outline a split (ten thousand bars take a minute); the thresholds as lines."""
    masks = split_masks(counts, thresholds)
    for name in SPLITS:
        classes = np.flatnonzero(masks[name])
        if not len(classes):
            continue
        edges = np.r_[classes - 0.5, classes[-1] + 0.5]
        images = counted(counts[classes].sum(), 'image')
        label = f'{name.capitalize()}: {counted(len(classes), "class", "classes")}, {images}'
        axes.stairs(counts[classes], edges, fill=True, color=LIGHT[name], baseline=0.1)
        axes.stairs(counts[classes], edges, color=COLOURS[name], linewidth=1.4, label=label)
    for limit in (thresholds.many, thresholds.few):
        if 1 <= limit <= counts.max():
            axes.axhline(limit, color=MUTED, linewidth=0.8, linestyle=DOTTED, zorder=0)


def _draw_others(axes, images: dict[str, Sequence[int]], order: np.ndarray) -> None:
    for split, each in images.items():
        if split == 'train' or not sum(each):
            continue
        colour, style = OTHERS.get(split, OTHERS['test'])
        axes.plot(
            np.arange(len(order)),
            np.asarray(each)[order],
            color=colour,
            linestyle=style,
            linewidth=1.3,
            label=f'{split}: {counted(sum(each), "image")}',
        )
