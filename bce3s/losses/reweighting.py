"""Weights of the classes, from the start or from some epoch on (DRW): of any loss, in the head."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError
from bce3s.losses.counted import Counts
from bce3s.losses.functional import batch_counts, class_balanced_weights
from bce3s.randomness import Clock


class EffectiveNumberWeights(nn.Module):
    """``w_k`` proportional to ``(1 - beta) / (1 - beta^{n_k})`` from a share of the run on.

    With ``start = 0`` the class-balanced loss (Cui et al., CVPR 2019, arXiv 1901.05555), with
    ``start = 0.8`` deferred re-weighting, DRW (Cao et al., NeurIPS 2019, arXiv 1906.07413, whose
    code begins at epoch 160 of 200): before it every class weighs 1.

    Args:
        beta: in [0, 1).
        start: in [0, 1), a share of the run's epochs (``Clock.epochs``), so that a shorter run
            keeps its shape.
        mean_over: over what the weights have the mean 1. ``'classes'``: they sum to K, as in Cui et
            al. ``'samples'`` of the training set: the loss keeps its size, as in the code of DRW,
            which divides by the sum of each batch's weights.
        class_counts: n (K,); None: the head tells them.

    Raises:
        BCE3SError: an argument out of its bounds; a class without a training sample.

    >>> weights = EffectiveNumberWeights(0.99, start=0.5, class_counts=[90, 10])
    >>> weights(torch.tensor([0, 1]), 2, Clock(epoch=4, epochs=10)) is None
    True
    >>> weights(torch.tensor([0, 1]), 2, Clock(epoch=5, epochs=10))
    tensor([0.2768, 1.7232], dtype=torch.float64)
    """

    def __init__(
        self,
        beta: float = 0.9999,
        start: float = 0.0,
        mean_over: str = 'classes',
        class_counts: Counts | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(start, Real) or not 0 <= start < 1:
            raise BCE3SError(
                f'EffectiveNumberWeights: start is a share of the run in [0, 1), not {start!r}: '
                'for epoch 160 of 200 write 0.8.'
            )
        if mean_over not in ('classes', 'samples'):
            raise BCE3SError(
                f"EffectiveNumberWeights: mean_over is 'classes' or 'samples', not {mean_over!r}."
            )
        self.beta, self.start, self.mean_over = beta, start, mean_over
        class_balanced_weights([1], beta)  # checks it
        self.register_buffer('weights', None, persistent=False)
        if class_counts is not None:
            self.set_class_counts(class_counts)

    def set_class_counts(self, counts: Counts) -> None:
        """Derive the weights from the counts (K,), each at least 1."""
        self.weights = class_balanced_weights(counts, self.beta)
        if self.mean_over == 'samples':
            counts = torch.as_tensor(counts).to(self.weights)
            self.weights = self.weights * (counts.sum() / (counts * self.weights).sum())

    def forward(self, labels: Tensor, num_classes: int, clock: Clock) -> Tensor | None:
        """(K,), or None: every class weighs 1. Labels (N,) of the global batch are not looked at.

        Raises:
            BCE3SError: the counts are not known or of another K, or the clock does not know the
                run's length.
        """
        if self.start and clock.progress < self.start:
            return None
        if self.weights is None:
            raise BCE3SError(
                'EffectiveNumberWeights needs the class counts of the training set: give '
                'class_counts, or call set_class_counts of the head before the first step.'
            )
        if len(self.weights) != num_classes:
            raise BCE3SError(
                f'EffectiveNumberWeights has the counts of {len(self.weights)} classes, the head '
                f'{num_classes}: give those of its training set.'
            )
        return self.weights


class BatchBalancedWeights(nn.Module):
    """``w_k = N / (C c_k)`` for the c_k samples of class k among the N of the global batch, which
    has C classes: each of them weighs the same in this batch, and the mean over samples is 1.

    Of dot regression (Yang et al., NeurIPS 2022, arXiv 2203.09081), for which its public code makes
    the targets longer by the root of it.

    >>> BatchBalancedWeights()(torch.tensor([2, 2, 2, 0]), 3, Clock())
    tensor([2.0000, 0.0000, 0.6667])
    """

    def forward(self, labels: Tensor, num_classes: int, clock: Clock) -> Tensor:
        """Labels (N,) of the global batch -> (K,), 0 of classes that it does not have."""
        counts = batch_counts(labels, num_classes)
        present = counts > 0
        return present * (len(labels) / present.sum()) / counts.clamp(min=1)
