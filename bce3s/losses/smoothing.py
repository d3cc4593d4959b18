"""Labels smoothed more where a class is frequent."""

from __future__ import annotations

from torch import Tensor

from bce3s.losses.counted import CountedLoss, Counts
from bce3s.losses.functional import label_aware_smoothing, soft_cross_entropy


class LabelAwareSmoothingCE(CountedLoss):
    """CE of ``t'_j = (1 - eps_j) t_j + sum_k eps_k t_k / K``, eps by :func:`label_aware_smoothing`.

    Zhong et al., Improving Calibration for Long-Tailed Recognition (MiSLAS, CVPR 2021, arXiv
    2104.00466), where it is the loss of the second stage: ``model.head.finetune``.

    Args:
        head, tail: eps of the most frequent class and of the rarest, ``0 <= tail <= head < 1``.
        class_counts: n (K,); None: the head tells them.

    Raises:
        BCE3SError: head or tail out of these bounds; a class without a training sample.

    >>> loss = LabelAwareSmoothingCE(head=0.5, tail=0.0, class_counts=[100, 1])
    >>> loss(torch.tensor([[1.0, -1.0], [1.0, -1.0]]), torch.tensor([0, 1]))
    tensor(1.3769)
    """

    def __init__(
        self, head: float = 0.4, tail: float = 0.1, class_counts: Counts | None = None
    ) -> None:
        self.head, self.tail = head, tail
        label_aware_smoothing([1], head, tail)  # checks them
        super().__init__(class_counts)

    def constants(self, counts: Tensor) -> Tensor:
        return label_aware_smoothing(counts, self.head, self.tail)

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        moved = self.known(logits) * labels
        smooth = labels - moved + moved.sum(-1, keepdim=True) / logits.shape[-1]
        return soft_cross_entropy(logits, smooth)
