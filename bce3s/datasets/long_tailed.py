"""Who is rare: class counts of a long-tailed training set, which images it keeps, and the
Many / Medium / Few splits.

Pure functions on integers and arrays; nothing here reads a file or keeps a random state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bce3s.errors import BCE3SError
from bce3s.wording import counted

SPLITS = ('many', 'medium', 'few')


def class_counts(
    n_max: int,
    num_classes: int,
    imbalance_factor: float,
    imbalance: str = 'exp',
    classes: Sequence[str] | None = None,
) -> list[int]:
    r"""Training images of each class, class 0 the most frequent.

    ``exp``: :math:`n_i = \lfloor n_{max} IF^{-i/(K-1)} \rfloor`;
    ``step``: the first :math:`\lfloor K/2 \rfloor` classes have :math:`n_{max}`, the others
    :math:`\lfloor n_{max} / IF \rfloor`. As in LDAM (arXiv 1906.07413).

    Args:
        n_max: images of the most frequent class.
        num_classes: K.
        imbalance_factor: IF >= 1, the most over the least frequent; 1 is balanced.
        imbalance: ``exp`` or ``step``.
        classes: K names, for the sentence of an error.

    Returns:
        K integers >= 1.

    Raises:
        BCE3SError: an argument out of its range, or a class that would have no image (named).

    >>> sum(class_counts(500, 100, 100))
    10847
    """
    _check_counts_arguments(n_max, num_classes, imbalance_factor, imbalance)
    if imbalance == 'exp':
        steps = [i / max(num_classes - 1, 1) for i in range(num_classes)]
    else:
        steps = [float(i >= num_classes // 2) for i in range(num_classes)]
    # 1e-9: a product that is whole in exact arithmetic must not lose an image to rounding
    counts = [int(n_max * (1 / imbalance_factor) ** step + 1e-9) for step in steps]
    if 0 in counts:
        empty = counts.index(0)
        name = f' ({classes[empty]})' if classes is not None else ''
        raise BCE3SError(
            f'class {empty}{name} would have no training image: n_max {n_max} at imbalance factor '
            f'{imbalance_factor:g}; use imbalance_factor <= {n_max} or a larger n_max'
        )
    return counts


def _check_counts_arguments(n_max: int, num_classes: int, factor: float, imbalance: str) -> None:
    if not _is_number(factor) or not math.isfinite(factor) or factor < 1:
        raise BCE3SError(
            f'imbalance_factor is {factor!r}: it is the most frequent over the least frequent '
            'class, a finite number >= 1 (1 is balanced)'
        )
    if imbalance not in ('exp', 'step'):
        raise BCE3SError(
            f"imbalance is {imbalance!r}: use 'exp' or 'step'; a data set also takes 'none', which "
            'keeps every image'
        )
    check_number('n_max', n_max)
    check_number('num_classes', num_classes)


def check_number(name: str, value: object) -> None:
    """Raises BCE3SError unless ``value`` counts something: an integer >= 1."""
    if not _is_number(value) or value != int(value) or value < 1:
        raise BCE3SError(f'{name} is {value!r}: it must be an integer >= 1')


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def check_labels(labels: np.ndarray, num_classes: int, source: str = 'the data set') -> None:
    """Raises BCE3SError with the first index and value if a label is not in 0..K-1."""
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if bad.size:
        raise BCE3SError(
            f'label {int(labels[bad[0]])} at index {int(bad[0])} of {source} is not in '
            f'0..{num_classes - 1} ({bad.size} such labels): the file is damaged or of another '
            'data set; fetch it again'
        )


def check_several_labels(
    labels: np.ndarray, classes: Sequence[str], source: str = 'The training set'
) -> None:
    """Raises BCE3SError unless several labels a picture, (N, K), can be learnt: 1, 0 or -1
    (unknown), and of each class a picture with it and one without.
    """
    bad = np.argwhere((labels < -1) | (labels > 1))
    if len(bad):
        i, k = bad[0]
        raise BCE3SError(
            f'{source} has label {labels[i, k]} of class {classes[k]} at index {i}: it must be 1 '
            '(the picture has the class), 0 (it has not) or -1 (unknown)'
        )
    for value, of in ((1, 'with'), (0, 'without')):
        lacking = np.flatnonzero(~(labels == value).any(0))
        if lacking.size:
            raise BCE3SError(
                f'{source} has no picture {of} class {classes[lacking[0]]}, so nothing tells what '
                f'it is: leave the class out, or add pictures {of} it'
            )


def check_keep_classes(keep: Sequence[int], num_classes: int) -> None:
    """Raises BCE3SError unless ``keep`` names different classes of 0..K-1, at least one."""
    known = [isinstance(k, int | np.integer) and 0 <= k < num_classes for k in keep]
    if not known or not all(known) or len(set(keep)) < len(known):
        raise BCE3SError(
            f'keep_classes is {list(keep)}: it must hold indices of classes, integers in '
            f'0..{num_classes - 1}, none of them twice, at least one'
        )


def new_labels(labels: np.ndarray, keep: Sequence[int], num_classes: int) -> np.ndarray:
    """(N,) each label's position in ``keep``, -1 where it is not kept."""
    position = np.full(num_classes, -1)
    position[list(keep)] = np.arange(len(keep))
    return position[labels]


