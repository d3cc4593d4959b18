"""The method: three branches on one classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from bce3s.datasets.effective_number import class_balanced_weights
from bce3s.errors import BCE3SError
from bce3s.models.linear_classifier import Classifier
from bce3s.models.losses.resampling import check_ratio, sample_classes
from bce3s.models.losses.uniformity import CEUniformity
from bce3s.models.memory_bank import ClassMemoryBank
from bce3s.models.sharding import ShardedClassifier, ShardedMemoryBank, Spread
from bce3s.models.targets import Targets
from bce3s.registry import MODELS
from bce3s.shards import Shards

DECAYED = ('weight', 'feature', 'bias')


@MODELS.register_module()
class TripartiteHead(BaseModule):
    """``L = a L_joint + b L_contrastive + c L_uniformity``, each branch BCE, CE or absent.

    With all three BCE it is BCE3S (arXiv 2511.14097), with all three CE the paper's "CE TSL", with
    the joint branch alone a plain classifier. In the second stage
    (``LongTailedClassifier.finetune_classifier`` sets :attr:`finetuning`) the class-balanced
    ``finetune`` loss is the only one: each sample's row is weighted by
    ``(1 - beta) / (1 - beta^{n_y})``, the weights scaled to sum to K over the classes.

    ``decay`` adds the regularisation of "BCE vs. CE in Deep Feature Learning" (ICML 2025, Eq. 3) as
    a term of its own, ``loss_decay``, which ``weights`` do not touch and the second stage drops:

        ``lambda_W/2 ||W||_F^2 + lambda_H/2 sum_i ||h_i||^2 + lambda_b/2 ||b||^2``

    with the parameters W, b themselves and the features h as the classifier multiplies them,
    SUMMED over the global batch (and its views), where the other terms are means over samples. Set
    the optimiser's own decay to 0, or W and b decay twice.

    ``sample_rate`` r < 1 is for many classes: every branch, on every view and in both stages, is
    the one of S = max(int(K r), n) classes drawn for the batch, those of its n labels and partners
    first (Partial FC, An et al., arXiv 2010.05222); every sum, softmax and mean over the K classes
    becomes one over these. A step then takes O(V B S d + S^2 d) time and O(V B S + S d) memory, S^2
    up to a stated block (:mod:`bce3s.models.losses.uniformity`), and no work or memory for the rest
    of the K rows of W, b and the bank. The gradients of W and b are sparse: train with
    ``LazySGD``, which moves the other rows later just as SGD would have. ``joint.resample``, in
    contrast, computes all logits and leaves some out of the origin view's loss.

    ``shard`` is for so many classes, above some hundred thousand, that W, its momentum and the bank
    fill the memory of a device: rank r of N holds and trains rows [K r / N, K (r + 1) / N) of them.
    It sees the features and labels of all ranks and computes its classes' logits (V B, K / N), so
    that every loss is the one without shards and no W is ever exchanged but by uniformity, which
    sends it round once. Prediction sends W round as well; a checkpoint holds whole matrices, and
    any number of ranks can go on from it (:mod:`bce3s.engine.sharded_rows`).

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
        normalize_feature, scale, init, bias_mean: of the classifier; see :class:`Classifier`. The
            contrastive branch gets the features as the backbone gives them.
        decay: ``dict(weight=lambda_W, feature=lambda_H, bias=lambda_b)``, absent ones 0; or None.
        projection_dim: D of the projector (Linear d-d, ReLU, Linear d-D) and of the bank.
        sample_rate: r in (0, 1]; 1: all K classes.
        shard: whether each rank holds a part of the classes; in one process it changes nothing.

    Raises:
        BCE3SError: an argument out of its bounds, sampling with what needs all K classes, or shards
            with sampling or CE uniformity.
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
        normalize_feature: bool = False,
        scale: float = 1.0,
        init: str = 'kaiming_normal',
        bias_mean: float = 0.0,
        decay: Mapping[str, float] | None = None,
        projection_dim: int = 128,
        sample_rate: float = 1.0,
        shard: bool = False,
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
        self.shards = Shards.of(num_classes) if shard else None
        options = (bias, normalize_weight, normalize_feature, scale, init, bias_mean)
        if self.shards is None:
            self.classifier = Classifier(in_channels, num_classes, *options)
        else:
            self.classifier = ShardedClassifier(self.shards, in_channels, *options)
        self.decay = None if decay is None else _checked_decay(decay, bias)
        self.joint = MODELS.build(joint)
        self.finetune = MODELS.build(finetune or joint)
        self.contrastive = contrastive and MODELS.build(contrastive)
        self.uniformity = uniformity and MODELS.build(uniformity)
        self.sample_rate = check_ratio(sample_rate, 'model.head.sample_rate')
        if sample_rate < 1:
            self._check_sampling()
        if shard and (sample_rate < 1 or isinstance(self.uniformity, CEUniformity)):
            what = f'sample_rate={sample_rate}' if sample_rate < 1 else 'CEUniformity'
            raise BCE3SError(
                f'TripartiteHead: shard=True is not made for {what}, which needs rows of other '
                'ranks in every step: set model.head.sample_rate=1 and a uniformity of '
                'BCEUniformity or None, or shard=False.'
            )
        if self.contrastive is not None:
            self.projector = nn.Sequential(
                nn.Linear(in_channels, in_channels),
                nn.ReLU(inplace=True),
                nn.Linear(in_channels, projection_dim),
            )
            if self.shards is None:
                self.bank = ClassMemoryBank(num_classes, projection_dim)
            else:
                self.bank = ShardedMemoryBank(self.shards, projection_dim)
        self.register_buffer('class_counts', torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer('class_weights', torch.ones(num_classes), persistent=False)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        """What follows from the counts, which are saved, is derived from them again."""
        super()._load_from_state_dict(*args, **kwargs)
        if self.class_counts.any():
            self.set_class_counts(self.class_counts)

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Tell how many training samples each of the K classes has; losses that have a
        ``set_class_counts(counts)`` are told, (K,) int64, too.
        """
        if len(counts) != self.num_classes:
            raise BCE3SError(
                f'The head has {self.num_classes} classes, the training set {len(counts)}: set '
                'model.head.num_classes to match the data set.'
            )
        self.class_counts.copy_(torch.as_tensor(counts))
        self.class_weights.copy_(class_balanced_weights(self.class_counts, self.beta))
        for loss in (self.joint, self.contrastive, self.uniformity, self.finetune):
            if hasattr(loss, 'set_class_counts'):
                loss.set_class_counts(self.class_counts)

    def forward(self, feats: Tensor) -> Tensor:
        """Features (B, d) -> logits (B, K), in the classifier's precision."""
        with torch.autocast(feats.device.type, enabled=False):
            return self.classifier(self._checked(feats))

    def _checked(self, feats: Tensor) -> Tensor:
        """Features (B, d) in the classifier's precision, or BCE3SError."""
        features = self.classifier.in_features
        if feats.dim() != 2 or feats.shape[1] != features:
            raise BCE3SError(
                f'TripartiteHead takes features (B, {features}), but the backbone gives '
                f'{tuple(feats.shape)}: pool them with model.neck=dict(type='
                "'GlobalAveragePooling'), or inside the backbone (out_type='avg_featmap'; of timm "
                'global_pool and num_classes=0), and set model.head.in_channels to their number.'
            )
        return feats.to(self.classifier.weight.dtype)

    def loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Features (V * B, d), view-major -> the branches' weighted losses, to be summed.

        Of a part of a batch (``Targets.split``) they are its samples' share of the means over the
        global batch; what does not look at samples is a term of the last part alone, at the end of
        which the bank is written. So the parts' sums are the losses of the batch.
        """
        with torch.autocast(feats.device.type, enabled=False):  # also where the caller has one
            return self._loss(self._checked(feats), self.drawn(targets))

    def _loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        weight, bias = self.classifier.sampled_rows(targets.classes)
        spread = Spread(targets, self.shards)
        logits, seen = self.classifier.scores(spread(feats), weight, bias), spread.targets
        if self.finetuning:
            weights = self.class_weights[seen.labels]
            return spread.shown(dict(loss_joint=self.finetune(logits, seen, weights)))
        losses = dict(joint=self.joint(logits, seen))
        if self.contrastive is not None:
            projections = self.projector(feats)
            losses['contrastive'] = self.contrastive(spread(projections), self.bank, seen)
            targets.origins.append(targets.per_view(projections)[0].detach())
            if targets.last:
                self.bank.update(torch.cat(targets.origins), targets)
                targets.origins.clear()
        if self.uniformity is not None and targets.last:
            losses['uniformity'] = self.uniformity(weight, self.shards)
        losses = {f'loss_{name}': self.weights[name] * loss for name, loss in losses.items()}
        if self.decay is not None:
            losses['loss_decay'] = self._decay_loss(feats, targets)
        return spread.shown(losses)

    def local(self) -> list[str]:
        """Parameters and buffers that DistributedDataParallel must leave alone."""
        names = [f'classifier.{name}' for name, _ in self.classifier.named_parameters()]
        if self.shards is not None and self.contrastive is not None:
            names += [f'bank.{name}' for name, _ in self.bank.named_buffers()]
        return names if self.shards is not None or self.sample_rate < 1 else []

    def drawn(self, targets: Targets) -> Targets:
        """The targets over the classes drawn for the batch, unless they are drawn already."""
        if self.sample_rate == 1 or targets.classes is not None:
            return targets
        return targets.over(self._sampled_classes(targets))

    def _sampled_classes(self, targets: Targets) -> Tensor:
        """(S,) those of all labels and partners of the global batch, filled up at random."""
        labels, rng = targets.all_labels, targets.clock.numpy('negatives')
        if targets.partners is not None:
            labels = torch.cat([labels, targets.share.gather(targets.partners)])
        return sample_classes(labels, self.num_classes, self.sample_rate, rng)

    def _check_sampling(self) -> None:
        for name in ('joint', 'finetune'):
            if getattr(getattr(self, name), 'resample', 1) < 1:
                raise BCE3SError(
                    f'TripartiteHead: sample_rate={self.sample_rate} samples the classes of every '
                    f"branch, and 'resample' would sample among them again: set model.head.{name}."
                    'resample=1, or sample_rate=1.'
                )
        if self.decay is not None and (self.decay['weight'] or self.decay['bias']):
            raise BCE3SError(
                f'TripartiteHead: with sample_rate={self.sample_rate} the gradients of W and b are '
                'sparse, but decay.weight and decay.bias have one for every row: set both to 0 and '
                'use the weight_decay of LazySGD, or set sample_rate=1.'
            )

    def _decay_loss(self, feats: Tensor, targets: Targets) -> Tensor:
        squares = targets.per_view(self.classifier.embed(feats)).square().sum((0, -1))  # (B,)
        # a mean that DDP's averaging of gradients leaves right, times the rows: the sum
        loss = self.decay['feature'] * targets.share.mean(squares) * targets.share.total
        ranks = 1 if self.shards is None else self.shards.ranks  # as of Spread
        if self.decay['weight'] and targets.last:
            loss = loss + ranks * self.decay['weight'] * self.classifier.weight.square().sum()
        if self.decay['bias'] and targets.last:
            loss = loss + ranks * self.decay['bias'] * self.classifier.bias.square().sum()
        return loss / 2


def _checked_decay(decay: Mapping[str, float], bias: bool) -> dict[str, float]:
    """All three factors, or BCE3SError."""
    if not isinstance(decay, Mapping):
        raise BCE3SError(
            f"TripartiteHead: 'decay' is {decay!r}; it takes a dict of weight, feature and bias."
        )
    for name, value in decay.items():
        if name not in DECAYED or not isinstance(value, Real) or not 0 <= value < math.inf:
            raise BCE3SError(
                f"TripartiteHead: 'decay' has {name}={value}; it takes the factors weight, feature "
                'and bias, each a number >= 0.'
            )
    if decay.get('bias') and not bias:
        raise BCE3SError(
            f"TripartiteHead: 'decay' has bias={decay['bias']}, but the classifier has no bias: "
            'set decay.bias to 0.'
        )
    return dict.fromkeys(DECAYED, 0.0) | dict(decay)
