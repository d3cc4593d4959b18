r"""Statistics of a classifier's weights and biases, and the equation between them.

From "BCE vs. CE in Deep Feature Learning" (ICML 2025), Eqs. 55-57; the logits are
:math:`z = W h - b`.
"""

from __future__ import annotations

import math
from typing import Any

from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import as_tensor


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
