"""How often each class occurs, as numbers, as text, and as a picture of the long tail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bce3s.datasets.label_sets import Label, positives
from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.plotting import COLOURS, DASHED, DOTTED, INK, LIGHT, MUTED, new_figure, style, to_png
from bce3s.wording import counted

NAMED = 5  # of the rarest and of the most frequent classes
BAR = 40  # characters of the longest bar


def gini(counts: Sequence[int]) -> float:
    r"""The Gini coefficient of the class counts, 0 where all are equal, (K - 1) / K where one class
    has everything:
    :math:`\sum_i (2 i - K - 1) n_{(i)} / (K \sum_i n_i)`, :math:`n_{(1)} \le ... \le n_{(K)}`.

    >>> gini([1, 1, 4])
    0.3333333333333333
    """
    n = np.sort(np.asarray(counts, dtype=float))
    k = len(n)
    return float((2 * np.arange(1, k + 1) - k - 1) @ n / (k * n.sum())) if n.sum() else 0.0


def imbalance_factor(counts: Sequence[int]) -> float:
    """Images of the most over those of the least frequent class; infinite if that has none."""
    return max(counts) / min(counts) if min(counts) else float('inf')


def images_of_classes(
    counts: Sequence[int], labels: dict[str, Sequence[Label]]
) -> dict[str, list[int]]:
    """split -> (K,) images of each class, from the ``labels`` (N,) of each split, or marks (N, K).
    ``counts``: those of the training set, which say how many classes there are.
    """
    return {split: positives(each, len(counts)) for split, each in labels.items()}


def summary(
    images: dict[str, Sequence[int]],
    names: Sequence[str] | None = None,
    thresholds: Thresholds | None = None,
    sizes: Mapping[str, int] | None = None,
) -> str:
    """The class frequencies of a training set, as lines of text.

    Args:
        images: split -> (K,) images of each class; ``train`` is one of them.
        names: of the classes.
        thresholds: of Many and Few.
        sizes: split -> images, where they may have several labels: what ``images`` counts are
            labels then.
    """
    noun = 'label' if sizes else 'image'
    counts = images['train']
    lines = [counted(len(counts), 'class', 'classes')]
    for split, each in images.items():
        several = f' of {counted(sizes[split], "image")}' if sizes else ''
        lines.append(f'  {split:<6}{_images_of(each, noun)}{several}')
    lines += [
        '',
        f'imbalance factor {imbalance_factor(counts):,.5g} ({max(counts):,} / {min(counts):,}), '
        f'Gini coefficient {gini(counts):.3f}, median {np.median(counts):,.5g} images a class',
    ]
    lines += ['', *_splits(counts, thresholds or Thresholds(), noun)]
    lines += ['', 'classes by training images', *_histogram(counts)]
    lines += ['', *_extremes(counts, names)]
    return '\n'.join(lines)


def _images_of(each: Sequence[int], noun: str) -> str:
    least, most = min(each), max(each)
    spread = f'{least:,}' if least == most else f'{least:,} to {most:,}'
    return f'{sum(each):>9,} {noun if sum(each) == 1 else f"{noun}s"}, {spread} a class'


def _splits(counts: Sequence[int], thresholds: Thresholds, noun: str) -> Iterator[str]:
    rules = (
        f'> {thresholds.many}',
        f'{thresholds.few} to {thresholds.many}',
        f'< {thresholds.few}',
    )
    total = max(sum(counts), 1)
    for (name, mask), rule in zip(split_masks(counts, thresholds).items(), rules, strict=True):
        images, head = (
            int(np.asarray(counts)[mask].sum()),
            f'{name.capitalize():<7}{f"({rule})":<12}',
        )
        yield (
            f'{head} {counted(int(mask.sum()), "class"):>13}, {counted(images, noun)} '
            f'({100 * images / total:.1f} %)'
        )


def bin_edges(most: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... up to the first above ``most``."""
    edges = [0]
    while edges[-1] <= most:
        power, step = divmod(len(edges) - 1, 3)
        edges.append((1, 2, 5)[step] * 10**power)
    return edges


def _histogram(counts: Sequence[int]) -> Iterator[str]:
    edges = bin_edges(max(counts))
    classes, _ = np.histogram(counts, [*edges[:-1], edges[-1] - 0.5])
    first = int(np.flatnonzero(classes)[0])
    for low, high, number in list(zip(edges, edges[1:], classes, strict=False))[first:]:
        span = f'{low:,}' if high - low == 1 else f'{low:,} to {high - 1:,}'
        bar = '#' * int(np.ceil(BAR * number / classes.max()))
        yield f'{span:>19} {number:>6,} {bar}'.rstrip()


def _extremes(counts: Sequence[int], names: Sequence[str] | None) -> Iterator[str]:
    order = np.argsort(-np.asarray(counts), kind='stable')
    few = min(NAMED, len(counts))
    for title, classes in (('most frequent', order[:few]), ('rarest', order[::-1][:few])):
        shown = ', '.join(f'{_name(k, names)}: {counts[k]:,}' for k in classes.tolist())
        yield f'{title:<14}{shown}'


def _name(k: int, names: Sequence[str] | None) -> str:
    known = names is not None and str(names[k]) != str(k)
    return f'{k} ({str(names[k])[:40]})' if known else str(k)


# ------------------------------------------------------------------------------------------- figure
@style()
def draw_frequencies(
    title: str,
    images: dict[str, Sequence[int]],
    thresholds: Thresholds | None = None,
    noun: str = 'image',
) -> bytes:
    """Counts on a logarithmic axis, coloured by Many, Medium, Few; the other splits as lines.

    Args:
        title: the name of the data set.
        images: split -> (K,) images of each class; ``train`` decides the order.
        thresholds: of Many and Few.
        noun: what is counted: ``'label'`` where images may have several.

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
    for name, mask in split_masks(counts, thresholds).items():
        classes = np.flatnonzero(mask)
        if len(classes):  # a filled outline: ten thousand bars take a minute
            edges = np.r_[classes - 0.5, classes[-1] + 0.5]
            label = f'{name.capitalize()}: {counted(len(classes), "class")}'
            axes.stairs(counts[classes], edges, fill=True, color=LIGHT[name], baseline=0.1)
            axes.stairs(counts[classes], edges, color=COLOURS[name], linewidth=1.4, label=label)
    for limit in (thresholds.many, thresholds.few):
        if 1 <= limit <= counts.max():
            axes.axhline(limit, color=MUTED, linewidth=0.8, linestyle=DOTTED, zorder=0)
    for split, (colour, dashes) in dict(val=(MUTED, DASHED), test=(INK, DOTTED)).items():
        if sum(each := images.get(split, ())):
            label = f'{split}: {counted(sum(each), noun)}'
            axes.plot(np.asarray(each)[order], color=colour, linestyle=dashes, label=label)
    axes.set_xlabel('classes, ordered by training frequency')
    axes.set_ylabel('images of the class')
    axes.grid(axis='y')
    axes.set_title(title)
    facts = f'{counts.sum():,} training {noun}s, imbalance factor {imbalance_factor(counts):,.5g}'
    axes.set_title(f'{facts}, Gini {gini(counts):.3f}', loc='right', weight='normal')
    axes.legend(loc='upper right')
    return to_png(figure, dpi=130)
