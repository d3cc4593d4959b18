"""Tables of images: a column of paths, a column of labels, and a header, mostly.

Cells of a ``.csv`` are separated by commas, or by semicolons or tabs, as spreadsheets write them in
much of the world; those of a ``.tsv`` by tabs. It is told by the first line, which must name both
columns. A table of two columns may do without a header, if one cell of its first row is called like
an image and the other one is not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from bce3s.datasets.checks import Problems
from bce3s.errors import BCE3SError

PATH_COLUMNS = ('path', 'file', 'filename', 'image')
LABEL_COLUMNS = ('label', 'class', 'category')
DELIMITERS = {'.csv': ',', '.tsv': '\t'}
OR_ELSE = {',': ',;\t'}  # what separates cells where commas are expected
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')

Rows = list[tuple[int, list[str]]]  # the line, from 1, and the cells


def read_table(
    text: str,
    path: Path,
    delimiter: str,
    columns: Sequence[str] | None,
    problems: Problems,
) -> tuple[list[str], list[str], list[int]]:
    """Paths, labels as written, line numbers of a table.

    Args:
        text: the table, with LF at the ends of lines.
        path: where it is from, for messages.
        delimiter: what should separate its cells, see ``OR_ELSE``.
        columns: names of the columns of paths and of labels; None: ``PATH_COLUMNS`` and
            ``LABEL_COLUMNS``.
        problems: takes what is wrong with single rows.

    Raises:
        BCE3SError: it does not say which column holds what.
    """
    if columns is not None and (isinstance(columns, str) or len({*columns}) != 2):
        raise BCE3SError(f'columns is {columns!r}; give two names, of paths and of labels.')
    firsts = {each: first_row(text, each) for each in OR_ELSE.get(delimiter, delimiter)}
    if not any(firsts.values()):
        _rows(text, delimiter, path, problems)  # says what keeps it from being a table
        return [], [], []
    delimiter, at_path, at_label, headed = _layout(firsts, path, columns)
    rows = _rows(text, delimiter, path, problems)[headed:]
    return _entries(rows, len(firsts[delimiter]), at_path, at_label, headed, path, problems)


def _entries(
    rows: Rows,
    width: int,
    at_path: int,
    at_label: int,
    headed: bool,
    path: Path,
    problems: Problems,
) -> tuple[list[str], list[str], list[int]]:
    paths, labels, lines = [], [], []
    for line, row in rows:
        if len(row) != width:
            first = 'header' if headed else 'first row'
            problems.add(f'{path}:{line}', f'has {len(row)} cells where the {first} has {width}')
        elif not row[at_path]:
            problems.add(f'{path}:{line}', 'has no path')
        else:
            paths.append(row[at_path])
            labels.append(row[at_label].strip())
            lines.append(line)
    return paths, labels, lines


def first_row(text: str, delimiter: str) -> list[str]:
    """The cells of the first row that is not empty; none where it is no row of a table."""
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    try:
        return next((row for row in reader if any(map(str.strip, row))), [])
    except csv.Error:
        return []


def _rows(text: str, delimiter: str, path: Path, problems: Problems) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    rows, before = [], 0
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append((before + 1, row))
            before = reader.line_num
    except csv.Error as error:
        problems.add(f'{path}:{before + 1}', f'is no row of a table ({error})')
    return rows


# ------------------------------------------------------------------------------- what is where
def _layout(
    firsts: dict[str, list[str]], path: Path, columns: Sequence[str] | None
) -> tuple[str, int, int, bool]:
    """What separates the cells, where paths and labels are, whether the first row is a header."""
    wanted = [PATH_COLUMNS, LABEL_COLUMNS] if columns is None else [(name,) for name in columns]
    for delimiter, first in firsts.items():
        at_path, at_label = (_called(first, names) for names in wanted)
        if len(at_path) == len(at_label) == 1:
            return delimiter, at_path[0], at_label[0], True
    headless = {d: images for d, first in firsts.items() if any(images := _images_in(first))}
    if columns is None and len(headless) == 1:
        delimiter, images = headless.popitem()
        if not all(images):
            return delimiter, images.index(True), images.index(False), False
    raise _unknown_layout(max(firsts.values(), key=len), path, wanted)


def _called(header: list[str], names: Sequence[str]) -> list[int]:
    """Where the columns of these names are."""
    folded = {name.casefold() for name in names}
    return [i for i, cell in enumerate(header) if cell.strip().casefold() in folded]


def _images_in(row: list[str]) -> list[bool]:
    """Which of two cells are called like images; nothing of rows that are no path and label."""
    if len(row) != 2 or not all(map(str.strip, row)):
        return []
    return [cell.strip().lower().endswith(EXTENSIONS) for cell in row]


def _unknown_layout(header: list[str], path: Path, wanted: Sequence[Sequence[str]]) -> BCE3SError:
    """Names the first column that is not there, or is there twice."""
    at, names = next((at, names) for names in wanted if len(at := _called(header, names)) != 1)
    return BCE3SError(
        f'The header of {path} has {"no" if not at else "more than one"} column called '
        f'{" or ".join(names)} ({", ".join(map(shown, header[:20]))}): the first line must name '
        'the columns, separated by commas or semicolons (.csv) or tabs (.tsv); those of paths and '
        'labels may have other names, dataset.columns=(PATH, LABEL), --columns PATH LABEL. Without '
        'a header a table has two columns, a path that ends like an image (.jpg, .png, ...) and a '
        'label.'
    )


def shown(text: str, most: int = 80) -> str:
    """Quoted, cut where it is long."""
    return repr(text if len(text) <= most else f'{text[:most]}...')
