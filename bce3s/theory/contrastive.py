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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.losses.contrastive import CEContrastive


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


@dataclass(frozen=True)
class ToyState:
    """Of the toy's end: mean cosine of projections with the bank's entry of their own class, of
    other classes, and the share of projections whose own entry is the nearest.
    """

    own: float
    other: float
    nearest: float


def toy(
    num_classes: int,
    loss: CEContrastive,
    bank: Mapping[str, Any] | None = None,
    norm: bool = False,
    steps: int = 3000,
) -> ToyState:
    """A linear projector and a bank on long-tailed features with a common positive mean, as after
    a ReLU, trained by the loss alone with weight 0.1 (SGD, momentum 0.9, weight decay 5e-4).

    Args:
        num_classes: K; class counts fall by 100 from the first to the last.
        loss: :class:`BCEContrastive` or :class:`CEContrastive`.
        bank: options of ``ClassMemoryBank``.
        norm: whether the projector ends in a BatchNorm without scale and shift.
        steps: of 64 samples.
    """
    from bce3s.models.memory_bank import ClassMemoryBank

    rng = torch.Generator().manual_seed(1)
    dim, out, batch = 64, 32, 64
    centres = torch.randn(num_classes, dim, generator=rng)
    common = 3 * torch.randn(dim, generator=rng).abs()
    tail = 0.01 ** (torch.arange(num_classes) / (num_classes - 1))
    weight = (torch.randn(out, dim, generator=rng) / math.sqrt(dim)).requires_grad_()
    memory = ClassMemoryBank(num_classes, out, **(bank or {}))
    optimizer = torch.optim.SGD([weight, *loss.parameters()], 0.05, 0.9, weight_decay=5e-4)
    for _ in range(steps):
        labels = torch.multinomial(tail, batch, replacement=True, generator=rng)
        noise = 0.5 * torch.randn(batch, dim, generator=rng)
        z = F.relu(common + centres[labels] + noise) @ weight.T
        z = F.batch_norm(z, None, None, training=True) if norm else z
        (0.1 * loss(z, labels, memory)).backward()
        optimizer.step()
        optimizer.zero_grad()
        memory.update(z.detach(), labels)
    cosines = loss.cosines(z.detach(), *memory.rows())
    own, other = own_and_other(cosines, labels)
    nearest = (cosines.argmax(1) == labels).float().mean()
    return ToyState(own.mean().item(), other.mean().item(), nearest.item())


def own_and_other(cosines: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of cosines (B, K) those with the own class (B,), and the mean of the others (B,)."""
    own = cosines.gather(1, labels[:, None])[:, 0]
    return own, (cosines.sum(1) - own) / max(1, cosines.shape[1] - 1)
