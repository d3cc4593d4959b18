r"""How a linear classifier bears noise on its features, noise on its scores, and rounding.

Scores are :math:`z_j = w_j \cdot h - b_j` (a linear layer's bias is MINUS ``bias``). On unit
spheres with the scale gamma (:mod:`bce3s.theory.normalized`) the gaps between scores shrink with
gamma: noise on the features of a given relative size acts the same at any scale, noise on the
scores of a given absolute size does not, and a bias that is large against the gaps uses up the
digits of a short number format.
"""

from __future__ import annotations

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
)
from bce3s.randomness import generator

ROWS = 1024  # samples in a block, whatever the memory: those of a block share a draw of noise


def disturbed_accuracy(
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    feature_noise: float = 0.5,
    score_noise: float = 0.1,
    normalize: bool = False,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    r"""The accuracy under three disturbances, each alone, in percent of the samples.

    - ``accuracy_feature_noise``: :math:`h + \epsilon \|h\| e`, e uniform on the unit sphere;
    - ``accuracy_score_noise``: :math:`z_j + \sigma e_j`, every :math:`e_j` standard normal;
    - ``accuracy_bfloat16``: z rounded to bfloat16, all before it exact.

    A sample whose own class shares the largest score with others counts as right by one over their
    number, as if one of them were drawn.

    Args:
        features: (N, d) as the classifier multiplies them. labels: (N,) classes.
        weight: (K, d). bias: (K,); 0 if None.
        feature_noise: epsilon, relative to the norm of each feature.
        score_noise: sigma, in units of the scores.
        normalize: whether the classifier normalises its features, and so the disturbed ones.
        repeats: draws of the noise. seed: they are functions of it, the same on any device.

    Raises:
        BCE3SError: no sample, shapes that do not fit, a label outside 0..K-1, numbers that are not
            finite, noise that is negative or not finite, no repeat.

    >>> disturbed_accuracy([[1.0, 0.0]], [0], [[1.0, 0.0], [-1.0, 0.0]])
    {'accuracy_feature_noise': 100.0, 'accuracy_score_noise': 100.0, 'accuracy_bfloat16': 100.0}
    """
    for name, size in (('feature_noise', feature_noise), ('score_noise', score_noise)):
        if not 0 <= size < float('inf'):
            raise BCE3SError(f'{name} is {size}: it must be finite and not negative.')
    if repeats < 1:
        raise BCE3SError(f'repeats is {repeats}: at least one draw is needed.')
    features = as_matrix('features', features)
    weight, bias = as_classifier(weight, bias, features)
    labels = as_labels(labels, features, len(weight))
    check_some(len(labels))
    on_features = on_scores = rounded = 0.0
    for start in range(0, len(labels), ROWS):
        clean, own = features[start : start + ROWS].double(), labels[start : start + ROWS]
        lengths = torch.linalg.vector_norm(clean, dim=1, keepdim=True)
        check_finite('features', lengths[:, 0], start)
        scores = clean @ weight.T - bias
        rounded += _right(scores.bfloat16(), own)
        for repeat in range(repeats):
            e = _normal(clean, generator(seed, 'feature noise', repeat, start))
            moved = clean + feature_noise * lengths * torch.nn.functional.normalize(e, dim=1)
            if normalize:
                moved = torch.nn.functional.normalize(moved, dim=1)
            on_features += _right(moved @ weight.T - bias, own) / repeats
            e = _normal(scores, generator(seed, 'score noise', repeat, start))
            on_scores += _right(scores + score_noise * e, own) / repeats
    found = {'feature_noise': on_features, 'score_noise': on_scores, 'bfloat16': rounded}
    return {f'accuracy_{name}': 100.0 * right / len(labels) for name, right in found.items()}


def _right(scores: Tensor, labels: Tensor) -> float:
    """How many: 1 where the own score is the largest, 1/m where it is one of m largest."""
    largest = scores == scores.amax(1, keepdim=True)
    own = largest.gather(1, labels[:, None])[:, 0]
    return float((own.double() / largest.sum(1)).sum())


def _normal(like: Tensor, draw: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=draw, dtype=torch.float64).to(like.device)
