"""The accumulators of the two passes of ``feature_statistics``: update, merge, state."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor

from bce3s.evaluation.arrays import as_labels, as_matrix, check_finite, row_blocks
from bce3s.evaluation.class_means import ClassMeans
from bce3s.evaluation.decision_scores import Moments, add_scores, check_widths
from bce3s.evaluation.feature_properties import add_unit_rows
from bce3s.evaluation.neural_collapse import (
    between_class_whitening,
    nearest_mean,
    whitened_squares,
)

BINS = 64  # of a histogram
EXTREMES = ('extreme_positive', 'extreme_negative', 'extreme_labels')  # in the state


class _Pass:
    """What both passes share: blocks, merging, and a state of tensors that ranks can gather.

    Args:
        weight: (K, d) float64, on the device where everything is done.
        bias: (K,) float64, z = W h - b.
    """

    added: tuple[str, ...] = ('counts',)  # the attributes that merge by addition

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias
        self.reset()

    def reset(self) -> None:
        """Forgets all samples."""
        self.counts = self._zeros(len(self.weight), dtype=torch.int64)

    @torch.no_grad()
    def update(self, features: Any, labels: Any) -> None:
        """Takes a batch in.

        Args:
            features: (n, d), any real dtype, on any device.
            labels: (n,).

        Raises:
            BCE3SError: different lengths or widths, a label outside 0..K-1, or features or scores
                that are not finite. Samples are numbered in the order this accumulator saw them.
        """
        seen = int(self.counts.sum())
        features = as_matrix('features', features, self.weight.device)
        check_widths(features, self.weight)
        labels = as_labels(labels, features, len(self.weight), seen)
        for rows in row_blocks(features, len(self.weight)):
            block = features[rows].to(torch.float64, copy=True)
            self._add(block, labels[rows], seen + rows.start)
        self.counts += torch.bincount(labels, minlength=len(self.counts))

    def state(self) -> dict[str, Tensor]:
        """All there is to know of the samples seen so far, as tensors of their own."""
        return {name: getattr(self, name).clone() for name in self.added}

    def merge_state(self, state: dict[str, Tensor]) -> None:
        """Takes the samples of another accumulator's ``state()`` in."""
        for name in self.added:
            setattr(self, name, getattr(self, name) + state[name].to(self.weight.device))

    def merge(self, other: Self) -> None:
        """Takes the samples of ``other`` in."""
        self.merge_state(other.state())

    def merged(self, states: Iterable[dict[str, Tensor]]) -> Self:
        """A new accumulator of the samples of all ``states`` (this one's own are not added)."""
        whole = copy.copy(self)
        whole.reset()
        for state in states:
            whole.merge_state(state)
        return whole

    def _add(self, block: Tensor, labels: Tensor, first: int) -> None:
        """Takes (n, d) float64 ``block`` in, and may change it; ``first`` numbers its samples."""
        raise NotImplementedError

    def _zeros(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.weight.device)


class FirstPass(_Pass):
    """What needs no mean of the features.

    ``counts`` (K,), ``sums`` (K, d), ``unit_sums`` (K, d) of the normalised features, ``right``
    (K,) predictions that are right, ``positive`` and ``negative`` moments of the scores without
    bias, ``ranges`` (4,): their smallest and largest (as -smallest and largest, so that all four
    merge by maximum), and three numbers a sample: see :meth:`extremes`.
    """

    added = ('counts', 'sums', 'unit_sums', 'right')

    def reset(self) -> None:
        super().reset()
        classes = len(self.weight)
        self.sums, self.unit_sums = (self._zeros(*self.weight.shape) for _ in range(2))
        self.right = self._zeros(classes, dtype=torch.int64)
        self.positive = Moments.empty(classes, self.weight.device)
        self.negative = Moments.empty(classes, self.weight.device)
        self.ranges = self._zeros(4) - torch.inf
        self._extremes = [(self._zeros(0), self._zeros(0), self._zeros(0, dtype=torch.int64))]

    def extremes(self) -> tuple[Tensor, Tensor, Tensor]:
        """(N,) each: the score (with bias) of the own class, the largest other, and the class."""
        self._extremes = [tuple(torch.cat(parts) for parts in zip(*self._extremes, strict=True))]
        return self._extremes[0]

    @property
    def class_means(self) -> ClassMeans:
        """The means of the features."""
        return ClassMeans(self.counts, self.sums)

    def state(self) -> dict[str, Tensor]:
        moments = {
            f'{side}_{name}': value.clone()
            for side in ('positive', 'negative')
            for name, value in vars(getattr(self, side)).items()
        }
        extremes = dict(zip(EXTREMES, self.extremes(), strict=True))
        return {**super().state(), **moments, 'ranges': self.ranges.clone(), **extremes}

    def merge_state(self, state: dict[str, Tensor]) -> None:
        super().merge_state(state)
        state = {name: value.to(self.weight.device) for name, value in state.items()}
        for side in ('positive', 'negative'):
            parts = {name: state[f'{side}_{name}'] for name in ('number', 'mean', 'squares')}
            getattr(self, side).merge(Moments(**parts))
        self.ranges = torch.maximum(self.ranges, state['ranges'])
        self._extremes.append(tuple(state[name] for name in EXTREMES))

    def _add(self, block: Tensor, labels: Tensor, first: int) -> None:
        norms = torch.linalg.vector_norm(block, dim=1)
        check_finite('features', norms, first)
        scores = block @ self.weight.T
        check_finite('scores', torch.linalg.vector_norm(scores, dim=1), first)
        self.sums.index_add_(0, labels, block)
        add_unit_rows(self.unit_sums, block, labels, norms)
        add_scores(self.positive, self.negative, scores, labels)
        self._add_extremes(scores, labels)

    def _add_extremes(self, scores: Tensor, labels: Tensor) -> None:
        own = labels[:, None]
        positive = scores.gather(1, own)[:, 0]
        highs = scores.scatter(1, own, -torch.inf).amax()
        lows = scores.scatter(1, own, torch.inf).amin()
        ranges = torch.stack([-positive.amin(), positive.amax(), -lows, highs])
        self.ranges = torch.maximum(self.ranges, ranges)
        logits = scores.sub_(self.bias)
        positive = logits.gather(1, own)[:, 0]
        max_negative, rival = logits.scatter_(1, own, -torch.inf).max(dim=1)
        # argmax: the first of equals
        right = (positive > max_negative) | ((positive == max_negative) & (labels < rival))
        self.right += torch.bincount(labels[right], minlength=len(self.right))
        self._extremes.append((positive, max_negative, labels.clone()))  # the loader's memory


