"""The method: three branches on one classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.datasets.effective_number import class_balanced_weights
from bce3s.errors import BCE3SError
from bce3s.models.memory_bank import ClassMemoryBank
from bce3s.models.targets import Targets
from bce3s.registry import MODELS


class Classifier(nn.Linear):
    """``z_j = w_j . x + b_j``, with every w_j normalised to unit length or left as it is."""

    def __init__(self, in_channels: int, num_classes: int, bias: bool, normalize: bool) -> None:
        self.normalize = normalize
        super().__init__(in_channels, num_classes, bias)

    def reset_parameters(self) -> None:
        """W Kaiming-normal (a = 1), b uniform in +-1/sqrt(d)."""
        nn.init.kaiming_normal_(self.weight, a=1)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., K)."""
        weight = F.normalize(self.weight, dim=1) if self.normalize else self.weight
        return F.linear(x, weight, self.bias)


@MODELS.register_module()
class TripartiteHead(BaseModule):
    """``L = a L_joint + b L_contrastive + c L_uniformity``, each branch BCE, CE or absent.

    With all three BCE it is BCE3S (arXiv 2511.14097), with all three CE the paper's "CE TSL", with
    the joint branch alone a plain classifier. In the second stage
    (``LongTailedClassifier.finetune_classifier`` sets :attr:`finetuning`) the class-balanced
    ``finetune`` loss is the only one: each sample's row is weighted by
    ``(1 - beta) / (1 - beta^{n_y})``, the weights scaled to sum to K over the classes.

    Args:
        num_classes: K.
        in_channels: d, size of the features.
        joint: config of ``BCEJoint`` or ``CEJoint``.
        contrastive: config of ``BCEContrastive`` or ``CEContrastive``, or None.
        uniformity: config of ``BCEUniformity`` or ``CEUniformity``, or None; both normalise the
            classifier's weights themselves.
        weights: of the branches; default 1, 0.1 and 1 as published for CIFAR-100-LT.
        finetune: config of the second stage's joint loss; None: the same as ``joint``.
        beta: of these weights; see :func:`class_balanced_weights`.
        normalize_weight: whether the classifier's weights are normalised to unit length.
        bias: whether the classifier has one.
        projection_dim: D of the projector (Linear d-d, ReLU, Linear d-D) and of the bank.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: dict,
        contrastive: dict | None = None,
        uniformity: dict | None = None,
        weights: Mapping[str, float] | None = None,
        finetune: dict | None = None,
        beta: float = 0.99999,
        normalize_weight: bool = True,
        bias: bool = True,
        projection_dim: int = 128,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes, self.beta, self.finetuning = num_classes, beta, False
        self.weights = dict(joint=1.0, contrastive=0.1, uniformity=1.0) | dict(weights or {})
        if len(self.weights) > 3:
            raise BCE3SError(
                f"TripartiteHead: 'weights' has the branches {sorted(self.weights)}; only joint, "
                'contrastive and uniformity exist.'
            )
        self.classifier = Classifier(in_channels, num_classes, bias, normalize_weight)
        self.joint = MODELS.build(joint)
        self.finetune = MODELS.build(finetune or joint)
        self.contrastive = contrastive and MODELS.build(contrastive)
        self.uniformity = uniformity and MODELS.build(uniformity)
        if self.contrastive is not None:
            self.projector = nn.Sequential(
                nn.Linear(in_channels, in_channels),
                nn.ReLU(inplace=True),
                nn.Linear(in_channels, projection_dim),
            )
            self.bank = ClassMemoryBank(num_classes, projection_dim)
        self.register_buffer('class_counts', torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer('class_weights', torch.ones(num_classes), persistent=False)

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Tell how many training samples each of the K classes has."""
        if len(counts) != self.num_classes:
            raise BCE3SError(
                f'The head has {self.num_classes} classes, the training set {len(counts)}: set '
                'model.head.num_classes to match the data set.'
            )
        self.class_counts.copy_(torch.as_tensor(counts))
        self.class_weights.copy_(class_balanced_weights(self.class_counts, self.beta))

    def forward(self, feats: Tensor) -> Tensor:
        """Features (B, d) -> logits (B, K)."""
        return self.classifier(feats)

    def loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Features (V * B, d), view-major -> the branches' weighted losses, to be summed."""
        logits = self.classifier(feats)
        if self.finetuning:
            weights = self.class_weights[targets.labels]
            return dict(loss_joint=self.finetune(logits, targets, weights))
        losses = dict(joint=self.joint(logits, targets))
        if self.contrastive is not None:
            projections = self.projector(feats)
            losses['contrastive'] = self.contrastive(projections, self.bank, targets)
            self.bank.update(targets.per_view(projections)[0], targets)
        if self.uniformity is not None:
            losses['uniformity'] = self.uniformity(self.classifier.weight)
        return {f'loss_{name}': self.weights[name] * loss for name, loss in losses.items()}
