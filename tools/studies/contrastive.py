"""The contrastive branch on a toy: which remedy lets it live, at how many classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from bce3s.losses import BCEContrastive, CEContrastive
from bce3s.models import ClassMemoryBank
from bce3s.tables import markdown_table


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
    own = cosines.gather(1, labels[:, None])[:, 0]
    other = (cosines.sum(1) - own) / (num_classes - 1)
    nearest = (cosines.argmax(1) == labels).float().mean()
    return ToyState(own.mean().item(), other.mean().item(), nearest.item())


def remedies(num_classes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name -> arguments of :func:`toy`."""
    prior = -math.log(num_classes - 1)
    for name, options in {
        'BCE, as published (tau = 1, b = 0)': {},
        'BCE, tau = 0.1': dict(tau=0.1),
        'BCE, b = -log(K - 1)': dict(bias=prior),
        'BCE, b balanced': dict(bias='balanced'),
        'BCE, b balanced, tau = 0.1': dict(bias='balanced', tau=0.1),
        'BCE, b balanced, learnt': dict(bias='balanced', learn=True),
        'BCE, centred': dict(center=True),
        'BCE, b balanced, centred': dict(bias='balanced', center=True),
        'BCE, negatives averaged': dict(negatives='mean'),
    }.items():
        yield name, dict(loss=BCEContrastive(**options))
    yield 'BCE, BatchNorm at the end of the projector', dict(loss=BCEContrastive(), norm=True)
    yield 'BCE, unit entries', dict(loss=BCEContrastive(), bank=dict(normalize=True))
    yield 'BCE, moving average 0.9', dict(loss=BCEContrastive(), bank=dict(momentum=0.9))
    yield 'CE, tau = 1', dict(loss=CEContrastive())
    yield 'CE, tau = 0.1', dict(loss=CEContrastive(0.1))


def text(classes: Sequence[int], steps: int) -> str:
    """A row for each remedy."""
    torch.set_num_threads(1)
    rows: dict[str, list[str]] = {}
    for number in classes:
        for name, options in remedies(number):
            end = toy(number, **options, steps=steps)
            cell = f'{end.own:.2f} / {end.other:.2f} / {end.nearest:.2f}'
            rows.setdefault(name, [name]).append(cell)
    return (
        'cosine with the own / other entries of the bank / own entry is the nearest\n\n'
        + markdown_table(['', *(f'K = {k}' for k in classes)], list(rows.values()))
    )
