"""Which of the images that were found can be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.checks import check_images, grouped, printable
from bce3s.errors import BCE3SError
from bce3s.own_data.found import FoundImages
from bce3s.wording import counted


def sound(
    found: FoundImages, how: str = 'headers'
) -> tuple[FoundImages, dict[str, NDArray[np.uint64]]]:
    """``found`` without the images that cannot be read, and the marks of the others.

    Args:
        found: every image of it is looked at.
        how: see :func:`~bce3s.datasets.file_checks.look_at`.

    Returns:
        The rest, with a note that names what was left out, and split -> (N,) marks, see
        :func:`~bce3s.datasets.checks.check_images`. A class none of whose images can be read is
        left out too.

    Raises:
        BCE3SError: less than two classes are left; or a class of ``val`` or ``test`` has lost all
            its training images.
    """
    splits, marks, notes = {}, {}, []
    for split, images in found.splits.items():
        problems: dict[int, str] = {}
        paths = [os.path.join(found.root, path) for path, _ in images]
        own = check_images(paths, how, _noting(problems), f'the images of {split}')
        for i, (path, _) in enumerate(images):
            if printable(path) != path:
                problems[i] = 'has a name that is not UTF-8'
        kept = np.array([i not in problems for i in range(len(images))], bool)
        splits[split] = [image for image, good in zip(images, kept, strict=True) if good]
        marks[split] = own[kept]
        if problems:
            notes.append(_note(split, images, problems))
    rest = replace(found, splits=splits, notes=[*found.notes, *notes])
    return _without_empty_classes(rest), marks


def _noting(problems: dict[int, str]) -> Callable[[int, str], None]:
    def report(index: int, what: str) -> None:
        problems[index] = what

    return report


def _note(split: str, images: list[tuple[str, int]], problems: dict[int, str]) -> str:
    found = sorted(problems.items())
    lines = grouped(
        [f'{images[i][0]} {what}' for i, what in found], [what.split(';')[0] for _, what in found]
    )
    return printable(
        f'{counted(len(problems), "image")} of {split} cannot be used and will be left out: '
        f'{"; ".join(lines)}.'
    )


def _without_empty_classes(found: FoundImages) -> FoundImages:
    counts = np.array(found.counts('train'))
    if counts.all():
        return found
    gone = [name for name, n in zip(found.classes, counts, strict=True) if not n]
    kept = [label for label, n in enumerate(counts) if n]
    numbers = {label: new for new, label in enumerate(kept)}
    if len(kept) < 2:
        raise BCE3SError(
            f'{found.root}: only {len(kept)} of {len(counts)} classes have a training image that '
            f'can be read. {" ".join(found.notes)}'
        )
    for split, images in found.splits.items():
        left = {found.classes[label] for _, label in images if label not in numbers}
        if left:
            raise BCE3SError(
                f'{found.root}: the class {min(left)!r} has images in {split}, but no training '
                f'image of it can be read. {" ".join(found.notes)}'
            )
    splits = {
        split: [(path, numbers[label]) for path, label in images]
        for split, images in found.splits.items()
    }
    note = f'No image of these classes can be read, so they are left out: {", ".join(gone)}.'
    classes = [found.classes[label] for label in kept]
    return replace(found, classes=classes, splits=splits, notes=[*found.notes, note])
