"""The same picture twice: in one class, under two labels, in two splits; exactly or nearly.

Nearly the same are pictures that show the same though their bytes differ: saved anew, resized,
brightened, cropped. A 64-bit code of the grey thumbnail finds candidates: whether each of 8 x 8 low
frequencies of its discrete cosine transform is above their median (N. Krawetz, "Looks Like It",
2011). What decides is the correlation of the thumbnails' middle frequencies, for skies, seas and
things on white have the low ones in common; it is the largest over windows of the one that the
other may show, so that a cropped copy is found too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bce3s.own_data.thumbnails import Finding, Thumbnails, if_any
from bce3s.processes import cores
from bce3s.wording import counted

Pairs = list[tuple[int, int]]

MOSTLY = 0.5  # share of a class's images that are also in another one
BITS = 18  # in which the codes of candidates differ, less than
LIKELY = 0.8  # least correlation of whole thumbnails of candidates
PLACED = 0.3  # least one where neither is moved or resized; a copy cropped by 6 % still has it
ALIKE = 0.93  # least correlation of middle frequencies of what shows the same
LEAST_SPREAD = 6.0  # standard deviation of a thumbnail below which its code is noise
WINDOWS = [(32, 32), (30, 30), (28, 28), (32, 30), (30, 32), (30, 28), (28, 30)]  # of 32 x 32
BLOCK = 1024  # pictures that are compared with all at once
MOST = 100_000  # candidates that are compared closely; there are more only where most are alike


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
    near, complete = near_duplicates(looks.grey, np.where(looks.read & ~flat, group, -1))
    near = [(i, j) for i, j in near if looks.pixels[i] != looks.pixels[j]]
    findings = _copies(listed, looks, [(i, j) for i, j in exact if group[i] == group[j]])
    for pairs, kind, how in ((exact, '', 'the same'), (near, 'near_', 'almost the same')):
        findings += _labels(listed, _differing(listed.labels, pairs), f'{kind}label_conflict', how)
        findings += _leaks(listed, _differing(listed.splits, pairs), f'{kind}leak', how)
    findings += _same_classes(listed, [*exact, *near])
    if not complete:
        findings.append(
            Finding(
                'not_compared',
                'Most pictures look alike, as those of a film do: not all pairs were compared, '
                'near-duplicates may be missing above.',
                [],
            )
        )
    return findings


def _exact_pairs(pixels: NDArray[np.uint64], flat: NDArray[np.bool_]) -> Pairs:
    """Pictures with the same pixels, each with the first such one; in order."""
    first: dict[int, int] = {}
    known = np.flatnonzero((pixels > 0) & ~flat).tolist()
    pairs = [(first.setdefault(int(pixels[i]), i), i) for i in known]
    return sorted((i, j) for i, j in pairs if i != j)


def _differing(values: NDArray[np.int64], pairs: Pairs) -> Pairs:
    return [(i, j) for i, j in pairs if values[i] != values[j]]


def _copies(listed: Listed, looks: Thumbnails, pairs: Pairs) -> list[Finding]:
    """Of one class and split."""
    other = [looks.files[i] != looks.files[j] for i, j in pairs]
    lines = [
        f'{listed.shown(j)} = {listed.shown(i)}'
        f'{" (another file, the same pixels)" if differ else ""}'
        for (i, j), differ in zip(pairs, other, strict=True)
    ]
    return if_any(
        'copies',
        lines,
        f'{counted(len(pairs), "picture is", "pictures are")} there already under another name, in '
        'the same class: remove them, or they count twice.',
    )


def _labels(listed: Listed, pairs: Pairs, kind: str, how: str) -> list[Finding]:
    """Of two classes."""
    return if_any(
        kind,
        [f'{listed.shown(j)} and {listed.shown(i)}' for i, j in pairs],
        f'{counted(len(pairs), "pair")} of pictures {"is" if len(pairs) == 1 else "are"} {how} '
        'under two labels: one of each two labels is likely wrong. Look at them; remove or move '
        'one.',
    )


def _leaks(listed: Listed, pairs: Pairs, kind: str, how: str) -> list[Finding]:
    """Of two splits: what is measured on such pictures is too good."""
    number = len({j for _, j in pairs})
    return if_any(
        kind,
        [f'{listed.shown(j)} and {listed.shown(i)}' for i, j in pairs],
        f'{counted(number, "picture")} of one split {"is" if number == 1 else "are"} {how} as one '
        'of another split: the accuracy will look better than it is. Remove one of each two, or '
        'put both into one split.',
    )


def _same_classes(listed: Listed, pairs: Pairs) -> list[Finding]:
    """Classes of which most pictures are in another class too."""
    shared: dict[tuple[int, int], set[int]] = {}
    for i, j in _differing(listed.labels, pairs):
        a, b = int(listed.labels[i]), int(listed.labels[j])
        shared.setdefault((a, b), set()).add(i)
        shared.setdefault((b, a), set()).add(j)
    totals = Counter(listed.labels.tolist())
    lines = [
        f'{listed.classes[a]}: {len(each):,} of {totals[a]:,} are also in {listed.classes[b]}'
        for (a, b), each in sorted(shared.items())
        if len(each) >= max(2, MOSTLY * totals[a])
    ]
    return if_any(
        'same_class',
        lines,
        f'{counted(len(lines), "class shares", "classes share")} most of the pictures with another '
        'class: put the two together, or remove the copies.',
    )


# --------------------------------------------------------------------------------- near-duplicates
def near_duplicates(grey: NDArray[np.uint8], groups: NDArray[np.integer]) -> tuple[Pairs, bool]:
    """Pairs of pictures of different groups that show the same.

    Args:
        grey: (N, 32, 32) thumbnails.
        groups: (N,) pairs within one group are not looked for; -1: a picture to pass over.

    Returns:
        Pairs (i, j), i < j, in order; and whether these are all: there is a limit, ``MOST``, for
        pictures that are all alike, such as those of a film.
    """
    kept = np.flatnonzero(groups >= 0)
    kept = kept[grey[kept].std(axis=(1, 2)) >= LEAST_SPREAD]
    if len(kept) < 2:
        return [], True
    candidates, complete = _candidates(grey[kept], groups[kept])
    pairs = kept[candidates]
    middle = {k: _middle(grey[k]) for k in np.unique(pairs).tolist()}
    with ThreadPoolExecutor(cores()) as pool:
        alike = pool.map(lambda p: likeness(middle[p[0]], middle[p[1]]) >= ALIKE, pairs.tolist())
        same = np.fromiter(alike, bool, len(pairs))
    return sorted(map(tuple, pairs[same].tolist())), complete


def _candidates(
    grey: NDArray[np.uint8], groups: NDArray[np.integer]
) -> tuple[NDArray[np.int64], bool]:
    """(M, 2) pairs i < j; whether these are all."""
    import faiss  # not at the top: what only reads findings does not wait for it

    codes, vectors = frequency_codes(grey), _normalised(grey)
    index = faiss.IndexBinaryFlat(64)
    index.add(codes)
    found, number = [np.zeros((0, 2), np.int64)], 0
    for start in range(0, len(codes), BLOCK):
        limits, _, others = index.range_search(codes[start : start + BLOCK], BITS)
        own = np.repeat(np.arange(start, start + len(limits) - 1), np.diff(limits.astype(int)))
        keep = (own < others) & (groups[own] != groups[others])
        own, others = own[keep], others[keep]
        for at in range(0, len(own), 1 << 14):  # rows of all pairs would be too many
            i, j = own[at : at + (1 << 14)], others[at : at + (1 << 14)]
            likely = np.einsum('nd,nd->n', vectors[i], vectors[j]) >= LIKELY
            found.append(np.stack([i, j], axis=1)[likely])
            number += int(likely.sum())
        if number > MOST:
            return np.concatenate(found)[:MOST], False
    return np.concatenate(found), True


def frequency_codes(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 8) bytes, 64 bits: which of the 8 x 8 lowest frequencies are above their median."""
    from scipy.fft import dctn

    low = dctn(grey.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(len(grey), 64)
    return np.packbits(low > np.median(low[:, 1:], axis=1, keepdims=True), axis=1)


def _normalised(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 256) thumbnails of 16 x 16, mean 0 and length 1: products are correlations."""
    small = grey.reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 256)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def _middle(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(32, 32): the thumbnail without its finest detail and without what changes slowly."""
    pixels = grey.astype(np.float32)
    return cv2.GaussianBlur(pixels, (3, 3), 0) - cv2.GaussianBlur(pixels, (0, 0), 3)


def likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The largest correlation of either with a window of the other, see ``WINDOWS``."""
    best = -1.0
    for part, whole in ((first, second), (second, first)):
        for size in WINDOWS:
            small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            found = cv2.matchTemplate(whole, small, cv2.TM_CCOEFF_NORMED)
            best = max(best, float(found.max()))
            if best >= ALIKE or best < PLACED:
                return best
    return best
