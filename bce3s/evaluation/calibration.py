r"""Calibration: is what the model is 80 % sure of right 80 % of the time?

Samples fall into M bins of equal width by their confidence, bin m being ((m - 1) / M, m / M] (a
confidence of 0 belongs to the first). With :math:`n_m` samples in it, of which the share
:math:`acc_m` is right and whose mean confidence is :math:`conf_m`, the expected calibration error
is :math:`ECE = \sum_m \frac{n_m}{N} |acc_m - conf_m|` (Guo, Pleiss, Sun, Weinberger, "On
Calibration of Modern Neural Networks", ICML 2017). It averages over all samples alike, not over
classes. Confidences are shares in 0..1, figures are in percent.

What the confidence of a prediction is depends on the loss: :mod:`bce3s.evaluation.probabilities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.arrays import as_labels, as_tensor

BINS = 15  # as in the paper


class Reliability(NamedTuple):
    """The bins of a reliability diagram, (M,) each; NaN where a bin is empty.

    Attributes:
        edges: (M + 1,) from 0 to 1.
        samples: n_m, int64.
        confidence: conf_m in percent.
        accuracy: acc_m in percent.
        ece: in percent.
    """

    edges: NDArray[np.float64]
    samples: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    ece: float


def reliability(confidence: Any, correct: Any, bins: int = BINS) -> Reliability:
    """The bins and the expected calibration error.

    Args:
        confidence: (N,) of the predictions, in 0..1.
        correct: (N,) whether each is right.
        bins: M.

    Raises:
        BCE3SError: no sample, different lengths, a confidence outside 0..1, no bin.
    """
    confidence, correct = _checked(confidence, correct)
    if bins < 1:
        raise BCE3SError(f'bins is {bins}: a reliability diagram has at least one.')
    edges = np.arange(bins + 1) / bins
    places = np.searchsorted(edges, confidence, side='left').clip(1, bins) - 1
    samples = np.bincount(places, minlength=bins)
    sure, right = (
        np.bincount(places, weights=values, minlength=bins) for values in (confidence, correct)
    )
    ece = 100.0 * np.abs(right - sure).sum() / len(confidence)
    means = (_divided(100.0 * sums, samples) for sums in (sure, right))
    return Reliability(edges, samples, *means, float(ece))


def expected_calibration_error(confidence: Any, correct: Any, bins: int = BINS) -> float:
    """ECE in percent; see :func:`reliability`.

    >>> round(expected_calibration_error([0.9, 0.9, 0.6, 0.6], [True, True, True, False]), 2)
    10.0
    """
    return reliability(confidence, correct, bins).ece


def by_split(
    confidence: Any,
    correct: Any,
    labels: Any,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
    bins: int = BINS,
) -> dict[str, float | None]:
    """ECE of all samples and of those of the Many, Medium and Few classes.

    Args:
        confidence: (N,) in 0..1. correct: (N,). labels: (N,) true classes.
        class_counts: (K,) TRAINING samples of each class.
        thresholds: where Many ends and Few begins.
        bins: M.

    Returns:
        ``all``, ``many``, ``medium``, ``few`` in percent, ``None`` for a split without a sample.

    Raises:
        BCE3SError: as :func:`reliability`, or a label outside 0..K-1.
    """
    confidence, correct = _checked(confidence, correct)
    labels = as_labels(labels, as_tensor(confidence), len(class_counts)).cpu().numpy()
    masks = {name: mask[labels] for name, mask in split_masks(class_counts, thresholds).items()}
    masks['all'] = np.ones(len(labels), dtype=bool)
    return {
        name: expected_calibration_error(confidence[masks[name]], correct[masks[name]], bins)
        if masks[name].any()
        else None
        for name in COLUMNS
    }


def _checked(confidence: Any, correct: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    confidence = as_tensor(confidence).cpu().numpy().astype(np.float64)
    correct = as_tensor(correct).cpu().numpy().astype(bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise BCE3SError(
            f'The confidences have the shape {confidence.shape}, whether they are right '
            f'{correct.shape}: give one of each for each sample.'
        )
    if not confidence.size:
        raise BCE3SError('There is no sample whose confidence could be compared with the truth.')
    wrong = np.flatnonzero(~((confidence >= 0) & (confidence <= 1)))  # NaN, too
    if wrong.size:
        raise BCE3SError(
            f'The confidence of sample {wrong[0]} is {confidence[wrong[0]]:g}, not a share in '
            '0..1: give probabilities (a sigmoid or softmax of the logits), not logits or percent.'
        )
    return confidence, correct


def _divided(sums: NDArray, numbers: NDArray) -> NDArray[np.float64]:
    return np.divide(sums, numbers, out=np.full(len(sums), np.nan), where=numbers > 0)
