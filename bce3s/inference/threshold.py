"""Below which logit an image is none of the classes."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection import MOST_FALSE, default_threshold, false_share
from bce3s.evaluation.report import read_report

AUTO, UNIFORM = 'auto', 'uniform'
KEEP = re.compile('keep=(100|[1-9]?[0-9])')
OTHERWISE = "or give a number as threshold, or None (for the tool 'none') to reject no image"


class ThresholdWarning(UserWarning):
    """The threshold may not suit the network."""


@dataclass(frozen=True)
class Rejection:
    """When an image is none of the classes: if its largest logit is <= ``threshold``.

    Attributes:
        threshold: None: no image is rejected.
        about: where it comes from and what it does to known images, without a full stop.
        how: ``'uniform'`` or ``'keep=95'``; empty for a number or None.
        measured: what the report says of the uniform threshold; empty where it was not needed.
    """

    threshold: float | None
    about: str
    how: str = ''
    measured: dict[str, Any] = field(default_factory=dict)


def chosen_threshold(run: RunDirectory, asked: Any, epoch: int | None) -> Rejection:
    """The threshold of a run that is asked for.

    Args:
        run: whose report (``report.json``, or ``test/report.json`` of ``tools/test.py``, where that
            is of the checkpoint and the other not) has the thresholds that were chosen on the
            validation data, see :mod:`bce3s.evaluation.rejection`.
        asked: ``'uniform'``; ``'keep=95'``, that which keeps 95 % of the validation images (a whole
            number, all images alike); ``'auto'``, the uniform one unless it rejects more than
            ``MOST_FALSE`` percent of them (means over classes), then none; a number, or None.
        epoch: of the checkpoint, if known. With a threshold of another epoch there is a warning.

    Raises:
        BCE3SError: the report is missing or has no threshold; or ``asked`` is none of the above.
    """
    if asked is None:
        return Rejection(None, 'No image is rejected')
    if isinstance(asked, Real) and not isinstance(asked, bool) and math.isfinite(asked):
        return Rejection(float(asked), f'no logit above {asked:.4g}')
    keep = KEEP.fullmatch(asked) if isinstance(asked, str) else None
    if not keep and asked not in (AUTO, UNIFORM):
        raise BCE3SError(
            f"threshold is {asked!r}: give 'auto', 'uniform', 'keep=95' (percent of the known "
            'images, a whole number), a finite number, or None.'
        )
    report = _report(run, epoch)
    if epoch is not None and report.get('epoch') not in (None, epoch):
        warnings.warn(
            f'The uniform threshold of {run.folder} was chosen after epoch {report["epoch"]}, '
            f'{run.checkpoint.name} is of epoch {epoch}: it may not suit it. {_command(run)} '
            'finds its own.',
            ThresholdWarning,
            stacklevel=3,
        )
    found = report['rejection']
    data = found.get('chosen_on', 'validation')
    if keep:
        return _keeping(run, found, int(keep[1]))
    if asked == AUTO and default_threshold(found) is None:
        why = f'the network was right about no image of the {data} data'
        if found.get('threshold') is not None:
            why = (
                f'the uniform threshold would reject {false_share(found):.1f} % of the {data} '
                f'images, which are of known classes (more than {MOST_FALSE:.0f} %); to have it '
                "all the same, give the threshold 'uniform', or 'keep=95', or a number"
            )
        return Rejection(None, f'No image is rejected, for {why}', measured=found)
    if found.get('threshold') is None:
        raise BCE3SError(
            f'{run.folder} has no uniform threshold: its network was right about no image of the '
            f'{data} set. Train it for longer, {OTHERWISE}.'
        )
    about = (
        f'no logit above {found["threshold"]:.4g}, the uniform threshold, chosen on the {data} data'
    )
    share = false_share(found)
    if share is not None:
        about += f', where it rejects {share:.1f} % of the known images (mean over the classes)'
    return Rejection(float(found['threshold']), about, UNIFORM, found)


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


def _keeping(run: RunDirectory, found: dict[str, Any], percent: int) -> Rejection:
    if len(found.get('keep') or ()) != 101:
        raise BCE3SError(
            f'The report of {run.folder} does not say which threshold keeps {percent} % of the '
            f'known images, for it was written by an earlier version: {_command(run)} finds it, '
            f'{OTHERWISE}.'
        )
    threshold = float(found['keep'][percent])
    on = found.get('measured_on', 'validation')
    about = (
        f'no logit above {threshold:.4g}, the threshold that keeps {percent} % of the {on} images'
    )
    return Rejection(threshold, about, f'keep={percent}', found)
