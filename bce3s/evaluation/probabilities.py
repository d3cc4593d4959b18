r"""What logits mean: probabilities by sigmoid (BCE) or softmax (CE), and how likely the labels are.

:math:`\beta` multiplies the logits and is the inverse of the temperature T. Both negative log
likelihoods are convex in it, so their best temperature is where the slope is 0: no grid is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bce3s.evaluation.arrays import as_labels, as_matrix, check_finite, check_some, row_blocks


class Probabilities(ABC):
    """Of one loss. Logits are (N, K), labels (N,); what is returned is float64.

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

    def _mean(self, rows_of: Any, logits: Any, labels: Any, beta: float) -> float:
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
    r""":math:`-\log p_y`, with :math:`p = softmax(\beta z)`: one class is right."""

    name = 'softmax'

    def _confidence(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1).amax(dim=1)

    def _nll(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor:
        return F.cross_entropy(beta * logits, labels, reduction='none')

    def _slope(self, logits: Tensor, labels: Tensor, beta: float) -> Tensor:
        expected = ((beta * logits).softmax(dim=1) * logits).sum(dim=1)
        return expected - logits.gather(1, labels[:, None])[:, 0]


class Sigmoid(Probabilities):
    r""":math:`softplus(-\beta z_y) + \sum_{j \ne y} softplus(\beta z_j)`: K yes-or-no questions."""

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
