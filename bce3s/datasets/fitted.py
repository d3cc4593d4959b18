"""Images of another shape for a network that was trained on small ones in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def fitted(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images with the channels and the size of ``shape``; those that have them stay as they are.

    Grey becomes colour by repeating the channel, colour becomes grey by its luma (BT.601); the size
    is changed by bilinear interpolation with antialiasing, whatever the proportions.

    Args:
        images: (N, C', H', W') uint8.
        shape: (C, H, W).

    Returns:
        (N, C, H, W) uint8.

    Raises:
        BCE3SError: channels other than 1 and 3 that do not agree.
    """
    check_channels(images.shape[1], shape[0])
    channels, *size = shape
    values = images.float()
    if values.shape[1] > channels:
        values = (values * torch.tensor(LUMA).view(-1, 1, 1)).sum(dim=1, keepdim=True)
    if list(values.shape[2:]) != size:
        values = F.interpolate(values, size, mode='bilinear', antialias=True)
    values = values.expand(-1, channels, -1, -1)
    return values.round().clamp(0, 255).to(torch.uint8)


def check_channels(found: int, wanted: int) -> None:
    """Raises BCE3SError where images of ``found`` channels cannot be made such of ``wanted``."""
    if found != wanted and {found, wanted} != {1, 3}:
        raise BCE3SError(
            f'Images of {found} channels cannot be made images of {wanted}: only grey and colour '
            'are converted.'
        )
