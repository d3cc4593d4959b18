"""Margins that are larger for rare classes: LDAM."""

from __future__ import annotations

from torch import Tensor

from bce3s.losses.bounds import check_numbers
from bce3s.losses.counted import CountedLoss, Counts
from bce3s.losses.functional import label_distribution_margins, soft_cross_entropy


class LDAM(CountedLoss):
    """``-sum_j t_j log softmax_j(z_j - s m_j t_j)``, ``m_j`` proportional to ``n_j^{-1/4}``.

    Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss (NeurIPS
    2019, arXiv 1906.07413). Its logits are scaled cosines, ``z_j = s cos(w_j, x)``: the classifier
    is a :class:`LinearClassifier` without bias, with both normalised and of scale s, which the
    margin is multiplied with, once. The paper's deferred re-weighting (DRW) is ``reweight`` of the
    head. Soft labels are our reading: the margin of a class counts with its share t_j.

    Args:
        max_margin: > 0, of the rarest class (iNaturalist 2018 in the paper's code: 0.3).
        scale: s > 0; the head refuses a classifier of another scale.
        class_counts: n (K,); None: the head tells them.

    Raises:
        BCE3SError: an argument out of its bounds; a class without a training sample.

    >>> LDAM(class_counts=[16, 1], scale=2.0)(torch.tensor([[1.0, 1.0]]), torch.tensor([0]))
    tensor(0.9741)
    """

    def __init__(
        self,
        max_margin: float = 0.5,
        scale: float = 30.0,
        class_counts: Counts | None = None,
    ) -> None:
        check_numbers(self, zero=False, max_margin=max_margin, scale=scale)
        self.max_margin, self.scale = max_margin, scale
        self.classifier_scale = scale  # the head compares it with the classifier's
        super().__init__(class_counts)

    def constants(self, counts: Tensor) -> Tensor:
        return self.scale * label_distribution_margins(counts, self.max_margin)

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        return soft_cross_entropy(logits - self.known(logits) * labels, labels)
