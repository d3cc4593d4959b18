"""Several experts: the mean of their logits, and a head in which each has a loss of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses.experts import class_temperatures, expert_divergence
from bce3s.models.branches import joint_loss
from bce3s.models.head import Loss, TripartiteHead, built
from bce3s.models.linear_classifier import LinearClassifier
from bce3s.models.targets import Targets


class ExpertsClassifier(LinearClassifier):
    """``z = 1/E sum_e gamma (w_ek . x_e + b_k)``: features x_e and weights of expert e, one of E
    equal parts of d, each of unit length or as it is; the mean of the experts' logits.

    Args:
        in_channels: d, of all experts together.
        num_classes: K.
        experts: E >= 1, a divisor of d.
        bias: whether there is one, which the experts share.
        normalize_weight, normalize_feature, scale: see :class:`LinearClassifier`; by default RIDE's
            cosine classifier.
        init, bias_mean: likewise, for each expert.

    Raises:
        BCE3SError: as of :class:`LinearClassifier`; a number of experts that does not divide d.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        experts: int = 3,
        bias: bool = False,
        normalize_weight: bool = True,
        normalize_feature: bool = True,
        scale: float = 30.0,
        init: str = 'kaiming_normal',
        bias_mean: float = 0.0,
    ) -> None:
        if not isinstance(experts, int) or experts < 1 or in_channels % experts:
            raise BCE3SError(
                f'ExpertsClassifier: {experts!r} experts cannot share {in_channels} features in '
                'equal parts: set experts here and in the backbone to the same number.'
            )
        self.experts = experts
        super().__init__(
            in_channels,
            num_classes,
            bias=bias,
            normalize_weight=normalize_weight,
            normalize_feature=normalize_feature,
            scale=scale,
            init=init,
            bias_mean=bias_mean,
        )

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            self.weight.mul_(self.experts**0.5)  # of d / E features each

    def parts(self, rows: Tensor) -> Tensor:
        """(..., d) -> (..., E, d / E)."""
        return rows.unflatten(-1, (self.experts, -1))

    def embed(self, x: Tensor) -> Tensor:
        """As of :class:`LinearClassifier`, expert by expert."""
        return F.normalize(self.parts(x), dim=-1).flatten(-2) if self.normalize_feature else x

    def _scaled(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.normalize_weight:
            weight = F.normalize(self.parts(weight), dim=-1).flatten(-2)
        bias = None if bias is None else self.scale * bias
        return self.scale / self.experts * weight, bias

    def each(self, x: Tensor) -> Tensor:
        """Features (B, d) -> the experts' own logits (E, B, K)."""
        weight, bias = self._scaled(*self.rows())
        parts = self.parts(self.embed(x)), self.parts(self.experts * weight)
        logits = torch.einsum('bed,ked->ebk', *parts)
        return logits if bias is None else logits + bias


class ExpertsHead(TripartiteHead):
    """``L = a sum_e L_e(z_e) + b sum_e KL(mean, z_e)`` of experts e; any losses, and the mean of
    their logits predicts.

    - SADE (Zhang et al., NeurIPS 2022, arXiv 2107.09249): cross-entropy, with the log prior in the
      logits, and :class:`InverseSoftmaxCE`. (Its test-time aggregation is not here.)
    - BalPoE (Aimar et al., CVPR 2023, arXiv 2206.05260): :class:`LogitAdjustedCE` of tau 0, 1, 2;
      its loss is the mean over the experts, ``a = 1/3``.
    - RIDE (Wang et al., ICLR 2021, arXiv 2010.01809): :class:`LDAM`, re-weighted late, and b = -0.2
      times :func:`expert_divergence`, whose temperatures differ by class as soon as the classes are
      weighted. (Its second stage, which chooses experts for each image, is not here.)

    Losses: ``loss_joint`` and, where b is not 0, ``loss_diversity``.

    Args:
        num_classes: K.
        in_channels: d, of all experts.
        joint: one loss for each expert, or one for all.
        weights: a and b; default 1 and 0.
        spread: of the temperatures, see :func:`class_temperatures`.
        reweight, finetune, beta: see :class:`TripartiteHead`; the second stage trains the
            classifier by its mean logits, by default with the first expert's loss.
        classifier: :class:`ExpertsClassifier`.

    Raises:
        BCE3SError: other than one loss an expert.
    """

    terms: Mapping[str, float] = dict(joint=1.0, diversity=0.0)
    several_labels = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: Loss | Sequence[Loss],
        weights: Mapping[str, float] | None = None,
        spread: float = 0.05,
        reweight: Loss | None = None,
        finetune: Loss | None = None,
        beta: float | None = 0.99999,
        classifier: nn.Module | Mapping | None = None,
    ) -> None:
        losses = [built(loss) for loss in (joint if isinstance(joint, Sequence) else [joint])]
        super().__init__(
            num_classes,
            in_channels,
            joint=losses[0] if losses else None,
            weights=weights,
            reweight=reweight,
            finetune=finetune,
            beta=beta,
            classifier=classifier or ExpertsClassifier(in_channels, num_classes),
        )
        experts = self.classifier.experts
        if len(losses) not in (1, experts):
            raise BCE3SError(
                f'ExpertsHead: {len(losses)} losses for {experts} experts: give one for each, or '
                'one for all of them.'
            )
        self.joints = nn.ModuleList(losses * (experts // len(losses)))
        self.spread = spread
        self.register_buffer('temperatures', torch.ones(num_classes), persistent=False)

    def set_class_counts(self, counts: Sequence[int]) -> None:
        super().set_class_counts(counts)
        self.temperatures.copy_(class_temperatures(self.class_counts, self.spread))

    def _loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        if self.finetuning:
            return super()._loss(feats, targets)
        logits = self.classifier.each(feats).unflatten(1, (len(targets.views), -1))  # (E, V, B, K)
        soft = targets.soft(self.num_classes, logits.dtype)
        weights = self.row_weights(targets, logits.dtype)
        joint = sum(
            joint_loss(loss, z, soft, targets, weights)
            for loss, z in zip(self.joints, logits, strict=True)
        )
        losses = dict(loss_joint=self.weights['joint'] * joint)
        if self.weights['diversity']:
            temperature = 1.0 if weights is None else self.temperatures
            divergence = expert_divergence(logits, temperature).mean(0)  # over views: (B,)
            losses['loss_diversity'] = self.weights['diversity'] * targets.share.mean(divergence)
        return losses
