"""Image operations on batches, each as Pillow computes it, to the rounding.

Images are uint8 (B, C, H, W), C = 1 or 3, and each has its own strength, a float64 array (B,) on
the CPU. The operations form four families. A family has one shared last step, and an operation
only prepares that step's argument:

    family   an operation prepares                          shared last step
    warp     inverse affine map, (B, 6) fixed point         ``warp``: nearest neighbour
    shear    the result, also of a turn of the hue          none
    blend    degenerate image d, float (B, 1 or C, H, W)    ``blend``: d + factor (image - d)
    table    value for each of 256, (B, 1 or C, 256) uint8  ``look_up``: one gather

``FAMILIES`` lists them; ``apply_op`` runs one operation, ``apply_sorted`` several, on a batch that
is sorted by operation, and ``apply_steps`` a sequence of them, each image its own. What depends on
the strength alone is prepared on the CPU.
Source of the arithmetic: Pillow's Blend.c, Filter.c, Convert.c, ImageOps.py and ImageEnhance.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bce3s.augmentation.draws import check_batch
from bce3s.augmentation.warps import (
    rotate_map,
    shear_x,
    shear_y,
    translate_x_map,
    translate_y_map,
    warp,
)
from bce3s.devices import to_device
from bce3s.errors import BCE3SError

_VALUES = np.arange(256)
LARGE = 2**15  # values: on a CPU, a batch of images of more than these is worked on in pieces
PIECE = 2**21  # of these many values, which a cache holds with what the operations make of them


def blend(images: Tensor, degenerate: Tensor, factor: np.ndarray) -> Tensor:
    """degenerate + factor (image - degenerate), cut to 0..255 and rounded down, in float32."""
    factor = to_device(factor.astype(np.float32), images.device)[:, None, None, None]
    out = images.float().sub_(degenerate).mul_(factor).add_(degenerate)
    # By way of int16: float32 to uint8 directly is four times slower on a CPU.
    return out.clamp_(0, 255).to(torch.int16).to(torch.uint8)


def grey(images: Tensor, _factor: np.ndarray | None = None) -> Tensor:
    """(19595 R + 38470 G + 7471 B + 32768) >> 16, the luma of ITU-R 601: float32 (B, 1, H, W).

    Float32 is exact: every sum is an integer below 2^24.
    """
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.split(1, 1)
    out = red.float().mul_(19595).add_(green, alpha=38470).add_(blue, alpha=7471)
    return out.add_(32768).mul_(1 / 65536).floor_()


def smooth(images: Tensor, _factor: np.ndarray | None = None) -> Tensor:
    """Mean over 3 x 3 pixels, the centre counted 5 times; the border stays: (B, C, H, W)."""
    out = images.float()
    rows = out[:, :, :-2] + out[:, :, 1:-1] + out[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    centre = out[:, :, 1:-1, 1:-1]
    # (total + 6.5) / 13 is at least 0.5 / 13 away from every integer: the floor is exact.
    centre.copy_(total.add_(centre, alpha=4).add_(6.5).mul_(1 / 13).floor_())
    return out


def turn_hue(images: Tensor, turn: np.ndarray) -> Tensor:
    """Turn the hue by ``turn`` of the circle, [-1/2, 1/2], by way of 8-bit HSV; grey images stay.

    In Pillow's mixture of float32 and float64, since a step of the 8-bit hue is 6 of 255.
    """
    if images.shape[1] == 1:
        return images
    rgb = images.float()
    value, low = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    span = value - low
    red, green, blue = (value - rgb).div_(span.clamp(min=1)).split(1, 1)
    is_red, is_green, _ = (rgb == value).split(1, 1)
    ahead = torch.where(is_red, blue, torch.where(is_green, 2 + red.double(), 4 + green.double()))
    behind = torch.where(is_red, green, torch.where(is_green, blue, red))
    hue = ahead.sub_(behind).float().double().div_(6).add_(1)
    hue = hue.sub_(hue.floor()).float().double().mul_(255).floor_()
    hue += to_device(np.trunc(turn * 255), images.device)[:, None, None, None]
    sixths = hue.remainder_(256).float().mul_(6 / 255)
    parts = [(sixths - 3).abs_().sub_(1), 2 - (sixths - 2).abs_(), 2 - (sixths - 4).abs_()]
    # the saturation goes through 8 bits too
    range_ = (span / value.clamp(min=1)).mul_(255).floor_().mul_(1 / 255).mul_(value)
    out = torch.cat(parts, 1).clamp_(0, 1).sub_(1).mul_(range_).add_(value)
    return out.add_(0.5).to(torch.int16).to(torch.uint8)


def look_up(images: Tensor, tables: Tensor, _strength: np.ndarray | None = None) -> Tensor:
    """Each value replaced by its entry in its image's and channel's table."""
    # For large images on a CPU, OpenCV's look-up: seven times faster than a gather.
    if images.device.type == 'cpu' and images[0].numel() > LARGE:
        import cv2

        rows = tables.flatten(0, 1).numpy()
        planes = images.reshape(len(rows), 1, -1).numpy()  # whole images where all channels share
        out = np.empty_like(planes)
        for plane, row, target in zip(planes, rows, out, strict=True):
            cv2.LUT(plane, row, target)
        return torch.from_numpy(out).view_as(images)
    tables = tables.expand(-1, images.shape[1], -1)
    return tables.gather(2, images.flatten(2).long()).view_as(images)


def _table(images: Tensor, rows: np.ndarray) -> Tensor:
    """Tables (B, 256) that hold for every channel, on the device of the images."""
    return to_device(rows.astype(np.uint8), images.device)[:, None]


def brightness_table(images: Tensor, factor: np.ndarray) -> Tensor:
    """Blend with black."""
    return _table(
        images, np.clip(_VALUES.astype(np.float32) * factor[:, None].astype(np.float32), 0, 255)
    )


def posterize_table(images: Tensor, bits: np.ndarray) -> Tensor:
    """Keep the ``bits`` highest of 8 bits."""
    drop = 8 - bits[:, None].astype(np.int64)
    return _table(images, _VALUES >> drop << drop)


def solarize_table(images: Tensor, threshold: np.ndarray) -> Tensor:
    """Invert the values at and above ``threshold``."""
    return _table(images, np.where(threshold[:, None] > _VALUES, _VALUES, 255 - _VALUES))


def invert_table(images: Tensor, _strength: np.ndarray | None = None) -> Tensor:
    """255 - v."""
    return _table(images, np.broadcast_to(255 - _VALUES, (len(images), 256)))


def contrast_table(images: Tensor, factor: np.ndarray) -> Tensor:
    """Blend with the mean of the grey image, rounded to the nearest integer."""
    mean = grey(images).flatten(1).mean(1, dtype=torch.float64).add_(0.5).floor_().float()
    factor = to_device(factor.astype(np.float32), images.device)[:, None]
    mean = mean[:, None]
    values = torch.arange(256, dtype=torch.float32, device=images.device)
    out = (values - mean).mul_(factor).add_(mean).clamp_(0, 255)
    return out.to(torch.int16).to(torch.uint8)[:, None]


def autocontrast_table(images: Tensor, _strength: np.ndarray | None = None) -> Tensor:
    """Stretch each channel's range to 0..255 and round down; a constant channel stays.

    In float64 and in Pillow's order of operations, since the products often are whole numbers.
    """
    pixels = images.flatten(2)
    low = pixels.amin(2, keepdim=True).double()
    span = pixels.amax(2, keepdim=True).double() - low
    # A true division: PyTorch turns 255 / x into 255 * (1 / x), which rounds differently.
    scale = torch.full_like(span, 255) / span  # (B, C, 1)
    scale = torch.where(span > 0, scale, 1)
    offset = torch.where(span > 0, -low * scale, 0)
    values = torch.arange(256, dtype=torch.float64, device=images.device)
    out = (values * scale).add_(offset).clamp_(0, 255)
    return out.to(torch.int16).to(torch.uint8)


def equalize_table(images: Tensor, _strength: np.ndarray | None = None) -> Tensor:
    """(step // 2 + pixels below v) // step, step = (pixels - those of the highest value) // 255.

    Per channel; a channel whose step is 0 stays. Float32 is exact up to 2^24 pixels.
    """
    pixels = images.flatten(2).long()
    one = torch.ones((), dtype=torch.int32, device=images.device).expand_as(pixels)
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, pixels, one)
    last = counts.gather(2, images.flatten(2).amax(2, keepdim=True).long())  # (B, C, 1)
    step = (pixels.shape[2] - last) // 255
    below = counts.cumsum(2, dtype=torch.int32).sub_(counts).add_(step // 2)
    out = below.float().div_(step.clamp(min=1)).clamp_(max=255)
    values = torch.arange(256, dtype=torch.float32, device=images.device)
    return torch.where(step > 0, out, values).to(torch.int16).to(torch.uint8)


def _finished(_images: Tensor, out: Tensor, _strength: np.ndarray) -> Tensor:
    return out


FAMILIES: tuple[tuple[Callable[..., Tensor], dict[str, Callable[..., Tensor]]], ...] = (
    (warp, dict(TranslateX=translate_x_map, TranslateY=translate_y_map, Rotate=rotate_map)),
    (_finished, dict(ShearX=shear_x, ShearY=shear_y, Hue=turn_hue)),
    (blend, dict(Color=grey, Sharpness=smooth)),
    (
        look_up,
        dict(
            Brightness=brightness_table,
            Contrast=contrast_table,
            Posterize=posterize_table,
            Solarize=solarize_table,
            Invert=invert_table,
            AutoContrast=autocontrast_table,
            Equalize=equalize_table,
        ),
    ),
)
OPS = tuple(name for _, prepare in FAMILIES for name in prepare)


def apply_op(images: Tensor, name: str, strength: np.ndarray) -> Tensor:
    """One of ``OPS`` on every image, each with its own ``strength`` (B,).

    Its unit is that operation's: slope, fraction of the size, degrees, factor, bits or threshold.
    """
    return apply_sorted(images.clone(), {name: len(images)}, strength)


def apply_sorted(images: Tensor, counts: dict[str, int], strength: np.ndarray) -> Tensor:
    """Change ``images`` in place: the first counts[OPS[0]] by OPS[0], the next by OPS[1], ...

    Images left over at the end stay as they are.
    """
    stop = 0
    for finish, prepare in FAMILIES:
        start, parts = stop, []
        for name in prepare:
            if n := counts.get(name, 0):
                run = slice(stop, stop + n)
                parts.append(prepare[name](images[run], strength[run]))
                stop += n
        if parts:
            run = slice(start, stop)
            images[run] = finish(images[run], _join(parts), strength[run])
    return images


class BatchSteps:
    """A batched augmentation that gives each image operations of its own, one after the other.

    A subclass has ``draws`` and ``_decide(draws)``: from its uniform numbers (B, draws) the numbers
    of the operations in ``OPS``, ``len(OPS)`` for none, and their strengths, both (B, S).
    """

    draws: int

    def _decide(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Images (B, C, H, W) -> the same shape; BCE3SError unless C is 1 or 3."""
        images, draws = check_batch(self, images, u, self.draws)
        if images.shape[1] not in (1, 3):
            name = type(self).__name__
            raise BCE3SError(f'{name} takes grey or RGB images, not {images.shape[1]} channels.')
        return apply_steps(images, *self._decide(draws))


def apply_steps(images: Tensor, ops: np.ndarray, strengths: np.ndarray) -> Tensor:
    """``ops`` (B, S), numbers of operations or ``len(OPS)`` for none, with ``strengths`` (B, S)."""
    if images.device.type == 'cpu' and images[:1].numel() > LARGE:
        size = max(1, PIECE // images[0].numel())
        parts = [slice(i, i + size) for i in range(0, len(images), size)]
        return torch.cat([_apply_steps(images[p], ops[p], strengths[p]) for p in parts])
    return _apply_steps(images, ops, strengths)


def _apply_steps(images: Tensor, ops: np.ndarray, strengths: np.ndarray) -> Tensor:
    place = np.arange(len(images))  # the image that stands in each row
    for step in range(ops.shape[1]):
        order = np.argsort(ops[place, step], kind='stable')
        place = place[order]
        images = images.index_select(0, to_device(order, images.device))
        counts = np.bincount(ops[:, step], minlength=len(OPS) + 1).tolist()
        counts = dict(zip(OPS, counts, strict=False))  # without the last: those left alone
        images = apply_sorted(images, counts, strengths[place, step])
    return images.index_select(0, to_device(np.argsort(place), images.device))


def _join(parts: list[Tensor]) -> Tensor:
    """All rows in one tensor, repeated over the channels where only some have channels."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.shape[1] for part in parts)
    return torch.cat([part.expand(-1, width, *part.shape[2:]) for part in parts])
