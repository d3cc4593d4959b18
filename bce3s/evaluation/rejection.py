r"""None of these: an image is rejected if its score is at most the threshold of its best class.

.. math:: \text{reject } x \iff s(x) \le t_{c(x)}, \qquad s(x) = \max_j z_j(x), \quad
    c(x) = \arg\max_j z_j(x)

To choose t takes images of known classes only, so that every rejection here is a false one; images
of unknown classes are a matter of :mod:`bce3s.evaluation.open_set`. Figures are in percent.

**At a stated rate** (:func:`conformal`), the default. Of n images that the network was not trained
on and that it takes for class c, with the scores in order, :math:`t_c` lies right below the k-th
smallest, :math:`k = \lfloor \alpha (n + 1) \rfloor`. A new image of the same kind that is taken for
c is rejected with a probability of at most :math:`k / (n + 1) \le \alpha`, whatever the network and
the distribution of its scores (split conformal, by category; Vovk et al., "Algorithmic Learning in
a Random World", 2005). Classes for which fewer than :math:`1 / \alpha - 1` images are taken (19 for
5 %) have one threshold together.

The class that counts is the one PREDICTED: it is known of a new image, the true one is not, and a
threshold for each true class (an image is rejected if :math:`z_j \le t_j` for all j) rejects
nothing at all as soon as a rare class has a low one.

In a long tail "of the same kind" means that most images are of frequent classes, while rare ones
score low: they would be those that are turned away. So the same is asked of the mean over the
CLASSES, each image weighted by :math:`w_i = 1 / n_{y_i}`: k is the largest with
:math:`\sum_{i \le k} w_{(i)} \le \alpha (\sum_i w_i + \max_i w_i)` (label shift; Podkopaev and
Ramdas, UAI 2021; all weights 1 give the k above), but at least 1. The smaller k counts. That is an
aim and no guarantee: a class of which one or two images are here has a weight as large as any, and
to be sure of it would mean to reject nothing. Where many classes are so rare the mean over the
classes comes out above the rate, and its interval is too narrow.

What this changes, percent rejected of known test images (as many of each class) and of unknown ones
at 5 %, means of 30 or 40 draws of long-tailed validation images (a fifth of the training images, 50
at most); A: 20 classes of CIFAR-100, frozen EfficientNet-Lite0 and a linear classifier (CE); B: 80
classes of CIFAR-100-LT, ResNet-32 from scratch (CE):

========================================= ===== ====== ===== ======= ===== ====== ===== =======
\                                         A Many Medium Few   unknown B Many Medium Few   unknown
========================================= ===== ====== ===== ======= ===== ====== ===== =======
one threshold                               2.0    9.0  17.2    25.2   4.5    7.6   9.3     8.4
one, classes alike as well                  0.5    4.2   8.8    10.9   2.8    4.9   5.7     5.3
by predicted class                          3.0    6.4  10.2    17.1   3.7    6.3   8.0     7.0
by predicted class, classes alike (ours)    2.9    5.2   7.8    14.4   2.5    4.5   5.7     4.5
========================================= ===== ====== ===== ======= ===== ====== ===== =======

**The uniform threshold** is that of the uniform accuracy
(:mod:`bce3s.evaluation.uniform_accuracy`), for which
:math:`z_y > t \ge \max_{j \ne y} z_j` holds for as many images as possible. BCE trains for such a
t and CE does not, but either has one. How many known images it rejects is not in its hands.

A threshold that is chosen and measured on the same images looks better than it is. Where no other
images are left to choose it on (benchmarks have test images only), each half is measured with what
the other half chose, so that every image counts once and none is judged by a choice that it had a
part in: cross-fitting.

Of an image it takes :math:`z_y`, :math:`\max_{j \ne y} z_j` and c. It is right if the former is
strictly larger. Scores are compared in float32, as the network gives them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds
from bce3s.evaluation.accuracy import COLUMNS, split_means
from bce3s.evaluation.arrays import as_matrix, as_tensor, row_blocks
from bce3s.evaluation.uniform_accuracy import exact_uniform_accuracy

RATE = 5.0  # percent of known images that may be rejected, unless another rate is asked for
LEVEL = 0.95  # of intervals


@dataclass(frozen=True)
class Extremes:
    """Of each image, in the order of the data set.

    Attributes:
        own: (N,) float32, z_y.
        other: (N,) float32, the largest of the other logits; -inf if there is one class only.
        labels: (N,) int64. best: (N,) int64, the classes of the largest logits.
        scores: (N,) float32, what is compared with the thresholds of a stated rate, if it is not
            the largest logit; higher meaning known.
    """

    own: NDArray[np.float32]
    other: NDArray[np.float32]
    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    scores: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, logits: Any, labels: Any) -> Extremes:
        """From logits (N, K) and labels (N,) in 0..K-1; NaN stays NaN."""
        logits, labels = as_matrix('logits', logits), as_tensor(labels)
        own, other = torch.empty(2, len(logits))
        best = torch.empty(len(logits), dtype=torch.int64)
        for rows in row_blocks(logits):
            found = _extremes(logits[rows], labels[rows].to(logits.device))
            own[rows], other[rows], best[rows] = found
        labels = labels.cpu().numpy().astype(np.int64)
        return cls(own.numpy(), other.numpy(), labels, best.numpy())

    def at(self, rows: Any) -> Extremes:
        """Of some images: a mask, or indices."""
        found = (self.own, self.other, self.labels, self.best, self.scores)
        return Extremes(*(None if values is None else values[rows] for values in found))

    @property
    def largest(self) -> NDArray[np.float32]:
        """(N,) the largest logit."""
        return np.maximum(self.own, self.other)

    @property
    def compared(self) -> NDArray[np.float32]:
        """(N,) ``scores``, or the largest logit."""
        return self.largest if self.scores is None else self.scores

    @property
    def finite(self) -> bool:
        """Whether a threshold can be chosen: no NaN or infinity, but for the lack of others."""
        return bool(np.isfinite(self.own).all() and (self.other < np.inf).all())


def _extremes(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Without a copy of the logits: if the own is the largest, the second is the other."""
    own = logits.gather(1, labels[:, None])[:, 0]
    if logits.shape[1] == 1:
        return own, torch.full_like(own, -torch.inf), torch.zeros_like(labels)
    values, classes = logits.topk(2, dim=1)
    other = torch.where(classes[:, 0] != labels, values[:, 0], values[:, 1])
    return own, other, classes[:, 0]


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


