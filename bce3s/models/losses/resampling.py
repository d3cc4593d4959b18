"""Which classes serve as negatives in a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from bce3s.errors import BCE3SError


def check_ratio(r: float) -> float:
    """``r`` if it is in (0, 1], else a :class:`BCE3SError`."""
    if not 0 < r <= 1:
        raise BCE3SError(
            f'The ratio r of resampled classes must be in (0, 1], not {r}: give the share of the '
            'classes that each batch is compared with, for example resample=0.4; 1 keeps all.'
        )
    return r


def resample_classes(
    labels: Tensor,
    num_classes: int,
    r: float,
    generator: torch.Generator,
    drop_positives: bool = False,
) -> Tensor:
    """Choose ``int(K r)`` classes for a batch: those in it first, filled up at random.

    Args:
        labels: (B,) of the global batch, so that all ranks choose alike.
        num_classes: K.
        r: in (0, 1].
        generator: of the CPU.
        drop_positives: with more distinct classes in the batch than ``int(K r)``, False keeps them
            all; True, as in the public implementation of BCE3S, keeps a random ``int(K r)`` of
            them, so that samples of the others have no positive term.

    Returns:
        (K,) bool.
    """
    size = max(1, int(num_classes * check_ratio(r)))
    order = torch.rand(num_classes, generator=generator).to(labels.device, non_blocking=True)
    present = torch.zeros(num_classes, dtype=torch.bool, device=labels.device)
    present[labels] = True
    chosen = torch.zeros_like(present)
    chosen[torch.topk(order + present, size).indices] = True
    return chosen if drop_positives else chosen | present
