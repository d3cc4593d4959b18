"""What the losses are told about a batch: one value for all views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bce3s.models.share import Share
from bce3s.randomness import Clock
from bce3s.shards import Shards


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
        classes: (S,) int64, which classes the columns of logits and soft labels are; None: all K,
            in order.
        shards: how the K classes lie on the ranks, where ``classes`` are those of this one.
        part: (i, n) of one that :meth:`split` gives: ``labels`` and ``partners`` are those of its
            samples, everything else is of the whole batch.
        origins: features of the origin view, of the parts so far, until the bank is written.
    """

    labels: Tensor
    views: tuple[str, ...]
    lam: Tensor
    partners: Tensor | None
    all_labels: Tensor
    share: Share
    clock: Clock
    label_smoothing: float = 0.0
    classes: Tensor | None = None
    shards: Shards | None = None
    part: tuple[int, int] = (0, 1)
    origins: list[Tensor] = field(default_factory=list, repr=False)

    @classmethod
    def plain(cls, labels: Tensor, clock: Clock) -> Targets:
        """Unmixed targets (B,) of a whole batch on one process, in epoch and step of ``clock``: in
        a loop of one's own ``Clock(seed, epoch, step)``, from which negatives are drawn.
        """
        lam = torch.ones(1, device=labels.device)
        return cls(labels, ('origin',), lam, None, labels, Share((len(labels),)), clock)

    def over(self, classes: Tensor) -> Targets:
        """The same batch compared with ``classes`` (S,) only."""
        return replace(self, classes=classes)

    @property
    def last(self) -> bool:
        """Whether this is all, or the last part of the batch."""
        return self.part[0] + 1 == self.part[1]

    @property
    def held(self) -> Share:
        """How the samples of this part lie on the ranks."""
        i, n = self.part
        sizes = ((i + 1) * size // n - i * size // n for size in self.share.sizes)
        return Share(tuple(sizes), self.share.rank)

    def split(self, inputs: Tensor, parts: int) -> Iterator[tuple[Tensor, Targets]]:
        """Images (V * B, ...) and their targets in contiguous parts of the samples, the same in
        every view; as many on all ranks, at most one a sample.
        """
        parts, size = max(1, min(parts, *self.share.sizes)), len(self.labels)
        if parts == 1:
            yield inputs, self
            return
        views = self.per_view(inputs)
        for i in range(parts):
            own = slice(i * size // parts, (i + 1) * size // parts)
            partners = None if self.partners is None else self.partners[own]
            part = replace(self, labels=self.labels[own], partners=partners, part=(i, parts))
            yield views[:, own].flatten(0, 1), part

    def soft(
        self, num_classes: int, dtype: torch.dtype, views: Sequence[int] | None = None
    ) -> Tensor:
        """(V, B, K): ``lam * onehot(label) + (1 - lam) * onehot(partner)``; with label smoothing s
        each of the two is ``(1 - s) * onehot + s / K``. K counts the columns: S of them where only
        ``classes`` are compared. ``views``: indices of those wanted; None: all.
        """
        own = self._smooth(self.labels, num_classes, dtype)
        lam = self.lam if views is None else torch.stack([self.lam[v] for v in views])
        lam = lam[:, None, None].to(dtype)
        if self.partners is None:
            return own.expand(len(lam), -1, -1)
        return self._smooth(self.partners, num_classes, dtype).lerp(own, lam)

    def _smooth(self, labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        columns = self.classes
        if columns is None:
            columns = torch.arange(num_classes, device=labels.device)
        hot = (labels[:, None] == columns).to(dtype)
        s = self.label_smoothing
        return (1 - s) * hot + s / self.all_classes(num_classes) if s else hot

    def all_classes(self, columns: int) -> int:
        """How many classes all ranks compare with, of which this one has ``columns``."""
        return columns if self.shards is None else self.shards.rows

    def per_view(self, rows: Tensor) -> Tensor:
        """(V * B, ...) as the network returns it -> (V, B, ...)."""
        return rows.unflatten(0, (len(self.views), len(self.labels)))
