"""What may be wrong with somebody's pictures, found before anything is trained.

Every picture is decoded once. Without a trained model nothing is said of single labels but where
the same picture has two: the nearest neighbours of a picture among small thumbnails, asked which
label looks wrong, are wrong themselves. (Tried on 20,000 CIFAR-100 images with 2 % flipped labels:
of the pictures whose ten nearest all had one other label, 3 in 10 were flipped ones, and 1 % of the
flipped ones were found.) After training,
:func:`~bce3s.evaluation.label_suspects.label_suspects` does that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.label_sets import classes_of
from bce3s.own_data.duplicates import Listed, same_pictures
from bce3s.own_data.found import FoundImages
from bce3s.own_data.label_checks import (
    doubtful_names,
    few_images,
    odd_classes,
    together,
    unmeasured,
)
from bce3s.own_data.thumbnails import Finding, Thumbnails, if_any, look_at_all
from bce3s.own_data.thumbnails import format_findings as format_findings
from bce3s.wording import counted

LONG = 8  # times the shorter side
SMALL = 16  # pixels of the shorter side
FLAT = 2.0  # standard deviation of a channel below which a picture is of one colour


def inspect(found: FoundImages) -> list[Finding]:
    """Looks at every picture; what calls for a second look, the gravest first."""
    listed, paths = _listed(found)
    looks = look_at_all(paths)
    flat = looks.read & (looks.spread < FLAT)
    unreadable = [f'{listed.shown(i)}: {why}' for i, why in enumerate(looks.problems) if why]
    same, names = same_pictures(listed, looks, flat), found.classes
    if found.multilabel:  # a class is a set of labels here
        same = [finding for finding in same if finding.kind != 'same_class']
    return [
        *if_any(
            'unreadable',
            unreadable,
            f'{counted(len(unreadable), "picture")} cannot be read: mend, replace or remove '
            f'{"it" if len(unreadable) == 1 else "them"}.',
        ),
        *few_images(found.classes, found.counts('train')),
        *(unmeasured(found.classes, found.counts('val')) if 'val' in found.splits else []),
        *same,
        *doubtful_names(names),
        *(together(found) if found.multilabel else odd_classes(names, listed.labels, looks)),
        *_odd_pictures(listed, looks, flat),
    ]


def _listed(found: FoundImages) -> tuple[Listed, list[str]]:
    """All pictures, those of the training set first; and where they are. Where they may have
    several labels each set of them is a class.
    """
    names, classes = list(found.splits), found.classes
    entries = [
        (path, label, s) for s, name in enumerate(names) for path, label in found.splits[name]
    ]
    if found.multilabel:
        sets = sorted({label for _, label, _ in entries})
        numbers = {label: at for at, label in enumerate(sets)}
        entries = [(path, numbers[label], s) for path, label, s in entries]
        classes = [' + '.join(classes[k] for k in classes_of(each)) or 'no label' for each in sets]
    shown = [path.replace(os.sep, '/') for path, _, _ in entries]
    labels = np.array([label for _, label, _ in entries], np.int64)
    splits = np.array([split for _, _, split in entries], np.int64)
    paths = [os.path.join(found.root, path) for path, _, _ in entries]
    return Listed(shown, labels, splits, classes, names), paths


def _odd_pictures(listed: Listed, looks: Thumbnails, flat: NDArray[np.bool_]) -> list[Finding]:
    """Those of one colour, tiny ones and long ones."""
    long, short = looks.sides.max(axis=1, initial=0), looks.sides.min(axis=1, initial=1 << 30)
    sizes = [f': {width} x {height} pixels' for height, width in looks.sides.tolist()]

    def marked(
        kind: str, which: NDArray[np.bool_], what: str, say: Sequence[str] = ()
    ) -> list[Finding]:
        at = np.flatnonzero(which).tolist()
        lines = [listed.shown(i) + (say[i] if say else '') for i in at]
        return if_any(kind, lines, f'{counted(len(at), "picture is", "pictures are")} {what}')

    return [
        *marked(
            'one_colour',
            flat,
            'nothing but one colour: remove them, unless that is what the class looks like.',
        ),
        *marked(
            'tiny',
            looks.read & (short < SMALL),
            f'under {SMALL} pixels high or wide: too small to see anything; find larger ones.',
            sizes,
        ),
        *marked(
            'long',
            looks.read & (long > LONG * short),
            f'over {LONG} times as long as wide: the crops of the training show a small part of '
            'them; cut them up or remove them.',
            sizes,
        ),
    ]
