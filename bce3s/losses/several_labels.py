"""Rivals for pictures with several labels: asymmetric and distribution-balanced loss."""

from __future__ import annotations

from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.losses.bounds import check_numbers
from bce3s.losses.functional import asymmetric_bce, distribution_balanced_bce
from bce3s.losses.joint import CEJoint


class AsymmetricBCE(CEJoint):
    """ASL, :func:`asymmetric_bce`: negatives are focused on more than positives, and not counted
    where they are easy.

    Args:
        positive_gamma, negative_gamma: g+ and g-, >= 0; in the paper 0 and 4.
        margin: m in [0, 1).

    Raises:
        BCE3SError: an argument out of its bounds.

    >>> AsymmetricBCE()(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]], dtype=torch.int8))
    tensor(0.7177)
    """

    sigmoid = several_labels = True

    def __init__(
        self, positive_gamma: float = 0.0, negative_gamma: float = 4.0, margin: float = 0.05
    ) -> None:
        super().__init__()
        gammas = dict(positive_gamma=positive_gamma, negative_gamma=negative_gamma)
        check_numbers(self, **gammas)
        check_numbers(self, below=1, margin=margin)
        self.given = positive_gamma, negative_gamma, margin

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`."""
        return asymmetric_bce(logits, labels, *self.given)


class DistributionBalancedBCE(CEJoint):
    """DB, :func:`distribution_balanced_bce`: weights for how often a picture would be drawn if its
    classes were drawn alike, and negatives that saturate.

    A head tells the labels of the training set; in a loop of one's own, call
    :meth:`set_several_labels`.

    Args:
        alpha, beta, mu, scale, kappa, gamma: see :func:`distribution_balanced_bce`; gamma 2 is
            DB-Focal.

    Raises:
        BCE3SError: an argument out of its bounds; a class that no training picture has, or each.

    >>> loss = DistributionBalancedBCE()
    >>> loss.set_several_labels(torch.tensor([[1, 0], [1, 1], [0, 1]]))
    >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]], dtype=torch.int8))
    tensor(1.1438)
    """

    sigmoid = several_labels = True

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.2,
        scale: float = 2.0,
        kappa: float = 0.05,
        gamma: float = 0.0,
    ) -> None:
        super().__init__()
        self.given = dict(alpha=alpha, beta=beta, mu=mu, scale=scale, kappa=kappa, gamma=gamma)
        check_numbers(self, **self.given)
        check_numbers(self, zero=False, scale=scale)
        self.register_buffer('frequencies', None, persistent=False)

    def set_several_labels(self, labels: Tensor) -> None:
        """Derive the classes' frequencies from the labels (N, K) of the training set, 1, 0, or -1
        for unknown: of the pictures where it is known, the share that has the class.
        """
        frequencies = (labels > 0).sum(0).double() / (labels >= 0).sum(0)
        if not ((frequencies > 0) & (frequencies < 1)).all():
            k = (~((frequencies > 0) & (frequencies < 1))).nonzero()[0].item()
            which = 'every' if frequencies[k] == 1 else 'no'
            raise BCE3SError(
                f'{type(self).__name__}: {which} training picture has class {k}, so its log odds '
                'are infinite: leave the class out.'
            )
        self.frequencies = frequencies

    def rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As of :class:`CEJoint`.

        Raises:
            BCE3SError: the labels of the training set are not known.
        """
        if self.frequencies is None:
            raise BCE3SError(
                f'{type(self).__name__} is for pictures with several labels and needs those of the '
                'training set, which it was not told: call set_several_labels of the head before '
                'the first step; where each picture has one label, use BalancedBCE.'
            )
        frequencies = self.frequencies.to(logits.dtype)
        return distribution_balanced_bce(logits, labels, frequencies, **self.given)
