"""Crops, flip and Cutout of a whole batch, each image with its own draw.

An augmentation is ``op(images, u) -> images``: uint8 (B, C, H, W) in and out, on any device, and
``u`` (B, op.draws) uniform in [0, 1) on the CPU. It is a function of (images, u), row by row, and
leaves its input as it was. Every decision is made from ``u`` on the CPU; only parameters travel to
the device, so a GPU never waits for the host.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bce3s.augmentation.draws import at_least, check_batch, pick
from bce3s.devices import to_device
from bce3s.errors import BCE3SError


class BatchPadCrop:
    """Pad with black, then cut a window out at a random place: the usual CIFAR crop.

    Args:
        padding: pixels added on each side.
        size: height and width of the window; None keeps those of the images.
    """

    draws = 2  # top, left

    def __init__(self, padding: int = 4, size: int | None = None) -> None:
        at_least(self, 'padding', padding, 0)
        at_least(self, 'size', 1 if size is None else size, 1)
        self.padding, self.size = padding, size

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Windows (B, C, size, size); BCE3SError where a padded image is smaller than a window."""
        images, draws = check_batch(self, images, u, self.draws)
        height, width = (n if self.size is None else self.size for n in images.shape[2:])
        padded = F.pad(images, [self.padding] * 4)
        rows, columns = padded.shape[2] - height + 1, padded.shape[3] - width + 1
        if rows < 1 or columns < 1:
            raise BCE3SError(
                f'BatchPadCrop(padding={self.padding}, size={self.size}) got images of '
                f'{tuple(images.shape[2:])} pixels: raise padding or lower size.'
            )
        return _windows(padded, pick(draws[:, 0], rows), pick(draws[:, 1], columns), height, width)


def _windows(images: Tensor, top: np.ndarray, left: np.ndarray, height: int, width: int) -> Tensor:
    """The window of each image (B, C, H, W) that starts at its (top, left), as one gather.

    In a contiguous image the whole window, all channels and rows of it, lies in one run of memory,
    which starts at top * W + left and is as long for every image. So one run per image is copied,
    and strides read the window out of it.
    """
    batch, channels, rows, columns = images.shape
    if not images.numel():
        return images.new_empty(batch, channels, height, width)
    plane = rows * columns
    run = (channels - 1) * plane + (height - 1) * columns + width
    starts = to_device(np.arange(batch) * channels * plane + top * columns + left, images.device)
    runs = images.as_strided((images.numel() - run + 1, run), (1, 1)).index_select(0, starts)
    window = (batch, channels, height, width), (run, plane, columns, 1)
    return runs.as_strided(*window).contiguous()


