"""Contrastive learning, sample against memory bank: L_ss of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses.functional import multilabel_bce, soft_cross_entropy, soft_labels


class BCEContrastive(nn.Module):
    """``sum_v mean_i sum_j t_ij softplus(-s_ij) + (1 - t_ij) softplus(s_ij)``.

    ``s_ij = cos(z_i, m_j) / tau`` compares projection z_i of a sample with the bank's entry m_j.
    Classes that the bank has not seen yet are no term at all.

    Args:
        tau: temperature.
        views: over which the head sums, by name; None: the mixed ones, or the origin where nothing
            is mixed.
        start_epoch: before it the head's loss is 0 and the bank only fills up (public
            implementation: 1).
        soft_negatives, clamp: see :func:`multilabel_bce`.

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
    ) -> None:
        super().__init__()
        if tau <= 0:
            raise BCE3SError(f'{type(self).__name__}: tau must be positive, not {tau}.')
        self.tau, self.views, self.start_epoch = tau, views, start_epoch
        self.soft_negatives, self.clamp = soft_negatives, clamp

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
        memory = F.normalize(memory.to(projections.dtype), dim=-1)
        cosines = F.normalize(projections, dim=-1) @ memory.T
        return self.compare(cosines / self.tau, labels, filled)

    def compare(self, logits: Tensor, labels: Tensor, filled: Tensor) -> Tensor:
        """Logits and soft labels (..., K), filled classes (K,) -> (...)."""
        return multilabel_bce(logits, labels, filled, self.soft_negatives, self.clamp)


class CEContrastive(BCEContrastive):
    """``sum_v mean_i -sum_j t_ij log softmax_j(s_ij)`` over the classes that the bank has seen.

    >>> from bce3s.models import ClassMemoryBank
    >>> bank = ClassMemoryBank(3, 2)
    >>> bank.update(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 2]))
    >>> CEContrastive(tau=0.5)(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), bank)
    tensor(0.1269)
    """

    def __init__(
        self, tau: float = 1.0, views: Sequence[str] | None = None, start_epoch: int = 0
    ) -> None:
        super().__init__(tau, views, start_epoch)

    def compare(self, logits: Tensor, labels: Tensor, filled: Tensor) -> Tensor:
        return soft_cross_entropy(logits, labels, filled)
