"""Means of the features of each class and of all, and their differences, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bce3s.evaluation.arrays import as_labels, as_matrix, check_finite, check_some, row_blocks

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class ClassMeans:
    """Sums over the samples of each class and what follows from them, float64.

    Args:
        counts: (K,) samples of each class.
        sums: (K, d) of their features.
    """

    counts: Tensor
    sums: Tensor

    @cached_property
    def classes(self) -> Tensor:
        """(K',) the classes that have samples."""
        return self.counts.nonzero()[:, 0]

    @cached_property
    def means(self) -> Tensor:
        """(K, d), Eq. 26; 0 for a class without samples."""
        return self.sums / self.counts.clamp(min=1)[:, None]

    @cached_property
    def global_mean(self) -> Tensor:
        """(d,) the mean over all samples, Eq. 27."""
        return self.sums.sum(dim=0) / self.counts.sum()

    @cached_property
    def centred(self) -> Tensor:
        """(K', d) the means of the classes that have samples, less the global mean."""
        return without(self.means[self.classes], self.global_mean)

    @cached_property
    def centred_squares(self) -> Tensor:
        """(K',) squared norms of ``centred``."""
        return self.centred.square().sum(dim=1)


def class_means(features: Any, labels: Any, num_classes: int | None = None) -> ClassMeans:
    """Counts and sums of the classes.

    Args:
        features: (N, d). labels: (N,).
        num_classes: K; the largest label + 1 if it is not given.

    Raises:
        BCE3SError: no sample, labels and features of different lengths, a label outside 0..K-1, or
            features that are not finite (the sample is named).
    """
    features = as_matrix('features', features)
    labels = as_labels(labels, features, num_classes)
    check_some(len(labels))
    counts = torch.bincount(labels, minlength=num_classes or 0)
    sums = torch.zeros(len(counts), features.shape[1], dtype=torch.float64, device=features.device)
    for rows in row_blocks(features):
        block = features[rows].double()
        check_finite('features', torch.linalg.vector_norm(block, dim=1), rows.start)
        sums.index_add_(0, labels[rows], block)
    return ClassMeans(counts, sums)


def without(rows: Tensor, centre: Tensor) -> Tensor:
    """``rows - centre``, and 0 where rounding is all that is left of it."""
    centred = rows - centre
    noise = max(rows.shape) * EPS * torch.linalg.matrix_norm(rows)
    return centred if torch.linalg.matrix_norm(centred) > noise else torch.zeros_like(centred)
