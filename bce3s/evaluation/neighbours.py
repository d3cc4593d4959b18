"""From the nearest neighbours of each query to votes and figures: pure functions on arrays.

A row is a query, its columns the neighbours from the nearest on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def vote(
    neighbour_labels: NDArray[np.int64],
    num_classes: int,
    ks: Sequence[int],
    weights: NDArray[np.float64] | None = None,
) -> dict[int, NDArray[np.int64]]:
    """The class that most of the k nearest neighbours have, or that has the most weight.

    ``argmax_c sum_{i <= k} w_i [y_i = c]``; of classes with equal sums the one whose nearest member
    is nearest.

    Args:
        neighbour_labels: (B, at least the largest k).
        num_classes: K.
        ks: how many neighbours vote.
        weights: (B, at least the largest k) w; None: 1 each, the majority.

    Returns:
        For each k the predictions (B,).
    """
    rows, depth = np.arange(len(neighbour_labels)), max(ks)
    votes = np.zeros((len(rows), num_classes))
    first = np.full(votes.shape, depth, dtype=np.int32)  # rank of the nearest member
    winners = {}
    for rank in range(depth):
        labels = neighbour_labels[:, rank]
        votes[rows, labels] += 1 if weights is None else weights[:, rank]
        first[rows, labels] = np.minimum(first[rows, labels], rank)
        if rank + 1 in ks:
            tied = votes == votes.max(axis=1, keepdims=True)
            winners[rank + 1] = np.where(tied, first, depth + 1).argmin(axis=1)
    return winners


def similarity_weights(scores: NDArray, tau: float) -> NDArray[np.float64]:
    """``exp(s_i / tau)``, up to a factor a row that changes no vote (Wu et al., CVPR 2018)."""
    scores = scores.astype(np.float64)
    return np.exp((scores - scores.max(axis=1, keepdims=True)) / tau)


def recall_at_k(relevant: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """1 if one of the k nearest has the query's class, else 0 (B,).

    Recall@k as metric learning uses it (Jegou et al., TPAMI 2011): not the share of all relevant
    ones that are found.

    >>> recall_at_k(np.array([[False, True], [False, False]]), 2).tolist()
    [1.0, 0.0]
    """
    return relevant[:, :k].any(axis=1).astype(np.float64)


def average_precision_at_r(
    relevant: NDArray[np.bool_], number_relevant: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``1/R sum_{i=1..R} P(i)``, P(i) the precision at i if the i-th is relevant, else 0 (B,).

    Its mean over queries is MAP@R (Musgrave, Belongie, Lim, "A Metric Learning Reality Check",
    ECCV 2020).

    Args:
        relevant: (B, at least the largest R) whether the i-th nearest has the query's class.
        number_relevant: (B,) R, how many of the query's class there are to be found. NaN is
            returned where there is none: 0/0 is no figure.

    >>> average_precision_at_r(np.array([[True, False, True]]), np.array([3])).round(4).tolist()
    [0.5556]
    """
    relevant = relevant[:, : max(1, int(number_relevant.max(initial=0)))]
    ranks = np.arange(1, relevant.shape[1] + 1)
    counted = relevant & (ranks <= number_relevant[:, None])
    precision = np.cumsum(counted, axis=1, dtype=np.int32) / ranks
    sums = np.where(counted, precision, 0).sum(axis=1)
    figures = np.full(len(relevant), np.nan)
    return np.divide(sums, number_relevant, out=figures, where=number_relevant > 0)
