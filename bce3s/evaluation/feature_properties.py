r"""Compactness within the classes and distinctiveness between them, of features (percent).

Both are means of cosines over pairs of samples ("BCE vs. CE in Deep Feature Learning", ICML 2025,
Eqs. 49, 50), which are inner products of sums of unit vectors: linear in N. With
:math:`u_k = \frac{1}{n_k}\sum_i h_i / \|h_i\|` over the samples of class k, and
:math:`\tilde u_k` the same of the features less the global mean,

.. math:: E_{com} = \tfrac{1}{2}\big[\tfrac{1}{K}\sum_k \|\tilde u_k\|^2 + 1\big] 100\%, \qquad
    E_{dis} = \tfrac{1}{2}\big[1 - \tfrac{1}{K(K-1)}\sum_k \langle u_k, \sum_{k' \ne k} u_{k'}
    \rangle\big] 100\%.

A vector of norm 0 has the cosine 0 with every vector, itself included. Classes without samples are
left out, and K is the number of the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bce3s.evaluation.arrays import as_labels, as_matrix, check_finite, check_some, row_blocks


def compactness(features: Any, labels: Any, num_classes: int | None = None) -> float:
    """E_com (Eq. 49) in percent.

    Args:
        features: (N, d). labels: (N,).
        num_classes: K, against which labels are checked if it is given.

    Raises:
        BCE3SError: no sample, labels and features of different lengths, a label outside 0..K-1, or
            features that are not finite (the sample is named).
    """
    features, labels, counts = _checked(features, labels, num_classes)
    centre = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
    for rows in row_blocks(features):
        centre += features[rows].sum(dim=0, dtype=torch.float64)
    sums = _unit_sums(features, labels, len(counts), centre / len(features))
    return float(class_compactness(sums, counts)[counts > 0].mean())


def distinctiveness(features: Any, labels: Any, num_classes: int | None = None) -> float | None:
    """E_dis (Eq. 50) in percent; ``None`` if fewer than two classes have samples.

    Args:
        features, labels, num_classes: as :func:`compactness`.

    Raises:
        BCE3SError: as :func:`compactness`.
    """
    features, labels, counts = _checked(features, labels, num_classes)
    if (counts > 0).sum() < 2:
        return None
    sums = _unit_sums(features, labels, len(counts))
    return float(class_distinctiveness(sums, counts)[counts > 0].mean())


def class_compactness(unit_sums: Tensor, counts: Tensor) -> Tensor:
    """The term of each class in E_com, percent: E_com is the mean over classes with samples.

    Args:
        unit_sums: (K, d) sums over the samples of each class of their centred, normalised features.
        counts: (K,) samples of each class.

    Returns:
        (K,); classes without samples have no meaning.
    """
    means = unit_sums / counts.clamp(min=1)[:, None]
    return 50.0 * (means.square().sum(dim=1) + 1.0)


def class_distinctiveness(unit_sums: Tensor, counts: Tensor) -> Tensor:
    """The term of each class in E_dis, percent: E_dis is the mean over classes with samples.

    The term of class k is the mean over all other classes with samples, of which at least two are
    needed.

    Args:
        unit_sums: (K, d) sums over the samples of each class of their normalised features.
        counts: (K,) samples of each class.

    Returns:
        (K,); classes without samples have no meaning.
    """
    means = unit_sums / counts.clamp(min=1)[:, None]
    others = means.sum(dim=0) - means
    cosines = (means * others).sum(dim=1) / ((counts > 0).sum() - 1).clamp(min=1)
    return 50.0 * (1.0 - cosines)


def add_unit_rows(sums: Tensor, block: Tensor, labels: Tensor, norms: Tensor) -> None:
    """Adds each row of ``block`` (n, d), divided by its norm, to the row of its class in ``sums``.

    Args:
        sums: (K, d), changed in place.
        block: (n, d), changed in place: its rows are normalised (those of norm 0 stay 0).
        labels: (n,).
        norms: (n,) of the rows.
    """
    block.div_(torch.where(norms > 0, norms, 1.0)[:, None])
    sums.index_add_(0, labels, block)


def _checked(features: Any, labels: Any, num_classes: int | None) -> tuple[Tensor, Tensor, Tensor]:
    features = as_matrix('features', features)
    labels = as_labels(labels, features, num_classes)
    check_some(len(labels))
    return features, labels, torch.bincount(labels)


def _unit_sums(
    features: Tensor, labels: Tensor, num_classes: int, centre: Tensor | None = None
) -> Tensor:
    """(K, d) float64, a block of rows at a time: no copy of the features is made."""
    sums = torch.zeros(num_classes, features.shape[1], dtype=torch.float64, device=features.device)
    for rows in row_blocks(features):
        block = features[rows].to(torch.float64, copy=True)
        norms = torch.linalg.vector_norm(block, dim=1)
        check_finite('features', norms, rows.start)
        if centre is not None:
            block -= centre
            norms = torch.linalg.vector_norm(block, dim=1)
        add_unit_rows(sums, block, labels[rows], norms)
    return sums
