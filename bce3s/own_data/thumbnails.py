"""One look at every picture: what is kept of it is so small that all of them fit in memory; and how
what may be wrong with pictures is told.

A file is read once and decoded once, as the training does it (:mod:`bce3s.datasets.decoding`), a
JPEG at 1/2, 1/4 or 1/8 of its sides where it is large. About 1.1 KB are kept of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.checks import in_threads, printable
from bce3s.datasets.pixels import ImageFile, read_bytes, reduction_for, why
from bce3s.errors import BCE3SError
from bce3s.processes import cores

SIDE = 32  # of a thumbnail
SHOWN = 10  # lines of a finding that are written out; the rest are counted


@dataclass(frozen=True)
class Finding:
    """A warning.

    Attributes:
        kind: a word for programs, such as ``'near_leak'``.
        headline: how many, of what, and what to do.
        lines: the places, each a class or one or two pictures, in a fixed order.
    """

    kind: str
    headline: str
    lines: list[str]


def if_any(kind: str, lines: list[str], headline: str) -> list[Finding]:
    """The finding, where there are lines."""
    return [Finding(kind, headline, lines)] if lines else []


def format_findings(findings: Sequence[Finding]) -> str:
    """Headlines, under each the first ``SHOWN`` of its lines; a sentence where there are none."""
    if not findings:
        return 'Nothing about the pictures looks wrong.'
    text = []
    for finding in findings:
        text += [f'* {finding.headline}', *(f'  {line}' for line in finding.lines[:SHOWN])]
        if (more := len(finding.lines) - SHOWN) > 0:
            text.append(f'  and {more:,} more')
    return printable('\n'.join(text))


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


class _Look(NamedTuple):
    """The same of one picture."""

    problem: str | None = None
    file: int = 0
    pixels: int = 0
    sides: tuple[int, int] = (0, 0)
    grey: NDArray[np.uint8] = np.zeros((SIDE, SIDE), np.uint8)
    chroma: float = 0.0
    spread: float = 0.0


def look_at_all(paths: Sequence[str]) -> Thumbnails:
    """Reads every picture once, in a few more threads than there are processors, for some wait for
    the disk.
    """
    looks = in_threads(_look, paths, 'looking at the images', 32, cores() + 4)
    columns = list(zip(*looks, strict=True)) if looks else [()] * len(_Look._fields)
    problems, files, pixels, sides, grey, chroma, spread = columns
    return Thumbnails(
        list(problems),
        np.array(files, np.uint64),
        np.array(pixels, np.uint64),
        np.array(sides, np.int32).reshape(-1, 2),
        np.array(grey, np.uint8).reshape(-1, SIDE, SIDE),
        np.array(chroma, np.float32),
        np.array(spread, np.float32),
    )


def _look(path: str) -> _Look:
    data = b''
    try:
        data = read_bytes(path)
        rgb, sides = small_pixels(path, data)
    except BCE3SError as error:
        return _Look(why(error.__cause__), _digest(data) if data else 0)
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return _Look(
        file=_digest(data),
        pixels=_digest(rgb, np.array(sides)),
        sides=sides,
        grey=cv2.cvtColor(small, cv2.COLOR_RGB2GRAY),
        chroma=float(np.ptp(small.astype(np.int16), axis=2).mean()),
        spread=float(cv2.meanStdDev(rgb)[1].max()),
    )


def small_pixels(
    path: str, data: bytes, side: int = SIDE
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Upright RGB pixels (h, w, 3) of an image, and its own height and width; ``h`` and ``w`` are
    up to 8 times smaller for a JPEG, never under twice ``side``.

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    file = ImageFile(path, data)
    reduction = reduction_for(min(file.sides), side) if file.fast or file.huge else 1
    return np.ascontiguousarray(file.pixels(reduction=reduction)), file.sides


def _digest(*contents: bytes | NDArray) -> int:
    """64 bits of the contents, never 0."""
    digest = blake2b(digest_size=8)
    for content in contents:
        digest.update(content)
    return int.from_bytes(digest.digest(), 'big') or 1
