"""A table of measurements: for a terminal, for a README, for a program."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """Rows of named cells.

    Attributes:
        title: what was measured, units included.
        columns: names, in their order.
        rows: one dict a row; its keys are columns, None or absent is an empty cell.
        notes: a sentence each; below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Aligned for a terminal: numbers to the right, words to the left."""
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = [self._is_numeric(name) for name in self.columns]
        lines = [
            '  '.join(
                cell.rjust(width) if numeric else cell.ljust(width)
                for cell, width, numeric in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, '  '.join('-' * width for width in widths))
        return '\n'.join([self.title, *lines, *self.notes])

    def markdown(self) -> str:
        """The same as GitHub reads it."""
        head, *rows = (
            '| ' + ' | '.join(cell.replace('|', r'\|') for cell in row) + ' |'
            for row in self._cells()
        )
        rule = [' ---: ' if self._is_numeric(name) else ' --- ' for name in self.columns]
        table = '\n'.join([head, f'|{"|".join(rule)}|', *rows])
        return '\n\n'.join([f'**{self.title}**', table, *self.notes])

    def json(self) -> dict[str, Any]:
        """Plain types; numbers in full, None for what is no number (NaN, infinity)."""
        return dict(
            title=self.title,
            columns=list(self.columns),
            rows=[{name: _plain(row.get(name)) for name in self.columns} for row in self.rows],
            notes=list(self.notes),
        )

    def _cells(self) -> list[list[str]]:
        return [
            list(self.columns),
            *([cell(row.get(name)) for name in self.columns] for row in self.rows),
        ]

    def _is_numeric(self, name: str) -> bool:
        values = [row[name] for row in self.rows if row.get(name) is not None]
        return bool(values) and all(isinstance(_plain(v), int | float | None) for v in values)


def cell(value: Any) -> str:
    """One value as it is printed: floats to 3 significant digits, None as nothing."""
    value = _plain(value)
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, int):
        return f'{value:,}'
    if isinstance(value, float):
        return _three_digits(value)
    return str(value)


def _three_digits(value: float) -> str:
    if value == 0:
        return '0'
    value = float(f'{value:.2e}')  # rounded first: 9.999 has as many decimals as 10.0
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 9:
        return f'{value:.2e}'
    return f'{value:,.{max(0, 2 - size)}f}'


def _plain(value: Any) -> Any:
    """A Python scalar for NumPy's and torch's; None for a float that is not finite."""
    if hasattr(value, 'item'):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
