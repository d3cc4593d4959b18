"""Whether the contrastive branch lives: what it gives to the features, and how the bank lies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.losses.contrastive import CEContrastive


def contrastive_health(
    feats: Tensor,
    joint: Tensor,
    contrastive: Tensor,
    projections: Tensor,
    labels: Tensor,
    memory: tuple[Tensor, Tensor],
    loss: CEContrastive,
) -> dict[str, Tensor]:
    """Figures of one batch, each ().

    ``share``: ``|dC/dh| / (|dC/dh| + |dJ/dh|)``, of weighted contrastive and joint losses C and J
    by all features h. ``cos_own`` and ``cos_other``: mean cosine of projections with the bank's
    entry of their class, and with others; ``cos_std``: standard deviation of all these cosines.
    ``rank``: effective rank of the unit entries, the exponential of the entropy of their singular
    values (Roy and Vetterli, EUSIPCO 2007), 1 where all are parallel. ``length``: mean ``|z|``.

    Args:
        feats: (V * B, d), of which both losses are functions.
        joint, contrastive: scalars, weighted.
        projections: (B, D) of the images as they are.
        labels: (B,), or of several labels a picture (B, K): all of them are its own, and what is
            unknown is no other.
        memory: features (K, D) and ``filled`` (K,) of the bank, as the loss saw them.
        loss: which says how cosines are taken.
    """
    norms = [
        torch.autograd.grad(value, feats, retain_graph=True, allow_unused=True)[0]
        for value in (contrastive, joint)
    ]
    mine, its = (feats.new_zeros(()) if g is None else g.norm() for g in norms)
    features, filled = memory
    with torch.no_grad():
        cosines = loss.cosines(projections.detach(), features, filled)  # (B, K)
        if labels.dim() == 2:
            own, other = labels > 0, labels == 0
        else:
            own = torch.zeros_like(cosines, dtype=torch.bool).scatter_(1, labels[:, None], True)
            other = ~own
        own, other = own & filled, other & filled
        values = torch.linalg.svdvals(F.normalize(features, dim=1) * filled[:, None])
        p = values / values.sum().clamp(min=1e-12)
        return dict(
            share=mine / (mine + its).clamp(min=1e-30),
            cos_own=_mean(cosines, own),
            cos_other=_mean(cosines, other),
            cos_std=(_mean(cosines.square(), filled) - _mean(cosines, filled).square())
            .clamp(min=0)
            .sqrt(),
            rank=torch.special.entr(p).sum().exp(),
            length=projections.detach().norm(dim=1).mean(),
        )


def _mean(values: Tensor, where: Tensor) -> Tensor:
    where = where.expand_as(values)
    return (values * where).sum() / where.sum().clamp(min=1)