def cross_fitted(
    extremes: Extremes, choose: Callable[[Extremes], NDArray[np.float64] | float | None]
) -> NDArray[np.float64] | None:
    """(N,) for each image the threshold that the half without it chose, see
    :func:`halves`; ``None`` where a half has none.

    Args:
        choose: one threshold, or (K,) thresholds of the classes, or None, of some images.
    """
    half, found = halves(extremes.labels), np.empty(len(extremes.labels))
    for h in (0, 1):
        chosen, rows = choose(extremes.at(half != h)), half == h
        if chosen is None:
            return None
        found[rows] = chosen[extremes.best[rows]] if np.ndim(chosen) else chosen
    return found


# ------------------------------------------------------------------------------ at a stated rate
class Ranked:
    """Scores in order, for a threshold of any rate.

    Args:
        scores: (N,) of images of known classes, higher meaning known.
        weights: (N,) of each in the mean over the classes.
    """

    def __init__(self, scores: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        order = np.argsort(scores, kind='stable')
        self.scores, self.weights = scores[order], weights[order]

    def rank(self, rate: float) -> int:
        """k, see the module; 0: there are too few for that rate."""
        alike = self._largest(np.ones(len(self.scores)), rate)
        # right below the lowest of all: no image seen is rejected, whatever its weight
        return min(alike, max(self._largest(self.weights, rate), 1))

    @staticmethod
    def _largest(weights: NDArray[np.float64], rate: float) -> int:
        if not len(weights):
            return 0
        # 1e-9: a product that is whole in exact arithmetic must not lose an image
        most = rate / 100 * (weights.sum() + weights.max()) + 1e-9
        return int((np.cumsum(weights) <= most).sum()) + int(rate >= 100)

    def threshold(self, rate: float) -> float:
        """Right below the k-th smallest score, so that images at it are kept: equal scores are all
        kept or all rejected, and the probability is at most k / (n + 1) with them too. -inf: k = 0,
        nothing is rejected.
        """
        rank = self.rank(rate)
        if not rank:
            return -math.inf
        if rank > len(self.scores):  # a rate of 100: all are
            return float(self.scores[-1])
        below = np.nextafter(self.scores[rank - 1], np.float32(-np.inf))
        return float(max(below, np.finfo(np.float32).min))

    def share(self, rank: int, weights: NDArray[np.float64]) -> tuple[float, float]:
        r"""(a, b) of the distribution of the share of new images that is below the k-th score.

        With n equal weights it is :math:`B(k, n + 1 - k)`, whose quantiles are those of Clopper and
        Pearson's exact binomial interval. Otherwise n is the effective number of images
        :math:`(\sum w)^2 / \sum w^2` and k its part (Korn and Graubard, Survey Methodology 24,
        1998): an approximation.
        """
        number = weights.sum() ** 2 / np.square(weights).sum()
        part = min(float(weights[:rank].sum() / weights.sum() * number), number)
        return part, number + 1 - part


def conformal(
    scores: Any, labels: Any, best: Any, num_classes: int, rate: float = RATE
) -> dict[str, Any]:
    """Thresholds that reject ``rate`` percent of known images at most, see the module.

    Args:
        scores: (N,) of images of known classes, higher meaning known.
        labels: (N,) their classes. best: (N,) the classes predicted.
        num_classes: K.
        rate: percent, in expectation, of all images alike; aimed at, too, as a mean over the
            classes (those that have an image here), see the module.

    Returns:
        ``thresholds``: (K,) of the classes predicted; all ``None`` where there are too few images
        (:func:`fewest`) and nothing is rejected. ``rate``; ``images``, N; ``interval``, of the rate
        that new images will see, 95 %: ``plain``, of all alike, ``all``, of the mean over the
        classes, a rough one; ``groups``: for each threshold its ``classes``, ``images``, ``rank`` k
        and exact ``interval``. That of several groups is of the sum of their distributions, as a
        Beta distribution of the same mean and variance.

    >>> found = conformal([3.0, 1.0, 2.0, 4.0], [0, 0, 1, 1], [0, 1, 1, 0], 2, rate=40)
    >>> round(found['thresholds'][0], 3), found['groups'][0]['rank'], found['groups'][0]['images']
    (3.0, 1, 2)
    >>> conformal([3.0, 1.0], [0, 1], [0, 1], 2)['thresholds']
    [None, None]
    """
    scores = np.asarray(scores, np.float32)
    labels, best = (as_tensor(v).cpu().numpy().astype(np.int64) for v in (labels, best))
    weights = 1.0 / np.bincount(labels, minlength=num_classes).clip(min=1)[labels]
    thresholds, groups, shares = [None] * num_classes, [], []
    for classes in _groups(np.bincount(best, minlength=num_classes), fewest(rate)):
        rows = np.isin(best, classes)
        ranked = Ranked(scores[rows], weights[rows])
        rank = ranked.rank(rate)
        if not rank:
            continue
        alike = np.ones(len(ranked.scores))
        pairs = [(ranked.share(rank, w), w.sum()) for w in (alike, ranked.weights)]
        shares.append(pairs)
        threshold = ranked.threshold(rate)
        for k in classes:
            thresholds[k] = threshold
        facts = dict(images=len(alike), rank=rank, interval=_beta_interval(*pairs[0][0]))
        groups.append(dict(classes=classes, threshold=threshold, **facts))
    sides = zip(('plain', 'all'), zip(*shares, strict=True), strict=bool(shares))
    return {
        'thresholds': thresholds,
        'rate': float(rate),
        'images': len(scores),
        'interval': {name: _summed(side) for name, side in sides} or None,
        'groups': groups,
    }


def _groups(images: NDArray[np.int64], fewest: int) -> list[list[int]]:
    """Classes that have a threshold together: each that ``fewest`` images are taken for is alone,
    and the rest are together, joined by the smallest of the others until they are enough.
    """
    order = np.argsort(images, kind='stable')
    rest = int((images < fewest).sum())
    while rest and images[order[:rest]].sum() < fewest and rest < len(order):
        rest += 1
    groups = [sorted(order[:rest].tolist())] if rest else []
    return groups + [[k] for k in sorted(order[rest:].tolist())]


def _summed(parts: Sequence[tuple[tuple[float, float], float]]) -> list[float]:
    """The interval of a weighted mean of independent Beta variables: exact if it is one."""
    total = sum(weight for _, weight in parts)
    mean = variance = 0.0
    for (a, b), weight in parts:
        mean += weight / total * a / (a + b)
        variance += (weight / total) ** 2 * a * b / ((a + b) ** 2 * (a + b + 1))
    number = mean * (1 - mean) / variance - 1
    return _beta_interval(mean * number, (1 - mean) * number)


def fewest(rate: float) -> int:
    """Images that a threshold of that rate takes at least: ``100 / rate - 1``, rounded up.

    >>> fewest(5), fewest(40)
    (19, 2)
    """
    return max(math.ceil(100 / rate - 1 - 1e-9), 1)


def _beta_interval(a: float, b: float) -> list[float]:
    from scipy.stats import beta

    low, high = beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], a, b)
    return [100 * float(low), 100 * float(high)]


