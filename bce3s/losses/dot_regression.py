"""The loss of a classifier that is fixed as a simplex ETF."""

from __future__ import annotations

from torch import Tensor

from bce3s.losses.joint import CEJoint


class DotRegression(CEJoint):
    """``1/2 sum_j t_j (z_j - 1)^2`` of cosines z: the own class is pulled, none is pushed away.

    Yang et al., Inducing Neural Collapse in Imbalanced Learning (NeurIPS 2022, arXiv 2203.09081),
    whose ``(h . m_y - |m_y| |h|)^2 / (2 |m_y| |h|)`` it is for features h and rows m_y of unit
    length: the classifier is an :class:`ETFClassifier` of scale 1. Their code's weights by the
    counts of a batch are :class:`BatchBalancedWeights`, ``reweight`` of the head.

    >>> DotRegression()(torch.tensor([[0.5, -1.0]]), torch.tensor([0]))
    tensor(0.1250)
    """

    classifier_scale = 1.0  # the head compares it with the classifier's

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        return 0.5 * (labels * (logits - 1).square()).sum(-1)
