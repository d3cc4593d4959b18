r"""Angles between the vectors of a linear classifier, and their lengths.

With the rows :math:`w_k` of W (K, d), :math:`c_{kj} = \cos(w_k, w_j)`. At the neural collapse all
:math:`c_{kj}, k \ne j`, are :math:`-1/(K-1)`: a simplex equiangular tight frame (ETF), the largest
angle that all pairs can have at once. It needs :math:`d \ge K - 1`; in fewer dimensions the mean
can still be reached, but not by every pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.evaluation.arrays import as_matrix, unit_rows


class Angles(NamedTuple):
    """Of the pairs (k, j), j != k, of the classes k of a split with all others.

    Attributes:
        classes: of the split.
        mean, std: of the cosines (``std`` divides by their number).
        mean_angle: of the angles, in degrees.
        least_angle: of the classes' least angles, the mean: how near the nearest rival is.
    """

    classes: int
    mean: float
    std: float
    mean_angle: float
    least_angle: float


def cosines(weight: Any) -> NDArray[np.float64]:
    """``c_kj`` (K, K) of W (K, d), 1 on the diagonal; a row of zeros has the cosine 0 to all.

    Raises:
        BCE3SError: W is not a matrix of real numbers.
    """
    rows = unit_rows(as_matrix('weights', weight, 'cpu').double().numpy())
    found = np.clip(rows @ rows.T, -1, 1)
    np.fill_diagonal(found, 1)
    return found


def etf_cosine(num_classes: int) -> float | None:
    """``-1/(K-1)``; ``None`` with one class."""
    return -1 / (num_classes - 1) if num_classes > 1 else None


def degrees(cosine: ArrayLike) -> NDArray[np.float64]:
    """``arccos`` in degrees."""
    return np.degrees(np.arccos(cosine))


def etf_degrees(num_classes: int) -> float | None:
    """``arccos(-1/(K-1))`` in degrees; ``None`` with one class.

    >>> etf_degrees(2)
    180.0
    """
    cosine = etf_cosine(num_classes)
    return None if cosine is None else math.degrees(math.acos(cosine))


def angles_by_split(
    weight: Any, class_counts: Sequence[int], thresholds: Thresholds | None = None
) -> dict[str, Angles | None]:
    """How evenly the classifier's vectors are spread, by the split of one of the two classes.

    Args:
        weight: (K, d).
        class_counts: (K,) TRAINING images.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all``, ``many``, ``medium``, ``few``; ``None`` for a split without classes, and
        everything with one class.
    """
    found = cosines(weight)
    others = ~np.eye(len(found), dtype=bool)
    masks = {'all': np.ones(len(found), bool), **split_masks(class_counts, thresholds)}

    def measure(mask: NDArray) -> Angles | None:
        if not mask.any() or len(found) < 2:
            return None
        pairs = found[mask][others[mask]].reshape(int(mask.sum()), -1)
        angle = degrees(pairs)
        return Angles(
            len(pairs),
            float(pairs.mean()),
            float(pairs.std()),
            float(angle.mean()),
            float(angle.min(axis=1).mean()),
        )

    return {name: measure(masks[name]) for name in ('all', *SPLITS)}


def norms(weight: Any) -> NDArray[np.float64]:
    """``||w_k||`` (K,)."""
    return np.linalg.norm(as_matrix('weights', weight, 'cpu').double().numpy(), axis=1)


def equal_norms(lengths: ArrayLike, tolerance: float = 1e-3) -> bool:
    """Whether all agree within a relative ``tolerance``, as a normalised classifier's do."""
    lengths = np.asarray(lengths)
    return bool(np.ptp(lengths) <= tolerance * np.abs(lengths).max())
