"""``data_lists/results/TABLE.csv``: our own numbers, a row a run, from which tables are drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bce3s.files import written_whole
from reproduction.cells import LAST, Scale, Table
from reproduction.collect import Collected, CollectedRow
from reproduction.jobs import ROOT, Job

RESULTS = ROOT / 'data_lists' / 'results'
KEY = ('scale', 'cell', 'posthoc', 'seed')  # what a row is of
FACTS = ('config', 'config_sha256', 'subset_sha256', 'epoch', 'device', 'torch', 'commit', 'date')


@dataclass(frozen=True)
class Record:
    """A row of the file, in the place of a run."""

    row: Mapping[str, str]

    def value(self, measure: str, selection: str, posthoc: str = '') -> float | None:
        text = self.row.get(measure, '') if selection == LAST else ''
        return float(text) if text else None

    def epoch_of(self, measure: str, selection: str) -> int | None:
        return int(self.row['epoch']) if self.value(measure, selection) is not None else None


def record(collected: Collected, path: Path) -> None:
    """Adds the finished runs; a row of the same scale, cell, method and seed is replaced."""
    table = collected.table
    measures = [column.measure for column in table.columns]
    rows = {tuple(row[name] for name in KEY): row for row in _read(path)}
    for row in collected.rows:
        for job in row.done:
            found = _row(job, collected.scale, row.row.posthoc, measures)
            rows[tuple(found[name] for name in KEY)] = found
    text = io.StringIO()
    writer = csv.DictWriter(text, (*KEY, *measures, *FACTS), restval='', extrasaction='ignore')
    writer.writeheader()
    writer.writerows(rows[key] for key in sorted(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, shared=True) as file:
        file.write(text.getvalue().replace('\r\n', '\n').encode())


def recorded(table: Table, scale: Scale, path: Path) -> Collected:
    """The table of what the file has."""
    records, rows = _read(path), []
    for row in table.rows:
        cell = scale.cell(row.cell)
        wanted = (scale.name, row.cell.key, row.posthoc)
        found = [r for r in records if tuple(r[name] for name in KEY[:3]) == wanted]
        done = tuple(Record(r) for r in sorted(found, key=lambda r: int(r['seed'])))
        if cell is not None:
            rows.append(CollectedRow(row, cell, done, done))
    return Collected(table, scale, tuple(rows))


def _row(job: Job, scale: Scale, posthoc: str, measures: list[str]) -> dict[str, str]:
    report, note = job.report, job.note
    values = {measure: job.value(measure, LAST, posthoc) for measure in measures}
    return {
        **{name: '' if v is None else f'{v:.6g}' for name, v in values.items()},
        'scale': scale.name,
        'cell': job.cell.key,
        'posthoc': posthoc,
        'seed': str(job.seed),
        'config': job.cell.config,
        'config_sha256': job.digest[:12],
        'subset_sha256': (report.get('subset') or {}).get('sha256', '')[:12],
        'epoch': str(report['epoch']),
        'device': report.get('device', ''),
        'torch': (report.get('versions') or {}).get('torch', ''),
        'commit': note.get('commit', ''),
        'date': date.fromtimestamp((job.folder / 'report.json').stat().st_mtime).isoformat(),
    }


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file, strict=True))