def clopper_pearson(rejections: int, images: int) -> list[float]:
    """The exact binomial interval of a rate, percent, of level ``LEVEL``.

    >>> [round(end, 2) for end in clopper_pearson(5, 100)]
    [1.64, 11.28]
    """
    low = _beta_interval(rejections, images + 1 - rejections)[0] if rejections else 0.0
    high = _beta_interval(rejections + 1, images - rejections)[1] if rejections < images else 100.0
    return [low, high]


def keeping_thresholds(scores: Any, labels: Any) -> list[float | None]:
    """(101,) for each whole percent p ONE threshold for all classes that keeps p % of new known
    images at least, about as many as a mean over the classes; ``None``: nothing may be rejected.

    Args:
        scores: (N,). labels: (N,).

    >>> found = keeping_thresholds([1.0, 2.0, 3.0, 5.0], [0, 0, 0, 0])
    >>> [found[p] and round(found[p], 3) for p in (0, 40, 60, 80, 81)]
    [5.0, 3.0, 2.0, 1.0, None]
    """
    labels = as_tensor(labels).cpu().numpy()
    ranked = Ranked(np.asarray(scores, np.float32), 1.0 / np.bincount(labels)[labels])
    found = [ranked.threshold(100 - p) for p in range(101)]
    return [t if math.isfinite(t) else None for t in found]


