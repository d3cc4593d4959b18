"""Less weight for what is classified well already: focal loss."""

from __future__ import annotations

from torch import Tensor

from bce3s.losses.bounds import check_numbers
from bce3s.losses.functional import focal_bce, focal_cross_entropy
from bce3s.losses.joint import CEJoint


class FocalCE(CEJoint):
    """``-sum_j t_j (1 - p_j)^gamma log p_j``, p = softmax(z): :func:`focal_cross_entropy`.

    Args:
        gamma: >= 0; 0 is CE.

    Raises:
        BCE3SError: gamma below 0.

    >>> FocalCE(gamma=2.0)(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # log(2) / 4
    tensor(0.1733)
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        check_numbers(self, gamma=gamma)
        self.gamma = gamma

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        return focal_cross_entropy(logits, labels, self.gamma)


class FocalBCE(FocalCE):
    """The same of a sigmoid a class, as RetinaNet has it: :func:`focal_bce`.

    Let the classifier's bias start at ``-log(K - 1)`` (``bias_mean``), or the K - 1 negatives of
    each sample are all that the first steps see.

    >>> FocalBCE(gamma=2.0)(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # 2 log(2) / 4
    tensor(0.3466)
    """

    sigmoid = several_labels = True

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        return focal_bce(logits, labels, self.gamma)
