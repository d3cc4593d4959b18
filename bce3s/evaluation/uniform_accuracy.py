r"""Uniform accuracy: the share of samples that ONE threshold classifies (percent).

With the scores :math:`z_{ij} = w_j h_i - b_j`, sample i of class y is right at the threshold t iff
:math:`z_{iy} > t \ge \max_{j \ne y} z_{ij}`; the uniform accuracy is the largest share of right
samples over all t ("BCE vs. CE in Deep Feature Learning", ICML 2025, Eqs. 43-45). A sample is thus
the half-open interval :math:`[\max_{j \ne y} z_{ij}, z_{iy})` (empty if it is misclassified), and
the largest number of intervals over one point is found exactly by sorting both ends. The paper
tries 200 thresholds instead (Eqs. 46-48), which can only find less.

With one class there are no negative scores: their maximum is -inf and every sample is right.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import (
    as_labels,
    as_matrix,
    as_tensor,
    check_finite,
    check_some,
    row_blocks,
)


class UniformAccuracy(NamedTuple):
    """``accuracy`` in percent, and a ``threshold`` that reaches it (``None`` if it is 0)."""

    accuracy: float
    threshold: float | None


def uniform_accuracy(scores: Any, labels: Any) -> UniformAccuracy:
    """The exact uniform accuracy, O(N log N) after one pass over the scores.

    Args:
        scores: (N, K) with the biases, any real dtype (not copied as a whole).
        labels: (N,) classes.

    Returns:
        The percentage and the middle of the (first) best interval of thresholds, as a number of the
        scores' own dtype, so that comparing with it in that dtype gives the percentage.

    Raises:
        BCE3SError: no sample, labels and scores of different lengths, a label outside 0..K-1, or a
            score that is not finite (its sample is named).

    >>> uniform_accuracy([[3.0, 0.0], [1.0, 2.0]], [0, 1])
    UniformAccuracy(accuracy=100.0, threshold=1.5)
    >>> uniform_accuracy([[3.0, 2.5], [1.0, 2.0]], [0, 1]).accuracy
    50.0
    """
    return exact_uniform_accuracy(*score_extremes(scores, labels))


def uniform_accuracy_at_thresholds(
    scores: Any, labels: Any, thresholds: int = 200
) -> UniformAccuracy:
    """The uniform accuracy as the paper computes it: see :func:`gridded_uniform_accuracy`.
    Arguments and errors: :func:`uniform_accuracy`.
    """
    return gridded_uniform_accuracy(*score_extremes(scores, labels), thresholds)


def score_extremes(scores: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """The score of the own class and the largest of the others, (N,) each: all that counts here.

    Args:
        scores: (N, K). labels: (N,).

    Raises:
        BCE3SError: as :func:`uniform_accuracy`.
    """
    scores = as_matrix('scores', scores)
    labels = as_labels(labels, scores, scores.shape[1])
    check_some(len(labels))
    positive = scores.gather(1, labels[:, None])[:, 0]
    max_negative = torch.empty_like(positive)
    for rows in row_blocks(scores):
        block = scores[rows]
        # The maximum alone would not see -inf
        check_finite('scores', block.amin(dim=1) + block.amax(dim=1).double(), rows.start)
        others = block.scatter(1, labels[rows, None], -torch.inf)
        max_negative[rows] = others.amax(dim=1)
    return positive, max_negative


def exact_uniform_accuracy(positive: Any, max_negative: Any) -> UniformAccuracy:
    """The exact uniform accuracy from two numbers a sample.

    Args:
        positive: (N,) scores of the own class.
        max_negative: (N,) largest score of another class, -inf if there is none.

    Raises:
        BCE3SError: no sample, or vectors of different lengths.
    """
    positive, max_negative = _vectors(positive, max_negative)
    starts, ends = _interval_ends(positive, max_negative)
    if not len(starts):
        return UniformAccuracy(0.0, None)
    over = _intervals_over(starts, starts, ends)  # the best point is where some interval begins
    best = over.argmax()
    low = starts[best]
    high = ends[torch.searchsorted(ends, low, right=True)]
    threshold = middle(float(low), float(high), positive.dtype)
    return UniformAccuracy(100.0 * int(over[best]) / len(positive), threshold)


def gridded_uniform_accuracy(
    positive: Any, max_negative: Any, thresholds: int = 200
) -> UniformAccuracy:
    """The best of ``thresholds`` ones evenly from the least positive to the largest negative score.

    If every positive score is above every negative one the uniform accuracy is 100 % without a
    search. The paper writes ``>=`` there, but of constant scores no threshold gets any sample
    right: the comparison is strict here.

    Args:
        positive, max_negative: as :func:`exact_uniform_accuracy`.
        thresholds: how many, both ends included.

    Raises:
        BCE3SError: no sample, or vectors of different lengths.
    """
    positive, max_negative = _vectors(positive, max_negative)
    low, high = float(positive.min()), float(max_negative.max())
    if low > high:
        return exact_uniform_accuracy(positive, max_negative)
    starts, ends = _interval_ends(positive, max_negative)
    grid = torch.linspace(low, high, thresholds, dtype=torch.float64, device=positive.device)
    over = _intervals_over(grid, starts, ends)
    best = over.argmax()
    if not over[best]:
        return UniformAccuracy(0.0, None)
    return UniformAccuracy(100.0 * int(over[best]) / len(positive), float(grid[best]))


def _vectors(positive: Any, max_negative: Any) -> tuple[Tensor, Tensor]:
    positive, max_negative = as_tensor(positive), as_tensor(max_negative)
    if positive.dim() != 1 or positive.shape != max_negative.shape:
        raise BCE3SError(
            f'The positive scores have the shape {tuple(positive.shape)}, the largest negative '
            f'ones {tuple(max_negative.shape)}: give one number of each for each sample.'
        )
    check_some(len(positive))
    check_finite('scores', positive)
    check_finite('scores', max_negative.clamp(min=0))  # -inf: no other class
    return positive, max_negative.to(positive.device)


def _interval_ends(positive: Tensor, max_negative: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted beginnings and sorted ends of the intervals that are not empty, float64."""
    right = positive > max_negative
    return max_negative[right].double().sort().values, positive[right].double().sort().values


def _intervals_over(points: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """How many intervals [start, end) each point lies in: begun at or before it, less ended."""
    begun = torch.searchsorted(starts, points, right=True)
    return begun - torch.searchsorted(ends, points, right=True)


def middle(low: float, high: float, dtype: torch.dtype) -> float:
    """A finite number of ``dtype`` in [low, high), the middle if rounding allows it."""
    if low == -torch.inf:
        return max(high - max(1.0, abs(high)), torch.finfo(dtype).min)
    between = float(torch.tensor(low + (high / 2 - low / 2), dtype=torch.float64).to(dtype))
    return between if low <= between < high else low
