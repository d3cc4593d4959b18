"""The same picture twice: in one class, under two labels, in two splits; exactly or nearly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bce3s.own_data.finding import Finding
from bce3s.own_data.near_duplicates import near_duplicates
from bce3s.own_data.thumbnails import Thumbnails
from bce3s.wording import counted

MOSTLY = 0.5  # share of a class's images that are also in another one


@dataclass(frozen=True)
class Listed:
    """N pictures: paths as they are to be shown, labels and splits (N,), names of both."""

    paths: list[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]
    classes: Sequence[str]
    split_names: Sequence[str]

    def shown(self, i: int) -> str:
        """The path, with class and split where it does not hold them."""
        path, name = self.paths[i], self.classes[self.labels[i]]
        split = self.split_names[self.splits[i]]
        parts = path.split('/')
        told = [text for text in (split, name) if text not in parts]
        return f'{path} ({", ".join(told)})' if told else path


def same_pictures(listed: Listed, looks: Thumbnails, flat: NDArray[np.bool_]) -> list[Finding]:
    """Findings on pictures that are there twice.

    Args:
        listed: the pictures.
        looks: what they look like.
        flat: (N,) those of one colour, which are all alike.
    """
    exact = _exact_pairs(looks.pixels, flat)
    group = listed.splits * len(listed.classes) + listed.labels
    group = np.where(looks.read & ~flat, group, -1)
    near, complete = near_duplicates(looks.grey, group)
    near = [(i, j) for i, j in near if looks.pixels[i] != looks.pixels[j]]
    return [
        *_copies(listed, looks, exact),
        *_labels(listed, exact, 'label_conflict', 'the same'),
        *_leaks(listed, exact, 'leak', 'the same'),
        *_labels(listed, near, 'near_label_conflict', 'almost the same'),
        *_leaks(listed, near, 'near_leak', 'almost the same'),
        *_same_classes(listed, [*exact, *near]),
        *([] if complete else [_incomplete()]),
    ]


def _exact_pairs(pixels: NDArray[np.uint64], flat: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pictures with the same pixels, each with the first such one; in order."""
    known = np.flatnonzero((pixels > 0) & ~flat)
    _, group, sizes = np.unique(pixels[known], return_inverse=True, return_counts=True)
    members: dict[int, list[int]] = {}
    for at in np.flatnonzero(sizes[group] > 1).tolist():
        members.setdefault(int(group[at]), []).append(int(known[at]))
    return sorted((each[0], i) for each in members.values() for i in each[1:])


def _copies(listed: Listed, looks: Thumbnails, pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    """Of one class and split."""
    own = [p for p in pairs if not _differ(listed.labels, p) and not _differ(listed.splits, p)]
    if not own:
        return []
    lines = [
        f'{listed.shown(j)} = {listed.shown(i)}'
        f'{"" if looks.files[i] == looks.files[j] else " (another file, the same pixels)"}'
        for i, j in own
    ]
    return [
        Finding(
            'copies',
            f'{counted(len(own), "picture is", "pictures are")} there already under another name, '
            'in the same class: remove them, or they count twice.',
            lines,
        )
    ]


def _labels(listed: Listed, pairs: Sequence[tuple[int, int]], kind: str, how: str) -> list[Finding]:
    """Of two classes."""
    pairs = [pair for pair in pairs if _differ(listed.labels, pair)]
    if not pairs:
        return []
    return [
        Finding(
            kind,
            f'{counted(len(pairs), "pair")} of pictures {"is" if len(pairs) == 1 else "are"} {how} '
            'under two labels: one of each two labels is likely wrong. Look at them; remove or '
            'move one.',
            [f'{listed.shown(j)} and {listed.shown(i)}' for i, j in pairs],
        )
    ]


def _leaks(listed: Listed, pairs: Sequence[tuple[int, int]], kind: str, how: str) -> list[Finding]:
    """Of two splits: what is measured on such pictures is too good."""
    pairs = [pair for pair in pairs if _differ(listed.splits, pair)]
    number = len({j for _, j in pairs})
    if not pairs:
        return []
    return [
        Finding(
            kind,
            f'{counted(number, "picture")} of one split {"is" if number == 1 else "are"} {how} as '
            'one of another split: the accuracy will look better than it is. Remove one of each '
            'two, or put both into one split.',
            [f'{listed.shown(j)} and {listed.shown(i)}' for i, j in pairs],
        )
    ]


def _differ(values: NDArray[np.int64], pair: tuple[int, int]) -> bool:
    return bool(values[pair[0]] != values[pair[1]])


def _same_classes(listed: Listed, pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    """Classes of which most pictures are in another class too."""
    shared: dict[tuple[int, int], set[int]] = {}
    for pair in pairs:
        for i, j in (pair, pair[::-1]):
            a, b = int(listed.labels[i]), int(listed.labels[j])
            if a != b:
                shared.setdefault((a, b), set()).add(i)
    totals = Counter(listed.labels.tolist())
    lines = [
        f'{listed.classes[a]}: {len(each):,} of {totals[a]:,} are also in {listed.classes[b]}'
        for (a, b), each in sorted(shared.items())
        if len(each) >= max(2, MOSTLY * totals[a])
    ]
    if not lines:
        return []
    return [
        Finding(
            'same_class',
            f'{counted(len(lines), "class shares", "classes share")} most of the pictures with '
            'another class: put the two together, or remove the copies.',
            lines,
        )
    ]


def _incomplete() -> Finding:
    return Finding(
        'not_compared',
        'Most pictures look alike, as those of a film do: not all pairs were compared, '
        'near-duplicates may be missing above.',
        [],
    )
