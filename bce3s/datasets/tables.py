"""Tables of images: a column of paths, a column of labels, and a header, mostly.

Cells of a ``.csv`` are separated by commas, or by semicolons or tabs, as spreadsheets write them in
much of the world; those of a ``.tsv`` by tabs. It is told by the first line, which must name both
columns. A table of two columns may do without a header, if one cell of its first row is called like
an image and the other one is not; and one column of two needs no known name. Instead of a column
of labels there may be one of zeros and ones for each class, where an empty cell says that it is not
known; what rows with several labels, or none, then mean: :mod:`bce3s.datasets.label_sets`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bce3s.datasets.checks import Problems
from bce3s.datasets.folders import EXTENSIONS
from bce3s.errors import BCE3SError
from bce3s.wording import counted

# names of columns without blanks, dashes and underscores, the ones that are looked for first before
PATH_COLUMNS = (
    ('path', 'file', 'filename', 'filepath', 'image', 'imagepath', 'imagefile', 'imagename', 'img'),
    ('imageid', 'photo', 'picture'),
    ('id', 'name'),
)
LABEL_COLUMNS = (
    ('label', 'class', 'category', 'target', 'breed', 'species'),
    ('labelname', 'classname', 'categoryname'),
    ('labelid', 'classid', 'categoryid', 'targetid'),
    ('labels', 'classes', 'categories', 'targets', 'tags'),  # of several: separated by commas, too
)
SPLIT_COLUMNS = (('split', 'subset', 'set'),)
OPTION = 'dataset'  # KEY of KEY.columns=('PATHS','LABELS'), by which other names are given
DELIMITERS = {'.csv': ',;\t', '.tsv': '\t'}  # that are tried
YES, NO = ('1', '1.0', 'True', 'TRUE', 'true'), ('0', '0.0', 'False', 'FALSE', 'false')
MARKS = {**dict.fromkeys(YES, 1), **dict.fromkeys(NO, 0), '': -1}  # of a class; -1: not known
MOSTLY = 0.5  # share of a column's cells that are 1 or 0, above which it is a class's

Rows = list[tuple[int, list[str]]]  # the line, from 1, and the cells


class Listing(NamedTuple):
    """What a list says, as it is written.

    Attributes:
        paths, lines: of each image; lines from 1.
        labels: text; or, of a table with a column for each class, class -> 1, 0 or -1.
        splits: if it has them.
        separators: what may separate labels in one cell, the likeliest first.
    """

    paths: list[str]
    labels: list[str] | list[dict[str, int]]
    lines: list[int]
    splits: list[str] | None = None
    separators: str = ''


class NoLabels(BCE3SError):
    """A table names images, and nothing that could be labels."""


class _Layout(NamedTuple):
    """What separates the cells; the columns of paths and of labels, or one for each class; whether
    the first row is a header.
    """

    delimiter: str
    paths: int
    labels: int | dict[int, str] | None
    headed: bool = True


def read_table(
    text: str,
    path: Path,
    columns: Sequence[str] | None,
    problems: Problems,
    option: str = OPTION,
    labelled: bool = True,
) -> Listing:
    """The images of a table.

    Args:
        text: the table, with LF at the ends of lines.
        path: where it is from; its name says what may separate the cells, see ``DELIMITERS``.
        columns: names of the columns of paths and of labels; of paths alone, where there is one for
            each class; None: ``PATH_COLUMNS`` and ``LABEL_COLUMNS``.
        problems: takes what is wrong with single rows.
        option: KEY of ``KEY.columns``, for messages.
        labelled: False: labels are not asked for, and empty.

    Raises:
        BCE3SError: it does not say which column holds what (``NoLabels``: which the labels).
    """
    one = isinstance(columns, str)
    if columns is not None and (one or not 1 <= len({*columns}) == len(columns) <= 2):
        raise BCE3SError(
            f'columns is {columns!r}; give a list of two names, of paths and of labels, or of '
            'paths alone, where there is a column for each class.'
        )
    tables = {each: _rows(text, each) for each in DELIMITERS[kind_of(path)]}
    firsts = {each: rows[0][1] for each, (rows, _) in tables.items() if rows}
    layout = None
    if firsts and labelled:
        layout = _layout(firsts, columns) or _one_hot(tables, columns)
    elif firsts:
        layout = _unlabelled(firsts)
    if firsts and layout is None:
        raise _unknown_layout(max(firsts.values(), key=len), path, columns, option)
    rows, fault = tables[layout.delimiter] if layout else next(iter(tables.values()))
    if fault is not None:
        problems.add(f'{path}:{fault[0]}', f'is no row of a table ({fault[1]})')
    return _listing(rows, layout, path, problems) if layout else Listing([], [], [])


def kind_of(path: Path) -> str:
    """The suffix of a list, in small letters and without ``.gz``."""
    return Path(path.stem if path.suffix == '.gz' else path.name).suffix.lower()


def _rows(text: str, delimiter: str) -> tuple[Rows, tuple[int, str] | None]:
    """The rows that are not empty, up to the first that is none; where and why that is."""
    lines = io.StringIO(text, newline='')
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, before = [], 0
    try:
        for row in reader:
            row = [cell.rstrip().lstrip('\t') for cell in row]  # blanks in quotes before it stay
            if any(row):
                rows.append((before + 1, row))
            before = reader.line_num
    except csv.Error as error:
        return rows, (before + 1, str(error))
    return rows, None


def _listing(rows: Rows, layout: _Layout, path: Path, problems: Problems) -> Listing:
    width, classes = len(rows[0][1]), layout.labels
    at_split = called(rows[0][1], SPLIT_COLUMNS) if layout.headed else []
    if isinstance(classes, dict):
        at_split = [at for at in at_split if at not in classes]
        separators = ''
        for name, number in Counter(classes.values()).items():
            if number > 1:
                problems.add(f'{path}:{rows[0][0]}', f'has {number} columns called {shown(name)}')
    else:
        several = layout.headed and called([rows[0][1][classes or 0]], LABEL_COLUMNS[-1:])
        separators = ';|,' if several else ';|'
    listing = Listing([], [], [], [] if at_split else None, separators)
    for line, row in rows[layout.headed :]:
        if len(row) != width:
            first = 'header' if layout.headed else 'first row'
            what = f'has {counted(len(row), "cell")} where the {first} has {width}'
            problems.add(f'{path}:{line}', what)
        elif not row[layout.paths]:
            problems.add(f'{path}:{line}', 'has no path')
        else:
            listing.paths.append(row[layout.paths])
            listing.labels.append(_label(row, classes, f'{path}:{line}', problems))
            listing.lines.append(line)
            if at_split:
                listing.splits.append(row[at_split[0]].strip())
    return listing


def _label(
    row: list[str], at: int | dict[int, str] | None, where: str, problems: Problems
) -> str | dict[str, int]:
    if not isinstance(at, dict):
        return '' if at is None else row[at].strip()
    for column, name in at.items():
        if row[column] not in MARKS:
            problems.add(
                where,
                f'{shown(row[column])} in the column {shown(name)} is neither 1 nor 0: correct it, '
                'leave it empty where it is not known, or remove the column if it is no class',
                'a cell in the column of a class that is neither 1, 0 nor empty',
            )
    return {name: MARKS.get(row[column], -1) for column, name in at.items()}


# ------------------------------------------------------------------------------- what is where
def _layout(firsts: dict[str, list[str]], columns: Sequence[str] | None) -> _Layout | None:
    """By the first rows, as each delimiter would have them."""
    for delimiter, first in firsts.items():
        at_path, at_label = _columns(first, columns)
        if len(at_path) == len(at_label) == 1:
            return _Layout(delimiter, at_path[0], at_label[0])
    if columns is not None:
        return None
    pairs = {d: first for d, first in firsts.items() if len(first) == 2 and all(first)}
    headless = {d: images for d, first in pairs.items() if any(images := _images_in(first))}
    if len(headless) == 1:
        delimiter, images = headless.popitem()
        if not all(images):
            return _Layout(delimiter, images.index(True), images.index(False), False)
    for delimiter, first in pairs.items() if not headless else ():
        at_path, at_label = _columns(first, None)
        if len(at_path) + len(at_label) == 1:
            return _Layout(
                delimiter, *(at_path or [1 - at_label[0]]), *(at_label or [1 - at_path[0]])
            )
    return None


def _one_hot(
    tables: dict[str, tuple[Rows, tuple[int, str] | None]], columns: Sequence[str] | None
) -> _Layout | None:
    """One column of paths, no label, and columns that hold 0 and 1, or nothing, mostly."""
    if columns is not None and len(columns) == 2:
        return None
    for delimiter, (rows, _) in tables.items():
        header = rows[0][1] if rows else []
        at_path = _columns(header, columns)[0]
        whole = [row for _, row in rows[1:] if len(row) == len(header)]
        if not at_path and columns is None:
            at_path = [at for at in range(len(header)) if _share(whole, at, _is_image) == 1]
        if at_path and (len(at_path) == 1 or columns):
            classes = {
                at: name
                for at, name in enumerate(header)
                if name and at != at_path[0] and _share(whole, at, MARKS.__contains__) > MOSTLY
            }
            if len(classes) > (columns is None):
                return _Layout(delimiter, at_path[0], classes)
    return None


def _share(rows: list[list[str]], at: int, kind: Callable[[str], bool]) -> float:
    """Of the cells of a column that are not empty, those of a kind."""
    cells = [row[at] for row in rows if row[at]]
    return sum(map(kind, cells)) / max(len(cells), 1)


def _unlabelled(firsts: dict[str, list[str]]) -> _Layout | None:
    """The column of paths alone; without a header it is the first one, or the other one of two,
    that names an image.
    """
    for delimiter, first in firsts.items():
        if at := called(first, PATH_COLUMNS):
            return _Layout(delimiter, at[0], None)
        images = _images_in(first[: 2 if len(first) == 2 else 1])
        if any(images):
            return _Layout(delimiter, images.index(True), None, False)
    return None


def _columns(header: list[str], columns: Sequence[str] | None) -> tuple[list[int], list[int]]:
    """Where those of paths and of labels may be."""
    if columns is None:
        return called(header, PATH_COLUMNS), called(header, LABEL_COLUMNS)
    folded = [cell.casefold() for cell in header]
    at = [[i for i, cell in enumerate(folded) if cell == name.casefold()] for name in columns]
    return at[0], at[1] if len(at) == 2 else []


def called(header: list[str], names: Sequence[Sequence[str]]) -> list[int]:
    """Where the columns of these names are, of the first group that is there."""
    plain = [re.sub(r'[\s_-]+', '', cell.casefold()) for cell in header]
    found = ([i for i, cell in enumerate(plain) if cell in group] for group in names)
    return next(filter(None, found), [])


def _images_in(cells: list[str]) -> list[bool]:
    """Which cells are called like images."""
    return list(map(_is_image, cells))


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(EXTENSIONS)


def _unknown_layout(
    header: list[str], path: Path, columns: Sequence[str] | None, option: str
) -> BCE3SError:
    """Names the first column that is not there, or is there twice."""
    found = _columns(header, columns)
    given = [[name] for name in columns or ()]
    wanted = [*given, *(PATH_COLUMNS[0], LABEL_COLUMNS[0])[len(given) :]]
    at = next(i for i in (0, 1) if len(found[i]) != 1)
    names = ' or '.join(wanted[at][:3])
    return (NoLabels if at and not found[1] else BCE3SError)(
        f'The header of {path} has {"no" if not found[at] else "more than one"} column called '
        f'{names} ({", ".join(map(shown, header[:20]))}): name the columns of paths and of labels, '
        f"{option}.columns=('PATHS','LABELS'). Cells are separated by commas or semicolons (.csv) "
        'or tabs (.tsv); without a header a table has two columns, a path that ends like an image '
        '(.jpg, .png, ...) and a label.'
    )


def shown(text: str, most: int = 80) -> str:
    """Quoted, cut where it is long."""
    return repr(text if len(text) <= most else f'{text[:most]}...')
