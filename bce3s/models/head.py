"""The method: three branches on one classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError
from bce3s.losses.centers import CenterTerms
from bce3s.losses.contrastive import BCEContrastive
from bce3s.losses.decay import FeatureDecay
from bce3s.losses.functional import class_balanced_weights
from bce3s.models.branches import contrastive_loss, joint_loss
from bce3s.models.health import contrastive_health
from bce3s.models.linear_classifier import LinearClassifier
from bce3s.models.memory_bank import ClassMemoryBank
from bce3s.models.targets import Targets

Loss = nn.Module | Mapping


class TripartiteHead(nn.Module):
    """``L = a L_joint + b L_contrastive + c L_uniformity``, each branch BCE, CE or absent.

    With all three BCE it is BCE3S (arXiv 2511.14097), with all three CE the paper's "CE TSL", with
    the joint branch alone a plain classifier. In the second stage (:meth:`finetune`) there is the
    joint loss alone: each sample's row is weighted by ``(1 - beta) / (1 - beta^{n_y})``, the
    weights scaled to sum to K over the classes.

    Pictures may have several labels, int8 (B, K) (:class:`Targets`), where the branches are BCE:
    the joint loss and the contrastive one have a positive term for each label and leave out what is
    unknown. A row then has no one class whose weight it could take; the weights of the second stage
    are those of the positive terms of each class, the negative terms keep 1. With fixed features,
    sigmoids split the task into K independent problems; for each, only the weight of its positives
    against its negatives matters, and with these weights that is (nearly) the same for all classes,
    however rare.

    Args:
        num_classes: K.
        in_channels: d, size of the features.
        joint: :class:`BCEJoint`, :class:`CEJoint` or any other loss of logits (B, K) and integer
            labels (B,), here and below as a module or as a config dict.
        contrastive: :class:`BCEContrastive`, :class:`CEContrastive` or None.
        uniformity: :class:`BCEUniformity`, :class:`CEUniformity` or None; both normalise the
            classifier's weights themselves.
        weights: of the branches; default 1, 0.1 and 1 as published for CIFAR-100-LT.
        finetune: the second stage's joint loss; None: the same as ``joint``.
        beta: of its weights, see :func:`class_balanced_weights`; None: all rows weigh alike.
        classifier: :class:`LinearClassifier`, as a module or its config. The contrastive branch
            gets the features as the backbone gives them.
        reweight: weights of the classes in the joint loss (of several labels a picture: of the
            positive terms), from the start or from some epoch on:
            :class:`EffectiveNumberWeights`, :class:`BatchBalancedWeights`, or any module that is
            called as they are; None: all weigh 1. The second stage has its own (``beta``).
        decay: arguments of :class:`FeatureDecay`, a term of its own, ``loss_decay``, which
            ``weights`` do not touch and the second stage drops; or None.
        centers: arguments of :class:`CenterTerms`, likewise, ``loss_centers``, of the features of
            the first view as the backbone gives them; or None.
        projection_dim: D of the projector (Linear d-d, ReLU, Linear d-D) and of the bank.
        projector_norm: whether the projector ends in a BatchNorm without scale and shift; its
            statistics are those of what a process sees at once.
        bank: ``momentum`` and ``normalize`` of :class:`ClassMemoryBank`.

    Raises:
        BCE3SError: an argument out of its bounds.
    """

    terms: Mapping[str, float] = dict(joint=1.0, contrastive=0.1, uniformity=1.0)  # and weights
    sample_rate = 1.0
    several_labels = True  # whether it can train on pictures with several labels

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        joint: Loss,
        contrastive: Loss | None = None,
        uniformity: Loss | None = None,
        weights: Mapping[str, float] | None = None,
        finetune: Loss | None = None,
        beta: float | None = 0.99999,
        classifier: nn.Module | Mapping | None = None,
        reweight: Loss | None = None,
        decay: Mapping[str, float] | None = None,
        centers: Mapping[str, float] | None = None,
        projection_dim: int = 128,
        projector_norm: bool = False,
        bank: Mapping | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.beta, self.finetuning = num_classes, beta, False
        self.weights = self.terms | dict(weights or {})
        if len(self.weights) > len(self.terms):
            *first, last = self.terms
            raise BCE3SError(
                f"{type(self).__name__}: 'weights' has {sorted(self.weights)}; only "
                f'{", ".join(first)} and {last} exist.'
            )
        shape = dict(in_channels=in_channels, num_classes=num_classes)
        if isinstance(classifier, Mapping):
            classifier = built(dict(classifier, **shape))
        self.classifier = classifier or LinearClassifier(**shape)
        self.joint, self.second_joint = built(joint), built(finetune or joint)
        self.contrastive, self.uniformity = built(contrastive), built(uniformity)
        self.reweight = built(reweight)
        self.decay = None if decay is None else FeatureDecay(**decay)
        self.centers = None if centers is None else CenterTerms(**shape, **centers)
        self._check_scale()
        if self.contrastive is not None:
            self.projector = nn.Sequential(
                nn.Linear(in_channels, in_channels),
                nn.ReLU(inplace=True),
                nn.Linear(in_channels, projection_dim),
            )
            if projector_norm:
                self.projector.append(nn.BatchNorm1d(projection_dim, affine=False))
            self.bank = ClassMemoryBank(num_classes, projection_dim, **(bank or {}))
        self.watching, self.health = False, {}  # see contrastive_health
        self._origins: list[Tensor] = []  # projections of the parts of a batch, for the bank
        self.register_buffer('class_counts', torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer('class_weights', torch.ones(num_classes), persistent=False)

    def forward(self, feats: Tensor) -> Tensor:
        """Features (B, d) -> logits (B, K), in the classifier's precision."""
        with torch.autocast(feats.device.type, enabled=False):
            return self.classifier(self._checked(feats))

    def loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Features (V * B, d), view-major -> the branches' weighted losses, to be summed.

        Of a part of a batch (``Targets.part``) they are its samples' share of the means over the
        global batch; what does not look at samples is a term of the last part alone, at the end of
        which the bank is written. So the parts' sums are the losses of the batch.
        """
        if targets.several:
            self._check_several()
        with torch.autocast(feats.device.type, enabled=False):  # also where the caller has one
            return self._loss(self._checked(feats), self.prepared(targets))

    def _loss(self, feats: Tensor, targets: Targets) -> dict[str, Tensor]:
        weight, bias = self.classifier.rows(targets.classes)
        logits = targets.per_view(self.classifier.scores(feats, weight, bias))  # (V, B, K)
        soft = targets.soft(logits.shape[-1], logits.dtype)  # (V, B, K)
        if self.finetuning:
            weights = None if self.beta is None else self.class_weights
            if weights is not None and not targets.several:
                weights = weights[targets.labels]
            return dict(loss_joint=joint_loss(self.second_joint, logits, soft, targets, weights))
        weights = self.row_weights(targets, logits.dtype)
        losses = dict(joint=joint_loss(self.joint, logits, soft, targets, weights))
        if self.contrastive is not None:
            projections = targets.per_view(self.projector(feats))  # (V, B, D)
            memory = self.bank.rows(targets.classes)
            losses['contrastive'] = contrastive_loss(
                self.contrastive, projections, soft, memory, targets
            )
            self._look(feats, losses, projections[0], memory, targets)
            self._remember(projections[0], targets)
        if self.uniformity is not None and targets.last:
            losses['uniformity'] = self.uniformity(weight)
        losses = {f'loss_{name}': self.weights[name] * loss for name, loss in losses.items()}
        if self.decay is not None:
            squares = self.decay.features(targets.per_view(self.classifier.embed(feats))).sum(0)
            # a mean that DDP's averaging of gradients leaves right, times the rows: the sum
            losses['loss_decay'] = targets.share.mean(squares) * targets.share.total
            if targets.last:
                weight, bias = self.classifier.weight, self.classifier.bias
                losses['loss_decay'] += self.decay.classifier(weight, bias)
        if self.centers is not None:
            origin = targets.per_view(feats)[0]
            rows = self.centers.rows(origin, targets.labels, targets.all_labels)
            losses['loss_centers'] = targets.share.mean(rows)
            if targets.last:
                losses['loss_centers'] += self.centers.spread()
        return losses

    def row_weights(self, targets: Targets, dtype: torch.dtype) -> Tensor | None:
        """(V, B), of several labels (K,), by ``reweight``; None: all weigh 1."""
        if self.reweight is None:
            return None
        weights = self.reweight(targets.all_labels, self.num_classes, targets.clock)
        if weights is None or targets.several:
            return None if weights is None else weights.to(dtype)
        return targets.of_samples(weights.to(dtype))

    def _look(
        self,
        feats: Tensor,
        losses: dict[str, Tensor],
        origin: Tensor,
        memory: tuple[Tensor, Tensor],
        targets: Targets,
    ) -> None:
        """Where somebody watches: :func:`contrastive_health` of the batch, or of its first part."""
        if not self.watching or targets.part[0] > 0 or targets.classes is not None:
            return
        weighted = (self.weights[name] * losses[name] for name in ('joint', 'contrastive'))
        labels = targets.labels
        self.health = contrastive_health(feats, *weighted, origin, labels, memory, self.contrastive)

    def _remember(self, origin: Tensor, targets: Targets) -> None:
        """Keep the projections (B, D) of a part; with the last one the bank is written."""
        if targets.part[0] == 0:
            self._origins.clear()
        self._origins.append(origin.detach())
        if targets.last:
            origins = targets.share.gather(torch.cat(self._origins))
            self.bank.update(origins, targets.all_labels)
            self._origins.clear()

    def prepared(self, targets: Targets) -> Targets:
        """With what is drawn once for a whole batch."""
        return targets

    def finetune(self) -> None:
        """Enter the second stage: its joint loss alone, for the classifier alone.

        Freeze the network that gives the features, and train ``classifier.parameters()`` with an
        optimiser of its own.

        Raises:
            BCE3SError: see :meth:`check_finetune`.
        """
        self.check_finetune()
        self.finetuning = True
        self.requires_grad_(False)
        self.classifier.finetune()

    def check_finetune(self) -> None:
        """Raise what :meth:`finetune` would: when a run begins, not after its first stage.

        Raises:
            BCE3SError: the class counts are not known, from which the weights follow; or the
                classifier has nothing to train.
        """
        if self.beta is not None and not self.class_counts.any():
            raise BCE3SError(
                'The second stage weighs the classes by their counts, which the head was not told: '
                'call head.set_class_counts first (RunStateHook does).'
            )
        if not any(True for _ in self.classifier.parameters()):
            raise BCE3SError(
                'The second stage trains the classifier alone, but '
                f'{type(self.classifier).__name__} is fixed: leave the second stage out, '
                'train_cfg.finetune_epochs=0.'
            )

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Tell how many training samples each of the K classes has; whatever module of the head
        has a ``set_class_counts(counts)`` is told, (K,) int64, too.
        """
        if len(counts) != self.num_classes:
            raise BCE3SError(
                f'The head has {self.num_classes} classes, the training set {len(counts)}: set '
                'model.head.num_classes to match the data set.'
            )
        self.class_counts.copy_(torch.as_tensor(counts))
        if self.beta is not None:
            self.class_weights.copy_(class_balanced_weights(self.class_counts, self.beta))
        for module in self.modules():
            if module is not self and hasattr(module, 'set_class_counts'):
                module.set_class_counts(self.class_counts)

    def set_several_labels(self, labels: Tensor) -> None:
        """Tell the labels of all training pictures, (N, K) int8, where these have several: whatever
        module of the head has a ``set_several_labels(labels)`` derives from them what it needs.
        """
        for module in self.modules():
            if module is not self and hasattr(module, 'set_several_labels'):
                module.set_several_labels(labels.to(self.class_counts.device))

    def _check_several(self) -> None:
        """Raise BCE3SError where a part of the head is made for one label a picture."""
        if not self.several_labels:
            parts = type(self).__name__
        elif not isinstance(self.contrastive, BCEContrastive | None):
            parts = f'{type(self.contrastive).__name__} (model.head.contrastive)'
        elif self.centers is not None:
            parts = 'CenterTerms (model.head.centers)'
        else:
            return
        raise BCE3SError(
            f'{parts} is made for pictures with one label each, but these have several: use '
            'TripartiteHead with BCE branches, see configs/multilabel.'
        )

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        """What follows from the counts, which are saved, is derived from them again."""
        super()._load_from_state_dict(*args, **kwargs)
        if self.class_counts.any():
            self.set_class_counts(self.class_counts)

    def _check_scale(self) -> None:
        """A loss that counts on the scale of the classifier gets that scale."""
        for name, loss in (('joint', self.joint), ('finetune', self.second_joint)):
            actual = getattr(self.classifier, 'scale', None)
            scale = getattr(loss, 'classifier_scale', actual)
            if scale != actual:
                raise BCE3SError(
                    f'{type(loss).__name__} (model.head.{name}) is made for logits of scale '
                    f'{scale}, but the classifier has scale {actual}: set model.head.classifier.'
                    'scale and that of the loss to the same number.'
                )

    def _checked(self, feats: Tensor) -> Tensor:
        """Features (B, d) in the classifier's precision, or BCE3SError."""
        features = self.classifier.in_features
        if feats.dim() != 2 or feats.shape[1] != features:
            raise BCE3SError(
                f'{type(self).__name__} takes features (B, {features}), but the backbone gives '
                f'{tuple(feats.shape)}: pool them with model.neck=dict(type='
                "'GlobalAveragePooling'), or inside the backbone (out_type='avg_featmap'; of timm "
                'global_pool and num_classes=0), and set model.head.in_channels to their number.'
            )
        return feats.to(self.classifier.weight.dtype)


def built(module: Loss | None) -> nn.Module | None:
    if not isinstance(module, Mapping):
        return module
    from bce3s.registry import MODELS  # for configs only: MMEngine is not needed otherwise

    return MODELS.build(module)
