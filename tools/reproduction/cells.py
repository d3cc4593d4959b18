"""What a table of a paper is made of: cells (a config and what is changed in it), the numbers that
were published for them, and the columns these numbers stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
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
        after: key of the cell whose last checkpoint, of the same seed, this one begins from.
    """

    key: str
    config: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    after: str = ''


@dataclass(frozen=True)
class Column:
    """A measure of a table.

    Args:
        name: its heading.
        measure: where a run has it: ``report.all`` (of ``report.json``), ``test.accuracy`` or
            ``train.nc1`` (of ``measures.json``), ``contrastive.share`` (of ``report.json``, the
            last epoch), ``run.seconds``, ``run.parameters``; or ``posthoc.ece``,
            ``open_set.auroc``, of what follows the trainings of a table with such a column.
        digits: decimals shown.
        better: ``'higher'`` or ``'lower'`` where the paper compares CE and BCE by it.
        loss: of the rows that it is defined for; None: of all.
    """

    name: str
    measure: str
    digits: int = 2
    better: str | None = None
    loss: str | None = None


@dataclass(frozen=True)
class Row:
    """A cell in a table: its labels there, and its published numbers by measure, as printed.

    ``posthoc`` names a method of ``posthoc.json``: the row has its numbers, not those of the run as
    trained.
    """

    cell: Cell
    labels: Mapping[str, str]
    printed: Mapping[str, str] = field(default_factory=dict)
    posthoc: str = ''

    @property
    def published(self) -> dict[str, float]:
        return {measure: float(text) for measure, text in self.printed.items()}


@dataclass(frozen=True)
class Drawing:
    """How a table is drawn.

    Args:
        kind: ``dots`` (published and measured values), ``curves`` (measures over epochs) or
            ``violins`` (distributions of the biases and scores).
        measures: what is drawn; violins need none.
        panel: labels that distinguish panels.
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
        paper, place: its source.
        rows, columns: its contents.
        drawing: its figure.
        selections: which epoch is reported; the first is the headline.
        notes: what a reader has to know.
    """

    name: str
    title: str
    paper: str
    place: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    drawing: Drawing
    selections: tuple[str, ...] = (LAST,)
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(row.cell for row in self.rows)

    @property
    def follow_ups(self) -> tuple[str, ...]:
        """What follows each training, by the sources of the columns: see ``jobs.FOLLOW_UPS``."""
        sources = {column.measure.split('.')[0] for column in self.columns}
        return tuple(sorted(sources & {'posthoc', 'open_set'}))


@dataclass(frozen=True)
class Scale:
    """At which size cells are trained.

    Args:
        name: as on the command line.
        label: what is written beside everything; empty for nothing.
        rules: (pattern of keys, overrides); all that fit are applied in this order. A cell that
            none fits is not part of the scale. None: every cell as it is.
        note: for every table.
        options: the user's own overrides, of every cell.
    """

    name: str = 'full'
    label: str = ''
    rules: tuple[tuple[str, Mapping[str, Any]], ...] | None = None
    note: str = ''
    options: Mapping[str, Any] = field(default_factory=dict)

    def cell(self, cell: Cell) -> Cell | None:
        """The cell at this scale; None if it is not part of it."""
        fitting = [rule for pattern, rule in self.rules or () if fnmatchcase(cell.key, pattern)]
        if self.rules is not None and not fitting:
            return None
        changes = {name: value for rule in fitting for name, value in rule.items()}
        return replace(cell, overrides={**cell.overrides, **changes, **self.options})
