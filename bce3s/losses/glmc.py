"""The similarity of two views in GLMC (CVPR 2023)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


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
