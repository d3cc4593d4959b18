"""What losses that know the class counts have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.losses.joint import CEJoint

Counts = Sequence[int] | Tensor


class CountedLoss(CEJoint):
    """A loss with constants of each class that follow from the counts of the TRAINING set.

    A head tells it the counts (:meth:`TripartiteHead.set_class_counts`); in a loop of one's own
    they are an argument. A loss of this kind writes :meth:`constants` and ``rows``.

    Args:
        class_counts: (K,) training samples of each class, or None: they are told later.
    """

    def __init__(self, class_counts: Counts | None = None) -> None:
        super().__init__()
        self.register_buffer('_constants', None, persistent=False)
        if class_counts is not None:
            self.set_class_counts(class_counts)

    def constants(self, counts: Tensor) -> Tensor:
        """Counts (K,) -> (..., K) float64."""
        raise NotImplementedError

    def set_class_counts(self, counts: Counts) -> None:
        """Derive the constants from the counts (K,), each at least 1."""
        self._constants = self.constants(torch.as_tensor(counts))

    def known(self, logits: Tensor) -> Tensor:
        """The constants (..., K) in the precision of logits (..., K).

        Raises:
            BCE3SError: the counts are not known, or are those of another number of classes.
        """
        name = type(self).__name__
        if self._constants is None:
            raise BCE3SError(
                f'{name} needs the class counts of the training set, which it was not told: give '
                'class_counts, or call set_class_counts of the head before the first step.'
            )
        if self._constants.shape[-1] != logits.shape[-1]:
            raise BCE3SError(
                f'{name} has the counts of {self._constants.shape[-1]} classes, but the logits '
                f'have {logits.shape[-1]}: give it the counts of the data set that is trained on.'
            )
        return self._constants.to(logits.dtype)
