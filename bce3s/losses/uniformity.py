"""Uniformity learning, classifier against classifier: L_cc of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

BLOCK = 2**22  # cosines held at a time, or one row of them


class BCEUniformity(nn.Module):
    """:func:`~bce3s.losses.bce_uniformity`, ``1/K sum_k sum_{j != k} softplus(w_k . w_j)``.

    O(K^2 d) time; memory for W twice more and a few blocks of ``max(BLOCK, K)`` numbers.

    Args:
        include_diagonal: True, as in the public implementation, adds each class as its positive,
            ``softplus(-w_k . w_k)``: a constant, for w_k has unit length.

    >>> BCEUniformity()(torch.eye(3)), BCEUniformity(include_diagonal=True)(torch.eye(3))
    (tensor(1.3863), tensor(1.6996))
    """

    def __init__(self, include_diagonal: bool = False) -> None:
        super().__init__()
        self.include_diagonal = include_diagonal

    def forward(self, weight: Tensor) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar."""
        weight = F.normalize(weight, dim=1)
        loss = _pair_sum(weight, _softplus_of_others, True) / len(weight)
        if self.include_diagonal:
            loss = loss - F.logsigmoid(weight.square().sum(1)).sum() / len(weight)
        return loss


class CEUniformity(nn.Module):
    """``1/K sum_k -log(exp(w_k . w_k) / sum_j exp(w_k . w_j))``, w_k of unit length.

    :func:`~bce3s.losses.ce_uniformity`; time and memory as of :class:`BCEUniformity`.

    >>> CEUniformity()(torch.eye(3))
    tensor(0.5514)
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar."""
        weight = F.normalize(weight, dim=1)
        return _pair_sum(weight, _cross_entropy_with_itself, False) / len(weight)


def _pair_sum(weight: Tensor, terms: Callable, symmetric: bool) -> Tensor:
    with torch.autocast(weight.device.type, enabled=False):  # sums of blocks in one precision
        return _PairSum.apply(weight, terms, symmetric)[0]


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
    ) -> tuple[Tensor, Tensor]:
        total, gradient = weight.new_zeros(()), torch.zeros_like(weight)
        rows = max(1, BLOCK // len(weight))
        for start in range(0, len(weight), rows):
            own = slice(start, start + rows)
            cosines = weight[own] @ weight.T
            value, slopes = terms(cosines, cosines.diagonal(start))
            total += value
            gradient[own].addmm_(slopes, weight, alpha=1 + symmetric)
            if not symmetric:
                gradient.addmm_(slopes.T, weight[own])
        return total, gradient

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None


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
