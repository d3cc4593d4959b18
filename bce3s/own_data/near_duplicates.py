"""Pictures that show the same, though their bytes differ: saved anew, resized, brightened, cropped.

Two 64-bit codes of the grey thumbnail find candidates. They are of the kind that N. Krawetz
describes ("Looks Like It", 2011):

* the difference code, whether each pixel of 8 x 9 is darker than its right neighbour;
* the frequency code, whether each of 64 low frequencies (of the discrete cosine transform, the mean
  left out) is above their median.

All pairs of codes that differ in few bits are found exactly, without comparing all with all (multi-
index hashing: Norouzi, Punjani, Fleet, "Fast Search in Hamming Space", CVPR 2012): see
:func:`close_pairs`. What decides is then the correlation of the thumbnails' middle frequencies, for
skies, seas and things on white have the low ones in common; it is the largest over windows of the
one that the other may show, so that a cropped copy is found too.

Measured on 32 x 32 images of CIFAR-100, found of 500 copies: saved as JPEG of quality 20, halved,
brightened, of more contrast or grey 99 to 100 %, cropped by 2 or 3 % on every side 99 %, by 5 %
84 %, by 6 % 53 %. Of the pairs found in CIFAR-100 itself (33 with two labels, 306 in training
and test) about 95 and 85 of 100 are the same photograph, the others things of one kind on white.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from bce3s.own_data.thumbnails import threads

BITS = 11  # in which one code of candidates may differ
OTHER_BITS = 22  # in which the other may: alone, things on white have too many alike
LIKELY = 0.8  # least correlation of whole thumbnails of candidates
PLACED = 0.3  # least one where neither is moved or resized; a copy cropped by 6 % still has it
ALIKE = 0.93  # least correlation of middle frequencies of what shows the same
LEAST_SPREAD = 6.0  # standard deviation of a thumbnail below which its codes are noise
WINDOWS = [(32, 32), (30, 30), (28, 28), (32, 30), (30, 32), (30, 28), (28, 30)]  # of 32 x 32
BLOCK = 1 << 20  # pairs that are looked at at once
ROWS = 1 << 14  # rows of thumbnails that are multiplied at once
MOST = 100_000  # candidates that are compared closely, the likeliest ones
CLOSE = 500  # pairs of close codes for each picture; there are more only where most are alike


def near_duplicates(
    grey: NDArray[np.uint8], groups: NDArray[np.integer]
) -> tuple[list[tuple[int, int]], bool]:
    """Pairs of pictures of different groups that show the same.

    Args:
        grey: (N, 32, 32) thumbnails.
        groups: (N,) pairs within one group are not looked for; -1: a picture to pass over.

    Returns:
        Pairs (i, j), i < j, in order; and whether these are all: there are limits, ``MOST`` and
        ``CLOSE``, for pictures that are all alike, such as those of a film.
    """
    kept = np.flatnonzero(groups >= 0)
    kept = kept[grey[kept].std(axis=(1, 2)) >= LEAST_SPREAD]
    if len(kept) < 2:
        return [], True
    i, j, complete = _candidates(grey[kept], groups[kept])
    i, j = kept[i], kept[j]
    with ThreadPoolExecutor(threads()) as pool:
        parts = [slice(at, at + 256) for at in range(0, len(i), 256)]
        alike = list(pool.map(lambda part: _alike(grey, i[part], j[part]), parts))
    same = np.concatenate(alike) if alike else np.zeros(0, bool)
    return sorted(zip(i[same].tolist(), j[same].tolist(), strict=True)), complete


def _candidates(
    grey: NDArray[np.uint8], groups: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """(M,) and (M,), pairs i < j; whether these are all."""
    vectors, n, close, complete = _normalised(grey), len(grey), 0, True
    pairs, likely = np.zeros(0, np.int64), np.zeros(0, np.float32)
    codes = frequency_codes(grey), difference_codes(grey)
    for first, second in (codes, codes[::-1]):
        for i, j in close_pairs(first, BITS):
            i, j = _where(bit_counts(second[i] ^ second[j]) <= OTHER_BITS, i, j)
            close += len(i)
            i, j = _where(groups[i] != groups[j], i, j)
            correlation = _correlations(vectors, i, j)
            enough = correlation >= LIKELY
            pairs = np.concatenate([pairs, i[enough] * n + j[enough]])
            likely = np.concatenate([likely, correlation[enough]])
            if len(pairs) > 4 * MOST:
                pairs, likely, all_kept = _likeliest(pairs, likely)
                complete &= all_kept
            if close > CLOSE * n:
                pairs, _, _ = _likeliest(pairs, likely)
                return *np.divmod(pairs, n), False
    pairs, _, all_kept = _likeliest(pairs, likely)
    return *np.divmod(pairs, n), complete and all_kept


def _where(
    which: NDArray[np.bool_], i: NDArray[np.int64], j: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return i[which], j[which]


def _correlations(
    vectors: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of the pairs, in parts, for the rows of all are too many."""
    parts = [slice(at, at + ROWS) for at in range(0, len(i), ROWS)]
    each = [np.einsum('nd,nd->n', vectors[i[part]], vectors[j[part]]) for part in parts]
    return np.concatenate(each) if each else np.zeros(0, np.float32)


