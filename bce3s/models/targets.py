"""What the head is told about a batch: one value for all views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bce3s.devices import upload
from bce3s.losses.functional import soft_labels
from bce3s.models.share import Share
from bce3s.randomness import Clock


@dataclass(frozen=True)
class Targets:
    """Labels of a batch in V views, view-major like the images (V * B, C, H, W).

    View v shows ``lam[v]`` of the sample itself and ``1 - lam[v]`` of its partner. The first view
    is the origin, ``lam = 1``, unless the preprocessor's ``views`` say otherwise; where a batch is
    mixed with itself the only view is ``mixed``.

    A picture may have several labels, or none: labels are then int8 (B, K), 1 where it has the
    class, 0 where it has not and -1 where that is unknown.

    Attributes:
        labels: (B,) int64, or (B, K) int8.
        views: names of the V views, most often ``'origin'`` first, or ``'mixed'`` alone.
        lam: (V,) the samples' own share in each view.
        partners: labels of the partner batch in the same form, or None without mixing.
        all_labels: labels of the global batch, of all ranks, in order.
        share: how the global batch lies on the ranks.
        clock: seed, epoch and step, from which the head draws what it samples.
        label_smoothing: s in [0, 1) of :meth:`soft`.
        classes: (S,) int64, which classes the columns of logits and soft labels are; None: all K,
            in order.
        part: (i, n) where a batch goes through the network in n parts: ``labels`` and ``partners``
            are those of part i, everything else is of the whole batch.
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
    part: tuple[int, int] = (0, 1)

    @classmethod
    def plain(cls, labels: Tensor, clock: Clock) -> Targets:
        """Of images (B, ...) as they are, in a loop of one's own.

        Args:
            labels: (B,) int64 or (B, K) int8, of this process, whose peers call this with theirs.
            clock: ``Clock(seed, epoch, step)``, from which negatives are drawn.
        """
        return cls.mixed(labels, None, [1.0], clock)

    @classmethod
    def mixed(
        cls,
        labels: Tensor,
        partners: Tensor | None,
        lam: Sequence[float],
        clock: Clock,
        views: Sequence[str] = ('origin', 'mixup', 'cutmix'),
    ) -> Targets:
        """Of views (V * B, ...) that were mixed by hand, view-major, the images as they are first.

        Args:
            labels: (B,) int64 or (B, K) int8, of this process, whose peers call this with theirs.
            partners: of the same form, labels of what the images were mixed with.
            lam: of each view the share of the image itself; the first is 1.
            clock: see :meth:`plain`.
            views: their names.

        >>> labels, partners = torch.tensor([0, 2]), torch.tensor([1, 1])
        >>> Targets.mixed(labels, partners, [1.0, 0.75], Clock(0, 0, 0)).soft(3, torch.float32)
        tensor([[[1.0000, 0.0000, 0.0000],
                 [0.0000, 0.0000, 1.0000]],
        <BLANKLINE>
                [[0.7500, 0.2500, 0.0000],
                 [0.0000, 0.2500, 0.7500]]])
        """
        names, share = tuple(views[: len(lam)]), Share.of(labels)
        lam = upload(torch.tensor(lam), labels.device)
        return cls(labels, names, lam, partners, share.gather(labels), share, clock)

    @property
    def several(self) -> bool:
        """Whether a picture may have several labels."""
        return self.labels.dim() == 2

    @property
    def last(self) -> bool:
        """Whether this is all, or the last part of the batch."""
        return self.part[0] + 1 == self.part[1]

    def soft(self, num_classes: int, dtype: torch.dtype) -> Tensor:
        """(V, B, K): ``lam * onehot(label) + (1 - lam) * onehot(partner)``; with label smoothing s
        each of the two is ``(1 - s) * onehot + s / K``. K counts the columns: S of them where only
        ``classes`` are compared.

        Of several labels a picture the rows of 1 and 0 take the place of ``onehot``, and 2, the
        values that each label has, that of K in ``s / K``. NaN: unknown, of the picture or of what
        it is mixed with.
        """
        own, lam = self._smooth(self.labels, num_classes, dtype), self.lam[:, None, None].to(dtype)
        if self.partners is None:
            return own.expand(len(lam), -1, -1)
        mixed = self._smooth(self.partners, num_classes, dtype).lerp(own, lam)
        return torch.where(lam == 1, own, mixed) if self.several else mixed  # 0 * NaN is NaN

    def _smooth(self, labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        if self.classes is None or self.several:
            hot = soft_labels(labels, num_classes, dtype)
        else:
            hot = (labels[:, None] == self.classes).to(dtype)
        s = self.label_smoothing
        return (1 - s) * hot + s / (2 if self.several else num_classes) if s else hot

    def of_views(self, first: int, stop: int | None = None) -> Targets:
        """Those of the views ``first``, ``first + 1``, ... before ``stop`` alone."""
        chosen = slice(first, stop)
        return replace(self, views=self.views[chosen], lam=self.lam[chosen])

    def of_samples(self, values: Tensor) -> Tensor:
        """Values of the classes (K,) -> (V, B): of a sample's class, mixed like the samples."""
        own, lam = values[self.labels], self.lam[:, None].to(values.dtype)
        if self.partners is None:
            return own.expand(len(lam), -1)
        return values[self.partners].lerp(own, lam)

    def per_view(self, rows: Tensor) -> Tensor:
        """(V * B, ...) as the network returns it -> (V, B, ...)."""
        return rows.unflatten(0, (len(self.views), len(self.labels)))
