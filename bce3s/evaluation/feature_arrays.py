"""Features and labels for nearest-neighbour searches; means over classes and splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_accuracy
from bce3s.evaluation.arrays import as_labels, as_matrix, check_finite, check_some


def feature_array(name: str, values: Any) -> NDArray[np.float32]:
    """Features as faiss takes them: (N, d) float32 in one piece on the CPU.

    Args:
        name: whose they are, for the sentence of an error.
        values: (N, d), NumPy or torch on any device.

    Raises:
        BCE3SError: no sample, not two dimensions, or a value that float32 does not hold as finite.
    """
    matrix = as_matrix(f'{name} features', values, 'cpu').to(torch.float32).contiguous()
    check_some(matrix.numel())
    check_finite(f'{name} features', matrix.amax(dim=1).double() - matrix.amin(dim=1).double())
    return matrix.numpy()


def label_array(values: Any, features: NDArray, num_classes: int) -> NDArray[np.int64]:
    """The classes of ``features`` (N,) int64.

    Raises:
        BCE3SError: not one integer for each, or one outside 0..K-1.
    """
    return as_labels(values, torch.from_numpy(features), num_classes).numpy()


def check_same_size(queries: NDArray, gallery: NDArray) -> None:
    """Raises BCE3SError if queries and gallery do not have the same dimension d."""
    if queries.shape[1] != gallery.shape[1]:
        raise BCE3SError(
            f'The query features have {queries.shape[1]} dimensions, the gallery features '
            f'{gallery.shape[1]}: extract both with the same model.'
        )


def unit_rows(features: NDArray) -> NDArray:
    """Rows of unit length; a row of zeros has no direction and stays zero.

    So its cosine to everything is 0, the documented limit. The largest entry is divided out first:
    no square overflows or vanishes.
    """
    largest = np.abs(features).max(axis=1, keepdims=True)
    scaled = features / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled / np.where(norms > 0, norms, 1)


def class_means_of(values: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    """Mean of a figure over the samples of each class (K,); NaN where a class has none.

    Args:
        values: (N,) a figure of each sample; NaN: undefined, left out.
        labels: (N,) classes.
        num_classes: K.
    """
    values, labels = np.asarray(values, dtype=np.float64), np.asarray(labels)
    defined = ~np.isnan(values)
    values, labels = values[defined], labels[defined]
    sizes = np.bincount(labels, minlength=num_classes)
    means = np.full(num_classes, np.nan)
    sums = np.bincount(labels, weights=values, minlength=num_classes)
    return np.divide(sums, sizes, out=means, where=sizes > 0)


def split_means(
    values: ArrayLike,
    labels: ArrayLike,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
) -> dict[str, float | None]:
    """A figure of each sample, averaged over classes and splits as accuracies are.

    Args:
        values: (N,) the figure; NaN where it is undefined, which is then no part of any mean.
        labels: (N,) classes.
        class_counts: (K,) TRAINING samples of each class.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all``, ``many``, ``medium``, ``few``: means of the per-class means; ``plain``: the mean
        over all samples alike. ``None`` where nothing is defined.
    """
    values = np.asarray(values, dtype=np.float64)
    per_class = class_means_of(values, labels, len(class_counts))
    means = split_accuracy(per_class, class_counts, thresholds or Thresholds())
    defined = values[~np.isnan(values)]
    return {**means, 'plain': float(defined.mean()) if defined.size else None}
