"""What a table of a paper is made of: cells (a config and what is changed in it), the numbers that
were published for them, and the columns these numbers stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAST = 'last'
BEST = 'best on test'
BEST_TTA = 'best on test + flip TTA'


@dataclass(frozen=True)
class Cell:
    """One experiment, trained once however many tables show it.

    Args:
        key: unique and path-like, such as ``cifar10/r18/bce/sgd/da1``.
        config: the config file, below the folder of the checkout.
        overrides: dotted key of the config -> value, as with ``--cfg-options``; a value may be a
            whole dict (``_delete_=True`` in it replaces instead of merging).
    """

    key: str
    config: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A measure of a table.

    Args:
        name: its heading.
        measure: where a run has it: ``report.all`` (of ``report.json``), ``test.accuracy`` or
            ``train.nc1`` (of ``measures.json``).
        digits: decimals shown.
        better: ``'higher'`` or ``'lower'`` where the paper compares CE and BCE by it; None where
            neither is better.
        loss: of the rows that it is defined for; None: of all.
    """

    name: str
    measure: str
    digits: int = 2
    better: str | None = None
    loss: str | None = None


@dataclass(frozen=True)
class Row:
    """A cell in a table: what it is called there, and its published numbers by measure, as they are
    printed.
    """

    cell: Cell
    labels: Mapping[str, str]
    printed: Mapping[str, str] = field(default_factory=dict)

    @property
    def published(self) -> dict[str, float]:
        """The printed numbers."""
        return {measure: float(text) for measure, text in self.printed.items()}


@dataclass(frozen=True)
class Drawing:
    """How a table is drawn.

    Args:
        kind: ``dots`` (published and measured values), ``curves`` (measures over epochs) or
            ``violins`` (distributions of the biases and scores).
        measures: what is drawn; violins need none.
        panel: labels that tell panels apart.
        across: the label along the axis.
    """

    kind: str
    measures: tuple[str, ...] = ()
    panel: tuple[str, ...] = ()
    across: str = ''


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper.

    Args:
        name: as on the command line.
        title: what it shows.
        source: paper and place.
        rows, columns: its contents.
        selections: which epoch is reported; the first is the headline.
        drawing: its figure.
        notes: what a reader has to know.
    """

    name: str
    title: str
    source: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    selections: tuple[str, ...] = (LAST,)
    drawing: Drawing | None = None
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(row.cell for row in self.rows)

    @property
    def paper(self) -> str:
        """The source without the place."""
        return self.source.rpartition(', ')[0] or self.source

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the rows' labels."""
        return tuple(self.rows[0].labels) if self.rows else ()
