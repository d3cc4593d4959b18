"""Uniformity learning, classifier against classifier: L_cc of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bce3s.errors import BCE3SError

BLOCK = 2**22  # cosines held at a time, or one row of them


class BCEUniformity(nn.Module):
    """:func:`~bce3s.losses.bce_uniformity`, ``1/K sum_k sum_{j != k} softplus(w_k . w_j)``.

    O(K^2 d) time; memory for W twice more and a few blocks of ``max(BLOCK, K)`` numbers.

    Where pictures have several labels, classes that come together may be pushed apart less:
    ``1/K sum_k sum_{j != k} a_kj softplus(w_k . w_j)`` with ``a_kj = 1 - n_kj / sqrt(n_k n_j)``,
    for n_kj training pictures with both classes among n_k and n_j with each. It is 1 for classes
    that never meet, as without the option, and 0 for classes that are never apart.

    Args:
        include_diagonal: True, as in the public implementation, adds each class as its positive,
            ``softplus(-w_k . w_k)``: a constant, for w_k has unit length.
        cooccurrence: whether pairs are weighted by a_kj, all K x K cosines at once; a head tells
            the labels of the training set (:meth:`set_several_labels`).

    >>> BCEUniformity()(torch.eye(3)), BCEUniformity(include_diagonal=True)(torch.eye(3))
    (tensor(1.3863), tensor(1.6996))
    """

    def __init__(self, include_diagonal: bool = False, cooccurrence: bool = False) -> None:
        super().__init__()
        self.include_diagonal, self.cooccurrence = include_diagonal, cooccurrence
        self.register_buffer('pair_weights', None, persistent=False)

    def set_several_labels(self, labels: Tensor) -> None:
        """Derive a from the labels (N, K) of the training set, 1 where a picture has the class.

        >>> loss = BCEUniformity(cooccurrence=True)
        >>> loss.set_several_labels(torch.tensor([[1, 0], [1, 1], [1, 0], [1, 0]]))
        >>> loss.pair_weights
        tensor([[0.0000, 0.5000],
                [0.5000, 0.0000]], dtype=torch.float64)
        """
        columns = F.normalize((labels > 0).double(), dim=0)
        self.pair_weights = (1 - columns.T @ columns).clamp(min=0).fill_diagonal_(0)

    def forward(self, weight: Tensor) -> Tensor:
        """Classifier weight (K, d), of any length -> scalar.

        Raises:
            BCE3SError: pairs are to be weighted, and how often classes come together is not known.
        """
        weight = F.normalize(weight, dim=1)
        if self.cooccurrence:
            if self.pair_weights is None:
                raise BCE3SError(
                    'BCEUniformity(cooccurrence=True) needs the training labels of pictures with '
                    'several, which it was not told: call set_several_labels of the head before '
                    'the first step; where each picture has one label, leave cooccurrence out.'
                )
            loss = (self.pair_weights.to(weight.dtype) * F.softplus(weight @ weight.T)).sum()
            loss = loss / len(weight)
        else:
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
