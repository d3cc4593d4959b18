"""Translation, rotation and shear of a batch of images, as Pillow's ``Image.transform`` does them.

Images are uint8 (B, C, H, W); each has its own strength, a float64 array (B,) on the CPU. What
comes in from outside an image is grey 128. Source of the arithmetic: Pillow's Geometry.c.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bce3s.devices import to_device

FILL = 128
ONE = 65536  # of Pillow's 16.16 fixed-point numbers


def warp(images: Tensor, maps: Tensor, _strength: np.ndarray | None = None) -> Tensor:
    """Nearest neighbour: out[y, x] = in[(m3 x + m4 y + m5) >> 16, (m0 x + m1 y + m2) >> 16].

    Args:
        images: (B, C, H, W) uint8.
        maps: (B, 6) int32, 16.16 fixed point, the half pixel of the pixel centres included.
    """
    channels, height, width = images.shape[1:]
    # With a border of fill, coordinates need clamping only: no mask of what lies outside.
    padded = F.pad(images, (1, 1, 1, 1), value=FILL).flatten(2)
    x = torch.arange(width, dtype=torch.int32, device=images.device)
    y = torch.arange(height, dtype=torch.int32, device=images.device)[:, None]
    m = maps[:, :, None, None].unbind(1)
    columns = ((m[0] * x + m[2]) + m[1] * y).bitwise_right_shift_(16).clamp_(-1, width)
    rows = ((m[3] * x + m[5]) + m[4] * y).bitwise_right_shift_(16).clamp_(-1, height)
    pixels = rows.add_(1).mul_(width + 2).add_(columns.add_(1)).flatten(1).long()  # (B, H * W)
    out = padded.gather(2, pixels[:, None].expand(-1, channels, -1))
    return out.view_as(images)


def translate_x_map(images: Tensor, fraction: np.ndarray) -> Tensor:
    """Move the image left by ``fraction`` of its width (right where negative)."""
    return _maps(images, 1, 0, _shift(fraction, images.shape[3]), 0, 1, 0)


def translate_y_map(images: Tensor, fraction: np.ndarray) -> Tensor:
    """Move the image up by ``fraction`` of its height (down where negative)."""
    return _maps(images, 1, 0, 0, 0, 1, _shift(fraction, images.shape[2]))


def rotate_map(images: Tensor, degrees: np.ndarray) -> Tensor:
    """Turn the image counter-clockwise about its centre by ``degrees``."""
    cy, cx = images.shape[2] / 2, images.shape[3] / 2
    cos, sin = np.cos(np.deg2rad(-degrees)), np.sin(np.deg2rad(-degrees))
    x0 = cx + (0.5 - cx) * cos + (0.5 - cy) * sin
    y0 = cy + (cx - 0.5) * sin + (0.5 - cy) * cos
    return _maps(images, cos, sin, x0, -sin, cos, y0)


def _shift(fraction: np.ndarray, size: int) -> np.ndarray:
    """Whole pixels: Pillow rounds the place 1/2 + shift of the first pixel's centre down."""
    return np.floor(fraction * size + 0.5)


def _maps(images: Tensor, *coefficients: np.ndarray | float) -> Tensor:
    """Six coefficients, each a number or (B,), in fixed point on the device of the images."""
    maps = np.empty((len(images), 6))
    for column, value in enumerate(coefficients):
        maps[:, column] = value
    return to_device(np.floor(maps * ONE + 0.5).astype(np.int32), images.device)


def shear_x(images: Tensor, slope: np.ndarray) -> Tensor:
    """out[y, x] = in[y, x + slope * (y + 1/2)], cubic along x."""
    return _shear(images, slope, axis=3)


def shear_y(images: Tensor, slope: np.ndarray) -> Tensor:
    """out[y, x] = in[y + slope * (x + 1/2), x], cubic along y."""
    return _shear(images, slope, axis=2)


def _shear(images: Tensor, slope: np.ndarray, axis: int) -> Tensor:
    """Cubic interpolation (a = -1) along ``axis``, each line of pixels moved by its own shift.

    out = sum_k w_k(d) v_k, cut to 0..255 and rounded down; v_1..v_4 are the four neighbours,
    repeated at the border, and d is the fraction of the way from v_2 to v_3. The shift is the same
    all along a line, so the four are views of one gather and the weights are made on the CPU.
    """
    size, lines = images.shape[axis], images.shape[5 - axis]
    shift = slope[:, None] * (np.arange(lines) + 0.5)  # (B, lines), in pixels
    whole = np.floor(shift)
    neighbours = _neighbours(images, to_device(whole.astype(np.int32), images.device), axis)
    weights = to_device(_cubic(shift - whole), images.device)[:, :, None].unsqueeze(axis + 1)
    inside = to_device(_inside(shift, size), images.device)[:, None]  # (B, 1, lines, size)
    inside = inside if axis == 3 else inside.transpose(2, 3)
    out = neighbours.narrow(axis, 0, size) * weights[:, 0]
    for k in (1, 2, 3):
        out.addcmul_(neighbours.narrow(axis, k, size), weights[:, k])
    # What rounding takes from whole numbers must not cost them 1.
    out = out.sub_(FILL).mul_(inside).add_(FILL + 1e-4)
    return out.clamp_(0, 255).to(torch.int16).to(torch.uint8)


def _cubic(d: np.ndarray) -> np.ndarray:
    """Weights of the four neighbours at the fractions (B, lines): (B, 4, lines) float32."""
    weights = [
        d * (-1 + d * (2 - d)),
        1 + d * d * (d - 2),
        d * (1 + d * (1 - d)),
        d * d * (d - 1),
    ]
    return np.stack(weights, 1).astype(np.float32)


def _neighbours(images: Tensor, whole: Tensor, axis: int) -> Tensor:
    """Pixels -1 + whole .. size + 1 + whole of every line, float32, ``axis`` longer by 3."""
    width = images.shape[3]
    step, line_step = (1, width) if axis == 3 else (width, 1)
    size = images.shape[axis]
    place = torch.arange(-1, size + 2, dtype=torch.int32, device=images.device)
    line = torch.arange(whole.shape[1], dtype=torch.int32, device=images.device) * line_step
    pixels = (place + whole[:, :, None]).clamp_(0, size - 1) * step + line[:, None]
    pixels = pixels if axis == 3 else pixels.transpose(1, 2)  # (B, H or H + 3, W or W + 3)
    index = pixels.flatten(1).long()[:, None].expand(-1, images.shape[1], -1)
    out = images.flatten(2).gather(2, index).float()
    return out.view(*images.shape[:2], *pixels.shape[1:])


def _inside(shift: np.ndarray, size: int) -> np.ndarray:
    """1 where the shifted pixel centre lies in the image, else 0: (B, lines, size) float32."""
    centre = (np.arange(size) + 0.5) + shift[:, :, None]
    return ((centre >= 0) & (centre < size)).astype(np.float32)
