"""Contrastive learning, sample against memory bank: L_ss of BCE3S (arXiv 2511.14097).

As published the branch collapses where there are many classes: all projections become parallel to
all entries of the bank, and no gradient is left (docs/contrastive.md). ``bias``, ``center``,
``negatives`` and what projector and bank offer (:class:`~bce3s.models.TripartiteHead`) are
remedies; the default values are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses.bounds import check_numbers
from bce3s.losses.functional import multilabel_bce, soft_cross_entropy, soft_labels

TAU_BOUNDS = (0.01, 100.0)  # of a learnt temperature


class CEContrastive(nn.Module):
    """``sum_v mean_i -sum_j t_ij log softmax_j(s_ij)`` over the classes that the bank has seen.

    ``s_ij = cos(z_i, m_j) / tau`` compares projection z_i of a sample with the bank's entry m_j.

    Args:
        tau: temperature.
        views: over which the head sums, by name; None: the mixed ones, or the origin where nothing
            is mixed.
        start_epoch: before it the head's loss is 0 and the bank only fills up (public
            implementation: 1).
        center: whether the mean of the entries seen is subtracted from projections and entries.

    >>> from bce3s.models import ClassMemoryBank
    >>> bank = ClassMemoryBank(3, 2)
    >>> bank.update(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 2]))
    >>> CEContrastive(tau=0.5)(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), bank)
    tensor(0.1269)
    """

    def __init__(
        self,
        tau: float = 1.0,
        views: Sequence[str] | None = None,
        start_epoch: int = 0,
        center: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(self, zero=False, tau=tau)
        self.tau, self.views, self.start_epoch, self.center = tau, views, start_epoch, center

    def forward(self, projections: Tensor, labels: Tensor, bank: nn.Module) -> Tensor:
        """Projections (B, D) or, of several views, (V, B, D), labels integer (...) or soft (..., K)
        and a :class:`~bce3s.models.ClassMemoryBank` -> scalar.
        """
        labels = soft_labels(labels, len(bank.filled), projections.dtype)
        return self.rows(projections, labels, *bank.rows()).mean(-1).sum()

    def rows(self, projections: Tensor, labels: Tensor, memory: Tensor, filled: Tensor) -> Tensor:
        """Projections (..., D), soft labels (..., K), the bank's features (K, D) and which of them
        it has seen (K,) -> (...), a value for each projection.
        """
        return self.compare(self.cosines(projections, memory, filled), labels, filled)

    def cosines(self, projections: Tensor, memory: Tensor, filled: Tensor) -> Tensor:
        """(..., K) of projections (..., D) with the bank's features (K, D)."""
        memory = memory.to(projections.dtype)
        if self.center:
            mean = (memory * filled[:, None]).sum(0) / filled.sum().clamp(min=1)
            projections, memory = projections - mean, memory - mean
        return F.normalize(projections, dim=-1) @ F.normalize(memory, dim=-1).T

    def compare(self, cosines: Tensor, labels: Tensor, filled: Tensor) -> Tensor:
        """Cosines and soft labels (..., K), filled classes (K,) -> (...)."""
        return soft_cross_entropy(cosines / self.tau, labels, filled)


class BCEContrastive(CEContrastive):
    """``sum_v mean_i sum_j t_ij softplus(-s_ij) + (1 - t_ij) softplus(s_ij)``.

    ``s_ij = cos(z_i, m_j) / tau + b`` compares projection z_i of a sample with the bank's entry
    m_j. Classes that the bank has not seen yet are no term at all; K' of them it has. Of several
    labels a picture, int8 (B, K), each is a positive, and what is unknown is no term either.

    Args:
        tau, views, start_epoch, center: see :class:`CEContrastive`.
        soft_negatives, clamp: see :func:`multilabel_bce`.
        bias: b; ``'balanced'``: ``-log(K' - 1) - 1/tau``, with which the positive and the K' - 1
            negatives of a sample cancel out where all cosines are 1.
        learn: whether tau (within 0.01 and 100) and an offset of b, from 0, are learnt (SigLIP,
            Zhai et al., ICCV 2023).
        negatives: ``'sum'`` as above, or ``'mean'``: the second part divided by K' - 1.

    >>> from bce3s.models import ClassMemoryBank
    >>> bank = ClassMemoryBank(3, 2)
    >>> bank.update(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 2]))
    >>> BCEContrastive()(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), bank)
    tensor(1.0064)
    """

    def __init__(
        self,
        tau: float = 1.0,
        views: Sequence[str] | None = None,
        start_epoch: int = 0,
        soft_negatives: bool = True,
        clamp: float | None = None,
        center: bool = False,
        bias: float | str = 0.0,
        learn: bool = False,
        negatives: str = 'sum',
    ) -> None:
        super().__init__(tau, views, start_epoch, center)
        if bias != 'balanced' and not (isinstance(bias, int | float) and math.isfinite(bias)):
            raise BCE3SError(f"BCEContrastive: bias is a number or 'balanced', not {bias!r}.")
        if negatives not in ('sum', 'mean'):
            raise BCE3SError(f"BCEContrastive: negatives is 'sum' or 'mean', not {negatives!r}.")
        self.soft_negatives, self.clamp = soft_negatives, clamp
        self.bias, self.learn, self.negatives = bias, learn, negatives
        if learn:
            self.log_tau = nn.Parameter(torch.tensor(math.log(tau)))
            self.offset = nn.Parameter(torch.tensor(0.0))

    def compare(self, cosines: Tensor, labels: Tensor, filled: Tensor) -> Tensor:
        tau = self.log_tau.exp().clamp(*TAU_BOUNDS) if self.learn else self.tau
        logits = cosines / tau
        weight = None
        if self.bias == 'balanced' or self.negatives == 'mean':
            others = (filled.sum() - 1).clamp(min=1).to(logits.dtype)  # K' - 1
            weight = 1 / others if self.negatives == 'mean' else None
        if self.bias == 'balanced':
            logits = logits - others.log() - 1 / tau
        elif self.bias:
            logits = logits + self.bias
        if self.learn:
            logits = logits + self.offset
        return multilabel_bce(logits, labels, filled, self.soft_negatives, self.clamp, weight)
