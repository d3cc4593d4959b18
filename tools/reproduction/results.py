"""What a finished (or half finished) run left behind, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError
from reproduction.cells import BEST, LAST

NOTE = 'cell.json'  # what this package itself keeps in a run's folder


@dataclass(frozen=True)
class Result:
    """``report.json``, ``measures.json``, ``cell.json`` of a run's folder; absent ones are None."""

    folder: Path

    @cached_property
    def report(self) -> dict[str, Any] | None:
        return _read(self.folder / 'report.json')

    @cached_property
    def measures(self) -> dict[str, Any] | None:
        return _read(self.folder / 'measures.json')

    @cached_property
    def note(self) -> dict[str, Any]:
        return _read(self.folder / NOTE) or {}

    @property
    def epoch(self) -> int:
        """Epochs that are done, as far as they were validated; 0 without any."""
        return (self.report or {}).get('epoch') or 0

    @property
    def max_epochs(self) -> int | None:
        return (self.report or {}).get('max_epochs')

    @property
    def finished(self) -> bool:
        return self.max_epochs is not None and self.epoch >= self.max_epochs

    @property
    def digest(self) -> str | None:
        """Of the config it was trained with; None if nothing says so."""
        return (self.report or {}).get('config_sha256') or self.note.get('digest')

    def value(self, measure: str, selection: str) -> float | None:
        """One number: ``report.all``, ``test.accuracy``, ``train.nc1``; None where there is none.

        Args:
            measure: see :class:`~reproduction.cells.Column`.
            selection: of which epoch: a selection of the report; ``best on test`` is for the
                measures the epoch with the highest ``test.accuracy`` (the first among equals).
        """
        source, name = measure.split('.', 1)
        row = self._report_row(selection) if source == 'report' else self._epoch_row(selection)
        values = row if source == 'report' else (row or {}).get(source)
        return (values or {}).get(name)

    def epoch_of(self, measure: str, selection: str) -> int | None:
        """The epoch that ``value`` is of."""
        from_report = measure.startswith('report.')
        row = self._report_row(selection) if from_report else self._epoch_row(selection)
        return (row or {}).get('epoch')

    def curve(self, measure: str) -> list[tuple[int, float]]:
        """(epoch, value) of a measure, in the order of the epochs; those without left out."""
        kind, name = measure.split('.', 1)
        rows = (self.measures or {}).get('epochs', [])
        points = [(row['epoch'], (row.get(kind) or {}).get(name)) for row in rows]
        return [(epoch, value) for epoch, value in points if value is not None]

    def distributions(self, kind: str = 'train') -> dict[str, Any] | None:
        """``b``, ``s_pos``, ``s_neg`` of the last epoch: biases, and histograms of the scores."""
        rows = (self.measures or {}).get('epochs', [])
        return ((rows[-1] if rows else {}).get(kind) or {}).get('distributions')

    def _report_row(self, selection: str) -> dict[str, Any] | None:
        from bce3s.evaluation.selection import label, selections

        entries = selections(self.report) if self.report else []
        return next((entry for entry in entries if label(entry) == selection), None)

    def _epoch_row(self, selection: str) -> dict[str, Any] | None:
        rows = (self.measures or {}).get('epochs', [])
        if not rows or selection not in (LAST, BEST):
            return None
        if selection == LAST:
            return rows[-1]
        rows = [row for row in rows if row.get('test') and row['epoch'] > 0]
        accuracies = [row['test']['accuracy'] for row in rows]
        return rows[accuracies.index(max(accuracies))] if rows else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BCE3SError(
            f'{path} cannot be read ({error}). Delete it; the run is then resumed or repeated.'
        ) from error
    if not isinstance(content, dict):
        raise BCE3SError(f'{path} holds no results. Delete it; the run is then repeated.')
    return content
