"""Contrastive learning, sample against memory bank: L_ss of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.models.losses.bce import multilabel_bce
from bce3s.models.losses.ce import soft_cross_entropy
from bce3s.models.memory_bank import ClassMemoryBank
from bce3s.models.targets import Targets
from bce3s.registry import MODELS
from bce3s.shards import Shards


@MODELS.register_module()
class BCEContrastive(nn.Module):
    """``sum_v mean_i sum_j t_ij softplus(-s_ij) + (1 - t_ij) softplus(s_ij)``.

    ``s_ij = cos(z_i, m_j) / tau`` compares projection z_i of a sample with the bank's entry m_j.
    Classes that the bank has not seen yet are no term at all.

    Args:
        tau: temperature.
        views: over which to sum; None: the mixed ones, or the origin where nothing is mixed.
        start_epoch: before it the loss is 0 and the bank only fills up (public implementation: 1).
        soft_negatives, clamp: see :func:`multilabel_bce`.
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

    def forward(self, projections: Tensor, bank: ClassMemoryBank, targets: Targets) -> Tensor:
        """Projections (V * B, D) -> scalar."""
        chosen = self._chosen(targets)
        z = F.normalize(torch.stack([targets.per_view(projections)[v] for v in chosen]), dim=-1)
        features, filled = bank.rows(targets.classes)
        cosines = z @ F.normalize(features.to(z.dtype), dim=-1).T  # (V', B, K)
        soft = targets.soft(cosines.shape[-1], cosines.dtype, chosen)
        rows = self.rows(cosines / self.tau, soft, filled, targets.shards)
        loss = targets.share.mean(rows).sum()
        return loss if targets.clock.epoch >= self.start_epoch else 0 * loss

    def rows(self, logits: Tensor, soft: Tensor, filled: Tensor, shards: Shards | None) -> Tensor:
        """Logits and soft labels (V', B, K), filled classes (K,) -> (V', B)."""
        return multilabel_bce(logits, soft, filled, self.soft_negatives, self.clamp)

    def _chosen(self, targets: Targets) -> list[int]:
        names = self.views or targets.views[1:] or targets.views
        missing = [name for name in names if name not in targets.views]
        if missing:
            raise BCE3SError(
                f'{type(self).__name__}: no view {missing[0]!r} among {targets.views}; the views '
                "come from 'mix' of the data_preprocessor."
            )
        return [targets.views.index(name) for name in names]


@MODELS.register_module()
class CEContrastive(BCEContrastive):
    """``sum_v mean_i -sum_j t_ij log softmax_j(s_ij)`` over the classes that the bank has seen."""

    def __init__(
        self, tau: float = 1.0, views: Sequence[str] | None = None, start_epoch: int = 0
    ) -> None:
        super().__init__(tau, views, start_epoch)

    def rows(self, logits: Tensor, soft: Tensor, filled: Tensor, shards: Shards | None) -> Tensor:
        return soft_cross_entropy(logits, soft, filled, shards)
