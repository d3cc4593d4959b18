"""Why the contrastive branch of BCE3S collapses where there are many classes, and what helps.

Near the state in which all projections are parallel, write bank entries ``m_j = mu + delta_j`` and
a projection ``z = mu + e`` of class y, delta and e small and orthogonal to mu, the delta summing to
0. To first order the descent direction of :class:`~bce3s.losses.BCEContrastive` is

    ``(delta_y + c e) / (tau |mu|^2)``,  ``c = (K - 1) sigma(1/tau + b) - sigma(-1/tau - b)``

The first term pulls a sample to its class. The second pushes it away from mu, all classes alike,
and the bank follows, for it is written with what was pushed: a chase in which |z| grows and the
gradient of the cosine, which falls as 1/|z|, dies. As published (tau = 1, b = 0) c is 6.3 at K = 10
and 72 at K = 100; it is 0 with the bias ``'balanced'``, ``b = -log(K - 1) - 1/tau``. Softmax has
c = 0 at any K: its gradient sums to 0 over the classes.
"""

from __future__ import annotations

import math


def common_push(num_classes: int, tau: float = 1.0, bias: float = 0.0) -> float:
    """c, how often the push away from the common mean is stronger than the pull to the class.

    >>> [round(common_push(k), 1) for k in (10, 100, 1000)]
    [6.3, 72.1, 730.1]
    >>> abs(round(common_push(100, bias=-math.log(99) - 1), 6))
    0.0
    """
    s = 1 / tau + bias
    return (num_classes - 1) / (1 + math.exp(-s)) - 1 / (1 + math.exp(s))


def parallel_loss(num_classes: int, tau: float = 1.0, bias: float = 0.0) -> float:
    """The loss of a sample where every cosine is 1: what a collapsed branch shows in the log.

    >>> round(parallel_loss(100), 2)
    130.33
    """
    s = 1 / tau + bias
    return math.log1p(math.exp(-s)) + (num_classes - 1) * math.log1p(math.exp(s))
