"""One look at every picture: what is kept of it is so small that all of them fit in memory.

The file is read once and decoded once, as the training does it (:mod:`bce3s.datasets.decoding`), a
JPEG at 1/2, 1/4 or 1/8 of its sides where it is large. About 1.1 KB are kept of a picture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b

import cv2
import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.pixels import opened, read_bytes, reduction_for, why
from bce3s.errors import BCE3SError

SIDE = 32  # of a thumbnail
CHUNK = 32  # pictures that a thread takes at a time

Progress = Callable[[int, int], None]  # (done, all)


@dataclass(frozen=True)
class Thumbnails:
    """What is kept of N pictures.

    Attributes:
        problems: of each, why it cannot be read, or None.
        files: (N,) uint64, equal for files with the same bytes; 0: not read.
        pixels: (N,) uint64, equal for pictures that decode to the same pixels; 0: not read.
        sides: (N, 2) int32, height and width, upright.
        grey: (N, 32, 32) uint8.
        chroma: (N,) float32, how far the largest of R, G, B is above the smallest, in the mean.
        spread: (N,) float32, the largest standard deviation of a channel; 0: all one colour.
    """

    problems: list[str | None]
    files: NDArray[np.uint64]
    pixels: NDArray[np.uint64]
    sides: NDArray[np.int32]
    grey: NDArray[np.uint8]
    chroma: NDArray[np.float32]
    spread: NDArray[np.float32]

    @property
    def read(self) -> NDArray[np.bool_]:
        """(N,) which of them could be read."""
        return self.pixels > 0


def look_at_all(paths: Sequence[str], progress: Progress | None = None) -> Thumbnails:
    """Reads every picture once, in threads.

    Args:
        paths: of the pictures.
        progress: is called with how many are done and how many there are.
    """
    n = len(paths)
    looks = Thumbnails(
        problems=[None] * n,
        files=np.zeros(n, np.uint64),
        pixels=np.zeros(n, np.uint64),
        sides=np.zeros((n, 2), np.int32),
        grey=np.zeros((n, SIDE, SIDE), np.uint8),
        chroma=np.zeros(n, np.float32),
        spread=np.zeros(n, np.float32),
    )

    def part(start: int) -> int:
        stop = min(start + CHUNK, n)
        for i in range(start, stop):
            _look(paths[i], i, looks)
        return stop

    with ThreadPoolExecutor(threads()) as pool:
        try:
            for done in pool.map(part, range(0, n, CHUNK)):
                if progress is not None:
                    progress(done, n)
        except BaseException:  # Ctrl-C: what has not begun is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return looks


def threads() -> int:
    """A few more than there are processors, for some wait for the disk."""
    return len(os.sched_getaffinity(0)) + 4 if hasattr(os, 'sched_getaffinity') else 8


def _look(path: str, i: int, looks: Thumbnails) -> None:
    """Row ``i`` of ``looks``."""
    try:
        data = read_bytes(path)
        looks.files[i] = _digest(data)
        rgb, looks.sides[i] = small_pixels(path, data)
    except BCE3SError as error:
        looks.problems[i] = why(error.__cause__)
        return
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    looks.grey[i] = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    looks.chroma[i] = _chroma(small)
    looks.spread[i] = cv2.meanStdDev(rgb)[1].max()
    looks.pixels[i] = _digest(rgb, looks.sides[i])


def small_pixels(path: str, data: bytes) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Upright RGB pixels (h, w, 3) of an image, and its own height and width; ``h`` and ``w`` are
    up to 8 times smaller for a JPEG, never under twice ``SIDE``.

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    with opened(path, data) as file:
        small = file.fast or file.huge
        reduction = reduction_for(min(file.sides), SIDE) if small else 1
        return np.ascontiguousarray(file.pixels(reduction=reduction)), file.sides


def _chroma(rgb: NDArray[np.uint8]) -> float:
    """How far the largest channel is above the smallest, in the mean."""
    red, green, blue = cv2.split(rgb)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return cv2.mean(cv2.subtract(most, least))[0]


def _digest(*contents: bytes | NDArray) -> np.uint64:
    """64 bits of the contents, never 0."""
    digest = blake2b(digest_size=8)
    for content in contents:
        digest.update(content)
    return np.uint64(int.from_bytes(digest.digest(), 'big') or 1)
