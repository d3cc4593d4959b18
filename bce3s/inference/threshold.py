"""Below which logit an image is none of the classes."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any

from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.report import read_report

UNIFORM = 'uniform'
OTHERWISE = "or give a number as threshold, or None (for the tool 'none') to reject no image"


class ThresholdWarning(UserWarning):
    """The threshold may not suit the network."""


def chosen_threshold(
    run: RunDirectory, asked: Any, epoch: int | None
) -> tuple[float | None, dict[str, Any]]:
    """The threshold t: an image whose largest logit is <= t is none of the classes.

    Args:
        run: whose report (``report.json``, or ``test/report.json`` of ``tools/test.py``, where that
            is of the checkpoint and the other not) has the uniform threshold, see
            :mod:`bce3s.evaluation.uniform_accuracy`; it is read for ``'uniform'`` only.
        asked: ``'uniform'``, a number, or None: no image is rejected.
        epoch: of the checkpoint, if known. With a threshold of another epoch there is a warning.

    Returns:
        t, or None; and what the report says of the rejection, empty unless ``'uniform'``.

    Raises:
        BCE3SError: the report is missing or has no threshold; or ``asked`` is none of the above.
    """
    if asked is None:
        return None, {}
    if isinstance(asked, Real) and not isinstance(asked, bool) and math.isfinite(asked):
        return float(asked), {}
    if asked != UNIFORM:
        raise BCE3SError(f"threshold is {asked!r}: give 'uniform', a finite number, or None.")
    report = _report(run, epoch)
    if epoch is not None and report.get('epoch') not in (None, epoch):
        warnings.warn(
            f'The uniform threshold of {run.folder} was chosen after epoch {report["epoch"]}, '
            f'{run.checkpoint.name} is of epoch {epoch}: it may not suit it. {_command(run)} '
            'finds its own.',
            ThresholdWarning,
            stacklevel=3,
        )
    return _threshold(run, report['rejection']), report['rejection']


def _report(run: RunDirectory, epoch: int | None) -> dict[str, Any]:
    """Of those with a rejection the one of the checkpoint, or else the first."""
    reports, missing = [], None
    for folder in (run.folder, run.folder / 'test'):
        try:
            reports.append(read_report(folder))
        except BCE3SError as error:
            missing = missing or error
    if not reports:
        raise BCE3SError(
            f'{missing} It would have the uniform threshold: {_command(run)} finds it, {OTHERWISE}.'
        )
    having = [report for report in reports if isinstance(report.get('rejection'), dict)]
    if not having:
        raise BCE3SError(
            f'The report of {run.folder} has no uniform threshold, for it was written by an '
            f'earlier version: {_command(run)} finds it, {OTHERWISE}.'
        )
    return next((report for report in having if report.get('epoch') == epoch), having[0])


def _command(run: RunDirectory) -> str:
    return f'python tools/test.py {run.config.filename} {run.checkpoint}'


def _threshold(run: RunDirectory, rejection: dict[str, Any]) -> float:
    value = rejection.get('threshold')
    if value is None:
        raise BCE3SError(
            f'{run.folder} has no uniform threshold: its network was right about no image of the '
            f'{rejection.get("chosen_on", "validation")} set. Train it for longer, {OTHERWISE}.'
        )
    return float(value)
