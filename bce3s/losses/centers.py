"""Neural collapse as two terms of the loss, about learnable centres of the classes: NC-DRW."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses.bounds import check_numbers
from bce3s.losses.functional import batch_counts


class CenterTerms(nn.Module):
    """``lambda_1 L_1 + lambda_2 L_2`` of features h and learnable centres c (K, d).

    - ``L_1 = 1/K sum_k mean_{i: y_i = k} |h_i - c_k|^2`` over the classes k that the batch has,
      each of which counts alike; divided by K, not by their number.
    - ``L_2 = -1/K sum_k min_{j != k} angle(c_k - m, c_j - m)``, m the mean of the centres: the
      nearest other centre shall be far. Its gradient reaches the centres alone.

    Liu et al., Inducing Neural Collapse in Deep Long-tailed Learning (AISTATS 2023, arXiv
    2302.12453). In its public code the centres have an SGD of their own, of rate 0.5 without
    momentum and decay, and their gradient is divided by lambda_1.

    Args:
        num_classes, in_channels: K >= 2, d.
        compactness, separation: lambda_1, lambda_2 >= 0.

    Raises:
        BCE3SError: an argument out of its bounds.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        compactness: float = 0.01,
        separation: float = 0.1,
    ) -> None:
        super().__init__()
        check_numbers(self, compactness=compactness, separation=separation)
        if num_classes < 2:
            raise BCE3SError('CenterTerms: a single class has no other to be far from.')
        self.compactness, self.separation = compactness, separation
        self.centers = nn.Parameter(torch.randn(num_classes, in_channels))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features (B, d), integer labels (B,) of the whole batch -> scalar."""
        return self.rows(features, labels, labels).mean() + self.spread()

    def rows(self, features: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """Features (B, d), their labels (B,) and those of the global batch (N,) -> (B,), of which
        the mean over the global batch is ``lambda_1 L_1``.
        """
        counts = batch_counts(all_labels, len(self.centers), features.dtype)
        squares = (features - self.centers[labels]).square().sum(-1)
        share = len(all_labels) / (len(self.centers) * counts[labels])
        return self.compactness * share * squares

    def spread(self) -> Tensor:
        """``lambda_2 L_2``, a scalar. Cosines beyond 0.99999 count as that."""
        directions = F.normalize(self.centers - self.centers.mean(0), dim=1)
        cosines = directions @ directions.T
        own = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
        nearest = cosines.masked_fill(own, -1).amax(1).clamp(-0.99999, 0.99999)
        return -self.separation * nearest.arccos().mean()
