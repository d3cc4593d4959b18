"""The von Mises-Fisher law on the unit sphere, with which ProCo (arXiv 2403.06726) models a class.

Its density is ``C(kappa) exp(kappa mu . z)``, |mu| = |z| = 1, ``C(kappa) = kappa^nu /
((2 pi)^{D/2} I_nu(kappa))`` with nu = D/2 - 1 and the modified Bessel function I of the first kind.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ORDER = 50  # from which on the uniform expansion has the precision of float64
TERMS = 9


def log_bessel(square: Tensor, nu: float) -> Tensor:
    """``log(I_nu(x) / x^nu)`` of ``square`` = x^2, finite from x = 0 to 1e150.

    ``log C(kappa)`` is its negative but for a constant. In float64, whatever is given: the
    expansion of I that is uniform in x (DLMF 10.41) at an order of at least 50, and the recurrence
    from there down to nu, ``q_j = 1 / (2 (j + 1) + x^2 q_{j+1})`` for ``q_j = I_{j+1} / (x I_j)``,
    in which errors die out. As a function of x^2 it is smooth at 0: its derivative is ``q_nu / 2``,
    and that by x ``I_{nu+1} / I_nu``. It is differentiated once only.

    Args:
        square: x^2 >= 0 (...).
        nu: >= 0; D/2 - 1 of the sphere in D dimensions.

    Returns:
        (...) float64.

    >>> log_bessel(torch.tensor([0.0, 4.0]), 0.5)  # log(sinh(x) / x) - log(pi / 2) / 2
    tensor([-0.2258,  0.3694], dtype=torch.float64)
    """
    return _LogBessel.apply(square, nu)


class _LogBessel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, square: Tensor, nu: float) -> Tensor:
        ctx.dtype, square = square.dtype, square.double()
        steps = max(0, math.ceil(ORDER - nu))
        value = _uniform(square, nu + steps)
        q = (_uniform(square, nu + steps + 1) - value).exp()
        for order in (nu + step for step in reversed(range(steps))):
            q = 1 / (2 * (order + 1) + square * q)
            value = value - q.log()
        ctx.save_for_backward(q)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (q,) = ctx.saved_tensors
        return (grad * q / 2).to(ctx.dtype), None


def _uniform(square: Tensor, n: float) -> Tensor:
    """``log(I_n(x) / x^n)`` for a large order n."""
    s = (1 + square / n**2).sqrt()
    t, series = 1 / s, torch.zeros_like(s)
    for coefficient in _series(n):
        series = series.mul_(t).add_(coefficient)
    leading = n * (s - torch.log1p(s) - math.log(n))
    return leading - (math.log(2 * math.pi * n) + s.log()) / 2 + series.log()


@cache
def _series(n: float) -> tuple[float, ...]:
    """Coefficients of ``sum_k U_k(t) / n^k`` (DLMF 10.41.9), that of the highest power of t first:
    ``U_{k+1}(t) = t^2 (1 - t^2) U_k'(t) / 2 + 1/8 int_0^t (1 - 5 s^2) U_k(s) ds``.
    """
    u, total = [Fraction(1)], [Fraction(0)] * (3 * TERMS + 1)
    for k in range(TERMS + 1):
        for power, c in enumerate(u):
            total[power] += c / Fraction(n) ** k
        following = [Fraction(0)] * (len(u) + 3)
        for power, c in enumerate(u):
            following[power + 1] += c * power / 2 + c / (8 * (power + 1))
            following[power + 3] -= c * power / 2 + 5 * c / (8 * (power + 3))
        u = following
    return tuple(float(c) for c in reversed(total))


def concentration(means: Tensor, limit: float = 1e5) -> Tensor:
    """``kappa_k = D R_k / (1 - R_k^2)`` of mean vectors, ``R_k = |m_k|``, at most ``limit``.

    Banerjee et al. (JMLR 2005) approximate the most likely kappa by ``(D R - R^3) / (1 - R^2)``;
    ProCo leaves the cube out.

    Args:
        means: m (K, D), averages of unit vectors.

    Returns:
        (K,).

    >>> concentration(torch.tensor([[0.6, 0.0], [1.0, 0.0]]))
    tensor([1.8750e+00, 1.0000e+05])
    """
    length = means.norm(dim=1)
    kappa = means.shape[1] * length / (1 - length.square()).clamp(min=1e-12)
    return kappa.clamp(max=limit)


def vmf_logits(features: Tensor, means: Tensor, tau: float) -> Tensor:
    """``g_k = log E exp(z . f / tau)``, z of class k's law: ``log C(kappa_k) - log C(|kappa_k mu_k
    + f / tau|)``.

    With these logits a softmax compares f with infinitely many samples of each class at once.
    Du et al., Probabilistic Contrastive Learning for Long-Tailed Visual Recognition (TPAMI 2024,
    arXiv 2403.06726).

    Args:
        features: f (..., D), of unit length.
        means: (K, D), averages of the unit features of the classes, from which mu and kappa follow.
        tau: temperature > 0.

    Returns:
        (..., K) float64.

    >>> vmf_logits(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.9, 0.0], [0.0, 0.9]]), 0.5)
    tensor([[1.9017, 0.1976]], dtype=torch.float64)
    """
    means, nu = means.double(), means.shape[1] / 2 - 1
    kappa = concentration(means)
    cosines = features.double() @ F.normalize(means, dim=1).T  # (..., K)
    square = kappa.square() + 2 * kappa * cosines / tau + 1 / tau**2
    return log_bessel(square.clamp(min=0), nu) - log_bessel(kappa.square(), nu)
