"""GLMC: two classifiers, of which one gives way to the other, and two mixed views that agree."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError
from bce3s.losses.functional import power_weights
from bce3s.losses.glmc import simsiam
from bce3s.losses.joint import CEJoint
from bce3s.models.branches import joint_loss
from bce3s.models.head import Loss, TripartiteHead
from bce3s.models.targets import Targets


class GLMCHead(TripartiteHead):
    """``L = alpha L_a + (1 - alpha) L_b + gamma L_similarity``.

    Du et al., Global and Local Mixture Consistency Cumulative Learning (CVPR 2023, arXiv
    2305.08661). Two views of each sample, augmented one by one and mixed with one partner, by MixUp
    and by CutMix, go to two linear classifiers of one feature. a learns their soft labels t with
    cross-entropy, b the re-weighted ``v_k t_k`` (:func:`power_weights`), each summed over the
    views. ``alpha = 1 - (e / E)^2`` of epoch e = 0 .. E - 1, as in BBN (Zhou et al., CVPR 2020),
    moves from a to b, which alone predicts and is trained further in a second stage
    (:meth:`finetune`). L_similarity is :func:`simsiam` of projections z (Linear d-D) and
    predictions (Linear D-D of z) of the views.

    Losses: ``loss_joint`` (the first two terms) and ``loss_similarity``.

    Args:
        num_classes: K.
        in_channels: d.
        joint: of b; :class:`CEJoint`, or with ``p=0`` :class:`LogitAdjustedCE`, as the paper has it
            on ImageNet-LT ("+ BS"); it must have ``rows``.
        p: of the weights v; 1.2 on CIFAR-100-LT, 1 on ImageNet-LT and iNaturalist.
        gamma: 4 to 10 as published.
        finetune, beta, classifier: see :class:`TripartiteHead`; both classifiers are alike.
        projection_dim: D.

    Raises:
        BCE3SError: a batch of other than two views, a clock without ``epochs``.
    """

    several_labels = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: Loss,
        p: float = 1.2,
        gamma: float = 4.0,
        finetune: Loss | None = None,
        beta: float | None = 0.99999,
        classifier: nn.Module | Mapping | None = None,
        projection_dim: int = 128,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            joint=joint,
            finetune=finetune,
            beta=beta,
            classifier=classifier,
        )
        self.p, self.gamma = p, gamma
        self.natural_joint = CEJoint()
        self.natural_classifier = copy.deepcopy(self.classifier)
        self.natural_classifier.reset_parameters()
        self.projector = nn.Linear(in_channels, projection_dim)
        self.predictor = nn.Linear(projection_dim, projection_dim)
        self.register_buffer('label_weights', torch.ones(num_classes), persistent=False)

    def set_class_counts(self, counts: Sequence[int]) -> None:
        super().set_class_counts(counts)
        self.label_weights.copy_(power_weights(self.class_counts, self.p))

    def _loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        if self.finetuning:
            return super()._loss(feats, targets)
        if len(targets.views) != 2:
            raise BCE3SError(
                f'GLMCHead compares two views of each sample, but got {targets.views}: set '
                'model.data_preprocessor.views as configs/rivals/glmc.py has it.'
            )
        logits = targets.per_view(self.natural_classifier(feats)), targets.per_view(self(feats))
        soft = targets.soft(self.num_classes, feats.dtype)
        natural = joint_loss(self.natural_joint, logits[0], soft, targets)
        weighted = joint_loss(self.joint, logits[1], self.label_weights * soft, targets)
        alpha = 1 - targets.clock.progress**2
        z = self.projector(feats)
        similarity = simsiam(*map(targets.per_view, (self.predictor(z), z)))
        return dict(
            loss_joint=len(targets.views) * (alpha * natural + (1 - alpha) * weighted),
            loss_similarity=self.gamma * targets.share.mean(similarity),
        )
