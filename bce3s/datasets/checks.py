"""What is wrong with lists and images, all of it in one error, before the first step."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from bce3s.errors import BCE3SError

HOW = ('none', 'files', 'headers', 'pixels')
BLOCK = 4096  # bytes that are read at the beginning and at the end of a file
WRITTEN_OUT = 100  # problems in one message; the rest are counted
EXAMPLES = 3  # of one cause that are written out; the rest are counted
THREADS = 32  # they wait for the disk
SAMPLED = 100  # images of a set that tell whether it has images of more than 8 bits

T = TypeVar('T')
S = TypeVar('S')


class Problems:
    """Collects what is wrong, so that it can be mended in one go."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.causes: list[str] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, where: str | Path, what: str, cause: str = '') -> None:
        """Notes that ``where`` (``file:line``, or a path) has the fault ``what``. Faults of one
        ``cause`` (``what`` itself, if it is not given) are told together.
        """
        self.found.append((str(where), what))
        self.causes.append(cause or what)

    def raise_all(self, headline: str) -> None:
        """Raises everything found, if there is anything.

        Args:
            headline: what is wrong on the whole and what to do, without a full stop.

        Raises:
            BCE3SError: the headline and ``WRITTEN_OUT`` lines at most, of each cause
                ``EXAMPLES`` and how many more it has.
        """
        if not self.found:
            return
        told = [f'{where}: {what}' for where, what in self.found]
        lines = [f'  {line}' for line in grouped(told, self.causes)]
        if len(lines) > WRITTEN_OUT:
            lines[WRITTEN_OUT:] = [f'  and {len(lines) - WRITTEN_OUT:,} more lines']
        text = '\n'.join([f'{headline} ({len(self.found):,}):', *lines])
        raise BCE3SError(printable(text))


def grouped(told: Sequence[str], causes: Sequence[str]) -> list[str]:
    """Of what is ``told`` the first ``EXAMPLES`` of each cause, and how many more it has.

    >>> causes = ['is empty', *['is missing'] * 9]
    >>> grouped([f'{i} {cause}' for i, cause in enumerate(causes)], causes)
    ['0 is empty', '1 is missing', '2 is missing', '3 is missing', 'and 6 more: is missing']
    """
    lines, seen, totals = [], Counter(), Counter(causes)
    for line, cause in zip(told, causes, strict=True):
        seen[cause] += 1
        if seen[cause] <= EXAMPLES:
            lines.append(line)
        if seen[cause] == EXAMPLES < totals[cause]:
            lines.append(f'and {totals[cause] - EXAMPLES:,} more: {cause}')
    return lines


def printable(text: str) -> str:
    """With escapes for the bytes of a file name that is not UTF-8, which no terminal takes."""
    return text.encode(errors='backslashreplace').decode()


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises BCE3SError unless ``value`` is one of ``choices``; ``name``: whose argument it is."""
    if value not in choices:
        raise BCE3SError(f'{name} is {value!r}; use one of {", ".join(choices)}.')


# ----------------------------------------------------------------------------- on every rank alike
def agreed(action: Callable[[], T]) -> T:
    """``action()``; if it fails with a BCE3SError on any rank, all of them raise that error.

    Where only one rank failed (a list that is on one machine only), the others would wait for it.
    """
    result, sentence = None, None
    try:
        result = action()
    except BCE3SError as error:
        sentence = str(error)
    found = [text for text in _everywhere(sentence) if text is not None]
    if found:
        raise BCE3SError(found[0])
    return result


def _everywhere(value: T) -> list[T]:
    """``value`` of each rank."""
    from mmengine.dist import all_gather_object

    return all_gather_object(value)


def _ranks() -> tuple[int, int]:
    from mmengine.dist import get_dist_info

    return get_dist_info()


# ------------------------------------------------------------------------------------------- images
class Look(NamedTuple):
    """``problem``: what is wrong, or None. ``mark``: 64 bits that equal files share; 0: unknown."""

    problem: str | None
    mark: int = 0


def look_at(path: str, how: str) -> Look:
    """Checks the file of one image.

    ``'files'``: it is there, a regular file, not empty, and may be read. ``'headers'``: and a JPEG
    with its end, or a PNG whose sums are right; other formats are decoded. ``'pixels'``: all is
    decoded.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return Look('is a folder, not an image')
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            return Look('is no regular file')
        if not status.st_size:
            return Look('is empty')
        with open(path, 'rb') as file:
            if how == 'files':
                return Look(None)
            head = file.read(BLOCK)
            file.seek(max(0, status.st_size - BLOCK))
            tail = file.read(BLOCK)
    except FileNotFoundError:
        return Look('links to a file that is not there' if os.path.islink(path) else 'is missing')
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return Look(f'cannot be opened ({getattr(error, "strerror", None) or error})')
    mark = (status.st_size & 0xFFFFFFFF) << 32 | zlib.crc32(tail, zlib.crc32(head))
    if how == 'headers' and _complete(path, tail):
        return Look(None, mark)
    from bce3s.datasets.pixels import pixels_of_file  # OpenCV, if needed

    try:
        pixels_of_file(path, side=1)
    except BCE3SError as error:
        return Look(f'cannot be read as an image ({_why(error)})', mark)
    return Look(None, mark)