def select_subset(
    labels: np.ndarray,
    counts: Sequence[int],
    rule: str = 'first_n',
    classes: Sequence[str] | None = None,
    source: str = 'the data set',
    seed: int = 0,
) -> np.ndarray:
    """Which images a long-tailed training set keeps.

    ``first_n``: the first n_k of class k in file order (BCE3S, weight balancing). ``ldam``: the
    first n_k after a shuffle of the class's indices, class by class, with NumPy's legacy generator
    and ``seed`` (0 in LDAM, ProCo and most others). NumPy's global state is neither used nor
    changed.

    Args:
        labels: (N,) integers in 0..K-1, in file order.
        counts: K integers, the images to keep of each class.
        rule: ``first_n`` or ``ldam``.
        classes: K names, and ``source``: a file, for the sentence of an error.
        seed: of ``ldam``.

    Returns:
        (sum of counts,) int64 indices into ``labels``: class 0 first, then class 1, ...

    Raises:
        BCE3SError: an unknown rule, a label outside 0..K-1, a class with too few images (named).
    """
    if rule not in ('first_n', 'ldam'):
        raise BCE3SError(f"rule is {rule!r}: use 'first_n' or 'ldam'")
    labels = np.asarray(labels)
    check_labels(labels, len(counts), source)
    random = np.random.RandomState(seed)  # legacy: the published subsets come from it
    kept = []
    for k, need in enumerate(counts):
        indices = np.flatnonzero(labels == k)
        if len(indices) < need:
            name = f' ({classes[k]})' if classes is not None else ''
            raise BCE3SError(
                f'class {k}{name} has {counted(len(indices), "image")} in {source}, {need} are '
                'needed: use a smaller n_max or test_per_class, or a complete copy of the data set'
            )
        if rule == 'ldam':
            random.shuffle(indices)
        kept.append(indices[:need])
    return np.concatenate(kept)


@dataclass(frozen=True)
class Thresholds:
    """Many: more than ``many`` training images; Few: fewer than ``few``; Medium: ``few`` to
    ``many``, both included.

    Raises:
        BCE3SError: unless 0 <= few <= many + 1.
    """

    many: int = 100
    few: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.few <= self.many + 1:
            raise BCE3SError(
                f'thresholds many={self.many}, few={self.few}: a class would be both; '
                'use 0 <= few <= many + 1'
            )


def split_of(counts: Sequence[int], thresholds: Thresholds | None = None) -> np.ndarray:
    """(K,) strings ``many``, ``medium`` or ``few`` by TRAINING count (see :class:`Thresholds`)."""
    thresholds = thresholds or Thresholds()
    counts = np.asarray(counts)
    return np.where(
        counts > thresholds.many, 'many', np.where(counts < thresholds.few, 'few', 'medium')
    )


def split_masks(
    counts: Sequence[int], thresholds: Thresholds | None = None
) -> dict[str, np.ndarray]:
    """``many``, ``medium``, ``few``: (K,) booleans; each class is in exactly one."""
    split = split_of(counts, thresholds)
    return {name: split == name for name in SPLITS}
