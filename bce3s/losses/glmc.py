"""Parts of GLMC, Global and Local Mixture Consistency Cumulative Learning (CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError


def power_weights(counts: Sequence[int] | Tensor, p: float) -> Tensor:
    """``v_k = n_k^-p / mean_j n_j^-p``, which sum to K.

    GLMC multiplies soft labels by them, ``v_k t_k``, and does not normalise the products.

    Args:
        counts: (K,) training samples of each class, at least 1.
        p: 0 weighs every class alike, 1 by the inverse of its frequency.

    Returns:
        (K,) float64.

    Raises:
        BCE3SError: a class without a training sample.

    >>> power_weights([100, 10, 1], 1.0)
    tensor([0.0270, 0.2703, 2.7027], dtype=torch.float64)
    """
    counts = torch.as_tensor(counts).double()
    if (counts < 1).any():
        empty = (counts < 1).nonzero()[0].item()
        raise BCE3SError(
            f'power_weights: class {empty} has no training sample, so its weight is infinite; '
            'remove the class or give it a sample.'
        )
    weights = counts**-p
    return weights / weights.mean()


def simsiam(predictions: Tensor, projections: Tensor) -> Tensor:
    """``-cos(p_1, sg(z_2)) - cos(p_2, sg(z_1))``; sg stops the gradient.

    Chen and He, Exploring Simple Siamese Representation Learning (CVPR 2021), without its half.

    Args:
        predictions: p (2, ..., D), of two views.
        projections: z (2, ..., D).

    Returns:
        (...): a value in [-2, 2] for each sample.

    >>> simsiam(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [3.0, 0.0]]))
    tensor(-2.)
    """
    return -F.cosine_similarity(predictions, projections.flip(0).detach(), dim=-1).sum(0)
