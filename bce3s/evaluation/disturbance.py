r"""How a classifier bears small disturbances: of the features, of the scores, and at worst.

Scores are :math:`z_j = w_j \cdot h - b_j` (a linear layer's bias is MINUS ``bias``). Accuracies are
percent of the samples. In a normalised space with the scale gamma
(:mod:`bce3s.theory.normalized`) the gaps between scores shrink with gamma: disturbances of the
features of a given relative size act the same at any scale, those of the scores of a given absolute
size do not. A sample whose own class shares the largest score with others counts as right by one
over their number, as if one of them were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.margins import (
    checked_data,
    checked_sizes,
    linear_scores,
    margin_quantiles,
    margins,
    norms,
    sample_blocks,
    worst_case_accuracy,
)
from bce3s.randomness import generator

FEATURE_SIZES = (0.1, 0.25, 0.5, 1.0, 2.0)
SCORE_SIZES = (1e-3, 1e-2, 1e-1, 1.0)
FORMATS = {'float16': torch.float16, 'bfloat16': torch.bfloat16}


def feature_noise_shares(
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    sizes: Sequence[float] = FEATURE_SIZES,
    noise: str = 'sphere',
    repeats: int = 5,
    seed: int = 0,
    normalize: bool = False,
) -> Tensor:
    r"""How often each sample is right when its feature becomes :math:`h + \epsilon \|h\| e`.

    Args:
        features, labels, weight, bias: as :func:`margins`.
        sizes: the S values of epsilon, relative to the norm of each feature. All use the same e.
        noise: ``sphere``: e uniform on the unit sphere; ``gaussian``: e normal with independent
            components of variance 1/d, so that its mean square norm is 1.
        repeats: draws of e. seed: they are functions of it, the same on any device.
        normalize: whether the classifier normalises its features, and so the disturbed ones.

    Returns:
        (S, N) float64 in [0, 1]: the mean over the repeats.

    Raises:
        BCE3SError: as :func:`margins`; an unknown noise, no repeat, a size that is negative or not
            finite.
    """
    if noise not in ('sphere', 'gaussian'):
        raise BCE3SError(f"The noise is {noise!r}: use 'sphere' or 'gaussian'.")
    features, labels, weight, bias = checked_data(features, labels, weight, bias)

    def disturbed(rows: slice, draw: torch.Generator) -> Callable[[float], Tensor]:
        clean = features[rows].double()
        e = _normal(clean, draw)
        e = e / (e.norm(dim=1, keepdim=True) if noise == 'sphere' else clean.shape[1] ** 0.5)
        e = e * clean.norm(dim=1, keepdim=True)
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
    features, labels, weight, bias = checked_data(features, labels, weight, bias)

    def disturbed(rows: slice, draw: torch.Generator) -> Callable[[float], Tensor]:
        scores = linear_scores(features, weight, bias, rows)
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
    features, labels, weight, bias = checked_data(features, labels, weight, bias)
    found = []
    for rows in sample_blocks(features):
        scores = linear_scores(features, weight, bias, rows).to(dtype)
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
    features, labels, weight, bias = data = checked_data(features, labels, weight, bias)
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
        masks = split_masks(_counts(class_counts, len(weight)), thresholds)
        result['splits'] = {
            name: of(torch.from_numpy(mask).to(labels.device)[labels])
            for name, mask in masks.items()
        }
    return result


# ------------------------------------------------------------ shared
def _mean_shares(disturbed, labels, sizes, repeats, seed, stream) -> Tensor:
    """(S, N): the mean over the repeats; ``disturbed(rows, generator)`` gives size -> scores."""
    if repeats < 1:
        raise BCE3SError(f'repeats is {repeats}: at least one draw is needed.')
    sizes = checked_sizes(sizes)
    shares = torch.zeros(len(sizes), len(labels), dtype=torch.float64, device=labels.device)
    for rows in sample_blocks(labels):
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


def _counts(class_counts: Sequence[int], num_classes: int) -> Sequence[int]:
    if len(class_counts) != num_classes:
        raise BCE3SError(
            f'There are {len(class_counts)} class counts but the classifier has {num_classes} '
            'classes: give the counts of the training set, one for each class.'
        )
    return class_counts
