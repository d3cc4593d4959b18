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

import torch
from torch import Tensor


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
