r"""When minority classifiers become one vector: CE and BCE have the same threshold.

The convex form of ``closed_form`` holds for any counts n_k with d >= K; N = sum n_k. Let m
classes have the same count n. Averaging a minimum over their permutations leaves, of all
differences between them, one amplitude a: + a (1 - 1/m) in their own score, - a/m in that of each
other of the m. By Schur's lemma it is a singular direction of its own, of multiplicity m - 1, and
costs ``sqrt(lambda_W lambda_H) (m - 1) sqrt(n) a``. At a = 0 the m classes share one probability
q each, and the loss falls along a at the rate

    m n/N [ (1 - q) (m-1)/m + (m-1) q/m ] = (m - 1) n/N

for CE and for BCE, whatever q is. By convexity a = 0, so that the m classifiers (and features)
are equal, if and only if

    n <= lambda_W lambda_H N^2.

With K_A classes of n_A and K_B of n_A/R samples this is a ratio R*, the same for both losses: in
this model BCE does not raise the threshold of minority collapse (Fang et al., 2021), as the
discussion of "BCE vs. CE in Deep Feature Learning" supposes.
"""

from __future__ import annotations

import math

from bce3s.errors import BCE3SError
from bce3s.theory.decays import Decays


def collapse_ratio(majority: float, classes: tuple[int, int], decays: Decays) -> float:
    """R*: with ``majority`` samples in each of K_A classes and ``majority / R`` in each of K_B, the
    K_B classifiers are equal from R = R* on.

    With x = sqrt(n_B) and t = sqrt(lambda_W lambda_H) the threshold is the smaller root of
    ``x = t (K_A n_A + K_B x^2)``.

    Args:
        majority: n_A.
        classes: (K_A, K_B).
        decays: lambda_W, lambda_H.

    Raises:
        BCE3SError: no classes in a group, or decays at which the minority is equal at any ratio.

    >>> round(collapse_ratio(100, (5, 5), Decays.equal(5e-3)), 2)
    13.93
    """
    many, few = classes
    if many < 1 or few < 2:
        raise BCE3SError(f'{many} majority and {few} minority classes: give at least 1 and 2.')
    t = math.sqrt(decays.weight * decays.feature)
    inside = 1 - 4 * t**2 * many * few * majority
    x = (1 - math.sqrt(inside)) / (2 * t * few) if inside >= 0 else math.inf
    if x**2 >= majority:
        raise BCE3SError(
            f'With these decays the minority classifiers are equal even at {majority} samples a '
            'class: give smaller ones.'
        )
    return majority / x**2
