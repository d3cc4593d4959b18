"""A validation split held out of the training images: a function of their paths and contents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.checks import file_digest
from bce3s.errors import BCE3SError
from bce3s.own_data.found import FoundImages

FRACTION, MOST = 0.2, 50


def held_out(images: int, fraction: float = FRACTION, most: int = MOST) -> int:
    """How many images of a class are held out for validation.

    ``n_val = min(most, max(1, floor(fraction n)))`` for n >= 2, and 0 for n = 1: training comes
    first. What is measured is the mean over classes, for which 50 images of each are enough (the
    standard error of a class's accuracy is then 7 points at most, of the mean of 20 classes 1.6),
    so frequent classes give away no more.

    >>> [held_out(n) for n in (1, 2, 5, 9, 10, 100, 250, 5000)]
    [0, 1, 1, 1, 2, 20, 50, 50]
    """
    return min(most, max(1, int(fraction * images + 1e-9))) if images > 1 else 0


def hold_out(
    found: FoundImages,
    marks: NDArray[np.uint64] | None = None,
    fraction: float = FRACTION,
    most: int = MOST,
) -> FoundImages:
    """``found`` with a split ``val`` taken out of ``train``, of each class :func:`held_out`.

    Taken are the images whose paths have the smallest SHA-1: the same on every machine, in every
    run, for every seed, and an image that is added moves at most one other. Files of one class
    with the same bytes stay together.

    Args:
        found: without ``val``.
        marks: (N,) of the training images, see :func:`~bce3s.datasets.checks.check_images`.
        fraction: in (0, 1).
        most: of a class.

    Raises:
        BCE3SError: another fraction, or no class has two images.
    """
    numbers = isinstance(fraction, float | int) and isinstance(most, int)
    if not numbers or not 0 < fraction < 1 or most < 1:
        raise BCE3SError(
            f'own_data.val_fraction={fraction}, own_data.val_most={most}: the first lies between 0 '
            'and 1, the second is a whole number from 1.'
        )
    train = found.splits['train']
    twins = _twins(found.root, train, marks)
    chosen: set[int] = set()
    of_class: list[list[int]] = [[] for _ in found.classes]
    for i, (_, label) in enumerate(train):
        of_class[label].append(i)
    for members in of_class:
        chosen |= _chosen(members, train, twins, held_out(len(members), fraction, most))
    if not chosen:
        raise BCE3SError(
            f'No class in {found.root} has two different images, so none can be held out for '
            'validation: add images.'
        )
    splits = dict(
        train=[image for i, image in enumerate(train) if i not in chosen],
        val=[image for i, image in enumerate(train) if i in chosen],
    )
    return replace(found, splits=found.splits | splits, made=[*found.made, 'val'])


def _chosen(
    members: list[int], train: list[tuple[str, int]], twins: Callable[[int], object], number: int
) -> set[int]:
    """``number`` of the ``members`` at most, twins together; all but one group at most."""
    groups: dict[object, list[int]] = {}
    for i in members:
        groups.setdefault(twins(i), []).append(i)
    order = sorted(groups.values(), key=lambda group: min(_rank(train[i][0]) for i in group))
    if len(order) < 2 or not number:
        return set()
    chosen: set[int] = set()
    for group in order[:-1]:
        if len(chosen) + len(group) <= number:
            chosen.update(group)
    return chosen or set(min(order, key=len))


def _rank(path: str) -> str:
    return hashlib.sha1(path.encode(errors='surrogateescape'), usedforsecurity=False).hexdigest()


def _twins(
    root: Path, train: Sequence[tuple[str, int]], marks: NDArray[np.uint64] | None
) -> Callable[[int], object]:
    """index -> what files with the same bytes share. Only files with equal marks are read."""
    if marks is None:
        return lambda i: i
    values, counts = np.unique(marks[marks > 0], return_counts=True)
    doubtful = np.isin(marks, values[counts > 1])
    digests = {i: file_digest(root / train[i][0]) for i in doubtful.nonzero()[0].tolist()}
    return lambda i: digests.get(i) or i
