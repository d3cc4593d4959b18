"""The class prior in the logits, in training only: balanced softmax, logit adjustment, VS, Bal-BCE.

The losses ADD to the logits what rare classes would otherwise lack; prediction takes the logits as
they are. (After training, on a model of plain CE or BCE, the same term is SUBTRACTED instead.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses.bounds import check_numbers
from bce3s.losses.counted import CountedLoss, Counts
from bce3s.losses.functional import class_balanced_weights, log_prior, soft_cross_entropy


class LogitAdjustedCE(CountedLoss):
    """``-sum_j t_j log softmax_j((n_j / n_max)^gamma z_j + tau log pi_j)``, pi_j = n_j / N.

    - tau = 1, gamma = 0: balanced softmax (Ren et al., NeurIPS 2020, arXiv 2007.10740), which is
      the logit adjusted loss (Menon et al., ICLR 2021, arXiv 2007.07314) at its default tau.
    - gamma > 0: the vector-scaling loss VS (Kini et al., NeurIPS 2021, arXiv 2103.01550). Its
      public code weighs the classes too, which ``reweight`` of the head does.

    Args:
        tau: >= 0.
        gamma: >= 0.
        class_counts: n (K,); None: the head tells them.

    Raises:
        BCE3SError: tau or gamma below 0; a class without a training sample.

    >>> LogitAdjustedCE(class_counts=[9, 1])(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(2.3026)
    """

    def __init__(
        self, tau: float = 1.0, gamma: float = 0.0, class_counts: Counts | None = None
    ) -> None:
        check_numbers(self, tau=tau, gamma=gamma)
        self.tau, self.gamma = tau, gamma
        super().__init__(class_counts)

    def constants(self, counts: Tensor) -> Tensor:
        prior = log_prior(counts)
        return torch.stack([(self.gamma * (prior - prior.max())).exp(), self.tau * prior])

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        scale, shift = self.known(logits)
        return soft_cross_entropy(scale * logits + shift, labels)


class BalancedBCE(CountedLoss):
    """``sum_j v_j (t_j softplus(-a_j) + (1 - t_j) softplus(a_j))``, ``a_j = z_j + tau log(pi_j /
    (1 - pi_j))``: Bal-BCE of LiVT (Xu et al., CVPR 2023, arXiv 2212.02015).

    Bayes' rule for a sigmoid a class has the log-ODDS of the prior pi_j = n_j / N, where softmax
    has its logarithm. ``v_j`` is 1; with ``beta`` it is :func:`class_balanced_weights`, a weight of
    the COLUMN j whatever the label: with tau = 0 the paper's CB-BCE. (``reweight`` of the head
    weighs the rows instead, as Cui et al. do.) The paper smooths the labels by 0.1, which is
    ``label_smoothing`` of the data preprocessor.

    Args:
        tau: >= 0.
        beta: in [0, 1), or None: no weights.
        class_counts: n (K,), of two classes at least; None: the head tells them.

    Raises:
        BCE3SError: tau below 0; beta outside [0, 1); a class without a training sample, or with
            all of them.

    >>> BalancedBCE(class_counts=[3, 1])(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(2.7726)
    """

    sigmoid = True

    def __init__(
        self,
        tau: float = 1.0,
        beta: float | None = None,
        class_counts: Counts | None = None,
    ) -> None:
        check_numbers(self, tau=tau)
        self.tau, self.beta = tau, beta
        super().__init__(class_counts)

    def constants(self, counts: Tensor) -> Tensor:
        prior = log_prior(counts)
        if len(prior) < 2:
            raise BCE3SError('BalancedBCE: a single class has no odds; use at least two.')
        odds = prior - torch.log1p(-prior.exp())
        none = torch.ones_like(prior)
        columns = none if self.beta is None else class_balanced_weights(counts, self.beta)
        return torch.stack([self.tau * odds, columns])

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        shift, columns = self.known(logits)
        terms = F.binary_cross_entropy_with_logits(logits + shift, labels, reduction='none')
        return (columns * terms).sum(-1)