def _likeliest(
    pairs: NDArray[np.int64], likely: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32], bool]:
    """``MOST`` of the pairs, each once; whether these are all."""
    unique, first = np.unique(pairs, return_index=True)
    order = np.argsort(-likely[first], kind='stable')[:MOST]
    return unique[order], likely[first][order], len(order) == len(unique)


def _normalised(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 256) thumbnails of 16 x 16, mean 0 and length 1: products are correlations."""
    small = np.stack([cv2.resize(g, (16, 16), interpolation=cv2.INTER_AREA) for g in grey])
    vectors = small.reshape(len(small), -1).astype(np.float32)
    vectors -= vectors.mean(1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


# ----------------------------------------------------------------------------------- close looks
def _alike(
    grey: NDArray[np.uint8], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.bool_]:
    middle = {k: _middle(grey[k]) for k in {*i.tolist(), *j.tolist()}}
    pairs = zip(i.tolist(), j.tolist(), strict=True)
    return np.array([likeness(middle[a], middle[b]) >= ALIKE for a, b in pairs], bool)


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


# ------------------------------------------------------------------------------------------- codes
def difference_codes(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N,) codes of 64 bits: which pixels of 8 x 9 are darker than their right neighbour."""
    small = np.stack([cv2.resize(g, (9, 8), interpolation=cv2.INTER_AREA) for g in grey])
    return _packed(small[:, :, :-1] < small[:, :, 1:])


def frequency_codes(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N,) codes of 64 bits: which of 64 low frequencies are above the median of them."""
    basis = _cosines(grey.shape[1])[:9]
    waves = np.einsum('ux,nxy,vy->nuv', basis, grey.astype(np.float32), basis, optimize=True)
    order = sorted(((u, v) for u in range(9) for v in range(9)), key=lambda f: (sum(f), f))[1:65]
    low = np.stack([waves[:, u, v] for u, v in order], axis=1)
    return _packed(low > np.median(low, axis=1, keepdims=True))


def _cosines(size: int) -> NDArray[np.float32]:
    """(size, size) the type II cosine transform, frequencies by positions."""
    at = np.arange(size)
    return np.cos(np.pi * at[:, None] * (2 * at + 1) / (2 * size)).astype(np.float32)


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(N, 64) bits -> (N,) codes, each piece of 16 bits drawn from all over the 64."""
    bits = bits.reshape(len(bits), 16, 4).transpose(0, 2, 1)
    return np.packbits(bits.reshape(len(bits), 64), axis=1).view(np.uint64)[:, 0]


# ------------------------------------------------------------------------------------------ search
def close_pairs(
    codes: NDArray[np.uint64], most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs (i, j), i < j, of codes that differ in at most ``most`` bits; in blocks, a pair up
    to four times.

    Args:
        codes: (N,). most: 3, 7, 11, ...: pieces of 16 bits are looked up within ``most // 4`` bits.
    """
    pieces = codes.view(np.uint16).reshape(-1, 4)
    flips = [m for r in range(most // 4 + 1) for m in _masks(r)]
    for piece in pieces.T:
        order = np.argsort(piece, kind='stable')
        starts = np.searchsorted(piece[order], np.arange(1 << 16))
        counts = np.bincount(piece, minlength=1 << 16)
        for flip in flips:
            near = piece ^ np.uint16(flip)
            for i, j in _expanded(starts[near], counts[near], order):
                once = i < j
                i, j = i[once], j[once]
                close = bit_counts(codes[i] ^ codes[j]) <= most
                if close.any():
                    yield i[close], j[close]


def _masks(bits: int) -> list[int]:
    return [sum(1 << b for b in chosen) for chosen in combinations(range(16), bits)]


def _expanded(
    starts: NDArray[np.int64], counts: NDArray[np.int64], order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(i, j) for each i and the ``counts[i]`` entries of ``order`` from ``starts[i]`` on, in blocks
    of about ``BLOCK``.
    """
    ends = np.cumsum(counts)
    at = 0
    while at < len(counts):
        before = ends[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + BLOCK, side='right')))
        here = counts[at:stop]
        i = np.repeat(np.arange(at, stop), here)
        within = np.arange(here.sum()) - np.repeat(np.cumsum(here) - here, here)
        yield i, order[starts[i] + within]
        at = stop


def bit_counts(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits of each are set."""
    v = values - ((values >> 1) & 0x5555555555555555)
    v = (v & 0x3333333333333333) + ((v >> 2) & 0x3333333333333333)
    v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((v * np.uint64(0x0101010101010101)) >> 56).astype(np.uint8)
