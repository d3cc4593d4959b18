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
from bce3s.evaluation.rejection import fewest
from bce3s.evaluation.rejection_scores import MAX_LOGIT
from bce3s.evaluation.report import read_report, threshold_range
from bce3s.wording import counted

AUTO, UNIFORM = 'auto', 'uniform'
KEEP = re.compile('keep=(100|[1-9]?[0-9])')
OTHERWISE = "or give a number as threshold, or None (for the tool 'none') to reject no image"


class ThresholdWarning(UserWarning):
    """The threshold may not suit the network."""


@dataclass(frozen=True)
class Rejection:
    """When an image is none of the classes: if its score is <= the threshold of its best class.

    Attributes:
        threshold: one for all classes; (K,) of the classes, None: it is always known; or None: no
            image is rejected.
        about: where it comes from and what it does to known images, without a full stop.
        how: ``'auto'``, ``'uniform'`` or ``'keep=95'``; empty for a number or None.
        measured: what the report says of the threshold; empty where it was not needed.
        score: what is compared, see :mod:`bce3s.evaluation.rejection_scores`.
    """

    threshold: float | tuple[float | None, ...] | None
    about: str
    how: str = ''
    measured: dict[str, Any] = field(default_factory=dict)
    score: str = MAX_LOGIT

    def of(self, k: int) -> float | None:
        """The threshold of class ``k``."""
        return self.threshold[k] if isinstance(self.threshold, tuple) else self.threshold

    def __str__(self) -> str:
        if self.threshold is None:
            return 'none'
        whole = isinstance(self.threshold, tuple)
        return threshold_range(self.threshold if whole else [self.threshold])


def chosen_threshold(
    run: RunDirectory, asked: Any, epoch: int | None, logits: bool = False
) -> Rejection:
    """The threshold of a run that is asked for.

    Args:
        run: whose report (``report.json``, or ``test/report.json`` of ``tools/test.py``, where that
            is of the checkpoint and the other not) has the thresholds that were chosen on the
            validation data, see :mod:`bce3s.evaluation.rejection`.
        asked: ``'auto'``, those of the classes that reject at most ``RATE`` percent of new known
            images; ``'keep=90'``, one for all classes that rejects at most 10 % (a whole number;
            with either none where the validation images are too few to say so);
            ``'uniform'``; a number, or None.
        logits: with ``'auto'``, whether the largest logit is compared although another score is the
            best one by the report (:mod:`bce3s.engine.rejection_score`).
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
            f'The threshold of {run.folder} was chosen after epoch {report["epoch"]}, '
            f'{run.checkpoint.name} is of epoch {epoch}: it may not suit it. {found_by(run)}.',
            ThresholdWarning,
            stacklevel=3,
        )
    found = report['rejection']
    if asked == UNIFORM:
        return _uniform(run, found)
    if keep:
        return _keeping(found, int(keep[1]))
    best = None if logits else better_score(report)
    return _at_rate(found if best is None else best)


def better_score(report: dict[str, Any]) -> dict[str, Any] | None:
    """The ``rejection_score`` of a report, if it has thresholds of all classes; None: the largest
    logit is compared.
    """
    best = report.get('rejection_score') or {}
    # a class that was added has no threshold of that score
    fits = best.get('groups') and len(best['thresholds']) == len(report['classes'])
    return best if fits else None


def _report(run: RunDirectory, epoch: int | None) -> dict[str, Any]:
    """Of those with a rejection the one of the checkpoint, or else the first."""
    reports, missing = [], None
    for folder in (run.folder, run.folder / 'test'):
        try:
            reports.append(read_report(folder))
        except BCE3SError as error:
            missing = missing or error
    if not reports:
        raise BCE3SError(f'{missing} It would have the threshold: {found_by(run)}, {OTHERWISE}.')
    having = [report for report in reports if 'uniform' in (report.get('rejection') or {})]
    if not having:
        raise BCE3SError(
            f'The report of {run.folder} has no threshold for this, for it was written by an '
            f'earlier version, or the scores were not finite: {found_by(run)}, {OTHERWISE}.'
        )
    return next((report for report in having if report.get('epoch') == epoch), having[0])


def found_by(run: RunDirectory) -> str:
    """What measures a checkpoint again, and chooses thresholds for it."""
    if run.config.filename is None:
        return 'tools/test.py finds one in the run that this model was published from'
    return f'python tools/test.py {run.config.filename} {run.checkpoint} finds one'


def _at_rate(found: dict[str, Any]) -> Rejection:
    if not found['groups']:
        return Rejection(None, _too_few(found, found['rate']), AUTO, found)
    low, high = found['interval']['plain']
    score = found.get('score', MAX_LOGIT)
    what = 'no logit' if score == MAX_LOGIT else f'{score} not'
    about = (
        f'{what} above the threshold of its class ({threshold_range(found["thresholds"])}), '
        f'chosen on the {found["chosen_on"]} images to reject at most {found["rate"]:g} % of known '
        f'images; of new ones it will be {low:.1f} to {high:.1f} % (95 %)'
    )
    return Rejection(tuple(found['thresholds']), about, AUTO, found, score)


def _keeping(found: dict[str, Any], percent: int) -> Rejection:
    how, rate = f'keep={percent}', 100 - percent
    threshold = found['keep'][percent]
    if threshold is None:
        return Rejection(None, _too_few(found, rate), how, found)
    about = (
        f'no logit above {threshold:.4g}, chosen on the {found["chosen_on"]} images to keep '
        f'{percent} % of known images'
    )
    return Rejection(float(threshold), about, how, found)


def _too_few(found: dict[str, Any], rate: float) -> str:
    images = counted(found['images'], f'{found["chosen_on"]} image')
    if not rate:
        return f'No image is rejected, for no number of images makes sure that none is ({images})'
    return (
        f'No image is rejected, for {images} are too few to reject at most {rate:g} % of known '
        f'images ({fewest(rate)} are needed)'
    )


def _uniform(run: RunDirectory, found: dict[str, Any]) -> Rejection:
    uniform, on = found['uniform'], found['chosen_on']
    if uniform['threshold'] is None:
        raise BCE3SError(
            f'{run.folder} has no uniform threshold: its network was right about no image of the '
            f'{on} set. Train it for longer, {OTHERWISE}.'
        )
    about = (
        f'no logit above {uniform["threshold"]:.4g}, the uniform threshold, chosen on the {on} data'
    )
    measured = (uniform['false_rejection'] or {}).get('all')
    share = uniform['at_threshold']['all'] if measured is None else measured
    if share is not None:
        about += f', where it rejects {share:.1f} % of the known images (mean over the classes)'
    return Rejection(float(uniform['threshold']), about, UNIFORM, found)