class SecondPass(_Pass):
    """What needs the means of the features.

    ``counts`` (K,), ``unit_sums`` (K, d) of the centred and normalised features, ``whitened`` (K,)
    sums of the summands of NC1, ``differing`` (K,) samples whose prediction is not the nearest
    class mean, and histograms of the scores.

    Args:
        first: the first pass over ALL samples.
        weight, bias: as there.
        distributions: whether to count histograms.
    """

    added = ('counts', 'unit_sums', 'whitened', 'differing', 'bins')

    def __init__(
        self, first: FirstPass, weight: Tensor, bias: Tensor, distributions: bool = False
    ) -> None:
        super().__init__(weight, bias)
        self.class_means, self.distributions = first.class_means, distributions
        self.whitening = between_class_whitening(self.class_means)
        lowest, self.pos_high, lowest_negative, self.neg_high = first.ranges.tolist()
        self.pos_low, self.neg_low = -lowest, -lowest_negative

    def reset(self) -> None:
        super().reset()
        classes = len(self.weight)
        self.unit_sums, self.whitened = self._zeros(*self.weight.shape), self._zeros(classes)
        self.differing = self._zeros(classes, dtype=torch.int64)
        self.bins = self._zeros(2, BINS, dtype=torch.int64)

    def histograms(self) -> dict[str, Any]:
        """``s_pos`` and ``s_neg``: ``low``, ``high`` and ``counts`` of equal bins between them.

        The range is that of the scores (widened around a single value); ``s_neg`` is ``None`` with
        one class.
        """
        several = len(self.weight) > 1
        pos, neg = self.bins.tolist()
        pos_low, pos_high = _widened(self.pos_low, self.pos_high)
        result: dict[str, Any] = {'s_pos': {'low': pos_low, 'high': pos_high, 'counts': pos}}
        low, high = _widened(self.neg_low, self.neg_high) if several else (0.0, 0.0)
        result['s_neg'] = {'low': low, 'high': high, 'counts': neg} if several else None
        return result

    def _add(self, block: Tensor, labels: Tensor, first: int) -> None:
        scores = block @ self.weight.T
        residuals = block - self.class_means.means[labels]
        self.whitened.index_add_(0, labels, whitened_squares(residuals, self.whitening))
        block -= self.class_means.global_mean
        nearest = nearest_mean(block, self.class_means)
        add_unit_rows(self.unit_sums, block, labels, torch.linalg.vector_norm(block, dim=1))
        differs = (scores - self.bias).argmax(dim=1) != nearest
        self.differing += torch.bincount(labels[differs], minlength=len(self.differing))
        if self.distributions:
            self._count(scores, labels)

    def _count(self, scores: Tensor, labels: Tensor) -> None:
        own = scores.gather(1, labels[:, None])
        self.bins[0] += _histogram(own, self.pos_low, self.pos_high)
        if len(self.weight) > 1:
            # All scores less the positive ones, in the same bins
            every = _histogram(scores, self.neg_low, self.neg_high)
            self.bins[1] += every - _histogram(own, self.neg_low, self.neg_high)


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range in which bins have a width; around one value, of its size or 1."""
    margin = max(abs(low), abs(high), 1.0) * 1e-6
    return (low, high) if high - low > margin else (low - margin, high + margin)


def _histogram(values: Tensor, low: float, high: float) -> Tensor:
    """(BINS,) int64; values that rounding put outside are counted in the outer bins."""
    low, high = _widened(low, high)
    # Not histc: it has no deterministic implementation on GPUs
    bins = ((values - low) * (BINS / (high - low))).long().clamp_(0, BINS - 1)
    return torch.bincount(bins.flatten(), minlength=BINS)
