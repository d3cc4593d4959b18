"""Losses of networks of several experts: RIDE's diversity and SADE's third loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.losses.bounds import check_numbers
from bce3s.losses.counted import CountedLoss, Counts
from bce3s.losses.functional import log_prior, soft_cross_entropy


class InverseSoftmaxCE(CountedLoss):
    """``-sum_j t_j log softmax_j(z_j + log pi_j - tau log pi'_j)``; pi' is the prior with its order
    reversed: the most frequent class has that of the rarest, and so on.

    The third of SADE's losses, whose expert is to prefer rare classes (Zhang et al.,
    Self-Supervised Aggregation of Diverse Experts, NeurIPS 2022, arXiv 2107.09249). Classes of one
    size are in the order of their numbers.

    Args:
        tau: >= 0; 2 as published.
        class_counts: n (K,); None: the head tells them.

    Raises:
        BCE3SError: a tau below 0, a class without a training sample.

    >>> InverseSoftmaxCE(class_counts=[9, 1])(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(6.5930)
    """

    def __init__(self, tau: float = 2.0, class_counts: Counts | None = None) -> None:
        check_numbers(self, tau=tau)
        self.tau = tau
        super().__init__(class_counts)

    def constants(self, counts: Tensor) -> Tensor:
        prior = log_prior(counts)
        order = prior.argsort(stable=True)
        reversed_prior = torch.empty_like(prior)
        reversed_prior[order] = prior[order.flip(0)]
        return prior - self.tau * reversed_prior

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        return soft_cross_entropy(logits + self.known(logits), labels)


def expert_divergence(logits: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """``mean(T)^2 sum_e KL(softmax(z / T) || softmax(z_e / T))``, z the mean of the experts' z_e,
    through which no gradient goes.

    RIDE (Wang et al., ICLR 2021, arXiv 2010.01809) subtracts it, so that the experts differ.

    Args:
        logits: z_e (E, ..., K).
        temperature: T, one for all or (K,), of each class.

    Returns:
        (...): one value a sample.

    >>> expert_divergence(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor(0.2402)
    """
    size = temperature.mean() if isinstance(temperature, Tensor) else temperature
    mean = (logits.detach().mean(0) / temperature).log_softmax(-1)
    each = (logits / temperature).log_softmax(-1)
    divergences = F.kl_div(each, mean.expand_as(each), reduction='none', log_target=True)
    return size**2 * divergences.sum((0, -1))


def class_temperatures(counts: Sequence[int] | Tensor, spread: float) -> Tensor:
    """``T_k = a_k / max_j a_j``, ``a_k = K pi_k s + 1 - s``: below 1 for rare classes.

    Of RIDE's diversity, from the epoch on in which the classes are weighted.

    Args:
        counts: n (K,), each at least 1.
        spread: s in [0, 1]; 0.05 as published.

    Returns:
        (K,) float64.

    >>> class_temperatures([9, 1], 0.5)
    tensor([1.0000, 0.4286], dtype=torch.float64)
    """
    prior = log_prior(counts).exp()
    values = len(prior) * prior * spread + 1 - spread
    return values / values.max()