def _why(error: BCE3SError) -> str:
    from bce3s.datasets.pixels import why

    return why(error.__cause__)


def _complete(path: str, tail: bytes) -> bool:
    """Whether Pillow can say so without decoding: the others are decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.verify()
            cut = image.format in ('JPEG', 'MPO') and not tail.endswith(b'\xff\xd9')
            return image.format in ('JPEG', 'MPO', 'PNG') and not cut
    except Exception:  # a damaged image can raise anything: decoding it tells what is wrong
        return False


def check_images(
    paths: Sequence[str],
    how: str,
    report: Callable[[int, str], None],
    name: str = 'the images',
) -> np.ndarray:
    """Looks at every image (see :func:`look_at`), each rank at its part of them, and reports what
    is wrong, in the order of the images and alike on every rank.

    Args:
        paths: of the images.
        how: one of ``HOW``.
        report: is called with the index of an image and what is wrong with it.
        name: what is being checked, for the progress.

    Returns:
        (N,) uint64 marks: equal files have equal ones. 0: not known.
    """
    marks = np.zeros(len(paths), np.uint64)
    if how == 'none':
        return marks
    rank, world_size = _ranks()
    looks = in_threads(partial(look_at, how=how), paths[rank::world_size], f'checking {name}')
    found = {rank + i * world_size: look.problem for i, look in enumerate(looks) if look.problem}
    own_marks = np.array([look.mark for look in looks], np.uint64)
    problems = {}
    for r, (part, part_marks) in enumerate(_everywhere((found, own_marks))):
        problems |= part
        marks[r::world_size] = part_marks
    for i in sorted(problems):
        report(i, problems[i])
    return marks


def bits_used(paths: Sequence[str]) -> int | None:
    """How many bits the images of a set use that have more than 8 bits a value: those of their
    largest value, at least 8; None where none of a sample of ``SAMPLED`` images has more than 8.

    Each rank looks at its part of them; an image that cannot be read counts for nothing.
    """
    sample = paths[:: -(-len(paths) // SAMPLED) or 1]
    if not any(in_threads(partial(_wide, highest=False), sample, 'looking for 16-bit images')):
        return None
    rank, world_size = _ranks()
    highest = in_threads(_wide, paths[rank::world_size], 'measuring 16-bit images')
    return max(8, max(_everywhere(max(highest, default=0))).bit_length())


def _wide(path: str, highest: bool = True) -> int:
    """The largest value of an image of more than 8 bits, or merely 1; 0 of others."""
    from bce3s.datasets.pixels import ImageFile  # OpenCV, if needed

    try:
        file = ImageFile(path)
        return file.wide and (file.highest() if highest else 1)
    except BCE3SError:
        return 0


def same_content(
    paths: Sequence[str], marks: np.ndarray, others: Sequence[str], other_marks: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs (i, j) of files with the same bytes: of ``paths`` and the first such of ``others``.

    Files with equal marks are read whole, each rank its part of them.
    """
    candidates = np.intersect1d(marks[marks > 0], other_marks[other_marks > 0])
    if not len(candidates):
        return []
    first: dict[str, int] = {}
    for j, digest in _digests(others, other_marks, candidates):
        first.setdefault(digest, j)
    return [
        (i, first[digest]) for i, digest in _digests(paths, marks, candidates) if digest in first
    ]


def _digests(
    paths: Sequence[str], marks: np.ndarray, candidates: np.ndarray
) -> Iterable[tuple[int, str]]:
    """(index, SHA-256) of the files whose mark is among ``candidates``, by index."""
    indices = np.isin(marks, candidates).nonzero()[0].tolist()
    rank, world_size = _ranks()
    own = [paths[i] for i in indices[rank::world_size]]
    digests = [''] * len(indices)
    for r, part in enumerate(_everywhere(in_threads(file_digest, own, 'comparing images'))):
        digests[r::world_size] = part
    return [(i, digest) for i, digest in zip(indices, digests, strict=True) if digest]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file; empty where it can no longer be read."""
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError:
        return ''


def in_threads(
    work: Callable[[S], T],
    items: Sequence[S],
    title: str,
    chunk: int = 64,
    threads: int = THREADS,
) -> list[T]:
    """``work`` of each item, in order; on the first rank's terminal a bar says how far it is."""
    from rich.progress import track

    quiet = not sys.stdout.isatty() or len(items) <= chunk or _ranks()[0] > 0
    starts = range(0, len(items), chunk)
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda at: [work(item) for item in items[at : at + chunk]], starts)
        try:
            bar = track(parts, title, len(starts), transient=True, disable=quiet)
            return [result for part in bar for result in part]
        except BaseException:  # Ctrl-C: what has not begun is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
