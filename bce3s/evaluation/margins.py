r"""Margins of a linear classifier: how far each feature is from the nearest decision boundary.

Scores are :math:`z_j = w_j \cdot h - b_j` (a linear layer's bias is MINUS ``bias``). Between two
classes the boundary is a plane, so the distance is exact and in closed form: no attack is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import (
    BLOCK,
    as_labels,
    as_matrix,
    as_tensor,
    check_finite,
    check_some,
    row_blocks,
)
from bce3s.evaluation.decision_scores import check_widths

DIFFERENCES = 'donot_use_mm_for_euclid_dist'
NEAR = 0.01  # of |a|^2 + |b|^2: where |a - b|^2 is less, inner products would lose digits
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75)
ROWS = 1024  # samples in a block, whatever the memory: those of a block share a draw of noise


def margins(features: Any, labels: Any, weight: Any, bias: Any = None) -> Tensor:
    r""":math:`m_i = \min_{j \ne y} (z_{iy} - z_{ij}) / \|w_y - w_j\|`, exact.

    Where positive it is the norm of the smallest change of the feature that takes sample i of class
    y from its class (the distance to the nearest decision boundary); a sample with
    :math:`m_i \le 0` is wrong as it is, or on the boundary. Equal weights cannot be told apart by
    any feature: such a pair gives inf, -inf or 0 by the sign of the gap. With one class it is inf.

    Args:
        features: (N, d) as the classifier multiplies them. labels: (N,) classes.
        weight: (K, d). bias: (K,); 0 if None.

    Returns:
        (N,) float64, in units of the features. O(N d K + K^2 d) time; the distances of the classes
        of ``ROWS`` samples from all K are held meanwhile.

    Raises:
        BCE3SError: no sample, shapes that do not fit, a label outside 0..K-1, or numbers that are
            not finite.

    >>> margins([[3.0, 0.0]], [0], [[1.0, 0.0], [-1.0, 0.0]]).tolist()
    [3.0]
    """
    features, labels, weight, bias = checked_data(features, labels, weight, bias)
    found = torch.empty(len(labels), dtype=torch.float64, device=labels.device)
    for rows, apart in _blocks_and_distances(labels, weight):
        own = labels[rows][:, None]
        scores = linear_scores(features, weight, bias, rows)
        gaps = scores.gather(1, own) - scores
        ratios = torch.where(gaps == 0, gaps, gaps / apart)
        found[rows] = ratios.scatter(1, own, torch.inf).amin(1)
    return found


def _blocks_and_distances(
    labels: Tensor, weight: Tensor
) -> Iterator[tuple[slice | Tensor, Tensor]]:
    """Blocks of n <= ``ROWS`` samples, and the distances of their classes from all, (n, K)."""
    if len(weight) <= ROWS:
        apart = distances(weight, torch.arange(len(weight), device=weight.device))
        for rows in sample_blocks(labels):
            yield rows, apart[labels[rows]]
        return
    for rows in labels.argsort(stable=True).split(ROWS):  # by class: each distance is needed once
        classes, place = labels[rows].unique_consecutive(return_inverse=True)
        yield rows, distances(weight, classes)[place]


def distances(weight: Tensor, classes: Tensor) -> Tensor:
    r""":math:`\|w_c - w_j\|` of ``classes`` (C,) from all, (C, K) float64.

    By inner products, several times as fast as by differences; by differences where they would lose
    digits: weights that are equal must be at the distance 0.
    """
    own = weight[classes]
    sizes = own.square().sum(1)[:, None] + weight.square().sum(1)
    squares = torch.addmm(sizes, own, weight.T, alpha=-2)
    near = (~(squares > NEAR * sizes)).nonzero()
    if len(near) > squares.numel() // 8:
        return torch.cdist(own, weight, compute_mode=DIFFERENCES)
    apart = squares.sqrt_()
    for pairs in near.split(max(1, BLOCK // weight.shape[1])):
        i, j = pairs.unbind(1)
        apart[i, j] = torch.linalg.vector_norm(own[i] - weight[j], dim=1)
    return apart


def worst_case_accuracy(margins: Any, sizes: Sequence[float]) -> list[float]:
    """The accuracy if every feature is changed in the worst direction by a given norm (percent):
    the share of :func:`margins` above it. Divide the margins by the features' norms for relative
    sizes.

    Raises:
        BCE3SError: no sample, or a size that is negative or not finite.

    >>> worst_case_accuracy([0.5, 2.0], [0.0, 1.0])
    [100.0, 50.0]
    """
    margins = as_tensor(margins)
    check_some(len(margins))
    return [100.0 * float((margins > size).double().mean()) for size in checked_sizes(sizes)]


def margin_quantiles(margins: Any, quantiles: Sequence[float] = QUANTILES) -> dict[str, Any]:
    """Quantiles of :func:`margins`, ``{'0.05': ...}``: the largest m that at most that share of the
    samples is below (no interpolation). ``None`` where it is infinite.

    Raises:
        BCE3SError: no sample, or a quantile outside [0, 1].
    """
    margins = as_tensor(margins).double().sort().values
    check_some(len(margins))
    if not all(0 <= q <= 1 for q in quantiles):
        raise BCE3SError(f'The quantiles {list(quantiles)} must be numbers in [0, 1].')
    values = {q: margins[min(int(q * len(margins)), len(margins) - 1)] for q in quantiles}
    return {f'{q:g}': float(m) if torch.isfinite(m) else None for q, m in values.items()}


def norms(features: Tensor) -> Tensor:
    """(N,) Euclidean, in float64 without a copy of the features."""
    found = torch.empty(len(features), dtype=torch.float64, device=features.device)
    for rows in row_blocks(features):  # at once it would be a float64 copy of all of them
        found[rows] = torch.linalg.vector_norm(features[rows], dim=1, dtype=torch.float64)
    return found


def linear_scores(features: Tensor, weight: Tensor, bias: Tensor, rows: slice | Tensor) -> Tensor:
    """(n, K) float64 scores of some samples; weight and bias are float64."""
    return features[rows].double() @ weight.T - bias


def sample_blocks(samples: Tensor) -> Iterator[slice]:
    """Slices of ``ROWS`` samples, the last one shorter."""
    for start in range(0, len(samples), ROWS):
        yield slice(start, min(start + ROWS, len(samples)))


def checked_sizes(sizes: Sequence[float]) -> list[float]:
    """As numbers. Raises BCE3SError if one is negative or not finite."""
    sizes = [float(size) for size in sizes]
    if not all(0 <= size < float('inf') for size in sizes):
        raise BCE3SError(f'The sizes {sizes} of disturbances must be finite and not negative.')
    return sizes


def checked_data(features: Any, labels: Any, weight: Any, bias: Any) -> tuple[Tensor, ...]:
    """Features, labels, and weight and bias in float64, on the device of the features.

    Raises:
        BCE3SError: as :func:`margins`.
    """
    features = as_matrix('features', features)
    weight = as_matrix('weights', weight, features.device).double()
    check_widths(features, weight)
    labels = as_labels(labels, features, len(weight))
    check_some(len(labels))
    bias = weight.new_zeros(len(weight)) if bias is None else as_tensor(bias, weight.device)
    if bias.shape != weight.shape[:1]:
        raise BCE3SError(
            f'The classifier has {len(weight)} classes, but the biases have the shape '
            f'{tuple(bias.shape)}: give one bias for each class.'
        )
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise BCE3SError('The weights or biases are not finite: the model has diverged.')
    check_finite('features', norms(features))
    return features, labels, weight, bias.double()
