"""BCL: supervised contrastive learning in which every class counts alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.losses.bcl import balanced_contrastive
from bce3s.models.further_views import FurtherViewsHead, projector
from bce3s.models.head import Loss
from bce3s.models.targets import Targets


class BCLHead(FurtherViewsHead):
    """``L = a joint(z, y) + b L_BCL(f, y)``.

    Zhu et al., Balanced Contrastive Learning for Long-Tailed Visual Recognition (CVPR 2022, arXiv
    2207.09052). The first view goes to the linear classifier, which alone predicts, with the
    logit-adjusted cross-entropy. The two others, SimCLR's, are projected to unit vectors and
    compared with each other and with a prototype of each class (:func:`balanced_contrastive`);
    the prototypes are what another projector makes of the classifier's weights. Both projectors
    are Linear d-d, BatchNorm, ReLU, Linear d-D.

    Losses: ``loss_joint`` and ``loss_contrastive``. With several processes the projections of all
    of them are compared, gradients included (the public code compares those of each one).

    Args:
        num_classes: K.
        in_channels: d.
        joint: :class:`LogitAdjustedCE` as published.
        weights: a and b; default 1 and 0.35, of the public code, which is that of ImageNet-LT
            (its code of CIFAR-LT was not published).
        tau: temperature; 0.1 on CIFAR-LT, 0.07 on ImageNet-LT.
        finetune, beta, classifier: see :class:`TripartiteHead`.
        projection_dim: D.

    Raises:
        BCE3SError: a batch of one view only, or one that is sent in parts; a tau that is
            not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: Loss,
        weights: Mapping[str, float] | None = None,
        tau: float = 0.1,
        finetune: Loss | None = None,
        beta: float | None = 0.99999,
        classifier: nn.Module | Mapping | None = None,
        projection_dim: int = 128,
    ) -> None:
        weights = dict(joint=1.0, contrastive=0.35) | dict(weights or {})
        super().__init__(num_classes, in_channels, joint, weights, tau, finetune, beta, classifier)
        self.projector = projector(in_channels, in_channels, projection_dim)
        self.prototype_projector = projector(in_channels, in_channels, projection_dim)

    def contrast(self, projections: Tensor, soft: Tensor, targets: Targets) -> Tensor:
        prototypes = F.normalize(self.prototype_projector(self.classifier.weight), dim=-1)
        return targets.share.mean(self._contrast(projections, prototypes, targets).mean(0))

    def _contrast(self, z: Tensor, prototypes: Tensor, targets: Targets) -> Tensor:
        """Projections (V, B, D) of this process and prototypes (K, D) -> (V, B)."""
        views, share = len(z), targets.share
        keys = share.gather(z.transpose(0, 1), gradient=True).flatten(0, 1)  # sample by sample
        labels, classes = targets.labels, torch.arange(len(prototypes), device=z.device)
        places = torch.arange(len(keys), device=z.device).view(-1, views)
        values = balanced_contrastive(
            z.flatten(0, 1),
            labels.repeat(views),
            torch.cat([keys, prototypes]),
            torch.cat([targets.all_labels.repeat_interleave(views), classes]),
            share.take(places).T.flatten(),
            self.tau,
        )
        return values.view(views, -1)
