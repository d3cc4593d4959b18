"""What is taken for what: confusions of classes and of splits, from labels and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.evaluation.arrays import as_labels, as_tensor

Flow = dict[str, dict[str, float | None]]


class Confusion(NamedTuple):
    """``count`` images of class ``true``, ``share`` percent of them, are called ``predicted``."""

    true: int
    predicted: int
    count: int
    share: float


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray:
    """``C_kj``, the images of class k that are called j, (K, K) int64.

    Args:
        labels: (N,) true classes. predicted: (N,) classes that the model calls them.
        num_classes: K.

    Raises:
        BCE3SError: different lengths, or a class outside 0..K-1.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    from sklearn import metrics

    predicted = as_tensor(predicted)
    both = (as_labels(ids, predicted, num_classes).cpu().numpy() for ids in (labels, predicted))
    return metrics.confusion_matrix(*both, labels=np.arange(num_classes))


def row_shares(matrix: NDArray) -> NDArray[np.float64]:
    """``100 C_kj / n_k`` (K, K): each row sums to 100; NaN for a class without images."""
    images = matrix.sum(axis=1, keepdims=True)
    shares = np.full(matrix.shape, np.nan)
    return np.divide(100.0 * matrix, images, out=shares, where=images > 0)


def frequent_confusions(matrix: NDArray, limit: int = 12, least: int = 2) -> list[Confusion]:
    """The confusions that take the largest share of a class's images, the largest first.

    Args:
        matrix: (K, K) of :func:`confusion_matrix`.
        limit: how many at most.
        least: images that make a confusion; what happened less often may be chance, and is listed
            only if there is nothing else. Equal shares: the one of more images first.
    """
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    true, predicted = np.nonzero(wrong >= (least if (wrong >= least).any() else 1))
    counts, shares = wrong[true, predicted], row_shares(matrix)[true, predicted]
    order = np.lexsort((predicted, true, -counts, -shares))[:limit]
    columns = (column[order].tolist() for column in (true, predicted, counts, shares))
    return [Confusion(*row) for row in zip(*columns, strict=True)]


def split_flow(
    matrix: NDArray, class_counts: Sequence[int], thresholds: Thresholds | None = None
) -> Flow:
    """Of the images of one split, the percentage that is called a class of each.

    ``F_st``: mean over the classes k of s that have images of ``100/n_k sum_{j in t} C_kj``, so
    that a row sums to 100. ``F['few']['many']`` is what a long tail does to a classifier.

    Args:
        matrix: (K, K) of :func:`confusion_matrix`.
        class_counts: (K,) TRAINING images of each class.
        thresholds: where Many ends and Few begins.

    Returns:
        ``{true split: {split of the prediction: percent}}``, ``None`` for a split without images,
        and in the column of a split without classes.
    """
    masks, shares = split_masks(class_counts, thresholds), row_shares(matrix)
    tested = matrix.sum(axis=1) > 0

    def cell(true: str, predicted: str) -> float | None:
        rows = masks[true] & tested
        if not rows.any() or not masks[predicted].any():
            return None
        return float(shares[rows][:, masks[predicted]].sum(axis=1).mean())

    return {true: {predicted: cell(true, predicted) for predicted in SPLITS} for true in SPLITS}


def in_blocks(shares: NDArray, blocks: int) -> NDArray[np.float64]:
    """A large matrix of shares as (blocks, blocks): neighbouring classes together.

    A cell is the mean over the block's rows of the sum over the block's columns: the share of
    these classes' images that are called one of those. Rows without images (NaN) count in no mean.

    Args:
        shares: (K, K) of :func:`row_shares`, in the order that is to be kept.
        blocks: how many, at most K.
    """
    starts = np.arange(blocks) * len(shares) // blocks
    rows = (~np.isnan(shares).any(axis=1)).astype(float)
    sums = np.add.reduceat(np.nan_to_num(shares), starts, axis=1)
    sums, number = np.add.reduceat(sums, starts, axis=0), np.add.reduceat(rows, starts)
    means = np.full(sums.shape, np.nan)
    return np.divide(sums, number[:, None], out=means, where=number[:, None] > 0)
