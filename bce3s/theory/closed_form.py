r"""The global minimum of the unconstrained-features model in closed form; where Theorem 3.2 stops.

Theorems, lemmas and equations are those of "BCE vs. CE in Deep Feature Learning". Balanced
classes, n samples each, ``tau = sqrt(n lambda_W lambda_H)``, P = I - 1 1^T / K, scores ``z = W h
- b``.

**BCE, d >= K.** For given products Z = W H the decays of W and H are at least ``sqrt(lambda_W
lambda_H) ||Z||_*`` (nuclear norm), and this is reached. So f(W, H, b) has the same minimum as

    mean loss(Z - b 1^T) + sqrt(lambda_W lambda_H) ||Z||_* + lambda_b/2 ||b||^2,   rank Z <= d,

which is convex once the rank is free, and the rank of a K x N matrix is at most K. Permuting the
classes, or the samples of a class, changes nothing; averaging a minimum over all permutations
gives a minimum (convexity) of the form b = beta 1, Z = (a P + sigma 1 1^T) with every column n
times. Its nuclear norm is ``sqrt(n) ((K - 1)|a| + K |sigma|)``: the K - 1 directions of a simplex
ETF and the one of the means. With the effective bias c = beta - sigma there is left to minimise

    softplus(-(a (K-1)/K - c)) + (K-1) softplus(-a/K - c) + tau (K-1)|a|
        + K (tau |sigma| + lambda_b beta^2 / 2).

The loss sees c only. One more unit of it costs K tau as a shift sigma, whatever its size, and K
lambda_b beta as a bias: the bias is the cheaper until lambda_b beta = tau, the shift carries the
rest:

    beta = min(c, tau/lambda_b),     sigma = beta - c <= 0       (c >= 0: the loss falls at c = 0).

Theorem 3.2's point is the unique stationary point (a, b*) of the same with K lambda_b c^2/2 for
the last line; the two agree exactly for lambda_b c <= tau. Hence, for tau < 1/K:

* **lambda_b b* <= tau: Theorem 3.2 holds** (also for d = K - 1: the bound is met with rank K -
  1).
* **lambda_b b* > tau: it does not.** With p = sigmoid(-z_pos), q = sigmoid(z_neg), stationarity
  in a and c reads p + q = K tau and (K-1) q - p = K min(lambda_b c, tau), so that q = 2 tau and p
  = (K-2) tau:  b = tau/lambda_b,  z_neg = logit(2 tau),  z_pos = -logit((K-2) tau), a = z_pos -
  z_neg,  c = -z_neg - a/K,  sigma = b - c < 0.
* W W^T = sqrt(n lambda_H/lambda_W) (a P + |sigma| 1 1^T): the CENTRED W is a simplex ETF, W is
  one only if sigma = 0. The mean feature is -sqrt(lambda_W/(n lambda_H)) times the mean
  classifier. The loss is strictly convex in Z - b 1^T: with lambda_b > 0 every minimum has this Z
  and this b.

a > 0 if and only if tau < 1/K, whatever lambda_b is; else no class is told from another.

The paper's proof gives way at Eq. 130: Eq. 112 is stated for c >= 0 and is used with c_4 < 0 on a
term whose coefficient, (K-1)/(1+c_2) - 1/(1+c_1) = K lambda_b b*, is positive.

**CE, d >= K - 1.** A shift of all scores changes nothing: b = 0 (lambda_b > 0), sigma = 0 and
tau = 1/(e^a + K - 1), that is a = log(1/tau - K + 1); the same limit tau < 1/K.

**Features after a ReLU, H >= 0, d >= K.** The same steps, with the least cost of Z = W H over H
>= 0: ``sqrt(lambda_W lambda_H)`` times the norm whose dual is the maximum of ||Y h|| over unit h
>= 0. For the symmetric Z it is

    sqrt(n) sqrt(K ((K-1) a^2 + K^2 sigma^2))   if K |sigma| <= a     (reached by H ~ I),
    sqrt(n) ((K-1) a + K |sigma|)               else                  (as without H >= 0).

Such features have a mean, so that a little shift costs almost nothing: sigma < 0 for every
lambda_b > 0 (K > 2), Eqs. 8 and 9 never hold, and the cap tau/lambda_b is the same. In the first
case, with r = K |sigma|/a in [0, 1] and m = tau sqrt(K/(K-1+r^2)):  q = m (1 + r),  p = m (K - 1
- r), lambda_b b = m r. CE: tau sqrt(K/(K-1)) for tau.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import expit, logit

from bce3s.theory.bias_equation import PRECISION, bias_cap, joint_root
from bce3s.theory.decays import Decays, check_classes, price


@dataclass(frozen=True)
class Minimum:
    """The global minimum: scores without bias are ``gap (K-1)/K + shift`` and ``-gap/K + shift``.

    ``regime``: 'centred' (shift 0: Theorems 3.1 and 3.2, but for H >= 0), 'shifted' (the mean of W
    is not 0), 'collapsed' (gap 0: no class is told from another).
    """

    regime: str
    bias: float
    gap: float
    shift: float
    rho: float
    s_pos: float
    s_neg: float
    objective: float


def bce_minimum(classes: int, samples: float, decays: Decays, nonnegative: bool = False) -> Minimum:
    """The minimum of BCE for d >= K (for d = K - 1: where its shift is 0 and ``nonnegative`` off).

    Args:
        classes: K.
        samples: n, samples per class; need not be whole.
        nonnegative: features held to H >= 0, as after a ReLU.

    Raises:
        BCE3SError: fewer than 2 classes, no sample.

    >>> found = bce_minimum(10, 12, Decays.equal(5e-4))
    >>> found.regime, round(found.bias, 4), round(found.objective, 4)
    ('shifted', 3.4641, 0.2508)
    """
    check_classes(classes)
    tau = price(samples, decays)
    if classes * tau < 1:
        point = _beyond(classes, tau, bias_cap(samples, decays))
        if nonnegative and (point is None or classes * abs(point[2]) < point[1]):
            point = _held(classes, tau, decays.bias)
        elif point is None:
            point = _theorem(classes, samples, decays)
    if classes * tau >= 1 or point[1] <= 0:
        point = _collapsed(classes, tau, decays.bias)
    return _minimum('bce', classes, samples, decays, point, nonnegative)


def theorem_point(classes: int, samples: float, decays: Decays) -> Minimum:
    """The point of Theorem 3.2 for BCE, whether it is the minimum or not.

    Raises:
        BCE3SError: as ``joint_root``.
    """
    return _minimum('bce', classes, samples, decays, _theorem(classes, samples, decays), False)


def ce_minimum(classes: int, samples: float, decays: Decays, nonnegative: bool = False) -> Minimum:
    """The minimum of CE for d >= K - 1 (``nonnegative``: d >= K); with lambda_b = 0 that of its
    ridge with bias 0.

    Args and errors as ``bce_minimum``.

    >>> round(ce_minimum(10, 100, Decays.equal(5e-4)).objective, 4)
    0.2824
    """
    check_classes(classes)
    tau = price(samples, decays)
    if nonnegative:
        tau *= math.sqrt(classes / (classes - 1))
    gap = math.log(1 / tau - classes + 1) if classes * tau < 1 else 0.0
    return _minimum('ce', classes, samples, decays, (0.0, gap, 0.0), nonnegative)


Point = tuple[float, float, float]  # bias, gap, shift


def _theorem(classes: int, samples: float, decays: Decays) -> Point:
    """Theorem 3.2 as stated."""
    bias, rho = joint_root(classes, samples, decays)
    gap = rho * math.sqrt(decays.weight / (samples * decays.feature)) / (classes - 1)
    return bias, gap, 0.0


def _beyond(classes: int, tau: float, cap: float) -> Point | None:
    """The minimum where lambda_b b* > tau, which K = 2 never reaches (b* = 0); else None."""
    if classes == 2:
        return None
    z_neg, z_pos = float(logit(2 * tau)), -float(logit((classes - 2) * tau))
    gap = z_pos - z_neg
    effective = -z_neg - gap / classes
    return (cap, gap, cap - effective) if effective > cap else None


def _held(classes: int, tau: float, bias_decay: float) -> Point:
    """The minimum over H >= 0 where K |sigma| <= a, by bracketing in r = K |sigma| / a."""

    def point(r: float) -> tuple[float, float, float]:
        """gap, bias and what is to vanish."""
        m = tau * math.sqrt(classes / (classes - 1 + r * r))
        z_neg, z_pos = float(logit(m * (1 + r))), -float(logit(m * (classes - 1 - r)))
        gap = z_pos - z_neg
        bias = -z_neg - (1 + r) * gap / classes
        return gap, bias, bias_decay * bias - m * r

    r = 0.0
    if classes > 2 and point(0.0)[2] > 0:  # else b = 0, or it costs nothing
        r = float(brentq(lambda r: point(r)[2], 0.0, 1.0, **PRECISION))
    gap, bias, _ = point(r)
    return bias, gap, -r * gap / classes + 0.0


def _collapsed(classes: int, tau: float, bias_decay: float) -> Point:
    """All features equal: only the bias, and beyond the cap the shift, fit the rate 1/K."""

    def residual(c: float) -> float:
        return float(expit(c)) + min(bias_decay * c, tau) - (classes - 1) / classes

    if residual(0.0) >= 0:
        return 0.0, 0.0, 0.0
    c = float(brentq(residual, 0.0, math.log(classes - 1), **PRECISION))
    bias = min(c, tau / bias_decay) if bias_decay else c
    return bias, 0.0, bias - c


def _minimum(
    loss: str, classes: int, samples: float, decays: Decays, point: Point, nonnegative: bool
) -> Minimum:
    """The scores, rho and the objective of a point."""
    bias, gap, shift = point
    s_pos, s_neg = gap * (classes - 1) / classes + shift, -gap / classes + shift
    if loss == 'bce':
        value = _softplus(bias - s_pos) + (classes - 1) * _softplus(s_neg - bias)
    else:
        value = math.log1p((classes - 1) * math.exp(-gap))
    norm = (classes - 1) * gap + classes * abs(shift)
    if nonnegative and classes * abs(shift) <= gap:
        norm = math.sqrt(classes * ((classes - 1) * gap**2 + (classes * shift) ** 2))
    value += price(samples, decays) * norm + decays.bias * classes * bias**2 / 2
    regime = 'collapsed' if gap <= 0 else 'shifted' if shift else 'centred'
    rho = math.sqrt(samples * decays.feature / decays.weight) * norm
    return Minimum(regime, bias, gap, shift, rho, s_pos, s_neg, value)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
