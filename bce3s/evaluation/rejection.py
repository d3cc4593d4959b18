r"""None of these: an image is rejected if its largest logit is at most ONE threshold t.

.. math:: \text{reject } x \iff \max_j z_j(x) \le t

The t is the one of the uniform accuracy (:mod:`bce3s.evaluation.uniform_accuracy`), for which
:math:`z_y > t \ge \max_{j \ne y} z_j` holds for as many images as possible: to choose it takes
images of known classes only. BCE trains for such a t and CE does not, but either has one. All
images here are of known classes, so every rejection is a false one; images of unknown classes are a
matter of :mod:`bce3s.evaluation.open_set`. Figures are in percent.

A threshold that is chosen and measured on the same images looks better than it is. Where no other
images are left to choose it on (benchmarks have test images only), each half is measured with what
the other half chose, so that every image counts once and none is judged by a choice that it had a
part in: cross-fitting.

Two numbers an image are enough: :math:`z_y` and :math:`\max_{j \ne y} z_j`. An image is right if
the former is strictly larger. Scores are compared in float32, as the network gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds
from bce3s.evaluation.accuracy import COLUMNS, split_means
from bce3s.evaluation.arrays import as_matrix, as_tensor, row_blocks
from bce3s.evaluation.uniform_accuracy import exact_uniform_accuracy, middle

MOST_FALSE = 20.0  # percent of known images; a threshold that rejects more has to be asked for


@dataclass(frozen=True)
class Extremes:
    """Of each image, in the order of the data set.

    Attributes:
        own: (N,) float32, z_y.
        other: (N,) float32, the largest of the other logits; -inf if there is one class only.
        labels: (N,) int64.
    """

    own: NDArray[np.float32]
    other: NDArray[np.float32]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, logits: Any, labels: Any) -> Extremes:
        """From logits (N, K) and labels (N,) in 0..K-1; NaN stays NaN."""
        logits, labels = as_matrix('logits', logits), as_tensor(labels)
        own, other = torch.empty(2, len(logits))
        for rows in row_blocks(logits):
            own[rows], other[rows] = _extremes(logits[rows], labels[rows].to(logits.device))
        return cls(own.numpy(), other.numpy(), labels.cpu().numpy().astype(np.int64))

    def at(self, rows: Any) -> Extremes:
        """Of some images: a mask, or indices."""
        return Extremes(self.own[rows], self.other[rows], self.labels[rows])

    @property
    def largest(self) -> NDArray[np.float32]:
        """(N,) the largest logit."""
        return np.maximum(self.own, self.other)

    @property
    def finite(self) -> bool:
        """Whether a threshold can be chosen: no NaN or infinity, but for the lack of others."""
        return bool(np.isfinite(self.own).all() and (self.other < np.inf).all())


def _extremes(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Without a copy of the logits: if the own is the largest, the second is the other."""
    own = logits.gather(1, labels[:, None])[:, 0]
    if logits.shape[1] == 1:
        return own, torch.full_like(own, -torch.inf)
    values, classes = logits.topk(2, dim=1)
    return own, torch.where(classes[:, 0] != labels, values[:, 0], values[:, 1])


def halves(labels: Any) -> NDArray[np.int64]:
    """The half, 0 or 1, of each sample (N,): by its position within its class, in turns.

    ``(p_i + y_i) mod 2`` for the p-th sample of class y, in the order given: nothing is drawn, both
    halves have every class that has two samples, and their shares of it differ by one at most. A
    class with ONE sample is in the half of its parity, and is measured with what was chosen without
    it.

    Args:
        labels: (N,) classes, in an order that does not depend on the run.

    >>> halves([0, 0, 0, 1, 1]).tolist()
    [0, 1, 0, 1, 0]
    """
    labels = as_tensor(labels).cpu().numpy().astype(np.int64).reshape(-1)
    order = np.argsort(labels, kind='stable')
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)  # where the class begins
    half = np.empty(len(labels), dtype=np.int64)
    half[order] = (np.arange(len(labels)) - starts + ordered) % 2
    return half


def uniform_threshold(extremes: Extremes) -> float | None:
    """Of the uniform accuracy; ``None`` if there is no image, or none that is classified right."""
    if not len(extremes.labels):
        return None
    return exact_uniform_accuracy(extremes.own, extremes.other).threshold


def cross_fitted_thresholds(extremes: Extremes) -> NDArray[np.float64] | None:
    """(N,) for each image the threshold that the half without it chose, see
    :func:`halves`; ``None`` where a half has no image that is classified right.
    """
    half = halves(extremes.labels)
    chosen = [uniform_threshold(extremes.at(half == h)) for h in (0, 1)]
    return None if None in chosen else np.array(chosen)[1 - half]


