"""Above which logit an image is of a parent, where none of its classes is sure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.parents import FILE, Parents
from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.hierarchy import parent_logits
from bce3s.evaluation.rejection import Extremes, Ranked, conformal, uniform_threshold
from bce3s.inference.threshold import AUTO, UNIFORM, Rejection


def parent_thresholds(
    run: RunDirectory, rejection: Rejection, parents: Parents, sigmoid: bool
) -> NDArray[np.float64]:
    """(P,) chosen by the same rule as those of the classes, on the same images, as if the parents
    were the classes: with the classes' own every unknown image that is nearly one of them would be
    one of a parent, for that adds up what its children have. inf: too few images, or none right.

    Args:
        run: whose validation images go through the network once, see
            :func:`~bce3s.engine.outputs.run_outputs`, unless the threshold is a number.
        rejection: of the classes, not None.
        sigmoid: see :func:`~bce3s.evaluation.hierarchy.parent_logits`.

    Raises:
        BCE3SError: the validation images are not there.
    """
    size = len(parents.names)
    if not rejection.how:
        return np.full(size, float(rejection.threshold))
    try:
        outputs = run_outputs(run, 'val' if 'val' in run.splits else 'test')
    except BCE3SError as error:
        raise BCE3SError(
            f'{run.folder / FILE}: the thresholds of parents are chosen on validation images, and '
            f'{error} Give a number as threshold, or move that file away.'
        ) from error
    logits = parent_logits(outputs.logits, parents.of, sigmoid)
    extremes = Extremes.of(logits, parents.of[outputs.labels])
    if rejection.how == UNIFORM:
        found = [uniform_threshold(extremes)] * size
    elif rejection.how == AUTO:
        rate = rejection.measured['rate']
        chosen = conformal(extremes.largest, extremes.labels, logits.argmax(axis=1), size, rate)
        found = chosen['thresholds']
    else:
        images = np.bincount(extremes.labels, minlength=size).clip(min=1)
        ranked = Ranked(extremes.largest, 1.0 / images[extremes.labels])
        found = [ranked.threshold(100 - float(rejection.how.removeprefix('keep=')))] * size
    return np.array([t if t is not None and t > -np.inf else np.inf for t in found])
