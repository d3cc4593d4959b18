"""What the losses are told about a batch: one value for all views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.models.share import Share
from bce3s.randomness import Clock


@dataclass(frozen=True)
class Targets:
    """Labels of a batch in V views, view-major like the images (V * B, C, H, W).

    View v shows ``lam[v]`` of the sample itself and ``1 - lam[v]`` of its partner. The first view
    is the origin, ``lam = 1``; where a batch is mixed with itself the only view is ``mixed``.

    Attributes:
        labels: (B,) int64.
        views: names of the V views, the first is ``'origin'``, or the only one ``'mixed'``.
        lam: (V,) the samples' own share in each view.
        partners: (B,) int64 labels of the partner batch, or None without mixing.
        all_labels: labels of the global batch, of all ranks, in order.
        share: how the global batch lies on the ranks.
        clock: seed, epoch and step, from which losses draw what they sample.
        label_smoothing: s in [0, 1) of :meth:`soft`.
    """

    labels: Tensor
    views: tuple[str, ...]
    lam: Tensor
    partners: Tensor | None
    all_labels: Tensor
    share: Share
    clock: Clock
    label_smoothing: float = 0.0

    @classmethod
    def plain(cls, labels: Tensor, clock: Clock = Clock()) -> Targets:  # noqa: B008  (immutable)
        """Unmixed targets of a whole batch on one process."""
        lam = torch.ones(1, device=labels.device)
        return cls(labels, ('origin',), lam, None, labels, Share((len(labels),)), clock)

    def soft(self, num_classes: int, dtype: torch.dtype) -> Tensor:
        """(V, B, K): ``lam * onehot(label) + (1 - lam) * onehot(partner)``; with label smoothing s
        each of the two is ``(1 - s) * onehot + s / K``.
        """
        own = self._smooth(self.labels, num_classes, dtype)
        lam = self.lam[:, None, None].to(dtype)
        if self.partners is None:
            return own.expand(len(lam), -1, -1)
        return lam * own + (1 - lam) * self._smooth(self.partners, num_classes, dtype)

    def _smooth(self, labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        hot = F.one_hot(labels, num_classes).to(dtype)
        s = self.label_smoothing
        return (1 - s) * hot + s / num_classes if s else hot

    def per_view(self, rows: Tensor) -> Tensor:
        """(V * B, ...) as the network returns it -> (V, B, ...)."""
        return rows.unflatten(0, (len(self.views), len(self.labels)))
