"""A table of measurements: for people, and for a program."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from bce3s.tables import markdown_table


@dataclass
class Table:
    """Rows of named cells.

    Attributes:
        title: what was measured, units included.
        columns: names, in their order; the first ``left`` are words.
        rows: one dict a row; None or absent is an empty cell.
        notes: a sentence each; below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: int = 1

    def text(self) -> str:
        """As Markdown, aligned for a terminal."""
        cells = [[cell(row.get(name)) for name in self.columns] for row in self.rows]
        table = markdown_table(self.columns, cells, self.left, aligned=True)
        return '\n\n'.join([f'**{self.title}**', table, *self.notes])

    def json(self) -> dict[str, Any]:
        """Plain types, numbers in full."""
        return dict(title=self.title, rows=self.rows, notes=self.notes)


def cell(value: Any) -> str:
    """Floats to 3 significant digits, None as nothing.

    >>> cell(1234567), cell(9.999), cell(98765.4), cell(0.0012346), cell(2.346e11), cell(None)
    ('1,234,567', '10.0', '98,800', '0.00123', '2.35e+11', '')
    """
    if isinstance(value, int):
        return f'{value:,}'
    if not isinstance(value, float):
        return '' if value is None else str(value)
    if value == 0 or not math.isfinite(value):
        return f'{value:g}'
    value = float(f'{value:.2e}')  # rounded first: 9.999 has as many decimals as 10.0
    size = math.floor(math.log10(abs(value)))
    return f'{value:,.{max(0, 2 - size)}f}' if -4 <= size < 9 else f'{value:.2e}'
