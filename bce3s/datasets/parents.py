"""What the classes of a run belong to, where its folder has a ``parents.csv`` that says so."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.lists import decoded, list_content
from bce3s.errors import BCE3SError
from bce3s.wording import counted, in_order

FILE, COLUMNS = 'parents.csv', ('class', 'parent')


@dataclass(frozen=True)
class Parents:
    """Attributes:
    names: of P parents, in natural order.
    of: (K,) the parent of each class, a place in ``names``.
    """

    names: list[str]
    of: NDArray[np.int64]


def read_parents(folder: str | Path, classes: Sequence[str]) -> Parents | None:
    """Of a run's ``parents.csv``, with the columns ``class`` and ``parent``; None: there is none.
    Rows of other classes are not looked at.

    Raises:
        BCE3SError: it cannot be read, lacks a class, or gives one two parents.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    found = rows_of(path)
    lacking = [name for name in classes if name not in found]
    if lacking:
        raise BCE3SError(
            f'{path} gives {counted(len(lacking), "class")} no parent, such as {lacking[0]!r}: '
            'add a row for each, or move the file away to do without parents.'
        )
    names = in_order(found[name] for name in classes)
    return Parents(names, np.array([names.index(found[name]) for name in classes]))


def rows_of(path: Path, columns: Sequence[str] = COLUMNS, delimiter: str = ',') -> dict[str, str]:
    """class -> parent, of a table.

    Args:
        columns: what the columns of classes and of parents are called.
        delimiter: what separates the cells.

    Raises:
        BCE3SError: it cannot be read, has not these columns, a class without a parent, or one with
            two.
    """
    found: dict[str, str] = {}
    lines = decoded(list_content(path), path).split('\n')
    table = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    if not {*columns} <= {*(table.fieldnames or ())}:
        raise BCE3SError(f'{path} has no header with the columns {" and ".join(columns)}.')
    for row in table:
        name, parent = ((row[column] or '').strip() for column in columns)
        if not name or not parent or found.setdefault(name, parent) != parent:
            two = f'{found.get(name)!r} and {parent!r}' if parent else 'none'
            raise BCE3SError(
                f'{path}:{table.line_num}: each row needs a class and its one parent, '
                f'{name!r} has {two}.'
            )
    return found
