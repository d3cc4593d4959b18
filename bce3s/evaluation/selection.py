"""Which epoch is reported: the last, and beside it the best and the one before the second stage.

Everything is derived from the history, one row per validation, so a resumed run needs nothing else
stored. Rows and entries are plain Python values, which checkpoints and JSON keep as they are.
"""

from __future__ import annotations

from typing import Any

from bce3s.evaluation.accuracy import COLUMNS

LAST = 'last'
STAGE_1 = 'stage 1'


def history_row(epoch: int | None, stage: int | None, summary: dict[str, dict]) -> dict[str, Any]:
    """What the history keeps of one validation: epoch, stage, split means, also with flip TTA.

    Args:
        epoch: epochs done (from 1).
        stage: 1, or 2 while the classifier is fine-tuned alone.
        summary: ``LongTailedMetric.summary``.
    """
    row = {'epoch': epoch, 'stage': stage, **{split: summary['plain'][split] for split in COLUMNS}}
    if 'flip_tta' in summary:
        row['flip_tta'] = {split: summary['flip_tta'][split] for split in COLUMNS}
    return row


def add_to_history(history: list[dict], row: dict) -> list[dict]:
    """``history`` with ``row`` in place: an epoch validated again replaces its former row."""
    others = [old for old in history if old['epoch'] != row['epoch']]
    return sorted([*others, row], key=lambda entry: entry['epoch'] or 0)


def best_row(history: list[dict], flip_tta: bool = False) -> dict | None:
    """The row with the highest All, the earliest among equals; ``None`` if there is none."""
    rows = [row for row in history if not flip_tta or 'flip_tta' in row]
    figures = [(row['flip_tta'] if flip_tta else row)['all'] for row in rows]
    return rows[figures.index(max(figures))] if rows else None


def _entry(row: dict, selection: str, tta: bool) -> dict[str, Any]:
    figures = row['flip_tta'] if tta else row
    return {
        'selection': selection,
        'tta': tta,
        'epoch': row['epoch'],
        'stage': row['stage'],
        **{split: figures[split] for split in COLUMNS},
    }


def other_selections(history: list[dict], split: str, headline: str = LAST) -> list[dict[str, Any]]:
    """The figures that stand beside the headline.

    Args:
        history: rows by epoch; the headline is the last one without TTA.
        split: of the evaluation data, ``'test'`` or ``'val'``: what the best epoch was picked on.
        headline: what the last row is called.

    Returns:
        The headline's epoch with flip TTA; the best epoch without and with flip TTA, each picked by
        its own All (if there was more than one to pick from); and after a second stage the last
        epoch of the first that was validated.
    """
    last = history[-1]
    entries = [_entry(last, headline, True)] if 'flip_tta' in last else []
    if headline == LAST and len(history) > 1:
        best = {tta: best_row(history, tta) for tta in (False, True)}
        entries += [_entry(row, f'best on {split}', tta) for tta, row in best.items() if row]
    first = [row for row in history if row['stage'] == 1]
    if last['stage'] == 2 and first:
        entries.append(_entry(first[-1], STAGE_1, False))
    return entries


def label(entry: dict[str, Any]) -> str:
    """The name of a selection in tables: ``last``, ``best on test + flip TTA``, ..."""
    return entry['selection'] + (' + flip TTA' if entry['tta'] else '')


def selections(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The headline, then the others: what the tables have rows for."""
    return [report, *report['other']]
