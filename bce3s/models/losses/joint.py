"""Joint learning, sample against classifier: L_sc of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError
from bce3s.models.losses.bce import multilabel_bce
from bce3s.models.losses.ce import soft_cross_entropy
from bce3s.models.losses.resampling import check_ratio, resample_classes
from bce3s.models.targets import Targets
from bce3s.registry import MODELS


@MODELS.register_module()
class CEJoint(nn.Module):
    """``mean_v mean_i -sum_j t_ij log softmax_j(z_i)`` over the views v and samples i."""

    def forward(self, logits: Tensor, targets: Targets, weights: Tensor | None = None) -> Tensor:
        """Logits (V * B, K) -> scalar; ``weights`` (B,) multiply the samples' rows."""
        rows = self.rows(targets.per_view(logits), targets)
        rows = rows if weights is None else rows * weights
        return targets.share.mean(rows.mean(0))

    def rows(self, logits: Tensor, targets: Targets) -> Tensor:
        """Logits (V, B, K) -> (V, B)."""
        soft = targets.soft(logits.shape[-1], logits.dtype)
        return soft_cross_entropy(logits, soft, shards=targets.shards)


@MODELS.register_module()
class BCEJoint(CEJoint):
    """``mean_v mean_i sum_j t_ij softplus(-z_ij) + (1 - t_ij) softplus(z_ij)``.

    On the origin view the sum runs over resampled classes only (:func:`resample_classes`).

    Args:
        resample: r in (0, 1]; 1 keeps all classes. BCE3S on CIFAR-100-LT: 0.4.
        drop_positives: whether resampling may drop classes of the batch where it has more than
            ``int(K r)``, as the public implementation does; see :func:`resample_classes`.
        soft_negatives: whether a soft label t also counts ``1 - t`` as negative; the public
            implementation has negatives only where t = 0. See :func:`multilabel_bce`.
        clamp: limit of ``|z|``, None for none; 64 in the public implementation.
    """

    def __init__(
        self,
        resample: float = 1.0,
        drop_positives: bool = False,
        soft_negatives: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.resample = check_ratio(resample)
        self.drop_positives = drop_positives
        self.soft_negatives = soft_negatives
        self.clamp = clamp

    def rows(self, logits: Tensor, targets: Targets) -> Tensor:
        if targets.label_smoothing and not self.soft_negatives:
            raise BCE3SError(
                'With label_smoothing no target is 0, so soft_negatives=False would leave BCEJoint '
                'without any negative: set model.head.joint.soft_negatives=True.'
            )
        soft = targets.soft(logits.shape[-1], logits.dtype)
        classes = self._classes(logits, targets)
        return multilabel_bce(logits, soft, classes, self.soft_negatives, self.clamp)

    def _classes(self, logits: Tensor, targets: Targets) -> Tensor | None:
        """(V, 1, K) bool: the terms that count in each view."""
        if self.resample == 1:
            return None
        views, _, columns = logits.shape
        rng = targets.clock.numpy('negatives')
        classes = torch.ones(views, 1, columns, dtype=torch.bool, device=logits.device)
        chosen = resample_classes(
            targets.all_labels,
            targets.all_classes(columns),
            self.resample,
            rng,
            self.drop_positives,
        )
        classes[0, 0] = chosen if targets.shards is None else targets.shards.take(chosen)
        return classes
