"""Head-to-tail: a second stage on features of which some channels are another image's."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bce3s.devices import upload
from bce3s.errors import BCE3SError
from bce3s.models.head import TripartiteHead
from bce3s.models.targets import Targets


class H2THead(TripartiteHead):
    """:class:`TripartiteHead` whose second stage puts ``int(rho d)`` channels of a partner into
    each feature, the label staying that of the image itself.

    Li et al., "Feature Fusion from Head to Tail for Long-Tailed Visual Recognition" (AAAI 2024,
    arXiv 2306.06963): images are drawn class-balanced, partners naturally; the channels are drawn
    anew in each step, one set for the whole batch. The paper replaces channels of the last feature
    map; behind an average over the map, as here, that is the same.

    Args:
        *args: of :class:`TripartiteHead`.
        rho: share of the channels, in [0, 1].
        **kwargs: of :class:`TripartiteHead`.

    Raises:
        BCE3SError: rho outside [0, 1].
    """

    finetune_views = ('origin', 'partner')  # of the second stage
    several_labels = False

    def __init__(self, *args, rho: float = 0.25, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= rho <= 1:
            raise BCE3SError(f'H2THead: rho must be in [0, 1], not {rho}.')
        self.rho = rho

    def _loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        if self.finetuning:
            feats, targets = self.fused(feats, targets)
        return super()._loss(feats, targets)

    def fused(self, feats: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
        """Features (2 B, d) of images and partners -> (B, d), with the targets of the images.

        Raises:
            BCE3SError: the partners are not there.
        """
        if targets.views != self.finetune_views:
            raise BCE3SError(
                f'H2THead fuses features of images and partners, but the views are {targets.views}:'
                " set model.data_preprocessor.finetune_mix=[dict(type='PairedPartner')]."
            )
        own, partner = targets.per_view(feats)
        order = torch.randperm(own.shape[1], generator=targets.clock.generator('fused channels'))
        channels = upload(order[: int(self.rho * own.shape[1])], own.device)
        fused = own.index_copy(1, channels, partner.index_select(1, channels))
        return fused, replace(targets, views=('origin',), lam=targets.lam[:1], partners=None)
