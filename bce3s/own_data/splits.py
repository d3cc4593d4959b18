"""Which of the images that were found can be used, and a validation split held out of them: a
function of their paths and contents.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.checks import check_images, file_digest, grouped, printable
from bce3s.errors import BCE3SError
from bce3s.own_data.found import FoundImages, quoted
from bce3s.own_data.stratification import iterative_stratification
from bce3s.wording import counted

FRACTION, MOST = 0.2, 50


# ----------------------------------------------------------------------------------------- usable
def usable(
    found: FoundImages, how: str = 'headers'
) -> tuple[FoundImages, dict[str, NDArray[np.uint64]]]:
    """``found`` without the images that cannot be read, and the marks of the others.

    Args:
        found: every image of it is looked at.
        how: see :func:`~bce3s.datasets.checks.look_at`.

    Returns:
        The rest, with a note that names what was left out, and split -> (N,) marks, see
        :func:`~bce3s.datasets.checks.check_images`. A class none of whose images can be read is
        left out too.

    Raises:
        BCE3SError: less than two classes are left; or a class of ``val`` or ``test`` has lost all
            its training images.
    """
    splits, marks, notes = {}, {}, list(found.notes)
    for split, images in found.splits.items():
        paths = [os.path.join(found.root, path) for path, _ in images]
        problems = {
            i: 'has a name that is not UTF-8'
            for i, (path, _) in enumerate(images)
            if printable(path) != path
        }
        own = check_images(paths, how, problems.setdefault, f'the images of {split}')
        kept = [i for i in range(len(images)) if i not in problems]
        splits[split], marks[split] = [images[i] for i in kept], own[kept]
        if problems:
            said = sorted(problems.items())
            lines = grouped([f'{images[i][0]} {what}' for i, what in said], [w for _, w in said])
            notes.append(
                printable(
                    f'{counted(len(problems), "image")} of {split} cannot be used and will be left '
                    f'out: {"; ".join(lines)}.'
                )
            )
    return _without_empty_classes(replace(found, splits=splits, notes=notes)), marks


def _without_empty_classes(found: FoundImages) -> FoundImages:
    counts = found.counts('train')
    if all(counts):
        return found
    kept = [label for label, n in enumerate(counts) if n]
    gone = [name for name, n in zip(found.classes, counts, strict=True) if not n]
    if len(kept) < 2:
        raise BCE3SError(
            f'{found.root}: only {len(kept)} of {len(counts)} classes have a training image that '
            f'can be read. {" ".join(found.notes)}'
        )
    for split in found.splits:
        left = [k for k, n in enumerate(found.counts(split)) if n and not counts[k]]
        if left:
            raise BCE3SError(
                f'{found.root}: the class {found.classes[left[0]]!r} has images in {split}, but no '
                f'training image of it can be read. {" ".join(found.notes)}'
            )
    note = f'No image of these classes can be read, so they are left out: {", ".join(gone)}.'
    if found.multilabel:
        note = f'No training image has these labels, so they are left out: {quoted(gone)}.'
    return replace(found.of_classes(kept), notes=[*found.notes, note])


# --------------------------------------------------------------------------------------- held out
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
    with the same bytes stay together. Where images may have several labels
    :func:`~bce3s.own_data.stratification.iterative_stratification` takes about as many of each
    label, and of images without any; it sees images in the order of these SHA-1, and all files
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
    train, twins = found.splits['train'], _twins(found, marks)
    order = sorted(range(len(train)), key=lambda i: _rank(train[i][0]))
    chosen: set[int] = set()
    if found.multilabel:
        groups = _together(order, twins)
        marks = np.array([label for _, label in train]) == 1
        marks = np.column_stack([marks, ~marks.any(1)])  # the last column: no label
        counts = np.stack([marks[group].sum(0) for group in groups])
        wanted = [held_out(n, fraction, most) for n in marks.sum(0).tolist()]
        images = list(map(len, groups))
        for group in iterative_stratification(counts, images, wanted, fraction):
            chosen.update(groups[group])
    else:
        of_class: list[list[int]] = [[] for _ in found.classes]
        for i in order:
            of_class[train[i][1]].append(i)
        for members in of_class:
            number = held_out(len(members), fraction, most)
            chosen |= _chosen(_together(members, twins), number)
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


def _together(members: Sequence[int], twins: dict[int, str]) -> list[list[int]]:
    """Those with the same bytes in one group, the others alone; in their order."""
    groups: dict[object, list[int]] = {}
    for i in members:
        groups.setdefault(twins.get(i, i), []).append(i)
    return list(groups.values())


def _chosen(groups: list[list[int]], number: int) -> set[int]:
    """``number`` images at most of groups in their order; all but one group at most."""
    if len(groups) < 2 or not number:
        return set()
    chosen: set[int] = set()
    for group in groups[:-1]:
        if len(chosen) + len(group) <= number:
            chosen.update(group)
    return chosen or set(min(groups, key=len))


def _rank(path: str) -> str:
    return hashlib.sha1(path.encode(errors='surrogateescape'), usedforsecurity=False).hexdigest()


def _twins(found: FoundImages, marks: NDArray[np.uint64] | None) -> dict[int, str]:
    """index -> what files with the same bytes share. Only files with equal marks are read."""
    if marks is None:
        return {}
    values, counts = np.unique(marks[marks > 0], return_counts=True)
    doubtful = np.isin(marks, values[counts > 1]).nonzero()[0].tolist()
    digests = {i: file_digest(found.root / found.splits['train'][i][0]) for i in doubtful}
    return {i: digest for i, digest in digests.items() if digest}
