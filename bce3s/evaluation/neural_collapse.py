r"""Neural collapse of features and classifier: NC1 to NC4.

From "BCE vs. CE in Deep Feature Learning" (ICML 2025), Eqs. 24-38, after Papyan et al. (2020), Zhu
et al. (2021) and Zhou et al. (2022). Logits are :math:`z = W h - b`. With the class means
:math:`\bar h^{(k)}`, the mean over all samples :math:`\bar h`, :math:`\Sigma_B` the mean over
classes of :math:`(\bar h^{(k)} - \bar h)(\bar h^{(k)} - \bar h)^T` and :math:`\Sigma_W` the
mean over samples of :math:`(h_i - \bar h^{(y_i)})(h_i - \bar h^{(y_i)})^T`:

* NC1 :math:`= \frac{1}{K} tr(\Sigma_W \Sigma_B^\dagger)` (Eq. 32);
* NC2: the distance of :math:`\tilde W \tilde W^T / \|\cdot\|_F` from the simplex ETF
  :math:`\frac{1}{\sqrt{K-1}}(I - \frac{1}{K} 1 1^T)`, with centred W (Eq. 33), or without centring
  as in the earlier papers;
* NC3: the distance of :math:`W \tilde H / \|\cdot\|_F` from it, :math:`\tilde H` the centred class
  means (Eq. 34), and NC3', the same with centred W (Eq. 38);
* NC4: how often the classifier and the nearest class mean disagree (Eq. 31).

All are at least 0, and 0 at the collapse. Classes without samples are left out of the means, and K
is the number of the others; NC3 then uses the rows of W (centred by their own mean) that have one.
What is not defined is ``None``: everything with one class, and a matrix whose norm is 0. NC1 and
NC4 are sums over samples: :mod:`bce3s.evaluation.features` has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import (
    as_classifier,
    as_labels,
    as_matrix,
    check_finite,
    check_some,
    row_blocks,
)

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
    def whitening(self) -> Tensor:
        r"""P (r, d) with :math:`\Sigma_B^\dagger = K P^T P`, r the rank of :math:`\Sigma_B`.

        From the thin singular value decomposition :math:`U S V^T` of the centred class means as
        columns: :math:`P = S^{-1} U^T`. No d x d matrix is made, and NC1 is the mean over samples
        of :math:`\|P (h_i - \bar h^{(y_i)})\|^2`. Eigenvalues of :math:`\Sigma_B` below ``max(K, d)
        eps`` of the largest (eps of float64) count as 0, as usual for a pseudo-inverse.
        """
        _, scale, directions = torch.linalg.svd(self.centred, full_matrices=False)
        keep = scale > math.sqrt(max(self.centred.shape) * EPS) * scale.max()
        return directions[keep] / scale[keep, None]

    def nearest(self, centred_rows: Tensor) -> Tensor:
        """(n,) the class with the nearest mean, the first of equals, among those with samples.

        Args:
            centred_rows: (n, d) features less the global mean, which keeps the differences of large
                norms small.
        """
        half_squares = self.centred.square().sum(dim=1) / 2
        return self.classes[(centred_rows @ self.centred.T - half_squares).argmax(dim=1)]


def class_means(features: Any, labels: Any, num_classes: int | None = None) -> ClassMeans:
    """Counts and sums of the classes.

    Args:
        features: (N, d). labels: (N,).
        num_classes: K; the largest label + 1 if it is not given.

    Raises:
        BCE3SError: no sample, labels and features of different lengths, a label outside 0..K-1, or
            features that are not finite (the sample is named).

    >>> class_means([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]], [0, 0, 1]).means.tolist()
    [[2.0, 0.0], [0.0, 5.0]]
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


def nc2(weight: Any, centred: bool = True) -> float | None:
    """NC2 of the classifier W (K, d): Eq. 33, or without centring as in the earlier papers.

    Only W is needed. ``None`` with one class, or if W (centred) is 0.

    Raises:
        BCE3SError: W is not a matrix, or not finite.

    >>> round(nc2([[1.0, 0.0], [-1.0, 0.0]]), 6)
    0.0
    >>> round(nc2([[1.0, 0.0], [0.0, 1.0]], centred=False), 4)
    0.7654
    """
    weight, _ = as_classifier(weight, None)
    if centred:
        weight = without(weight, weight.mean(dim=0))
    return _distance_from_simplex(weight, weight)


def nc3(weight: Any, means: ClassMeans, centred: bool = False) -> float | None:
    """NC3 of W (K, d) and the class means (Eq. 34), or NC3' with ``centred`` W (Eq. 38).

    ``None`` if fewer than two classes have samples, or if the product is 0.

    Raises:
        BCE3SError: W is not a finite matrix with a row for each class and the features' width.

    >>> round(nc3([[1.0], [-1.0]], class_means([[2.0], [-2.0]], [0, 1])), 6)
    0.0
    """
    weight, _ = as_classifier(weight, None, means.sums)
    if weight.shape != means.sums.shape:
        raise BCE3SError(
            f'The classifier has {len(weight)} classes, the class means have {len(means.sums)}.'
        )
    weight = weight[means.classes]
    if centred:
        weight = without(weight, weight.mean(dim=0))
    return _distance_from_simplex(weight, means.centred)


def _distance_from_simplex(left: Tensor, right: Tensor) -> float | None:
    """``||G / ||G||_F - (I - 11^T / K) / sqrt(K - 1)||_F``, (K, K) ``G = left right^T``."""
    num_classes, gram = len(left), left @ right.T
    norm = torch.linalg.matrix_norm(gram)
    noise = torch.linalg.matrix_norm(left) * torch.linalg.matrix_norm(right) * EPS
    if num_classes < 2 or not norm > max(left.shape) * noise:
        return None
    difference = gram / norm + 1 / (num_classes * math.sqrt(num_classes - 1))
    difference.diagonal().sub_(1 / math.sqrt(num_classes - 1))
    return float(torch.linalg.matrix_norm(difference))
