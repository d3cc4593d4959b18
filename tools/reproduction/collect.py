"""The finished runs of a table: every number with its mean, deviation and n over the seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bce3s.tables import mean_std
from reproduction.cells import Cell, Column, Row, Scale, Table
from reproduction.jobs import DONE, Job, jobs_of


@dataclass(frozen=True)
class CollectedRow:
    """A row; the cell as it is trained at the scale; its runs, by ascending seed."""

    row: Row
    cell: Cell
    jobs: tuple[Job, ...]
    done: tuple[Job, ...]

    @property
    def loss(self) -> str:
        return self.row.labels.get('loss', '')

    def values(self, measure: str, selection: str) -> list[float]:
        """Of the finished runs that have the measure."""
        found = [job.value(measure, selection, self.row.posthoc) for job in self.done]
        return [float(value) for value in found if value is not None]

    def mean(self, measure: str, selection: str) -> float | None:
        values = self.values(measure, selection)
        return sum(values) / len(values) if values else None

    def number(self, column: Column, selection: str) -> str:
        """What stands in a column: mean ± deviation, a dash where there is none."""
        if column.loss not in (None, self.loss):
            return '-'
        return mean_std(self.values(column.measure, selection), column.digits)

    def epochs(self, measure: str, selection: str) -> list[int]:
        """The epochs that these numbers are of, each once."""
        found = {job.epoch_of(measure, selection) for job in self.done}
        return sorted(found - {None})


@dataclass(frozen=True)
class Collected:
    """A table with its results; ``rows`` are those whose cell is part of the scale."""

    table: Table
    scale: Scale
    rows: tuple[CollectedRow, ...]

    @property
    def title(self) -> str:
        """With the scale's label, where it has one."""
        name = f'{self.table.name}: {self.table.title}'
        return f'{name} [{self.scale.label}]' if self.scale.label else name

    @property
    def summary(self) -> str:
        """``7 of 8 runs``."""
        done, every = (
            sum(len(getattr(row, name)) for row in self.rows) for name in ('done', 'jobs')
        )
        return f'{done} of {every} runs'

    def name_of(self, row: CollectedRow) -> str:
        """The labels of a row without loss, published figure and what all rows share."""
        labels = [other.row.labels for other in self.rows]
        told = [
            f'{key} {value}' if value.replace('.', '').isdigit() else value
            for key, value in row.row.labels.items()
            if key not in ('loss', 'published') and any(other[key] != value for other in labels)
        ]
        return ', '.join(told) or 'all'

    def as_dict(self) -> dict[str, Any]:
        """What ``TABLE.json`` holds."""
        return {
            'table': self.table.name,
            'title': self.table.title,
            'source': f'{self.table.paper}, {self.table.place}',
            'scale': self.scale.name,
            'label': self.scale.label,
            'options': dict(self.scale.options),
            'rows': [self._row(row) for row in self.rows],
        }

    def _row(self, row: CollectedRow) -> dict[str, Any]:
        return {
            'cell': row.cell.key,
            'labels': dict(row.row.labels),
            'config': row.cell.config,
            'overrides': dict(row.cell.overrides),
            'published': row.row.published,
            'measured': {
                selection: {
                    column.measure: {
                        'values': row.values(column.measure, selection),
                        'epochs': row.epochs(column.measure, selection),
                    }
                    for column in self.table.columns
                }
                for selection in self.table.selections
            },
        }


def collect(table: Table, scale: Scale, seeds: int, root: Path) -> Collected:
    """Reads the finished runs of seeds 0 .. ``seeds`` - 1; one whose config has changed since, or
    that was cut short, is none of them.
    """
    jobs: dict[str, list[Job]] = {}
    for job in jobs_of([table], scale, seeds, root):
        jobs.setdefault(job.cell.key, []).append(job)
    rows = []
    for row in table.rows:
        if of_cell := jobs.get(row.cell.key):
            done = tuple(job for job in of_cell if job.state == DONE)
            rows.append(CollectedRow(row, of_cell[0].cell, tuple(of_cell), done))
    return Collected(table, scale, tuple(rows))
