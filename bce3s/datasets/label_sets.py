"""Several labels a picture, or none: what a table says, as one mark for each class.

A table says it by a column for each class, or by a list of labels in a cell. Where each of its rows
has one label and no mark is unknown, it is of one label a picture, unless it is said to be of
several. A picture may be listed more than once: in a list of labels what one row does not name
another one may add; of a column for each class one row may tell what another one leaves empty, and
1 and 0 for the same class contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from bce3s.datasets.checks import Problems
from bce3s.datasets.tables import Listing, shown
from bce3s.wording import counted, in_order

UNKNOWN = -1
Marks = tuple[int, ...]  # of each class 1: the picture has it; 0: it has not; UNKNOWN
Label = int | Marks  # of one picture: its class, or marks
SEPARATORS = ';|,'  # of labels in a cell, the likeliest first; a blank must be given


class LabelSets(NamedTuple):
    """What the rows of a list say.

    Attributes:
        rows: of each image, class -> 1, 0 or ``UNKNOWN``.
        others: the mark of a class that a row does not name.
        separator: of labels in a cell; None: there is a column for each class.
    """

    rows: list[dict[str, int]]
    others: int
    separator: str | None

    @property
    def named(self) -> list[list[str]]:
        """Of each row the classes that it says the image has."""
        return [[name for name, mark in row.items() if mark == 1] for row in self.rows]

    @property
    def single(self) -> bool:
        """Whether each row has one 1 and nothing unknown."""
        known = all(UNKNOWN not in row.values() for row in self.rows)
        return known and all(len(names) == 1 for names in self.named)


def positives(labels: Sequence[Label], size: int) -> list[int]:
    """(size,) images of each class; of several labels those that have it."""
    marks = np.asarray(labels, np.int64)
    if marks.ndim == 2:
        return np.pad((marks == 1).sum(0), (0, size - marks.shape[1])).tolist()
    return np.bincount(marks, minlength=size).tolist()


def classes_of(label: Label) -> list[int]:
    """The classes that a picture has.

    >>> classes_of(3), classes_of((1, 0, -1, 1)), classes_of((0, 0))
    ([3], [0, 3], [])
    """
    return [label] if isinstance(label, int) else [k for k, mark in enumerate(label) if mark == 1]


def label_sets(
    listing: Listing, multilabel: bool | None = None, separator: str | None = None
) -> tuple[LabelSets | None, bool]:
    """What the rows say, where they may have several labels; and whether that is how to read them.

    Args:
        listing: what is written.
        multilabel: whether images have several labels; None: if not each row has one.
        separator: of labels in a cell; None: the first of ``listing.separators``, and with
            ``multilabel`` of ``SEPARATORS``, that a cell has.
    """
    cells, signs = listing.labels, SEPARATORS if multilabel else listing.separators
    if cells and isinstance(cells[0], dict):
        sets = LabelSets(cells, UNKNOWN, None)
    elif multilabel is False and separator is None:
        return None, False
    else:
        found = (sign for sign in signs if any(sign in cell for cell in cells))
        usual = ';' if multilabel else ',' if ',' in signs else None
        separator = separator or next(found, usual)
        if separator is None:
            return None, False
        rows = [dict.fromkeys(_names(cell, separator), 1) for cell in cells]
        sets = LabelSets(rows, 0, separator)
    return sets, not sets.single if multilabel is None else multilabel


def _names(cell: str, separator: str) -> list[str]:
    """``cat;dog``, or ``['cat', 'dog']`` as a program writes a list."""
    written = cell[1:-1] if cell[:1] + cell[-1:] == '[]' else cell
    parts = written.split(separator) if separator.strip() else written.split()
    names = (part.strip() for part in parts)
    bare = (n[1:-1].strip() if n[:1] == n[-1:] and n[:1] in '\'"' and n[1:] else n for n in names)
    return [name for name in bare if name]


def marks_of(
    sets: LabelSets, where: Sequence[str], classes: Sequence[str] | None, problems: Problems
) -> tuple[list[Marks], list[str]]:
    """Marks of each row, and the names of the classes in their order.

    Args:
        sets: what the rows say.
        where: each row is.
        classes: of the training set; None: those that are named, in natural order.
        problems: takes names that are no class of the training set.
    """
    if classes is None:
        classes = in_order(chain.from_iterable(sets.rows))
    known = set(classes)
    for place, row in zip(where, sets.rows, strict=True):
        for name in row.keys() - known:
            if row[name] == 1:
                what = f'the label {shown(name)} is no class of the training set'
                problems.add(place, what, 'a label that is no class of the training set')
    return [tuple(row.get(name, sets.others) for name in classes) for row in sets.rows], [*classes]


def joined(first: Marks, second: Marks, others: int) -> tuple[Marks, list[int]]:
    """What two rows of one picture say together, and the classes of which they say 1 and 0.

    >>> joined((1, 0, -1), (-1, 0, 0), others=-1), joined((1, 0), (0, 1), others=0)
    (((1, 0, 0), []), ((1, 1), []))
    >>> joined((1, 0), (0, 0), others=-1)
    ((1, 0), [0])
    """
    marks = tuple(map(max, first, second))
    against = [k for k, pair in enumerate(zip(first, second, strict=True)) if {*pair} == {0, 1}]
    return marks, against if others == UNKNOWN else []


def one_each(sets: LabelSets, where: Sequence[str], problems: Problems) -> list[str]:
    """The one label of each row; ``problems`` takes the rows that have not one."""
    what = 'label in its cell' if sets.separator else '1 among the columns of the classes'
    for place, names in zip(where, sets.named, strict=True):
        if len(names) != 1:
            problems.add(place, f'has not one {what}')
    some = next(filter(None, sets.named), [''])  # in the place of none, so that it is said once
    return [(names or some)[0] for names in sets.named]


def in_words(name: str, labels: Sequence[Marks], sets: LabelSets) -> str:
    """How the labels of a list with this name were understood."""
    each = [len(classes_of(marks)) for marks in labels]
    how = f'separated by {sets.separator!r}' if sets.separator else 'a column for each class'
    said = [f'{min(each)} to {max(each)}, {sum(each) / len(each):.2f} in the mean']
    if without := each.count(0):
        said.append(f'{counted(without, "image")} without any')
    if more := len(sets.rows) - len(labels):
        said.append(f'{counted(more, "row")} put together with others of the same image')
    return f'{name} has several labels an image ({how}): {"; ".join(said)}.'
