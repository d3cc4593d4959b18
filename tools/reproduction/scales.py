"""At which size cells are trained: ``full`` as published, ``small`` for two slow cores.

A small cell is the same config with further overrides, so it runs through the same code. What it
gives is no estimate of the published numbers, and everything that is written says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from bce3s.errors import BCE3SError
from reproduction.cells import Cell, Row
from reproduction.small import NOTES, SMALL, STANDS_FOR, Rules, StandsFor


@dataclass(frozen=True)
class Scale:
    """Args:
    name: as on the command line.
    label: what is written beside everything; empty for nothing.
    rules: (pattern of keys, overrides), applied in this order, later ones win; overrides None
        leave a cell out. Rules None: every cell as it is; with rules, a cell that no pattern
        fits is not part of the scale.
    stands_for: (pattern of keys, label of a row -> what it is at this scale).
    notes: for every table.
    options: the user's own overrides, of every cell.
    """

    name: str
    label: str = ''
    rules: Rules | None = None
    stands_for: StandsFor = ()
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def cell(self, cell: Cell) -> Cell | None:
        """The cell at this scale; None if it is not part of it."""
        changes = self._changes(cell.key)
        if changes is None:
            return None
        return replace(cell, overrides={**cell.overrides, **changes, **self.options})

    def labels(self, row: Row) -> dict[str, str]:
        """The labels of a row, as they are at this scale."""
        labels = dict(row.labels)
        for pattern, names in self.stands_for:
            if fnmatchcase(row.cell.key, pattern):
                labels = {key: names.get(text, text) for key, text in labels.items()}
        return labels

    def with_options(self, options: Mapping[str, Any]) -> Scale:
        """The scale with the user's own overrides on top."""
        return replace(self, options=dict(options))

    def _changes(self, key: str) -> dict[str, Any] | None:
        if self.rules is None:
            return {}
        fitting = [changes for pattern, changes in self.rules if fnmatchcase(key, pattern)]
        if not fitting or None in fitting:
            return None
        return {name: value for changes in fitting for name, value in changes.items()}


SCALES = {
    'full': Scale('full'),
    'small': Scale(
        'small', 'small: not comparable with the published numbers', SMALL, STANDS_FOR, NOTES
    ),
}


def parse_options(options: list[str]) -> dict[str, Any]:
    """``['a.b=1']`` -> ``{'a.b': 1}``, values read as those of ``--cfg-options``.

    Raises:
        BCE3SError: no ``=``.
    """
    from mmengine.config import DictAction

    values = {}
    for option in options:
        key, equals, text = option.partition('=')
        if not equals or not key:
            raise BCE3SError(f'--cfg-options {option}: write KEY=VALUE.')
        try:
            values[key] = DictAction._parse_iterable(text)
        except AssertionError as error:
            raise BCE3SError(f'--cfg-options {option}: {error}.') from error
    return values
