r"""CE and BCE in a normalised space with a scale: their minimum and how fast it is reached.

The unconstrained-features model on spheres: K unit weights :math:`w_j`, :math:`N = nK` unit
features :math:`h_i` (n of each class y), free biases, and the scores

.. math:: z_{ij} = \gamma\,(w_j \cdot h_i - b_j), \qquad
          L_{ce} = \tfrac1N \sum_i \log \sum_j e^{z_{ij} - z_{iy}}, \qquad
          L_{bce} = \tfrac1N \sum_i \Big[ s(-z_{iy}) + \sum_{j \ne y} s(z_{ij}) \Big],

with s = softplus. After "Classification vs. Deep Feature Learning in Normalized Spaces with
Different Scaling" (submitted to ICLR 2026). Only the ABSTRACT of that paper is public: its claims
are what is examined here, the equations are our own. That the scale multiplies the bias too is a
reading of it.

**The minimum**, for every :math:`\gamma > 0` and :math:`d \ge K - 1`, is the simplex ETF with
:math:`h_i = w_y` and equal biases. Both losses are convex in the scores, so by Jensen they are at
least their value at the means P, Q of the positive and the negative cosines and at the mean bias;
there CE depends on P - Q only, and so does BCE once its bias is at its best; and
:math:`P - Q = \frac{1}{N(K-1)} \sum_i h_i \cdot (K w_y - \sum_j w_j) \le \frac{K}{K-1}`, with
equality just there. (For CE: Yaras et al., arXiv 2209.09211.)

**The rates** are the eigenvalues of the Hessian at that minimum. Every vector moves down the mean
loss of ITS class: ``N`` times the gradient of L for a feature, ``K`` times for a weight or a bias,
so they depend on neither n nor N. Near the minimum a deviation shrinks as ``exp(-rate * time)``;
gradient descent with a small step size takes ``time / step`` steps.

BCE needs its bias here: with every bias held at b the rate of ``shared`` is
:math:`\gamma (2p - (K-2) q)`, negative at b = 0 for every gamma if K >= 4, a saddle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bce3s.errors import BCE3SError

LOSSES = ('ce', 'bce')


@dataclass(frozen=True)
class Minimum:
    """What both losses have at their minimum, and what is left of their gradient there.

    ``positive_error`` p is minus the derivative by the score of the own class, ``negative_error`` q
    the derivative by another one: ``p = (K - 1) q``. They underflow to 0 beyond gamma about 700.
    """

    positive_cosine: float
    negative_cosine: float
    bias: float  # of CE any value will do; 0 is given
    positive_error: float
    negative_error: float
    value: float


class Mode(NamedTuple):
    """Deviations that shrink at the same ``rate``; ``count`` is their dimension."""

    name: str
    rate: float
    count: int


def check(loss: str, scale: float, num_classes: int) -> None:
    """Raises BCE3SError unless the loss is known, gamma positive and finite, and K at least 2."""
    if loss not in LOSSES:
        raise BCE3SError(f"The loss is {loss!r}: use 'ce' or 'bce'.")
    if not 0 < scale < math.inf:
        raise BCE3SError(f'The scale gamma is {scale}: it must be positive and finite.')
    if num_classes < 2:
        raise BCE3SError(f'There are {num_classes} classes: a simplex needs at least 2.')


def optimal_bias(scale: float, num_classes: int) -> float:
    r"""The bias of BCE at its minimum, the root b of :math:`\sigma(-\gamma(1-b)) =
    (K-1)\,\sigma(-\gamma(b + \frac{1}{K-1}))`: the positive and the negative pull on it are equal.

    With :math:`x = e^{\gamma b}, u = e^{-\gamma}, v = e^{-\gamma/(K-1)}` the root is that of
    :math:`u x^2 - (K-2) u v x - (K-1) v = 0`. As :math:`\gamma \to 0`,
    :math:`b \to \log(K-1)/\gamma`: it grows without bound; as :math:`\gamma \to \infty`,
    :math:`b \to \frac{K-2}{2(K-1)}`, halfway between the two cosines.

    Args:
        scale: gamma. num_classes: K.

    Raises:
        BCE3SError: gamma not positive, K < 2.

    >>> round(optimal_bias(4.0, 10), 3)
    0.755
    """
    check('bce', scale, num_classes)
    others = num_classes - 1
    log_v = -scale / others
    middle = math.log(num_classes - 2) + log_v if num_classes > 2 else -math.inf
    root = 0.5 * np.logaddexp(2 * middle, math.log(4 * others) + log_v + scale)
    return float(np.logaddexp(middle, root) - math.log(2)) / scale


def _softplus(score: float) -> float:
    return float(np.logaddexp(0.0, score))


def _sigmoid(score: float) -> float:
    return math.exp(-_softplus(-score))


def minimum(loss: str, scale: float, num_classes: int) -> Minimum:
    r"""The global minimum: cosines 1 and :math:`-\frac{1}{K-1}`, and with
    :math:`\Delta = \frac{K}{K-1}`

    .. math:: L_{ce} = \log(1 + (K-1) e^{-\gamma\Delta}), \qquad
              L_{bce} = s(-\gamma(1-b)) + (K-1)\, s(-\gamma(b + \tfrac{1}{K-1})),

    b from :func:`optimal_bias`. The error that drives the last steps is
    :math:`p \approx (K-1) e^{-\gamma\Delta}` for CE but :math:`\sqrt{K-1}\, e^{-\gamma\Delta/2}`
    for BCE, whose bias stands halfway: half the exponent.

    Args:
        loss: ``ce`` or ``bce``. scale: gamma. num_classes: K.

    Raises:
        BCE3SError: another loss, gamma not positive, K < 2.
    """
    check(loss, scale, num_classes)
    others = num_classes - 1
    if loss == 'ce':
        away = math.log(others) - scale * num_classes / others
        bias, value, p = 0.0, _softplus(away), _sigmoid(away)
    else:
        bias = optimal_bias(scale, num_classes)
        positive, negative = scale * (1 - bias), -scale * (1 / others + bias)
        value, p = _softplus(-positive) + others * _softplus(negative), _sigmoid(-positive)
    return Minimum(1.0, -1 / others, bias, p, p / others, value)


def modes(loss: str, scale: float, num_classes: int, per_class: int, dim: int) -> list[Mode]:
    r"""All eigenvalues of the Hessian at the minimum, by the kind of deviation.

    With :math:`r = \gamma (p + q) = \gamma K q` (the pull of a feature towards its weight) and
    :math:`c = \gamma^2 \kappa \frac{K}{K-1}`, :math:`\kappa = q` for CE and q (1 - q) for BCE (the
    curvature of the loss):

    ==============  =========  ==============================================================
    ``within``      r          features of a class apart, orthogonal to all weights
    ``within_span`` r + c      the same, in the span of the weights
    ``shared``      r          all weights (or all features) lean to one side, out of the span
    ``duality``     2 r        features turn against their weights
    ``twist``       2 r + 2 c  the same, in the span and antisymmetric
    ``frame``       2 c        weights and features deform the ETF together
    ``class``       3 numbers  one class's weight, feature mean and bias against the others'
    ``bias``        BCE only:  :math:`\gamma^2 (p(1-p) + (K-1) q(1-q))`, the common bias
    ``free``        0          rotations; for CE also the common bias
    ==============  =========  ==============================================================

    Large gamma: every rate has the factor q, so it falls exponentially. Small gamma: ``within`` is
    proportional to gamma, but ``frame``, ``bias`` and one of ``class`` to its SQUARE.

    Args:
        loss: ``ce`` or ``bce``. scale: gamma. num_classes: K.
        per_class: n. dim: d, at least K - 1.

    Raises:
        BCE3SError: another loss, gamma not positive, K < 2, n < 1, d < K - 1 (no simplex ETF fits).
    """
    if per_class < 1:
        raise BCE3SError(f'There are {per_class} features per class: at least 1 is needed.')
    if dim < num_classes - 1:
        raise BCE3SError(
            f'{num_classes} classes do not fit into {dim} dimensions as a simplex ETF: use at '
            f'least {num_classes - 1} dimensions or fewer classes.'
        )
    k, outside = num_classes, dim - num_classes + 1
    at = minimum(loss, scale, k)
    p, q = at.positive_error, at.negative_error
    curvature = q if loss == 'ce' else q * (1 - q)
    r, c = scale * (p + q), scale**2 * curvature * k / (k - 1)
    rotations = (k - 1) * outside + (k - 1) * (k - 2) // 2
    bias = 0.0 if loss == 'ce' else scale**2 * (p * (1 - p) + (k - 1) * q * (1 - q))
    found = [
        Mode('within', r, k * (per_class - 1) * outside),
        Mode('within_span', r + c, k * (per_class - 1) * (k - 2)),
        Mode('shared', r, 2 * outside),
        Mode('duality', 2 * r, (k - 1) * outside + max(k * (k - 3) // 2, 0)),
        Mode('twist', 2 * r + 2 * c, (k - 1) * (k - 2) // 2),
        Mode('frame', 2 * c, max(k * (k - 3) // 2, 0)),
        *(Mode('class', rate, k - 1) for rate in _class_rates(loss, scale, k, p, q)),
        Mode('bias', bias, int(loss == 'bce')),
        Mode('free', 0.0, rotations + int(loss == 'ce')),
    ]
    return [mode for mode in found if mode.count]


def _class_rates(loss: str, scale: float, k: int, p: float, q: float) -> np.ndarray:
    """Eigenvalues of the three coupled deviations (feature mean, weight, bias) of single classes.

    For any numbers x that sum to 0 the vector ``sum_j x_j w_j`` is added to every feature mean or
    weight (its tangent part), and x to the biases: with the amounts a, c, e the form below, a sum
    of squares and one product, times ``|x|^2 / K``. K = 2 has no tangent part in the span.
    """
    unit = math.sqrt(k / (k - 2)) if k > 2 else 0.0
    a, c, e = np.diag([unit, unit, math.sqrt(k)])
    own = -e  # change of the own score / gamma: own * x_y; of the others: left * x_j + right * x_y
    left, right = a + c / (k - 1) - e, a / (k - 1) + c
    outer = np.outer
    squares = (k - 1) * (outer(left, left) + outer(right, right))
    squares -= outer(left, right) + outer(right, left)
    if loss == 'ce':  # the variance of the scores' changes, within the others and against the own
        mean = (c * k * (k - 2) / (k - 1) + e) / (k - 1)
        gap = mean - own
        form = q * (squares - (k - 1) * outer(mean, mean)) + p * (1 - p) * outer(gap, gap)
    else:
        form = q * (1 - q) * squares + p * (1 - p) * outer(own, own)
    form = scale**2 / k * form
    if k == 2:
        return form[2:, 2]
    cross = q * k * (k - 2) / (k - 1)
    form[:2, :2] += scale * np.array([[p + q, cross - p - q], [cross - p - q, p + q]])
    return np.linalg.eigvalsh(form)


def convergence_rate(
    loss: str, scale: float, num_classes: int, per_class: int = 2, dim: int | None = None
) -> float:
    """The slowest of the rates that are not free: what the last steps look like.

    Args:
        loss, scale, num_classes, per_class, dim: as :func:`modes`; d is K if not given.

    Raises:
        BCE3SError: as :func:`modes`.

    >>> round(convergence_rate('ce', 2.0, 10), 3), round(convergence_rate('bce', 2.0, 10), 3)
    (0.488, 0.555)
    """
    found = modes(loss, scale, num_classes, per_class, dim or num_classes)
    return min(mode.rate for mode in found if mode.name != 'free')
