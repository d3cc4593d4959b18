r"""Decision scores, biases and the equation between them, as the tables of the paper report them.

From "BCE vs. CE in Deep Feature Learning" (ICML 2025), Eqs. 51-57. The logits are
:math:`z = W h - b`; the scores here are without the bias: :math:`s_{pos} = w_y h` of the own class,
:math:`s_{neg} = w_j h`, j != y. Standard deviations divide by the number of values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import (
    as_tensor,
)


@dataclass
class Moments:
    """Number, mean and sum of squared deviations of the values of each class, (K,) float64.

    Merged with the update of Chan et al. (1979): no difference of large sums is taken.
    """

    number: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def empty(cls, num_classes: int, device: torch.device | str = 'cpu') -> Moments:
        """No value in any of ``num_classes`` classes."""
        return cls(*torch.zeros(3, num_classes, dtype=torch.float64, device=device))

    def merge(self, other: Moments) -> None:
        """Takes the values of ``other`` in."""
        number = self.number + other.number
        share = other.number / number.clamp(min=1)
        delta = other.mean - self.mean
        self.squares = self.squares + other.squares + delta.square() * self.number * share
        self.mean = self.mean + delta * share
        self.number = number

    def add_rows(self, labels: Tensor, each: int, means: Tensor, squares: Tensor) -> None:
        """Takes rows of values in, each summed up already.

        Args:
            labels: (n,) the class of each row.
            each: values in a row.
            means: (n,) of the rows.
            squares: (n,) sums of squared deviations from them.
        """
        rows = torch.bincount(labels, minlength=len(self.number)).double()
        mean = torch.zeros_like(self.mean).index_add_(0, labels, means) / rows.clamp(min=1)
        within = squares + each * (means - mean[labels]).square()
        sums = torch.zeros_like(self.squares).index_add_(0, labels, within)
        self.merge(Moments(rows * each, mean, sums))

    def mean_and_std(self, classes: Tensor | None = None) -> tuple[float | None, float | None]:
        """Over all values of ``classes`` (a mask; all by default); ``None`` if there are none."""
        parts = (self.number, self.mean, self.squares)
        number, mean, squares = parts if classes is None else (part[classes] for part in parts)
        total = number.sum()
        if not total:
            return None, None
        centre = (number * mean).sum() / total
        spread = squares.sum() + (number * (mean - centre).square()).sum()
        return float(centre), float((spread / total).sqrt())


def negative_rows(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared deviations of the negative scores of each row, (n,) each.

    Args:
        scores: (n, K) float64.
        labels: (n,).
    """
    negatives = max(scores.shape[1] - 1, 1)
    own = labels[:, None]
    centre = (scores.sum(dim=1) - scores.gather(1, own)[:, 0]) / negatives
    deviations = (scores - centre[:, None]).scatter_(1, own, 0.0)
    rest = deviations.sum(dim=1) / negatives  # what rounding left in the centre
    return centre + rest, deviations.square().sum(dim=1) - negatives * rest.square()


def add_scores(positive: Moments, negative: Moments, scores: Tensor, labels: Tensor) -> None:
    """Takes a block of (n, K) float64 scores in."""
    own = scores.gather(1, labels[:, None])[:, 0]
    positive.add_rows(labels, 1, own, torch.zeros_like(own))
    negative.add_rows(labels, scores.shape[1] - 1, *negative_rows(scores, labels))


def describe_scores(
    positive: Moments, negative: Moments, classes: Tensor | None = None
) -> dict[str, float | None]:
    """Mean and standard deviation of both (Eqs. 51-54), of the samples of ``classes`` (a mask)."""
    pos_mean, pos_std = positive.mean_and_std(classes)
    neg_mean, neg_std = negative.mean_and_std(classes)
    return {
        's_pos_mean': pos_mean,
        's_pos_std': pos_std,
        's_neg_mean': neg_mean,
        's_neg_std': neg_std,
    }


def check_widths(features: Tensor, weight: Tensor) -> None:
    """Raises BCE3SError if W is not as wide as the features."""
    if features.shape[1] != weight.shape[1]:
        raise BCE3SError(
            f'The features have {features.shape[1]} numbers each, the classifier takes '
            f'{weight.shape[1]}: they are not of the same model.'
        )


def rho(weight: Any) -> float:
    """:math:`\\rho = \\|W\\|_F^2` of the (K, d) classifier.

    >>> rho([[3.0, 4.0]])
    25.0
    """
    return float(as_tensor(weight).double().square().sum())


def bias_statistics(bias: Any) -> dict[str, float]:
    """``b_mean`` and ``b_std`` (Eqs. 55, 56) of (K,) biases in the sign of :math:`z = W h - b`.

    >>> bias_statistics([1.0, 3.0])
    {'b_mean': 2.0, 'b_std': 1.0}
    """
    bias = as_tensor(bias).double()
    return {'b_mean': float(bias.mean()), 'b_std': float(bias.std(correction=0))}


def alpha(
    b: float,
    rho: float,
    num_classes: int,
    samples_per_class: float,
    decay_weight: float,
    decay_feature: float,
    decay_bias: float = 0.0,
) -> float | None:
    r"""The function whose root is BCE's bias at the neural collapse (Eqs. 12, 57).

    .. math:: \alpha(b) = -\frac{K-1}{K} \sigma\Big(-b - \frac{q}{K - 1}\Big)
        + \frac{1}{K} \sigma(b - q) + \lambda_b b,
        \qquad q = \sqrt{\frac{\lambda_W}{n \lambda_H}} \frac{\rho}{K}

    With :math:`\lambda_b` it is Eq. 57 as defined; the tables of the paper print it WITHOUT
    :math:`\lambda_b b` and with n = B / K, B the batch size.

    Args:
        b: the bias, in the sign of :math:`z = W h - b`.
        rho: :math:`\|W\|_F^2`.
        num_classes: K.
        samples_per_class: n.
        decay_weight: :math:`\lambda_W`.
        decay_feature: :math:`\lambda_H`.
        decay_bias: :math:`\lambda_b`; 0 for the printed values.

    Returns:
        The value, ``None`` where it is not defined: one class, or :math:`n \lambda_H` of 0.

    >>> round(alpha(3.2905, 366.6813, 10, 12.8, 5e-4, 5e-4), 4)  # Table 7, ResNet-18, AdamW
    -0.0105
    """
    if min(samples_per_class, decay_weight, decay_feature, decay_bias, rho) < 0:
        raise BCE3SError('alpha(b) takes decays, rho and samples per class of at least 0.')
    if num_classes < 2 or not samples_per_class * decay_feature > 0:
        return None
    own = math.sqrt(decay_weight / (samples_per_class * decay_feature)) * rho / num_classes
    pull = (num_classes - 1) * _logistic(-b - own / (num_classes - 1))
    return (_logistic(b - own) - pull) / num_classes + decay_bias * b


def _logistic(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
