"""Lists of images: ``path label`` lines as the long-tailed benchmarks publish them, and tables.

Neither torch nor MMEngine is imported here.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from bce3s.datasets.checks import Problems
from bce3s.datasets.tables import DELIMITERS, read_table, shown
from bce3s.datasets.tables import PATH_COLUMNS as PATH_COLUMNS
from bce3s.errors import BCE3SError

MAX_LABEL = 9_999_999  # a larger one is no class: counts are kept for every class up to it
MAX_BYTES = 1 << 30  # of a list, unpacked; the largest published one has 30 MB

# path and label, or blanks only, or anything else; one match a line
_LINE = re.compile(r'^(.*[^ \t\n])[ \t]+([^ \t\n]+)[ \t]*$|^[ \t]*$|^(.+)$', re.MULTILINE)
_NUMBER = re.compile(r'[0-9]+')


@dataclass(frozen=True)
class ImageEntries:
    """What one list says, in its order.

    Attributes:
        source: the list.
        paths: as written, relative to the folder of the images or absolute.
        labels: of each image, from 0.
        lines: the line of each image, from 1.
        classes: names of the classes, where a table gives names; labels are positions in it.
        git_blob: git's id of the list's content.
        sha256: SHA-256 of the list's content.
    """

    source: Path
    paths: list[str]
    labels: list[int]
    lines: list[int]
    classes: list[str] | None
    git_blob: str = ''
    sha256: str = ''


def read_list(
    path: str | Path,
    classes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> ImageEntries:
    """Reads ``path label`` lines, or a table (``.csv``, ``.tsv``); each may be ``.gz``.

    A line is split at its last run of blanks, so names may hold spaces; in a table they may hold
    anything. UTF-8 with or without BOM; LF, CRLF or CR; empty lines are passed over. A table's
    labels are whole numbers, or all of them names; how its cells are separated and whether it has a
    header: :mod:`bce3s.datasets.tables`.

    Args:
        path: of the list.
        classes: names of the training set's classes, for the table of another split.
        columns: a table's columns of paths and of labels, if they are not called as in
            ``tables.PATH_COLUMNS`` and ``tables.LABEL_COLUMNS``.

    Raises:
        BCE3SError: the list is missing, no file or empty; and, all of them at once and each with
            its line: not UTF-8, a NUL, no path, no label, a label that is no whole number from 0 to
            ``MAX_LABEL`` or no known name, an image that is listed twice.
    """
    path = Path(path)
    content = list_content(path)
    problems = Problems()
    text = _decoded(content, path, problems)
    kind = Path(path.stem if path.suffix == '.gz' else path.name).suffix.lower()
    if kind in DELIMITERS:
        paths, raw, lines = read_table(text, path, DELIMITERS[kind], columns, problems)
        labels, names = _labels_of_table(raw, lines, path, classes, problems)
    else:
        paths, raw, lines = _lines(text, path, problems)
        labels, names = _numbers(raw, lines, path, problems), None
    _check_paths(paths, lines, path, problems)
    problems.raise_all(f'The list {path} has lines that cannot be used: correct or remove them')
    if not paths:
        raise BCE3SError(f'The list {path} names no image: expected lines "path label".')
    sha256 = hashlib.sha256(content).hexdigest()
    return ImageEntries(path, paths, labels, lines, names, git_blob_id(content), sha256)


def git_blob_id(data: bytes) -> str:
    """What ``git hash-object`` prints for a file with this content."""
    return hashlib.sha1(b'blob %d\0' % len(data) + data, usedforsecurity=False).hexdigest()


def list_content(path: str | Path) -> bytes:
    """The bytes of a list, unpacked if its name ends in ``.gz``.

    Raises:
        BCE3SError: no such file, no regular file, no right to read it, damaged gzip, or more than
            ``MAX_BYTES``.
    """
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would be waited for
            reason = 'it is no regular file' if path.exists() else 'there is no such file'
            raise BCE3SError(f'The list {path} cannot be read: {reason}.')
        with gzip.open(path) if path.suffix == '.gz' else path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: a NUL in the path
        raise BCE3SError(f'The list {path} cannot be read: {error}.') from error
    if len(content) > MAX_BYTES:
        raise BCE3SError(f'The list {path} has more than {MAX_BYTES >> 20} MiB: it is no list.')
    return content


def _decoded(content: bytes, path: Path, problems: Problems) -> str:
    """The text with LF at the ends of lines; lines that are not UTF-8 are empty."""
    content = content.removeprefix(b'\xef\xbb\xbf')
    if b'\r' in content:
        content = content.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = '\n'.join(
            _decoded_line(line, f'{path}:{number}', problems)
            for number, line in enumerate(content.split(b'\n'), 1)
        )
    if '\0' not in text:
        return text
    kept = text.split('\n')
    for i, line in enumerate(kept):
        if '\0' in line:
            problems.add(f'{path}:{i + 1}', 'holds a NUL')
            kept[i] = ''
    return '\n'.join(kept)


def _decoded_line(line: bytes, where: str, problems: Problems) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        problems.add(where, f'is not UTF-8 (byte 0x{line[error.start]:02x})')
        return ''


def _lines(text: str, path: Path, problems: Problems) -> tuple[list[str], list[str], list[int]]:
    """Paths, labels as written, line numbers of a ``path label`` list."""
    found = _LINE.findall(text)
    for number, (_, _, rest) in enumerate(found, 1):
        if rest:
            problems.add(f'{path}:{number}', f'{shown(rest)} has no label: expected "path label"')
    lines = [number for number, (name, _, _) in enumerate(found, 1) if name]
    entries = [entry for entry in found if entry[0]]
    return [name for name, _, _ in entries], [label for _, label, _ in entries], lines


def _labels_of_table(
    raw: list[str],
    lines: list[int],
    path: Path,
    classes: Sequence[str] | None,
    problems: Problems,
) -> tuple[list[int], list[str] | None]:
    """Labels, and the names of the classes if the table gives names."""
    if classes is None and any(map(_NUMBER.fullmatch, raw)):
        return _numbers(raw, lines, path, problems), None
    names = sorted({label for label in raw if label}) if classes is None else list(classes)
    numbers = {name: k for k, name in enumerate(names)}
    for label, line in zip(raw, lines, strict=True):
        if not label:
            problems.add(f'{path}:{line}', 'has no label')
        elif label not in numbers:
            problems.add(
                f'{path}:{line}', f'{shown(label)} is a class that the training set does not have'
            )
    return [numbers.get(label, -1) for label in raw], names


def _numbers(raw: list[str], lines: list[int], path: Path, problems: Problems) -> list[int]:
    """The labels as numbers; -1 for one that is none."""
    known: dict[str, int] = {}
    for text in set(raw):
        digits = (
            text.isascii() and text.isdecimal() and len(text.lstrip('0')) <= len(str(MAX_LABEL))
        )
        known[text] = int(text.lstrip('0') or 0) if digits else -1
    if -1 in known.values():
        for text, line in zip(raw, lines, strict=True):
            if known[text] < 0:
                problems.add(f'{path}:{line}', _wrong_number(text))
    return [known[text] for text in raw]


def _wrong_number(text: str) -> str:
    if not text:
        return 'has no label'
    if re.fullmatch(r'-[0-9]+', text):
        return f'the label {shown(text)} is negative: classes are numbered from 0'
    if _NUMBER.fullmatch(text):
        return f'the label {shown(text)} is above {MAX_LABEL:,}'
    return f'the label {shown(text)} is no whole number'


def _check_paths(paths: list[str], lines: list[int], source: Path, problems: Problems) -> None:
    """No image is listed twice, however its path is written."""
    normal = list(map(normpath, paths))
    if len(set(normal)) == len(normal):
        return
    first: dict[str, int] = {}
    for name, line in zip(normal, lines, strict=True):
        if name in first:
            problems.add(
                f'{source}:{line}', f'{shown(name)} is listed already in line {first[name]}'
            )
        else:
            first[name] = line
