"""Class-balanced weights by the effective number of samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bce3s.errors import BCE3SError


def class_balanced_weights(counts: Tensor, beta: float) -> Tensor:
    """``w_k = c (1 - beta) / (1 - beta^{n_k})`` with c such that the weights sum to K.

    Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019), Eq. 5.

    Args:
        counts: (K,) training samples of each class, at least 1.
        beta: in [0, 1); 0 weighs every class alike, towards 1 the weights become ``1 / n_k``.

    Returns:
        (K,) float64.

    Raises:
        BCE3SError: beta outside [0, 1), or a class without a training sample.
    """
    if not 0 <= beta < 1:
        raise BCE3SError(f'class_balanced_weights: beta must be in [0, 1), not {beta}.')
    counts = torch.as_tensor(counts).double()
    if (counts < 1).any():
        empty = (counts < 1).nonzero()[0].item()
        raise BCE3SError(
            f'class_balanced_weights: class {empty} has no training sample, so its weight is '
            'infinite; remove the class or give it a sample.'
        )
    # expm1: 1 - beta^n loses its digits for beta near 1 and small n.
    effective = -torch.expm1(counts * math.log(beta)) if beta > 0 else torch.ones_like(counts)
    weights = (1 - beta) / effective
    return weights * (len(weights) / weights.sum())
