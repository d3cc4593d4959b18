"""What each run turns away as none of its classes, at the uniform threshold."""

from __future__ import annotations

from typing import Any

from bce3s.evaluation.accuracy import COLUMNS
from bce3s.page.sections import Cell, Group, PageRun, Table, grouped
from bce3s.page.svg import VARIABLES


def rejection_table(runs: list[PageRun]) -> tuple[Table | None, list[str]]:
    """A row a run, from its report (see ``bce3s/evaluation/rejection.py``), and notes on runs that
    have none."""
    rows, without = [], []
    for group in grouped(runs):
        for run in group.runs:
            found = run.report.get('rejection')
            if not found or found.get('threshold') is None:
                without.append(run.name)
                continue
            rows.append(_row(group, run, found))
    notes = []
    if without:
        notes.append(
            f'No rejection figures of {", ".join(without)}: none in report.json. Test again with '
            'tools/test.py.'
        )
    header = ['Run', 'Chosen on', 'Threshold', 'Uniform accuracy']
    header += [f'Rejected, {c.capitalize()}' for c in COLUMNS]
    header += [f'Right, {c.capitalize()}' for c in COLUMNS]
    fitted = any((run.report.get('rejection') or {}).get('cross_fitted') for run in runs)
    caption = (
        '"None of these": an image is rejected if its largest logit is at most the uniform '
        'threshold. Rejected: images of known classes that are turned away, in percent. Right: '
        'those that are accepted and classified right.'
    )
    if fitted:
        caption += (
            ' Where the threshold is chosen on the images that it is measured on, each half of '
            'them is judged by the threshold of the other.'
        )
    return (Table(header, rows, caption, left=2) if rows else None), notes


def _row(group: Group, run: PageRun, found: dict[str, Any]) -> list[str]:
    def percent(part: str, column: str) -> str:
        value = (found.get(part) or {}).get(column)
        return '-' if value is None else f'{value:.2f}'

    uniform = found.get('uniform_accuracy')
    return [
        Cell(run.name, colour=VARIABLES[group.colour]),
        str(found.get('chosen_on', '-')),
        f'{found["threshold"]:.2f}',
        '-' if uniform is None else f'{uniform:.2f}',
        *(percent('false_rejection', c) for c in COLUMNS),
        *(percent('accuracy', c) for c in COLUMNS),
    ]
