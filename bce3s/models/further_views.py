"""What BCL and ProCo have in common: one view for the classifier, the others for a contrast."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses.bounds import check_numbers
from bce3s.models.branches import joint_loss
from bce3s.models.head import Loss, TripartiteHead
from bce3s.models.targets import Targets


class FurtherViewsHead(TripartiteHead):
    """``L = a joint(z, y) + b contrast(f)``: the first view goes to the linear classifier, which
    alone predicts; the others are projected to unit vectors f.

    A head of this kind has a ``projector`` and writes :meth:`contrast`. Losses: ``loss_joint`` and
    ``loss_contrastive``.

    Args:
        num_classes, in_channels, joint, finetune, beta, classifier: see :class:`TripartiteHead`.
        weights: a and b.
        tau: temperature.

    Raises:
        BCE3SError: a batch of one view only, or one that is sent in parts; a tau that is not
            positive.
    """

    projector: nn.Module
    several_labels = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: Loss,
        weights: Mapping[str, float],
        tau: float,
        finetune: Loss | None,
        beta: float | None,
        classifier: nn.Module | Mapping | None,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            joint=joint,
            weights=weights,
            finetune=finetune,
            beta=beta,
            classifier=classifier,
        )
        check_numbers(self, zero=False, tau=tau)
        self.tau = tau

    def contrast(self, projections: Tensor, soft: Tensor, targets: Targets) -> Tensor:
        """Unit projections f (V, B, D) and soft labels (V, B, K) of the further views, and the
        targets of all -> scalar, the mean over the global batch.
        """
        raise NotImplementedError

    def _loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        if self.finetuning:
            return super()._loss(feats, targets)
        self._check(targets)
        soft = targets.soft(self.num_classes, feats.dtype)
        logits = self.classifier(targets.per_view(feats)[:1])
        joint = joint_loss(self.joint, logits, soft[:1], targets.of_views(0, 1))
        # all views, as published: the statistics of BatchNorm are theirs
        projections = F.normalize(targets.per_view(self.projector(feats))[1:], dim=-1)
        contrast = self.contrast(projections, soft[1:], targets)
        return dict(
            loss_joint=self.weights['joint'] * joint,
            loss_contrastive=self.weights['contrastive'] * contrast,
        )

    def _check(self, targets: Targets) -> None:
        name = type(self).__name__
        if len(targets.views) < 2:
            raise BCE3SError(
                f'{name} needs 2 views of each sample at least, but got {targets.views}: set '
                'model.data_preprocessor.views as the config of the method in configs/rivals has '
                'it.'
            )
        if targets.part != (0, 1):
            raise BCE3SError(
                f'{name} compares the samples of a whole batch, which cannot go through the '
                'network in parts: set model.micro_batches=1.'
            )


def projector(in_channels: int, hidden: int, dim: int) -> nn.Sequential:
    """Linear d-h, BatchNorm, ReLU, Linear h-D."""
    return nn.Sequential(
        nn.Linear(in_channels, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, dim),
    )
