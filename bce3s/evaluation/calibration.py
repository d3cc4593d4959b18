r"""What logits mean as probabilities, and calibration: is what the model is 80 % sure of right 80 %
of the time?

Samples fall into M bins of equal width by their confidence, bin m being ((m - 1) / M, m / M] (a
confidence of 0 belongs to the first). With :math:`n_m` samples in it, of which the share
:math:`acc_m` is right and whose mean confidence is :math:`conf_m`, the expected calibration error
is :math:`ECE = \sum_m \frac{n_m}{N} |acc_m - conf_m|` (Guo, Pleiss, Sun, Weinberger, "On
Calibration of Modern Neural Networks", ICML 2017). It averages over all samples alike, not over
classes. Confidences are shares in 0..1, figures are in percent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.arrays import (
    as_labels,
    as_matrix,
    as_tensor,
    as_vector,
    check_finite,
    check_some,
    row_blocks,
)

BINS = 15  # as in the paper


# ----------------------------------------------------------------------------------- probabilities
class Probabilities(ABC):
    r"""Of one loss: what a logit is. Logits are (N, K), labels (N,); figures are float64.

    :math:`\beta` multiplies the logits and is the inverse of the temperature. Both negative log
    likelihoods are convex in it, so their best temperature is where the slope is 0.

    Raises:
        BCE3SError: no sample, logits that are not finite, a label outside 0..K-1 (all methods).
    """

    name: str

    def confidence(self, logits: Any) -> NDArray[np.float64]:
        """(N,) probability of the class with the largest logit."""
        logits = as_matrix('logits', logits)
        check_some(len(logits))
        parts = [self._confidence(_block(logits, rows)) for rows in row_blocks(logits)]
        return torch.cat(parts).cpu().numpy()

    def nll(self, logits: Any, labels: Any, beta: float = 1.0) -> float:
        """Mean over the samples of the negative log likelihood of their labels."""
        return self._mean(self._nll, logits, labels, beta)

    def slope(self, logits: Any, labels: Any, beta: float = 1.0) -> float:
        r""":math:`d\, nll / d \beta`, which increases with :math:`\beta`."""
        return self._mean(self._slope, logits, labels, beta)

    def _mean(
        self,
        rows_of: Callable[[Tensor, Tensor, float], Tensor],
        logits: Any,
        labels: Any,
        beta: float,
    ) -> float:
        logits = as_matrix('logits', logits)
        labels = as_labels(labels, logits, logits.shape[1])
        check_some(len(labels))
        blocks = row_blocks(logits)
        sums = [rows_of(_block(logits, rows), labels[rows], beta).sum() for rows in blocks]
        return float(torch.stack(sums).sum()) / len(labels)

    @abstractmethod
    def _confidence(self, logits: Tensor) -> Tensor: ...

    @abstractmethod
    def _nll(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor: ...

    @abstractmethod
    def _slope(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor: ...


class Softmax(Probabilities):
    r""":math:`-\log p_y`, with :math:`p = softmax(\beta z)`: one class is right.

    >>> round(Softmax().nll([[2.0, 0.0]], [0]), 4)
    0.1269
    """

    name = 'softmax'

    def _confidence(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1).amax(dim=1)

    def _nll(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor:
        return F.cross_entropy(beta * logits, labels, reduction='none')

    def _slope(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor:
        expected = ((beta * logits).softmax(dim=1) * logits).sum(dim=1)
        return expected - logits.gather(1, labels[:, None])[:, 0]


class Sigmoid(Probabilities):
    r""":math:`softplus(-\beta z_y) + \sum_{j \ne y} softplus(\beta z_j)`: K yes-or-no questions.

    >>> round(Sigmoid().nll([[2.0, 0.0]], [0]), 4)
    0.8201
    """

    name = 'sigmoid'

    def _confidence(self, logits: Tensor) -> Tensor:
        return logits.amax(dim=1).sigmoid()

    def _nll(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor:
        own = beta * logits.gather(1, labels[:, None])[:, 0]
        return F.softplus(beta * logits, threshold=700).sum(dim=1) - own  # softplus(-z) + z

    def _slope(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor:
        own = logits.gather(1, labels[:, None])[:, 0]
        return ((beta * logits).sigmoid() * logits).sum(dim=1) - own


def _block(logits: Tensor, rows: slice) -> Tensor:
    block = logits[rows].double()
    check_finite('logits', block.amin(dim=1) + block.amax(dim=1), rows.start)
    return block


# ------------------------------------------------------------------------------------- calibration
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
        bins: M, at least 1.

    Raises:
        BCE3SError: no sample, different lengths, or a confidence outside 0..1.
    """
    confidence, correct = _checked(confidence, correct)
    edges = np.arange(bins + 1) / bins
    places = np.searchsorted(edges, confidence, side='left').clip(1, bins) - 1
    samples = np.bincount(places, minlength=bins)
    sure, right = (
        np.bincount(places, weights=values, minlength=bins) for values in (confidence, correct)
    )
    ece = 100.0 * np.abs(right - sure).sum() / len(confidence)
    filled = np.where(samples > 0, samples, np.nan)
    return Reliability(edges, samples, 100.0 * sure / filled, 100.0 * right / filled, float(ece))


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
    labels = as_labels(labels, confidence, len(class_counts)).numpy()
    masks = {name: mask[labels] for name, mask in split_masks(class_counts, thresholds).items()}
    masks['all'] = np.ones(len(labels), dtype=bool)
    return {
        name: expected_calibration_error(confidence[masks[name]], correct[masks[name]], bins)
        if masks[name].any()
        else None
        for name in COLUMNS
    }


def _checked(confidence: Any, correct: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    confidence = as_vector('confidences', confidence)
    correct = as_tensor(correct).cpu().numpy().astype(bool)
    if confidence.shape != correct.shape:
        raise BCE3SError(
            f'The confidences have the shape {confidence.shape}, whether they are right '
            f'{correct.shape}: give one of each for each sample.'
        )
    wrong = np.flatnonzero((confidence < 0) | (confidence > 1))
    if wrong.size:
        raise BCE3SError(
            f'The confidence of sample {wrong[0]} is {confidence[wrong[0]]:g}, not a share in '
            '0..1: give probabilities (a sigmoid or softmax of the logits), not logits or percent.'
        )
    return confidence, correct
