"""The bias of the minimum by Theorem 3.2 of "BCE vs. CE in Deep Feature Learning", and its cap.

Signs as in the paper: scores are ``z = W h - b``. Without bias the positive score of a simplex
ETF is ``s = sqrt(lambda_W / (n lambda_H)) rho / K``, the negative ones ``-s / (K - 1)``, and Eq.
12 says

    lambda_b b = (K - 1)/K sigmoid(-(b + s/(K - 1))) - 1/K sigmoid(b - s),

and rho is where the derivative of the objective along it vanishes:

    sigmoid(b - s) + sigmoid(-(b + s/(K - 1))) = K tau,     tau = sqrt(n lambda_W lambda_H).

Theorem 3.2 gives the minimum only while ``lambda_b b <= tau``: ``closed_form`` has the proof and
what the minimum is beyond.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import expit, logit

from bce3s.theory.decays import Decays, check_classes, check_no_collapse, price

PRECISION = dict(xtol=1e-14, rtol=1e-14, maxiter=500)


def joint_root(classes: int, samples: float, decays: Decays) -> tuple[float, float]:
    """(b*, rho*): Eq. 12 and the stationarity in rho together, by bracketing in one unknown.

    With ``p = sigmoid(b - s)`` and ``q = sigmoid(-(b + s/(K-1)))`` the two equations are
    ``p + q = K tau`` and ``(K - 1) q - p = K lambda_b b``, and inverting the sigmoids
    ``K b = logit(p) - (K - 1) logit(q)``. What remains increases strictly in logit(p):

        logit(p) - (K - 1) logit(K tau - p) - K ((K - 1) tau - p)/lambda_b = 0.

    Raises:
        BCE3SError: fewer than 2 classes, no sample, or decays at which all classes fall together.

    >>> b, rho = joint_root(10, 100, Decays.equal(5e-4))
    >>> round(b, 6), round(rho, 2)
    (4.139896, 724.42)
    """
    check_classes(classes)
    check_no_collapse(classes, samples, decays)
    tau = price(samples, decays)
    p, q = _misses(classes, tau, decays.bias)
    b = (logit(p) - (classes - 1) * logit(q)) / classes
    rho = math.sqrt(samples * decays.feature / decays.weight) * (classes - 1)
    return float(b), float(rho * -(logit(p) + logit(q)))


def bias_cap(samples: float, decays: Decays) -> float:
    """``sqrt(n lambda_W lambda_H) / lambda_b``: the bias of the minimum never exceeds it (d >= K).

    Infinite for lambda_b = 0.

    >>> round(bias_cap(12, Decays.equal(5e-4)), 4)
    3.4641
    """
    tau = price(samples, decays)
    return tau / decays.bias if decays.bias else math.inf


def theorem_holds(classes: int, samples: float, decays: Decays) -> bool:
    """Whether ``lambda_b b* <= sqrt(n lambda_W lambda_H)``: Theorem 3.2 gives the minimum.

    Raises:
        BCE3SError: as ``joint_root``.
    """
    return joint_root(classes, samples, decays)[0] <= bias_cap(samples, decays)


def _misses(classes: int, tau: float, bias_decay: float) -> tuple[float, float]:
    """(p, q) at the joint root: by how much the positive and a negative sigmoid miss 1 and 0."""
    most = (classes - 1) * tau  # p of b = 0
    if not bias_decay:
        return most, tau

    def residual(t: float) -> float:
        p = expit(t)
        pull = classes * (most - p) / bias_decay
        return t - (classes - 1) * logit(classes * tau - p) - pull

    upper = float(logit(most))
    if residual(upper) <= 0:  # K = 2: b = 0, up to rounding
        return most, tau
    width = 1.0
    while residual(upper - width) > 0:
        width *= 2
    p = float(expit(brentq(residual, upper - width, upper, **PRECISION)))
    return p, classes * tau - p
