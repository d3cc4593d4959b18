"""Joint learning, sample against classifier: L_sc of BCE3S (arXiv 2511.14097)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError
from bce3s.losses.functional import multilabel_bce, soft_cross_entropy, soft_labels
from bce3s.losses.resampling import check_ratio, resample_classes


class CEJoint(nn.Module):
    """``mean_i -sum_j t_ij log softmax_j(z_i)``.

    A loss of one's own derives from it and writes :meth:`rows`.

    >>> CEJoint()(torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 2]))
    tensor(0.6342)
    """

    several_labels = False  # whether pictures may have several, int8 (..., K)
    sigmoid = False  # what turns a logit into a probability: a sigmoid, or else the softmax

    def forward(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Logits (..., K) and labels, integer (...) or soft (..., K) -> scalar, the mean over all
        rows; ``weights`` (...) multiply them. With ``several_labels`` also int8 (..., K), 1 for
        each label of a picture, -1 for unknown.

        Raises:
            BCE3SError: labels of another shape, or several a picture where there may be one.
        """
        check_labels(self, logits, labels)
        rows = self.rows(logits, soft_labels(labels, logits.shape[-1], logits.dtype))
        return (rows if weights is None else rows * weights).mean()

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits and soft labels (..., K) -> (...), a value for each row."""
        return soft_cross_entropy(logits, labels)


def check_labels(loss: nn.Module, logits: Tensor, labels: Tensor) -> None:
    """Raise BCE3SError unless ``loss`` can take these labels with logits (..., K)."""
    several = labels.dtype == torch.int8
    if several and not getattr(loss, 'several_labels', True):
        raise BCE3SError(
            f'{type(loss).__name__} is for pictures with one label each, but the labels are '
            f'{tuple(labels.shape)}, several a picture: use BCEJoint, FocalBCE, AsymmetricBCE or '
            'DistributionBalancedBCE.'
        )
    wanted = logits.shape if several or labels.is_floating_point() else logits.shape[:-1]
    if labels.shape != wanted:
        raise BCE3SError(
            f'{type(loss).__name__}: logits {tuple(logits.shape)} need {labels.dtype} labels '
            f'{tuple(wanted)}, not {tuple(labels.shape)}; one label a picture is int64 (B,), '
            'several are int8 (B, K).'
        )


class BCEJoint(CEJoint):
    """``mean_i sum_j t_ij softplus(-z_ij) + (1 - t_ij) softplus(z_ij)``.

    Pictures may have several labels: t_ij is 1 for each, and what is unknown is no term.

    With ``resample`` the sum over j runs over resampled classes (:func:`resample_classes`); of
    logits (V, B, K) of several views only on the first one, the images as they are.

    Args:
        resample: r in (0, 1]; 1 keeps all classes. BCE3S on CIFAR-100-LT: 0.4.
        drop_positives: whether resampling may drop classes of the batch where it has more than
            ``int(K r)``, as the public implementation does; see :func:`resample_classes`.
        soft_negatives: whether a soft label t also counts ``1 - t`` as negative; the public
            implementation has negatives only where t = 0. See :func:`multilabel_bce`.
        clamp: limit of ``|z|``, None for none; 64 in the public implementation.

    >>> BCEJoint()(torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 2]))
    tensor(1.6064)
    """

    sigmoid = several_labels = True

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

    def forward(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """As of :class:`CEJoint`; classes are drawn from the seed of torch's generator."""
        check_labels(self, logits, labels)
        hard = labels.argmax(-1) if labels.is_floating_point() else labels
        labels = soft_labels(labels, logits.shape[-1], logits.dtype)
        rng = np.random.default_rng(int(torch.randint(2**62, ()))) if self.resample < 1 else None
        rows = self.rows(logits, labels, self.counted(logits, hard, rng))
        return (rows if weights is None else rows * weights).mean()

    def rows(
        self,
        logits: Tensor,
        labels: Tensor,
        classes: Tensor | None = None,
        positive_weight: Tensor | None = None,
    ) -> Tensor:
        """As of :class:`CEJoint`; ``classes`` as :meth:`counted` gives them, None: all;
        ``positive_weight`` (K,) multiplies the first part, None: 1.
        """
        given = classes, self.soft_negatives, self.clamp
        return multilabel_bce(logits, labels, *given, positive_weight=positive_weight)

    def counted(
        self, logits: Tensor, labels: Tensor, rng: np.random.Generator | None
    ) -> Tensor | None:
        """Which terms count: (1, K) bool for logits (B, K), (V, 1, K) for (V, B, K); None: all.

        Args:
            logits: of which only the shape matters.
            labels: integer, those of the batch (first view), or of several a picture int8 (B, K);
                they are kept first.
            rng: of NumPy.
        """
        if self.resample == 1:
            return None
        if labels.dim() > 1 + (labels.dtype == torch.int8):  # of several views
            labels = labels[0]
        shape = (*logits.shape[:-2], 1, logits.shape[-1])
        classes = torch.ones(shape, dtype=torch.bool, device=logits.device)
        first = classes if logits.dim() == 2 else classes[0]
        first[0] = resample_classes(
            labels, logits.shape[-1], self.resample, rng, self.drop_positives
        )
        return classes
