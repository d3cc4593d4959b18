"""Lists of images: ``path label`` lines as the long-tailed benchmarks publish them, and tables.

Neither torch nor MMEngine is imported here.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path, PurePosixPath

from bce3s.datasets.checks import Problems
from bce3s.datasets.folders import EXTENSIONS
from bce3s.datasets.label_sets import (
    Label,
    LabelSets,
    in_words,
    joined,
    label_sets,
    marks_of,
    one_each,
)
from bce3s.datasets.tables import (
    DELIMITERS,
    LABEL_COLUMNS,
    OPTION,
    PATH_COLUMNS,
    Listing,
    called,
    kind_of,
    read_table,
    shown,
)
from bce3s.errors import BCE3SError
from bce3s.wording import in_order

MAX_LABEL = 9_999_999  # of a number: counts are kept for every class up to it
MAX_BYTES = 1 << 30  # of a list, unpacked; the largest published one has 30 MB
SUFFIXES = ('.csv', '.tsv', '.txt')

_ENDING = '|'.join(map(re.escape, EXTENSIONS))
# A path that ends like an image, or else all before the first tab, or else before the last blank;
# and the label. Blanks only. Anything else. One match a line.
_LINE = re.compile(
    rf'^(?:(.*(?i:{_ENDING}))[ \t]+|([^\t\n]*[^ \t\n])[ ]*\t[ \t]*|(.*[^ \t\n])[ \t]+)'
    r'([^ \t\n](?:.*[^ \t\n])?)[ \t]*$|^[ \t]*$|^(.+)$',
    re.MULTILINE,
)
_WHOLE = re.compile(r'-?(0|[1-9][0-9]*)')


@dataclass(frozen=True)
class ImageEntries:
    """What one list says, in its order.

    Attributes:
        source: the list.
        paths: as written, relative to the folder of the images or absolute.
        labels: of each image, from 0; or marks of all classes, where there may be several.
        lines: the line of each image, from 1.
        classes: names of the classes, where labels are names: labels are positions in it.
        splits: what a table's column ``split`` says of each image; None: it has no such column.
        multilabel: whether an image may have several labels, or none.
        separator: of labels in a cell.
        notes: sentences on how labels were understood.
        git_blob: git's id of the list's content.
        sha256: SHA-256 of the list's content.
    """

    source: Path
    paths: list[str]
    labels: list[Label]
    lines: list[int]
    classes: list[str] | None
    splits: list[str] | None = None
    multilabel: bool = False
    separator: str | None = None
    notes: list[str] = field(default_factory=list)
    git_blob: str = ''
    sha256: str = ''

    @property
    def size(self) -> int:
        """How many classes there are: as many as have names, or else up to the largest label."""
        return len(self.classes) if self.classes else max(self.labels) + 1


def read_list(
    path: str | Path,
    classes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    names: bool = False,
    option: str = OPTION,
    multilabel: bool | None = None,
    separator: str | None = None,
) -> ImageEntries:
    """Reads ``path label`` lines, or a table (``.csv``, ``.tsv``); each may be ``.gz``.

    A line is split behind a path that ends like an image, or else at its first tab, or else at its
    last run of blanks; how tables are read: :mod:`bce3s.datasets.tables`. UTF-8, or UTF-16 with
    BOM; LF, CRLF or CR; empty lines are passed over, and an image that is listed again with the
    same label. Labels are whole numbers as they are usually written, or else all of them are names,
    numbered in natural order (:func:`~bce3s.wording.in_order`): ``7`` and ``A``, ``001`` and
    ``002``. Where images may have several labels these are names, too
    (:mod:`bce3s.datasets.label_sets`).

    Args:
        path: of the list.
        classes: names of the training set's classes, for the list of another split.
        columns: a table's columns of paths and of labels, if they are not called as in
            ``tables.PATH_COLUMNS`` and ``tables.LABEL_COLUMNS``; that of paths alone, where there
            is a column for each class.
        names: whether labels are names, whatever they look like.
        option: KEY of ``KEY.columns`` and ``KEY.multilabel``, for messages.
        multilabel: whether images may have several labels, or none; None: if not each of them has
            one.
        separator: of several labels in a cell; None: looked for, see
            :func:`~bce3s.datasets.label_sets.label_sets`.

    Raises:
        BCE3SError: the list is missing, no file, empty or in another encoding; and, all of them at
            once and each with its line: no path, no label, a number that is negative or above
            ``MAX_LABEL``, no known name, an image that is listed with two labels.
    """
    path, problems = Path(path), Problems()
    content = list_content(path)
    text = decoded(content, path)
    if kind_of(path) in DELIMITERS:
        listing = read_table(text, path, columns, problems, option)
    else:
        listing = read_lines(text, path, problems)
    sets, several = label_sets(listing, multilabel, separator)
    where = [f'{path}:{line}' for line in listing.lines]
    if several:
        labels, classes = marks_of(sets, where, classes, problems)
    else:
        if sets:
            listing = listing._replace(labels=one_each(sets, where, problems))
        labels, classes = _labels(listing, path, classes, names, problems)
    labels, listing = _once(labels, listing, path, several and sets, classes, option, problems)
    problems.raise_all(f'The list {path} has lines that cannot be used: correct or remove them')
    notes = [in_words(path.name, labels, sets)] if several else []
    if ',' in listing.separators and not several and (blank := _with_blank(listing.labels)):
        notes.append(
            f'{path.name} has labels like {shown(blank)}, which are taken as they are: if blanks '
            f'separate several, {option}.separator=space.'
        )
    if not labels:
        raise BCE3SError(f'The list {path} names no image: expected lines "path label".')
    return ImageEntries(
        source=path,
        paths=listing.paths,
        labels=labels,
        lines=listing.lines,
        classes=classes,
        splits=listing.splits,
        multilabel=several,
        separator=sets.separator if sets else None,
        notes=notes,
        git_blob=git_blob_id(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _with_blank(labels: Sequence[str]) -> str:
    """The first label with a blank beside which another label stands; empty without one."""
    known = set(labels)
    return next((text for text in labels if ' ' in text and known & set(text.split())), '')


def listed_at(root: str | Path, path: str) -> str:
    """Where a listed image lies; of a list made on Windows with ``/`` for back slashes."""
    root = '' if os.fspath(root) == '.' else root  # no ./ before what is here
    place = os.path.join(root, path)
    if '\\' in path and not os.path.lexists(place):
        return os.path.join(root, path.replace('\\', '/'))
    return place


def folders_of_classes(entries: ImageEntries, size: int) -> list[str] | None:
    """(size,) names of the folders of the images, where each class has one of its own."""
    names: list[set[str]] = [set() for _ in range(size)]
    for path, label in zip(entries.paths, entries.labels, strict=True):
        names[label].add(PurePosixPath(path).parent.name)
    alone = [next(iter(each)) for each in names if len(each) == 1]
    return alone if len(set(alone) - {''}) == size else None


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


def decoded(content: bytes, path: Path) -> str:
    """The text of a list, with LF at the ends of lines.

    Raises:
        BCE3SError: it is neither UTF-8 nor UTF-16 with BOM.
    """
    wide = content.startswith((b'\xff\xfe', b'\xfe\xff'))
    try:
        text = content.decode('utf-16' if wide else 'utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise BCE3SError(
            f'The list {path} is not UTF-8 (line {line}, byte 0x{content[error.start]:02x}): save '
            'it as UTF-8, in a spreadsheet as "CSV UTF-8".'
        ) from error
    if '\0' in text:
        line = text.count('\n', 0, text.index('\0')) + 1
        raise BCE3SError(
            f'The list {path} holds a NUL (line {line}): it is no text, or in an encoding other '
            'than UTF-8; save it as UTF-8, in a spreadsheet as "CSV UTF-8".'
        )
    return text.replace('\r\n', '\n').replace('\r', '\n') if '\r' in text else text


def read_lines(text: str, path: Path, problems: Problems, labelled: bool = True) -> Listing:
    """What a list of ``path label`` lines says.

    Args:
        labelled: False: labels are not asked for, and empty where a line is a path alone.
    """
    listing = Listing([], [], [])
    for number, line in enumerate(_LINE.finditer(text), 1):
        image, tabbed, blank, label, rest = line.groups()
        name = image or tabbed or blank
        alone = rest or (name and label.lower().endswith(EXTENSIONS))
        if alone and not labelled:
            name, label = line[0].strip(), ''
        elif alone:
            problems.add(
                f'{path}:{number}',
                f'{shown(rest or f"{name} {label}")} has no label: expected "path label"',
                'no label, expected "path label"',
            )
            continue
        if name and (listing.paths or not _is_header(name, label)):
            listing.paths.append(name)
            listing.labels.append(label)
            listing.lines.append(number)
    return listing


def _is_header(name: str, label: str) -> bool:
    return bool(called([name], PATH_COLUMNS) and called([label], LABEL_COLUMNS))


def _labels(
    listing: Listing,
    path: Path,
    classes: Sequence[str] | None,
    names: bool,
    problems: Problems,
) -> tuple[list[int], list[str] | None]:
    """Labels, -1 for what is none, and the names of the classes if labels are names."""
    written = set(listing.labels) - {''}
    if classes is None and not names and all(map(_WHOLE.fullmatch, written)):
        numbers = {text: int(text) if len(text) <= len(str(MAX_LABEL)) else -1 for text in written}
        classes, fault = None, f'not in 0..{MAX_LABEL:,}'
    else:
        classes, fault = list(classes or in_order(written)), 'no class of the training set'
        numbers = {name: k for k, name in enumerate(classes)}
    labels = [numbers.get(label, -1) for label in listing.labels]
    for i in (i for i, label in enumerate(labels) if label < 0):
        what, cause = 'has no label', ''
        if text := listing.labels[i]:
            what, cause = f'the label {shown(text)} is {fault}', f'a label that is {fault}'
        problems.add(f'{path}:{listing.lines[i]}', what, cause)
    return labels, classes


def _once(
    labels: list[Label],
    listing: Listing,
    source: Path,
    sets: LabelSets | None,
    classes: Sequence[str] | None,
    option: str,
    problems: Problems,
) -> tuple[list[Label], Listing]:
    """Each image once, however its path is written: what rows of several labels say is put
    together, two single labels are a problem.
    """
    normal = list(map(normpath, listing.paths))
    if len(set(normal)) == len(normal):
        return labels, listing
    first: dict[str, int] = {}
    kept, labels = [], list(labels)
    for i, name in enumerate(normal):
        j = first.setdefault(name, i)
        if j == i:
            kept.append(i)
            continue
        before, what = f'{shown(name)} is listed already in line {listing.lines[j]}', ''
        if listing.splits and listing.splits[i] != listing.splits[j]:
            what = 'with another split'
        elif sets:
            labels[j], against = joined(labels[j], labels[i], sets.others)
            if against:
                what = f'where {shown(classes[against[0]])} is the other one of 1 and 0'
        elif labels[i] != labels[j]:
            what = 'with another label'
            if listing.separators:  # of a table that has a column of labels
                what += f' (if images may have several: {option}.multilabel=True)'
        if what:
            where = f'{source}:{listing.lines[i]}'
            problems.add(where, f'{before}, {what}', 'listed already otherwise')
    at = listing._asdict()
    for key in ('paths', 'labels', 'lines', 'splits'):
        at[key] = at[key] and [at[key][i] for i in kept]
    return [labels[i] for i in kept], Listing(**at)
