"""What is wrong with lists and images, all of it in one error, before the first step."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from bce3s.datasets.file_checks import look_at
from bce3s.errors import BCE3SError

WRITTEN_OUT = 100  # problems in one message; the rest are counted
EXAMPLES = 3  # of one cause that are written out; the rest are counted
THREADS = 32  # they wait for the disk
SAMPLED = 100  # images of a set that tell whether it has images of more than 8 bits
SECONDS = 10.0  # between two lines of progress in a log; a fifth of a second on a terminal

T = TypeVar('T')


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
def check_images(
    paths: Sequence[str],
    how: str,
    report: Callable[[int, str], None],
    name: str = 'the images',
) -> np.ndarray:
    """Looks at every image (see :func:`~bce3s.datasets.file_checks.look_at`), each rank at its part
    of them, and reports what is wrong, in the order of the images and alike on every rank.

    An image that is there under a name in other capitals, or in another Unicode normal form, is
    said to be (of the first ``WRITTEN_OUT`` missing ones).

    Args:
        paths: of the images.
        how: ``'none'``, ``'files'``, ``'headers'`` or ``'pixels'``.
        report: is called with the index of an image and what is wrong with it.
        name: what is being checked, for the progress.

    Returns:
        (N,) uint64 marks: equal files have equal ones. 0: not known.
    """
    marks = np.zeros(len(paths), np.uint64)
    if how == 'none':
        return marks
    rank, world_size = _ranks()
    own = paths[rank::world_size]
    looks = _in_threads(lambda path: look_at(path, how), own, f'checking {name}')
    found = {rank + i * world_size: look.problem for i, look in enumerate(looks) if look.problem}
    own_marks = np.array([look.mark for look in looks], np.uint64)
    problems = {}
    for r, (part, part_marks) in enumerate(_everywhere((found, own_marks))):
        problems |= part
        marks[r::world_size] = part_marks
    alike = _Alike()
    for i in sorted(problems):
        hint = alike.hint(paths[i]) if problems[i] == 'is missing' else ''
        report(i, problems[i] + hint)
    return marks


def bits_used(paths: Sequence[str]) -> int | None:
    """How many bits the images of a set use that have more than 8 bits a value: those of their
    largest value, at least 8; None where none of a sample of ``SAMPLED`` images has more than 8.

    Each rank looks at its part of them; an image that cannot be read counts for nothing.
    """
    sample = paths[:: -(-len(paths) // SAMPLED) or 1]
    if not any(_in_threads(partial(_wide, highest=False), sample, 'looking for 16-bit images')):
        return None
    rank, world_size = _ranks()
    highest = _in_threads(_wide, paths[rank::world_size], 'measuring 16-bit images')
    return max(8, max(_everywhere(max(highest, default=0))).bit_length())


def _wide(path: str, highest: bool = True) -> int:
    """The largest value of an image of more than 8 bits, or merely 1; 0 of others."""
    from bce3s.datasets.pixels import opened  # OpenCV, if needed

    try:
        with opened(path) as file:
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
    first: dict[tuple[int, str], int] = {}
    for j, digest in _digests(others, other_marks, candidates):
        first.setdefault((int(other_marks[j]), digest), j)
    pairs = [
        (i, first.get((int(marks[i]), digest))) for i, digest in _digests(paths, marks, candidates)
    ]
    return [(i, j) for i, j in pairs if j is not None]


def _digests(
    paths: Sequence[str], marks: np.ndarray, candidates: np.ndarray
) -> Iterable[tuple[int, str]]:
    """(index, SHA-256) of the files whose mark is among ``candidates``, by index."""
    indices = np.isin(marks, candidates).nonzero()[0].tolist()
    rank, world_size = _ranks()
    own = [paths[i] for i in indices[rank::world_size]]
    digests = [''] * len(indices)
    for r, part in enumerate(_everywhere(_in_threads(file_digest, own, 'comparing images'))):
        digests[r::world_size] = part
    return [(i, digest) for i, digest in zip(indices, digests, strict=True) if digest]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file; empty where it can no longer be read."""
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError:
        return ''


class _Alike:
    """Finds files whose name differs in capitals or in Unicode's normal form only."""

    def __init__(self) -> None:
        self.left = WRITTEN_OUT
        self.folders: dict[str, dict[str, str]] = {}

    def hint(self, path: str) -> str:
        """``'; there is NAME'``, or nothing."""
        self.left -= 1
        if self.left < 0 or '\0' in path:
            return ''
        found = self._find(path)
        if found is None:
            return ''
        return f'; there is {found}, whose name differs in capitals or in its Unicode form'

    def _find(self, path: str) -> str | None:
        if os.path.lexists(path):
            return path
        folder, name = os.path.split(path)
        folder = self._find(folder) if name else None
        if folder is None:
            return None
        if folder not in self.folders:
            try:
                names = os.listdir(folder)
            except OSError:
                names = []
            self.folders[folder] = {_folded(n): n for n in names}
        found = self.folders[folder].get(_folded(name))
        return None if found is None else os.path.join(folder, found)


def _folded(name: str) -> str:
    return unicodedata.normalize('NFC', unicodedata.normalize('NFC', name).casefold())


# ------------------------------------------------------------------------------- threads, progress
def _in_threads(
    work: Callable[[str], T], paths: Sequence[str], title: str, chunk: int = 64
) -> list[T]:
    """``work`` of each path, in order; says on the first rank how far it is."""
    results: list[T] = []
    progress = _Progress(title, len(paths))
    with ThreadPoolExecutor(THREADS) as pool:
        starts = range(0, len(paths), chunk)
        parts = pool.map(lambda at: [work(path) for path in paths[at : at + chunk]], starts)
        try:
            for part in parts:
                results += part
                progress.show(len(results))
        except BaseException:  # Ctrl-C: what has not begun is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress.end(len(results))
    return results


class _Progress:
    """One line that changes on a terminal, a line every few seconds in a log; nothing for what
    takes less than that, or on another rank than the first. Counts are those of all ranks, as if
    they were equally fast.
    """

    def __init__(self, title: str, total: int) -> None:
        rank, self.ranks = _ranks()
        self.title, self.total = title, total
        self.quiet = rank > 0
        self.terminal = sys.stdout.isatty()
        self.interval = 0.2 if self.terminal else SECONDS
        self.last = time.monotonic()
        self.shown = False

    def show(self, done: int) -> None:
        now = time.monotonic()
        if self.quiet or now - self.last < self.interval:
            return
        self.last, self.shown = now, True
        self._write(f'{self.title}: {done * self.ranks:,} of {self.total * self.ranks:,}')

    def end(self, done: int) -> None:
        if self.shown and self.terminal:
            sys.stdout.write('\r\x1b[K')
            sys.stdout.flush()
        elif self.shown:
            self._write(f'{self.title}: done, {done * self.ranks:,}')

    def _write(self, text: str) -> None:
        if self.terminal:
            sys.stdout.write(f'\r\x1b[K{text}')
            sys.stdout.flush()
            return
        from mmengine.logging import print_log

        print_log(text, logger='current')