class BatchResizedCrop:
    """A window of random area and shape, brought to ``size``: torchvision's ``RandomResizedCrop``.

    Area uniform in ``scale`` of the image's, logarithm of width / height uniform in ``ratio``; of
    ten such windows the first that fits, or else the largest of a permitted shape; at a uniform
    place. Bilinear, with Pillow's wider filter where pixels are merged. It begins the
    views of SimCLR (Chen et al., ICML 2020), which ProCo and BCL take on CIFAR with these values.

    Args:
        size: height and width of the result; None keeps those of the images.
        scale: lowest and highest area, in (0, 1].
        ratio: lowest and highest width / height.
    """

    TRIES = 10
    draws = 2 * TRIES + 2  # area and shape of each try; top, left

    def __init__(
        self,
        size: int | None = None,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        at_least(self, 'size', 1 if size is None else size, 1)
        for name, (low, high), limit in (('scale', scale, 1.0), ('ratio', ratio, np.inf)):
            at_least(self, name, low, 1e-6, high)
            at_least(self, name, high, low, limit)
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Images (B, C, H, W) -> (B, C, size, size)."""
        images, draws = check_batch(self, images, u, self.draws)
        if not len(images):
            return images
        rows, columns = images.shape[2:]
        height, width = self._shapes(draws, rows, columns)
        top = pick(draws[:, -2], rows - height + 1)
        left = pick(draws[:, -1], columns - width + 1)
        across = _resampling(left, width, columns, self.size or columns, images.device)
        down = _resampling(top, height, rows, self.size or rows, images.device)
        out = (images.float() @ across.mT[:, None]).add_(0.5).floor_()  # Pillow keeps bytes between
        return (down[:, None] @ out).add_(0.5).floor_().to(torch.uint8)

    def _shapes(self, draws: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Heights and widths (B,) of the windows."""
        tries = draws[:, : 2 * self.TRIES].reshape(len(draws), self.TRIES, 2)
        low, high = np.log(self.ratio)
        area = rows * columns * (self.scale[0] + (self.scale[1] - self.scale[0]) * tries[..., 0])
        ratio = np.exp(low + (high - low) * tries[..., 1])
        widths, heights = np.sqrt(area * ratio).round(), np.sqrt(area / ratio).round()
        fits = (widths > 0) & (widths <= columns) & (heights > 0) & (heights <= rows)
        first = fits.argmax(1)[:, None]
        height, width = (np.take_along_axis(x, first, 1)[:, 0] for x in (heights, widths))
        largest = (
            min(rows, round(columns / self.ratio[0])),
            min(columns, round(rows * self.ratio[1])),
        )
        height, width = (
            np.where(fits.any(1), x, n) for x, n in zip((height, width), largest, strict=True)
        )
        return height.astype(np.int64), width.astype(np.int64)


def _resampling(
    start: np.ndarray, length: np.ndarray, pixels: int, size: int, device: torch.device
) -> Tensor:
    """(B, size, pixels): weights by which pixels from ``start`` on make a line of ``size``."""
    start, length = (
        to_device(x.astype(np.float32), device)[:, None, None] for x in (start, length)
    )
    places, step = torch.arange(pixels, device=device), length / size
    centres = start + (torch.arange(size, device=device)[:, None] + 0.5) * step
    weights = (1 - (places + 0.5 - centres).abs() / step.clamp(min=1)).clamp(min=0)
    weights = weights * ((places >= start) & (places < start + length))
    return weights / weights.sum(2, keepdim=True)


class BatchFlip:
    """Mirror an image left to right with probability ``prob``."""

    draws = 1

    def __init__(self, prob: float = 0.5) -> None:
        at_least(self, 'prob', prob, 0, 1)
        self.prob = prob

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Images (B, C, H, W) -> the same shape."""
        images, draws = check_batch(self, images, u, self.draws)
        mirrored = draws[:, 0] < self.prob
        # Choosing whole images out of both versions is five times faster than `torch.where`.
        chosen = np.arange(len(images)) + len(images) * mirrored
        both = torch.cat([images, images.flip(3)])
        return both.index_select(0, to_device(chosen, images.device))


class BatchCutout:
    """A black square of ``size`` x ``size`` pixels, clipped at the border.

    Its centre is uniform over the image. From: DeVries and Taylor, "Improved Regularization of
    Convolutional Neural Networks with Cutout", arXiv 1708.04552.
    """

    draws = 2  # row and column of the centre

    def __init__(self, size: int = 16) -> None:
        at_least(self, 'size', size, 1)
        self.size = size

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Images (B, C, H, W) -> the same shape."""
        images, draws = check_batch(self, images, u, self.draws)
        spans = [self._span(draws[:, i], n) for i, n in enumerate(images.shape[2:])]
        spans = to_device(np.concatenate(spans, 1), images.device)
        rows, columns = spans.split(images.shape[2:], 1)
        keep = 1 - rows[:, None, :, None] * columns[:, None, None, :]  # (B, 1, H, W)
        return images * keep

    def _span(self, u: np.ndarray, n: int) -> np.ndarray:
        """1 where the square lies on an axis of n pixels, else 0: (B, n) uint8."""
        distance = np.arange(n) - (pick(u, n) - self.size // 2)[:, None]
        return ((distance >= 0) & (distance < self.size)).astype(np.uint8)
