"""Uniformity learning, classifier against classifier: L_cc of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bce3s.registry import MODELS
from bce3s.shards import Shards

BLOCK = 2**22  # cosines held at a time, or one row of them


@MODELS.register_module()
class BCEUniformity(nn.Module):
    """``1/K sum_k sum_{j != k} softplus(w_k . w_j)``, w_k of unit length.

    O(K^2 d) time; memory for W twice more and a few blocks of ``max(BLOCK, K)`` numbers.

    Args:
        include_diagonal: True, as in the public implementation, adds each class as its positive,
            ``softplus(-w_k . w_k)``: a constant, for w_k has unit length.
    """

    def __init__(self, include_diagonal: bool = False) -> None:
        super().__init__()
        self.include_diagonal = include_diagonal

    def forward(self, weight: Tensor, shards: Shards | None = None) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar.

        With ``shards`` the weight is this rank's rows, which meet those of every rank in turn, and
        the result their part of the loss, times the number of ranks.
        """
        weight = F.normalize(weight, dim=1)
        classes = len(weight) if shards is None else shards.rows / shards.ranks
        loss = _pair_sum(weight, _softplus_of_others, True, shards) / classes
        if self.include_diagonal:
            loss = loss - F.logsigmoid(weight.square().sum(1)).sum() / classes
        return loss


@MODELS.register_module()
class CEUniformity(nn.Module):
    """``1/K sum_k -log(exp(w_k . w_k) / sum_j exp(w_k . w_j))``, w_k of unit length.

    Time and memory as of :class:`BCEUniformity`.
    """

    def forward(self, weight: Tensor, shards: None = None) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar; not made for shards."""
        weight = F.normalize(weight, dim=1)
        return _pair_sum(weight, _cross_entropy_with_itself, False, None) / len(weight)


def _pair_sum(weight: Tensor, *args) -> Tensor:
    with torch.autocast(weight.device.type, enabled=False):  # sums of blocks in one precision
        return _PairSum.apply(weight, *args)[0]


class _PairSum(torch.autograd.Function):
    """``sum_k f_k(W w_k)`` and its gradient, a block of rows k at a time.

    Both come from the forward pass: each cosine is computed once and none is kept. With G the
    derivatives by the cosines ``c_kj``, dL/dW = (G + G^T) W, which is 2 G W where G is symmetric.

    ``terms(cosines (b, K), diagonal (b,))`` may overwrite the cosines, of which ``diagonal`` is the
    view where j = k; it returns the sum of f and these rows of G.
    """

    @staticmethod
    def forward(
        weight: Tensor,
        terms: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        symmetric: bool,
        shards: Shards | None,
    ) -> tuple[Tensor, Tensor]:
        total, gradient = weight.new_zeros(()), torch.zeros_like(weight)
        blocks = [weight] if shards is None else shards.blocks(weight)
        for rank, others in enumerate(blocks):
            rows = max(1, BLOCK // len(others))
            for start in range(0, len(weight), rows):
                own = slice(start, start + rows)
                cosines = weight[own] @ others.T
                diagonal = cosines.diagonal(start)
                if shards is not None and rank != shards.rank:
                    diagonal = diagonal[:0]  # no row meets itself
                value, slopes = terms(cosines, diagonal)
                total += value
                gradient[own].addmm_(slopes, others, alpha=1 + symmetric)
                if not symmetric:
                    gradient.addmm_(slopes.T, weight[own])
        return total, gradient

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None


def _softplus_of_others(cosines: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
    diagonal.fill_(-math.inf)  # no term, no slope
    slopes = cosines.sigmoid_()
    return -torch.log1p(-slopes).sum(), slopes  # softplus(c), exact for c <= 1 as here


def _cross_entropy_with_itself(cosines: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
    log_sums = cosines.logsumexp(1)
    value = (log_sums - diagonal).sum()
    shares = cosines.sub_(log_sums[:, None]).exp_()
    diagonal.sub_(1)
    return value, shares
