"""What every batched augmentation does with its uniform numbers before it touches a pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bce3s.errors import BCE3SError


def check_batch(op: object, images: Tensor, u: Tensor, draws: int) -> tuple[Tensor, np.ndarray]:
    """Contiguous images and ``u`` in float64, both of the types and shapes of the interface.

    Raises:
        BCE3SError: images are not uint8 (B, C, H, W), or u is not float (B, draws) on the CPU.
    """
    name = type(op).__name__
    if images.dtype != torch.uint8 or images.dim() != 4:
        raise BCE3SError(
            f'{name} takes uint8 images (B, C, H, W), not {images.dtype} {tuple(images.shape)}: '
            'augment before normalising.'
        )
    if u.shape != (len(images), draws) or u.is_cuda or not u.is_floating_point():
        raise BCE3SError(
            f'{name} takes float uniforms ({len(images)}, {draws}) on the CPU, a row per image, '
            f'not {u.dtype} {tuple(u.shape)} on {u.device}.'
        )
    return images.contiguous(), u.detach().double().numpy()


def at_least(op: object, name: str, value: float, low: float, high: float = float('inf')) -> None:
    """Refuse a setting of ``op`` that lies outside [low, high]."""
    if not low <= value <= high:
        span = f'at least {low}' if high == float('inf') else f'in [{low}, {high}]'
        raise BCE3SError(f'{type(op).__name__}({name}={value}): {name} must be {span}.')


def pick(u: np.ndarray, n: int) -> np.ndarray:
    """An integer uniform in 0..n-1 (int64) from each number of [0, 1): u n never rounds up to n."""
    return (u * n).astype(np.int64)
