"""ProCo: contrastive learning with the distribution of each class in place of its samples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.losses.functional import soft_labels
from bce3s.losses.vmf import vmf_logits
from bce3s.models.branches import joint_loss
from bce3s.models.further_views import FurtherViewsHead, projector
from bce3s.models.head import Loss
from bce3s.models.targets import Targets


class ClassMeans(nn.Module):
    """The mean of all unit features of each class in this epoch and the one before.

    All buffers are saved with the model, so a resumed run goes on with them. A class of which no
    sample has been seen has a random direction of length 0.9; of one that an epoch leaves out, the
    epoch before stays.

    Args:
        num_classes: K.
        dim: D.
    """

    sums: Tensor  # (2, K, D): of this epoch, of the one before
    counts: Tensor  # (2, K)

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer('sums', torch.zeros(2, num_classes, dim))
        self.register_buffer('counts', torch.zeros(2, num_classes))
        self.register_buffer('unseen', 0.9 * F.normalize(torch.randn(num_classes, dim), dim=1))
        self.register_buffer('epoch', torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, epoch: int) -> None:
        """Add ``features`` (V, B, D) of V views of samples of classes ``labels`` (B,)."""
        new = self.epoch != epoch  # on its device: the host does not wait for it
        followed = new & (self.counts[0] > 0)
        for values, kept in ((self.sums, followed[:, None]), (self.counts, followed)):
            values[1] = torch.where(kept, values[0], values[1])
            values[0] *= ~new
        self.epoch.fill_(epoch)
        hot = soft_labels(labels, self.counts.shape[1], self.sums.dtype).T  # (K, B)
        self.sums[0] += hot @ features.sum(0).to(self.sums.dtype)
        self.counts[0] += len(features) * hot.sum(1)

    def forward(self) -> Tensor:
        """(K, D)."""
        sums, counts = self.sums.sum(0), self.counts.sum(0)[:, None]
        return torch.where(counts > 0, sums / counts.clamp(min=1), self.unseen)


class ProCoHead(FurtherViewsHead):
    """``L = joint(z, y) + weight mean_v joint(g(f_v), y)``.

    Du et al., Probabilistic Contrastive Learning for Long-Tailed Visual Recognition (TPAMI 2024,
    arXiv 2403.06726). The first view, augmented as for a plain classifier, goes to the linear
    classifier, which alone predicts. The others, SimCLR's, are projected to unit vectors f
    (Linear d-h, BatchNorm, ReLU, Linear h-D) and compared with von Mises-Fisher laws of the classes
    (:func:`vmf_logits`), of which the means are those of all projections in this epoch and the one
    before, this batch's included (:class:`ClassMeans`). Both terms have one loss, in the paper the
    logit-adjusted cross-entropy.

    Losses: ``loss_joint`` and ``loss_contrastive``. Departures from the public code: a class that
    no batch of an epoch holds keeps its mean, where the code begins anew at random; the kappa of a
    mean of length 1 is the limit, 1e5, in both.

    Args:
        num_classes: K.
        in_channels: d.
        joint: :class:`LogitAdjustedCE` as published.
        tau: temperature; 0.1 on CIFAR-LT.
        weight: of the second term.
        hidden: h.
        finetune, beta, classifier: see :class:`TripartiteHead`.
        projection_dim: D.

    Raises:
        BCE3SError: a batch of one view only, or one that is sent in parts; a tau that is not
            positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: Loss,
        tau: float = 0.1,
        weight: float = 1.0,
        hidden: int = 512,
        finetune: Loss | None = None,
        beta: float | None = 0.99999,
        classifier: nn.Module | Mapping | None = None,
        projection_dim: int = 128,
    ) -> None:
        weights = dict(joint=1.0, contrastive=weight)
        super().__init__(num_classes, in_channels, joint, weights, tau, finetune, beta, classifier)
        self.projector = projector(in_channels, hidden, projection_dim)
        self.means = ClassMeans(num_classes, projection_dim)

    def contrast(self, projections: Tensor, soft: Tensor, targets: Targets) -> Tensor:
        gathered = targets.share.gather(projections.detach().transpose(0, 1)).transpose(0, 1)
        self.means.update(gathered, targets.all_labels, targets.clock.epoch)
        compared = vmf_logits(projections, self.means(), self.tau).to(projections.dtype)
        return joint_loss(self.joint, compared, soft, targets.of_views(1))