def keeping_thresholds(largest: Any) -> list[float]:
    """(101,) for each whole percent p a threshold that keeps at least p % of the images, all images
    alike, and no more than it must.

    Args:
        largest: (N,) largest logits.

    >>> found = keeping_thresholds([1.0, 2.0, 3.0, 5.0])
    >>> found[50], found[51], found[75]
    (2.5, 1.5, 1.5)
    """
    ordered = np.sort(np.asarray(largest, np.float32))
    below = [len(ordered) - -(-p * len(ordered) // 100) for p in range(101)]
    return [float(ordered[-1])] + [_under(ordered, ordered[n]) for n in below[1:]]


def _under(ordered: NDArray[np.float32], value: float) -> float:
    """Between ``value`` and the next smaller one."""
    n = int(np.searchsorted(ordered, value))
    return middle(float(ordered[n - 1]) if n else -np.inf, float(value), torch.float32)


def rejected(largest: Any, threshold: Any) -> NDArray[np.bool_]:
    """(N,) whether each image is none of the classes.

    Args:
        largest: (N,) largest logits.
        threshold: one number, or one for each image.

    >>> rejected([2.0, 1.0, 0.5], 1.0).tolist()
    [False, True, True]
    """
    return np.asarray(largest, dtype=np.float64) <= threshold


def measure_rejection(
    extremes: Extremes | None,
    class_counts: Sequence[int],
    thresholds: Thresholds | None,
    split: str,
    chosen: tuple[str, float] | None = None,
) -> dict[str, Any] | None:
    """The ``rejection`` of ``report.json``.

    Args:
        extremes: of the evaluation data; ``None`` if the model gave no scores.
        class_counts: (K,) TRAINING images of each class.
        thresholds: where Many ends and Few begins.
        split: what the evaluation data are called.
        chosen: another split and the threshold that was chosen there. ``None``: the threshold is
            chosen on these images, and what it does is measured on halves, each at the threshold of
            the other.

    Returns:
        ``threshold``; ``chosen_on``, ``measured_on``, ``cross_fitted``; ``uniform_accuracy``, the
        share of these images that the threshold classifies (own score above it, all others not);
        ``false_rejection`` with ``all``, ``many``, ``medium``, ``few`` (means of per-class shares)
        and ``plain`` (all images alike); ``accuracy``, not rejected and right, of the first four;
        ``at_threshold``, as ``false_rejection`` but of all images at the one ``threshold``, which
        is the same where nothing is cross-fitted. Where the two differ much the threshold hangs on
        few images. ``keep``, see :func:`keeping_thresholds`, of the evaluation data.
        ``None`` where a split is empty or no threshold classifies anything. Without finite scores
        of some image all of it is ``None``.
    """
    if extremes is None or not len(extremes.labels) or not extremes.finite:
        return None
    if chosen is None:
        on, threshold, at = split, uniform_threshold(extremes), cross_fitted_thresholds(extremes)
    else:
        (on, threshold), at = chosen, np.float64(chosen[1])
    rejections = np.full(len(extremes.labels), np.nan) if at is None else _percent(extremes, at)
    right = (extremes.own > extremes.other) & (rejections == 0)
    hits = np.where(np.isnan(rejections), np.nan, 100.0 * right)
    plain = np.full(len(hits), np.nan) if threshold is None else _percent(extremes, threshold)
    false, accuracy, simply = (
        split_means(values, extremes.labels, class_counts, thresholds)
        for values in (rejections, hits, plain)
    )
    return {
        'threshold': threshold,
        'chosen_on': on,
        'measured_on': split,
        'cross_fitted': chosen is None,
        'uniform_accuracy': _uniform_accuracy(extremes, threshold),
        'false_rejection': false,
        'at_threshold': simply,
        'accuracy': {name: accuracy[name] for name in COLUMNS},
        'keep': keeping_thresholds(extremes.largest),
    }


def _percent(extremes: Extremes, threshold: Any) -> NDArray[np.float64]:
    return 100.0 * rejected(extremes.largest, threshold)


def _uniform_accuracy(extremes: Extremes, threshold: float | None) -> float:
    if threshold is None:
        return 0.0
    classified = (extremes.own.astype(np.float64) > threshold) & (extremes.other <= threshold)
    return float(100.0 * classified.mean())


# ------------------------------------------------------------------------------ in predictions
def default_threshold(rejection: Mapping[str, Any]) -> float | None:
    """The uniform threshold; None where there is none, or where it rejects more than ``MOST_FALSE``
    percent of the known images, so that it has to be asked for.

    Args:
        rejection: of a report, see :func:`measure_rejection`.
    """
    share = false_share(rejection)
    return None if share is not None and share > MOST_FALSE else rejection.get('threshold')


def false_share(rejection: Mapping[str, Any]) -> float | None:
    """Percent of the known images that are rejected, the mean over the classes: cross-fitted where
    that was possible.
    """
    found = ((rejection.get(key) or {}).get('all') for key in ('false_rejection', 'at_threshold'))
    return next((share for share in found if share is not None), None)
