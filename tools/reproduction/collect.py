"""The finished runs of a table: every number with its mean, deviation and n over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction.cells import Cell, Column, Row, Table
from reproduction.plan import DONE, Job, folder_of
from reproduction.results import Result
from reproduction.scales import Scale


@dataclass(frozen=True)
class Measured:
    """A number over seeds: ``std`` is the sample standard deviation, None of a single value."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class CollectedRow:
    """A row with the results of its finished runs, by ascending seed.

    Args:
        row: of the table.
        labels: the row's, as they are at the scale.
        cell: as it is trained at the scale; None if it is not part of it.
        states: how far each seed is.
        results: of the finished runs.
    """

    row: Row
    labels: Mapping[str, str]
    cell: Cell | None
    states: tuple[str, ...]
    results: tuple[Result, ...]

    def number(self, column: Column, selection: str) -> Measured | None:
        """What stands in a column: :meth:`measured`, where it is defined."""
        defined = column.loss in (None, self.row.labels.get('loss'))
        return self.measured(column.measure, selection) if defined else None

    def measured(self, measure: str, selection: str) -> Measured | None:
        """None where no run has it. A run that lacks it is left out."""
        values = [result.value(measure, selection) for result in self.results]
        values = [float(value) for value in values if value is not None]
        return Measured(tuple(values)) if values else None

    def epochs(self, measure: str, selection: str) -> tuple[int, ...]:
        """The epochs these numbers are of, each once."""
        found = {result.epoch_of(measure, selection) for result in self.results}
        return tuple(sorted(found - {None}))


@dataclass(frozen=True)
class Collected:
    """A table with its results."""

    table: Table
    scale: Scale
    seeds: int
    rows: tuple[CollectedRow, ...]

    @property
    def shown(self) -> tuple[CollectedRow, ...]:
        """Rows of cells that are part of the scale."""
        return tuple(row for row in self.rows if row.cell is not None)

    @property
    def skipped(self) -> tuple[CollectedRow, ...]:
        return tuple(row for row in self.rows if row.cell is None)

    @property
    def title(self) -> str:
        """With the scale's label, where it has one."""
        name = f'{self.table.name}: {self.table.title}'
        return f'{name} [{self.scale.label}]' if self.scale.label else name

    def told_apart(self, row: CollectedRow) -> str:
        """The labels of a row without its loss, and without those that all rows share."""
        shared = {k for k, v in row.labels.items() if all(o.labels[k] == v for o in self.shown)}
        told = [_named(k, v) for k, v in row.labels.items() if k not in {'loss', *shared}]
        return ', '.join(told) or 'all'

    def summary(self) -> str:
        """``7 of 8 runs``."""
        states = [state for row in self.shown for state in row.states]
        return f'{states.count(DONE)} of {len(states)} runs'

    def as_dict(self, findings: Sequence[str]) -> dict[str, Any]:
        """What ``TABLE.json`` holds."""
        return {
            'table': self.table.name,
            'title': self.table.title,
            'source': self.table.source,
            'scale': self.scale.name,
            'label': self.scale.label,
            'options': dict(self.scale.options),
            'seeds': self.seeds,
            'selections': list(self.table.selections),
            'columns': [{'name': c.name, 'measure': c.measure} for c in self.table.columns],
            'rows': [self._row_dict(row) for row in self.shown],
            'skipped': [row.row.cell.key for row in self.skipped],
            'findings': list(findings),
            'notes': [*self.table.notes, *self.scale.notes],
        }

    def _row_dict(self, row: CollectedRow) -> dict[str, Any]:
        return {
            'cell': row.cell.key,
            'labels': dict(row.labels),
            'config': row.cell.config,
            'overrides': dict(row.cell.overrides),
            'states': list(row.states),
            'published': dict(row.row.published),
            'measured': {
                selection: {
                    column.measure: _number(row, column, selection) for column in self.table.columns
                }
                for selection in self.table.selections
            },
        }


def _named(label: str, value: str) -> str:
    return f'{label} {value}' if value.replace('.', '').isdigit() else value


def _number(row: CollectedRow, column: Column, selection: str) -> dict[str, Any] | None:
    found = row.number(column, selection)
    if found is None:
        return None
    return {
        'mean': found.mean,
        'std': found.std,
        'n': len(found.values),
        'values': list(found.values),
        'epochs': list(row.epochs(column.measure, selection)),
    }


def collect(table: Table, scale: Scale, seeds: int, root: Path) -> Collected:
    """Reads the finished runs of seeds 0 .. ``seeds`` - 1; one whose config has changed since, or
    that was cut short, is none of them.
    """
    rows = []
    for row in table.rows:
        cell = scale.cell(row.cell)
        jobs = [
            Job(cell, seed, folder_of(root, scale, cell, seed))
            for seed in range(seeds if cell is not None else 0)
        ]
        states = tuple(job.state for job in jobs)
        results = tuple(
            job.result for job, state in zip(jobs, states, strict=True) if state == DONE
        )
        rows.append(CollectedRow(row, scale.labels(row), cell, states, results))
    return Collected(table, scale, seeds, tuple(rows))
