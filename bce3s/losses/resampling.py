"""Which classes a batch is compared with: those in it first, filled up at random."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from bce3s.devices import upload
from bce3s.errors import BCE3SError


def check_ratio(r: float, name: str = 'resample') -> float:
    """``r`` if it is in (0, 1], else a :class:`BCE3SError`."""
    if not isinstance(r, Real) or not 0 < r <= 1:
        raise BCE3SError(
            f'The ratio r of resampled classes must be in (0, 1], not {r!r}: give the share of the '
            f'classes that each batch is compared with, for example {name}=0.4; 1 keeps all.'
        )
    return r


def number_of_classes(num_classes: int, r: float, labels: int) -> int:
    """``S = min(K, max(int(K r), 1, n))`` of :func:`draw_classes`, for n labels."""
    return min(num_classes, max(int(num_classes * check_ratio(r)), 1, labels))


def draw_classes(
    labels: Tensor, num_classes: int, r: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The classes of a batch in random order, then as many others, drawn without replacement.

    O(S log S) time and memory for S classes, whatever K, and no waiting for a GPU: ``S``
    candidates are drawn on the host, and those that the batch has are passed over on the device.

    Args:
        labels: (n,) of the global batch, so that all ranks choose alike; n >= 1.
        num_classes: K.
        r: in (0, 1].
        rng: of NumPy.

    Returns:
        (S,) int64, all distinct, ``S = min(K, max(int(K r), 1, n))``: a length known without
        looking at the labels; and (), the number of distinct labels, which come first.
    """
    size = number_of_classes(num_classes, r, len(labels))
    others = upload(torch.from_numpy(rng.choice(num_classes, size, replace=False)), labels.device)
    u = upload(torch.from_numpy(rng.random(len(labels))), labels.device)
    labels = labels.sort().values
    first = labels.diff(prepend=labels[:1] - 1) > 0  # of each distinct label
    place = torch.searchsorted(labels, others).clamp(max=len(labels) - 1)
    rank = 1 + torch.arange(size, dtype=u.dtype, device=u.device)
    keys = [torch.where(first, u, math.inf), torch.where(labels[place] == others, math.inf, rank)]
    order = torch.cat(keys).argsort()[:size]
    return torch.cat([labels, others])[order], first.sum()


def sample_classes(labels: Tensor, num_classes: int, r: float, rng: np.random.Generator) -> Tensor:
    """``max(int(K r), n)`` classes, at most K: those of the n labels, filled up at random.

    With fewer labels than ``int(K r)`` it is the choice of :func:`resample_classes`. Otherwise
    repeated labels leave room, which other classes fill, so that the number of classes, and with it
    every shape, is the same in all batches of a size.

    Returns:
        (S,) int64, ascending; see :func:`draw_classes` for the arguments.

    >>> sample_classes(torch.tensor([3, 3, 7]), 10, 0.2, np.random.default_rng(0))
    tensor([3, 5, 7])
    """
    return draw_classes(labels, num_classes, r, rng)[0].sort().values


def resample_classes(
    labels: Tensor,
    num_classes: int,
    r: float,
    rng: np.random.Generator,
    drop_positives: bool = False,
) -> Tensor:
    """Choose ``int(K r)`` classes for a batch: those in it first, filled up at random.

    Args:
        labels, num_classes, r, rng: see :func:`draw_classes`; labels may also be int8 (B, K), of
            which the classes with a 1 are in the batch.
        drop_positives: with more distinct classes in the batch than ``int(K r)``, False keeps them
            all; True, as in the public implementation of BCE3S, keeps a random ``int(K r)`` of
            them, so that samples of the others have no positive term.

    Returns:
        (K,) bool.

    >>> resample_classes(torch.tensor([3, 3, 7]), 10, 0.4, np.random.default_rng(0)).nonzero().T
    tensor([[2, 3, 4, 7]])
    """
    if labels.dim() == 2:
        here = (labels > 0).any(0)
        u = upload(torch.from_numpy(rng.random(num_classes)), labels.device)
        classes, present = (u - here.to(u.dtype)).argsort(), here.sum()  # those of the batch first
    else:
        classes, present = draw_classes(labels, num_classes, r, rng)
    size = max(int(num_classes * check_ratio(r)), 1)
    limit = size if drop_positives else present.clamp(min=size)
    chosen = torch.zeros(num_classes, dtype=torch.bool, device=labels.device)
    return chosen.scatter(0, classes, torch.arange(len(classes), device=labels.device) < limit)
