"""Uniformity learning, classifier against classifier: L_cc of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.registry import MODELS


@MODELS.register_module()
class BCEUniformity(nn.Module):
    """``1/K sum_k sum_{j != k} softplus(w_k . w_j)``, w_k of unit length.

    Args:
        include_diagonal: True, as in the public implementation, adds each class as its positive,
            ``softplus(-w_k . w_k)``: a constant, for w_k has unit length.
    """

    def __init__(self, include_diagonal: bool = False) -> None:
        super().__init__()
        self.include_diagonal = include_diagonal

    def forward(self, weight: Tensor) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar."""
        cosines = _cosines(weight)
        signs = 1 - 2 * torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        terms = -F.logsigmoid(-signs * cosines)  # softplus(+-cos), exact for every argument
        if not self.include_diagonal:
            terms = terms.masked_fill(signs < 0, 0)
        return terms.sum() / len(weight)


@MODELS.register_module()
class CEUniformity(nn.Module):
    """``1/K sum_k -log(exp(w_k . w_k) / sum_j exp(w_k . w_j))``, w_k of unit length."""

    def forward(self, weight: Tensor) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar."""
        cosines = _cosines(weight)
        return (cosines.logsumexp(1) - cosines.diagonal()).mean()


def _cosines(weight: Tensor) -> Tensor:
    weight = F.normalize(weight, dim=1)
    return weight @ weight.T