def rejected(scores: Any, threshold: Any) -> NDArray[np.bool_]:
    """(N,) whether each image is none of the classes.

    Args:
        scores: (N,).
        threshold: one number, or one for each image.

    >>> rejected([2.0, 1.0, 0.5], 1.0).tolist()
    [False, True, True]
    """
    return np.asarray(scores, dtype=np.float64) <= threshold


def measure_rejection(
    extremes: Extremes | None,
    class_counts: Sequence[int],
    thresholds: Thresholds | None,
    split: str,
    chosen: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """The ``rejection`` of ``report.json``.

    Args:
        extremes: of the evaluation data; ``None`` if the model gave no scores.
        class_counts: (K,) TRAINING images of each class.
        thresholds: where Many ends and Few begins.
        split: what the evaluation data are called.
        chosen: what this function returned for another split, whose thresholds are taken. ``None``:
            they are chosen on these images, and what they do is measured on halves, each at the
            threshold of the other.

    Returns:
        What :func:`conformal` does, of ``extremes.compared`` and the rate ``RATE``; ``chosen_on``,
        ``measured_on``, ``cross_fitted``; ``false_rejection`` with ``all``, ``many``, ``medium``,
        ``few`` (means of per-class shares) and ``plain`` (all images alike); ``false_interval``,
        Clopper and Pearson's of ``plain``; ``accuracy``, not rejected and right, of the first four;
        ``at_threshold``, as ``false_rejection`` but of all images at the ``thresholds``, which
        is the same where nothing is cross-fitted. Where the two differ much the thresholds hang on
        few images. ``uniform``: ``threshold``, ``false_rejection``, ``false_interval``,
        ``accuracy`` and ``at_threshold`` of the uniform one, and ``uniform_accuracy``, the share of
        these images that it classifies (own score above it, all others not). ``keep``, see
        :func:`keeping_thresholds`, of the images that were chosen on.
        ``None`` where a split is empty or there is no threshold. Without finite scores of some
        image all of it is ``None``.
    """
    if extremes is None or not len(extremes.labels) or not extremes.finite:
        return None
    number = len(class_counts)

    def at_rate(images: Extremes) -> NDArray[np.float64]:
        found = conformal(images.compared, images.labels, images.best, number)
        return as_array(found['thresholds'])

    if chosen is None:
        found = conformal(extremes.compared, extremes.labels, extremes.best, number)
        uniform = uniform_threshold(extremes)
        at = [cross_fitted(extremes, how) for how in (at_rate, uniform_threshold)]
        keep = keeping_thresholds(extremes.largest, extremes.labels)
    else:
        found = {key: chosen[key] for key in ('thresholds', 'rate', 'images', 'interval', 'groups')}
        uniform, keep = chosen['uniform']['threshold'], chosen['keep']
        at = [as_array(found['thresholds'])[extremes.best], uniform]
    own, where = as_array(found['thresholds'])[extremes.best], (class_counts, thresholds)
    return {
        **found,
        'chosen_on': split if chosen is None else chosen['chosen_on'],
        'measured_on': split,
        'cross_fitted': chosen is None,
        **_effects(extremes, extremes.compared, own, at[0], *where),
        'uniform': {
            'threshold': uniform,
            'uniform_accuracy': _uniform_accuracy(extremes, uniform),
            **_effects(extremes, extremes.largest, uniform, at[1], *where),
        },
        'keep': keep,
    }


def as_array(thresholds: Sequence[float | None]) -> NDArray[np.float64]:
    """(K,) thresholds as numbers: -inf where nothing is rejected."""
    return np.array([-np.inf if t is None else t for t in thresholds], dtype=np.float64)


def _effects(
    extremes: Extremes,
    scores: NDArray[np.float32],
    threshold: Any,
    at: Any,
    class_counts: Sequence[int],
    thresholds: Thresholds | None,
) -> dict[str, Any]:
    """What the ``threshold`` of the scores (N,) does to known images, and those they are measured
    ``at``: numbers, or (N,), or None.
    """
    simply, rejections = (_percent(scores, t) for t in (threshold, at))
    right = (extremes.own > extremes.other) & (rejections == 0)
    hits = np.where(np.isnan(rejections), np.nan, 100.0 * right)
    false, accuracy, simply = (
        split_means(values, extremes.labels, class_counts, thresholds)
        for values in (rejections, hits, simply)
    )
    number = None if at is None else int((rejections > 0).sum())
    return {
        'false_rejection': false,
        'false_interval': None if number is None else clopper_pearson(number, len(rejections)),
        'accuracy': {name: accuracy[name] for name in COLUMNS},
        'at_threshold': simply,
    }


def _percent(scores: NDArray[np.float32], threshold: Any) -> NDArray[np.float64]:
    """(N,) 0 or 100; NaN where there is no threshold."""
    if threshold is None:
        return np.full(len(scores), np.nan)
    return 100.0 * rejected(scores, threshold)


def _uniform_accuracy(extremes: Extremes, threshold: float | None) -> float:
    if threshold is None:
        return 0.0
    classified = (extremes.own.astype(np.float64) > threshold) & (extremes.other <= threshold)
    return float(100.0 * classified.mean())
