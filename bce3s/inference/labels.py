"""Several labels an image: those above the thresholds of their classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from bce3s.datasets.label_sets import SEPARATORS
from bce3s.engine.rejection_score import network_digest
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.multi_label_report import probability, span
from bce3s.evaluation.report import read_report
from bce3s.inference.inputs import Name
from bce3s.inference.threshold import AUTO, Rejection, found_by
from bce3s.wording import counted


@dataclass(frozen=True)
class LabelPrediction:
    """What is said of one image that may have several labels.

    Attributes:
        image: its path, or its position among the images given.
        labels: names of the classes whose score is above their threshold, the highest score first;
            empty: none is, or the image could not be read.
        scores: of ``labels``, in [0, 1]: sigmoids of their logits.
        top: the most likely classes with their scores, above a threshold or not.
        error: why the image could not be read; then all of the above but ``image`` is empty.
    """

    image: Name
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def label_rows(
    logits: Tensor, thresholds: float | Sequence[float], classes: Sequence[str], top: int
) -> Iterator[dict[str, Any]]:
    """Of each row of logits (N, K) the fields of its :class:`LabelPrediction`."""
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), logits.shape[1:])
    scores = logits.double().sigmoid().tolist()
    above = logits.numpy() > limits
    order = logits.argsort(dim=1, descending=True, stable=True).tolist()
    for row, called, ranked in zip(scores, above.tolist(), order, strict=True):
        own = [k for k in ranked if called[k]]
        yield dict(
            labels=tuple(classes[k] for k in own),
            scores=tuple(row[k] for k in own),
            top=tuple((classes[k], row[k]) for k in ranked[:top]),
        )


def label_thresholds(
    run: RunDirectory, asked: Any, network: nn.Module, classes: Sequence[str]
) -> Rejection:
    """The thresholds (logits) above which a label is given.

    Args:
        run: whose report (``report.json``, or ``test/report.json`` of ``tools/test.py``, where that
            is of the network and the other not) has those that were chosen on the validation data,
            see :func:`~bce3s.evaluation.multi_label.measure_decisions`.
        asked: ``'auto'``, these; or a number, one logit for all classes (0: a probability of 0.5).
        network: of the checkpoint.
        classes: (K,) of the checkpoint.

    Raises:
        BCE3SError: no report, one without thresholds, of another network or of other classes; or
            ``asked`` is neither.
    """
    if isinstance(asked, Real) and not isinstance(asked, bool) and math.isfinite(asked):
        about = f'a label is given above a score of {probability(asked):.3f}, the same for all'
        return Rejection(float(asked), about)
    if asked != AUTO:
        raise BCE3SError(
            f"threshold is {asked!r}, but images of this run have several labels: give 'auto', the "
            'thresholds of the classes, or a number, a logit for all (0: a probability of 0.5).'
        )
    found = decisions_of((run.folder, run.folder / 'test'), network_digest(network), classes)
    if isinstance(found, str):
        raise BCE3SError(
            f'{run.folder}: {found}. {found_by(run)} for each class; or give a number as '
            'threshold, a logit (0: a probability of 0.5).'
        )
    about = (
        f'a label is given above the threshold of its class ({span(found["thresholds"])}), which '
        f'gives the largest F1 on the {found["chosen_on"]} images'
    )
    if found['fallback']:
        names = counted(len(found['fallback']), 'class')
        about += f' (0.500 for {names} without a positive or a negative there)'
    return Rejection(tuple(found['thresholds']), about, AUTO, found)


def decisions_of(
    folders: Sequence[Path], network: str, classes: Sequence[str]
) -> dict[str, Any] | str:
    """The ``decisions`` of the first report in ``folders`` that are of this network and these
    classes; or why there are none, a sentence without a full stop.
    """
    why = ''
    for folder in folders:
        try:
            report = read_report(folder)
        except BCE3SError as error:
            why = why or str(error).rstrip('.')
            continue
        found = report.get('decisions')
        if not found:
            why = f'the thresholds of its classes are not in {folder.name}/report.json'
        elif list(report['classes']) != list(classes):
            why = (
                f'the thresholds in {folder.name}/report.json are of {len(report["classes"])} '
                f'classes, not of the {len(classes)} of this model'
            )
        elif found.get('network') != network:
            why = f'the thresholds in {folder.name}/report.json are of another network than this'
        else:
            return found
    return why


def separator(classes: Sequence[str]) -> str:
    """Of labels in a cell: the first that no name has."""
    return next((s for s in SEPARATORS if not any(s in name for name in classes)), SEPARATORS[0])
