r"""How a linear classifier bears disturbances: margins, noise on features and scores, rounding.

Scores are :math:`z_j = w_j \cdot h - b_j` (a linear layer's bias is MINUS ``bias``). Between two
classes the boundary is a plane, so the distance of a feature from it, its margin, is exact and in
closed form: no attack is needed. Accuracies are percent of the samples. In a normalised space with
the scale gamma (:mod:`bce3s.theory.normalized`) the gaps between scores shrink with gamma:
disturbances of the features of a given relative size act the same at any scale, those of the scores
of a given absolute size do not. A sample whose own class shares the largest score with others
counts as right by one over their number, as if one of them were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import (
    BLOCK,
    as_classifier,
    as_labels,
    as_matrix,
    as_tensor,
    check_finite,
    check_some,
    row_blocks,
)
from bce3s.randomness import generator

FEATURE_SIZES = (0.1, 0.25, 0.5, 1.0, 2.0)
SCORE_SIZES = (1e-3, 1e-2, 1e-1, 1.0)
FORMATS = {'float16': torch.float16, 'bfloat16': torch.bfloat16}
DIFFERENCES = 'donot_use_mm_for_euclid_dist'
NEAR = 0.01  # of |a|^2 + |b|^2: where |a - b|^2 is less, inner products would lose digits
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75)
ROWS = 1024  # samples in a block, whatever the memory: those of a block share a draw of noise


# ----------------------------------------------------------------------------------------- margins
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
    features, labels, weight, bias = _checked(features, labels, weight, bias)
    found = torch.empty(len(labels), dtype=torch.float64, device=labels.device)
    for rows, apart in _blocks_and_distances(labels, weight):
        own = labels[rows][:, None]
        scores = _scores(features, weight, bias, rows)
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
        for rows in _blocks(labels):
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
    return [100.0 * float((margins > size).double().mean()) for size in _sizes(sizes)]


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


def _checked(features: Any, labels: Any, weight: Any, bias: Any) -> tuple[Tensor, ...]:
    """Features, labels, and weight and bias in float64, on the device of the features."""
    features = as_matrix('features', features)
    weight, bias = as_classifier(weight, bias, features)
    labels = as_labels(labels, features, len(weight))
    check_some(len(labels))
    check_finite('features', norms(features))
    return features, labels, weight, bias


def _scores(features: Tensor, weight: Tensor, bias: Tensor, rows: slice | Tensor) -> Tensor:
    """(n, K) float64 of some samples."""
    return features[rows].double() @ weight.T - bias


def _blocks(samples: Tensor) -> Iterator[slice]:
    """Slices of ``ROWS`` samples, the last one shorter."""
    for start in range(0, len(samples), ROWS):
        yield slice(start, min(start + ROWS, len(samples)))


def _sizes(sizes: Sequence[float]) -> list[float]:
    sizes = [float(size) for size in sizes]
    if not all(0 <= size < float('inf') for size in sizes):
        raise BCE3SError(f'The sizes {sizes} of disturbances must be finite and not negative.')
    return sizes


# ------------------------------------------------------------------------------------ disturbances
def feature_noise_shares(
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    sizes: Sequence[float] = FEATURE_SIZES,
    repeats: int = 5,
    seed: int = 0,
    normalize: bool = False,
) -> Tensor:
    r"""How often each sample is right when its feature becomes :math:`h + \epsilon \|h\| e`, e
    uniform on the unit sphere.

    Args:
        features, labels, weight, bias: as :func:`margins`.
        sizes: the S values of epsilon, relative to the norm of each feature. All use the same e.
        repeats: draws of e. seed: they are functions of it, the same on any device.
        normalize: whether the classifier normalises its features, and so the disturbed ones.

    Returns:
        (S, N) float64 in [0, 1]: the mean over the repeats.

    Raises:
        BCE3SError: as :func:`margins`; no repeat, a size that is negative or not
            finite.
    """
    features, labels, weight, bias = _checked(features, labels, weight, bias)

    def disturbed(rows: slice, draw: torch.Generator) -> Callable[[float], Tensor]:
        clean = features[rows].double()
        e = _normal(clean, draw)
        e = e / e.norm(dim=1, keepdim=True) * clean.norm(dim=1, keepdim=True)
        still, change = clean @ weight.T, e @ weight.T  # the scores are linear in epsilon
        if not normalize:
            return lambda size: still + size * change - bias

        def on_sphere(size: float) -> Tensor:
            length = (clean + size * e).norm(dim=1, keepdim=True)
            return (still + size * change) / length.clamp(min=1e-12) - bias

        return on_sphere

    return _mean_shares(disturbed, labels, sizes, repeats, seed, 'feature noise')


def score_noise_shares(
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    sizes: Sequence[float] = SCORE_SIZES,
    repeats: int = 5,
    seed: int = 0,
) -> Tensor:
    r"""How often each sample is right when its scores become :math:`z_j + \sigma e_j`, every e_j
    standard normal: a disturbance of absolute size, as from outside the features.

    Args:
        features, labels, weight, bias: as :func:`margins`.
        sizes: the S values of sigma, in units of the scores. repeats, seed: as
            :func:`feature_noise_shares`.

    Returns:
        (S, N) float64 in [0, 1].

    Raises:
        BCE3SError: as :func:`feature_noise_shares`.
    """
    features, labels, weight, bias = _checked(features, labels, weight, bias)

    def disturbed(rows: slice, draw: torch.Generator) -> Callable[[float], Tensor]:
        scores = _scores(features, weight, bias, rows)
        e = _normal(scores, draw)
        return lambda size: scores + size * e

    return _mean_shares(disturbed, labels, sizes, repeats, seed, 'score noise')


def rounded_shares(
    features: Any, labels: Any, weight: Any, bias: Any = None, dtype: torch.dtype = torch.bfloat16
) -> Tensor:
    """Whether each sample is right when its scores are rounded to ``dtype``, (N,) float64.

    The scores are exact up to there: it is what the last operation alone loses. A bias that is
    large against the gaps between the scores uses up their digits; scores beyond the range of
    ``dtype`` become equal infinities.

    Args:
        features, labels, weight, bias: as :func:`margins`. dtype: a floating-point one.

    Raises:
        BCE3SError: as :func:`margins`.
    """
    features, labels, weight, bias = _checked(features, labels, weight, bias)
    found = []
    for rows in _blocks(features):
        scores = _scores(features, weight, bias, rows).to(dtype)
        found.append(_right(scores, labels[rows]))
    return torch.cat(found)


def measure_disturbance(
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    class_counts: Sequence[int] | None = None,
    sizes: Sequence[float] = FEATURE_SIZES,
    score_sizes: Sequence[float] = SCORE_SIZES,
    repeats: int = 5,
    seed: int = 0,
    normalize: bool = False,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """Everything of this module about one set of features, as plain Python values, never NaN.

    Args:
        features, labels, weight, bias, repeats, seed, normalize: as :func:`feature_noise_shares`.
        class_counts: (K,) TRAINING samples of each class; asks for ``splits``.
        sizes: relative ones of the features' disturbances. score_sizes: absolute, of the scores'.
        thresholds: where Many ends and Few begins.

    Returns:
        ``undisturbed``; ``feature_noise`` (on the sphere), ``worst_case``, ``score_noise``: each
        ``sizes`` and ``accuracy`` (lists); ``rounded``: accuracy by number format; ``margin``:
        quantiles of the margins relative to the features' norms (a feature of norm 0 cannot be
        disturbed so: inf, -inf or 0). Accuracies in percent. ``splits``: the same for ``many``,
        ``medium``, ``few``, over the samples of their classes, ``None`` without any.

        With ``normalize`` margins and worst case are those of the linear classifier, which are
        exact where the biases are equal.

    Raises:
        BCE3SError: as the functions of this module, or class counts that are not K.
    """
    features, labels, weight, bias = data = _checked(features, labels, weight, bias)
    relative = margins(*data)
    relative = torch.where(relative == 0, relative, relative / norms(features))
    noise = dict(repeats=repeats, seed=seed)
    shares = {
        'undisturbed': rounded_shares(*data, dtype=torch.float64),
        'feature_noise': feature_noise_shares(*data, sizes=sizes, normalize=normalize, **noise),
        'score_noise': score_noise_shares(*data, sizes=score_sizes, **noise),
        **{name: rounded_shares(*data, dtype=dtype) for name, dtype in FORMATS.items()},
    }

    def of(samples: Tensor) -> dict[str, Any] | None:
        if not samples.any():
            return None
        percent = {name: (100 * v[..., samples].mean(-1)).tolist() for name, v in shares.items()}
        part = relative[samples]
        return {
            'undisturbed': percent['undisturbed'],
            'feature_noise': dict(sizes=list(sizes), accuracy=percent['feature_noise']),
            'worst_case': dict(sizes=list(sizes), accuracy=worst_case_accuracy(part, sizes)),
            'score_noise': dict(sizes=list(score_sizes), accuracy=percent['score_noise']),
            'rounded': {name: percent[name] for name in FORMATS},
            'margin': margin_quantiles(part),
        }

    result = of(torch.ones_like(labels, dtype=torch.bool))
    if class_counts is not None:
        if len(class_counts) != len(weight):
            raise BCE3SError(
                f'There are {len(class_counts)} class counts but the classifier has {len(weight)} '
                'classes: give the counts of the training set, one for each class.'
            )
        masks = split_masks(class_counts, thresholds)
        result['splits'] = {
            name: of(torch.from_numpy(mask).to(labels.device)[labels])
            for name, mask in masks.items()
        }
    return result


def _mean_shares(disturbed, labels, sizes, repeats, seed, stream) -> Tensor:
    """(S, N): the mean over the repeats; ``disturbed(rows, generator)`` gives size -> scores."""
    if repeats < 1:
        raise BCE3SError(f'repeats is {repeats}: at least one draw is needed.')
    sizes = _sizes(sizes)
    shares = torch.zeros(len(sizes), len(labels), dtype=torch.float64, device=labels.device)
    for rows in _blocks(labels):
        for repeat in range(repeats):
            scores = disturbed(rows, generator(seed, stream, repeat, rows.start))
            for place, size in enumerate(sizes):
                shares[place, rows] += _right(scores(size), labels[rows]) / repeats
    return shares


def _right(scores: Tensor, labels: Tensor) -> Tensor:
    """(n,): 1 where the own score is the largest, 1/m where it is one of m largest, else 0."""
    largest = scores == scores.amax(1, keepdim=True)
    own = largest.gather(1, labels[:, None])[:, 0]
    return own.double() / largest.sum(1)


def _normal(like: Tensor, draw: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=draw, dtype=torch.float64).to(like.device)
