"""From an image file to the crop that is trained on or tested: RGB, uint8, (3, size, size).

A crop is resized by torch's antialiased bilinear filter. The result is that of Pillow and
torchvision's ``RandomResizedCrop``, or ``Resize`` and ``CenterCrop``, to within 1 of 255 (0.02 in
the mean). Most of the time of a JPEG goes to its decoding: where a training crop has at least 4
times the sides asked for, it is decoded at 1/2, 1/4 or 1/8, never to less than twice the sides
asked for. Then the crop's borders move to whole pixels of that, by at most 1/4 pixel of the
result, and values are off by 0.4 to 0.5 in the mean (photos, against the same crop of the whole
image). So are huge images of any format (above ``pixels.HUGE`` pixels), in the test too.

Images are turned upright by their orientation in EXIF, or else in XMP, which torchvision's
``default_loader`` ignores. Grey, palette and CMYK images become RGB; behind transparent parts there
is a ground, white if nothing else is said; of more than 8 bits the upper 8 of those in use are kept
(:class:`~bce3s.datasets.pixels.Colours`); of an animation the first frame is read.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bce3s.datasets.pixels import USUAL, Colours, ImageFile, pixels_of_file, reduction_for


@dataclass(frozen=True)
class Crop:
    """A window of an upright image, in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False


def read_random_crop(path: str, size: int, seed: int, colours: Colours = USUAL) -> Tensor:
    """:func:`random_crop` of the image in a file, resized: uint8 (3, size, size).

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    file = ImageFile(path)
    crop, reduction = random_crop(*file.sides, seed), 1
    if file.fast or file.huge:
        reduction = reduction_for(min(crop.height, crop.width), size)
    return resized_crop(file.pixels(colours, reduction), _shrunk(crop, reduction), size)


def read_centre(path: str, size: int, resize: int, colours: Colours = USUAL) -> Tensor:
    """The centre of the image in a file, its shorter side resized to ``resize``, at least ``size``.

    Unless the image is huge nothing is approximated: all of it is decoded and resized. uint8
    (3, size, size).

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    return centre(pixels_of_file(path, colours, resize), size, resize)


def centre(pixels: np.ndarray, size: int, resize: int) -> Tensor:
    """The centre of (H, W, 3) pixels, the shorter side resized to ``resize``: uint8 (3, size,
    size).
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    height, width = (int(resize * side / short) for side in (height, width))
    image = resized(pixels, height, width)
    top, left = (round((side - size) / 2) for side in (height, width))
    return image[:, top : top + size, left : left + size].contiguous()


def random_crop(height: int, width: int, seed: int) -> Crop:
    """A window of 8 to 100 % of the area and 3/4 to 4/3 in shape, mirrored with probability 1/2.

    As torchvision's ``RandomResizedCrop`` draws it; after ten windows that do not fit, the largest
    central one of such a shape. A function of its arguments.
    """
    rng = random.Random(seed)
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.random() * (height - h + 1)), int(rng.random() * (width - w + 1))
            return Crop(top, left, h, w, rng.random() < 0.5)
    w = max(1, min(width, round(height * 4 / 3)))
    h = max(1, min(height, round(width * 4 / 3)))
    return Crop((height - h) // 2, (width - w) // 2, h, w, rng.random() < 0.5)


def _shrunk(crop: Crop, reduction: int) -> Crop:
    """The crop in an image that was decoded smaller, its borders moved to whole pixels of that."""
    top, left, bottom, right = (
        round(n / reduction)
        for n in (crop.top, crop.left, crop.top + crop.height, crop.left + crop.width)
    )
    return Crop(top, left, bottom - top, right - left, crop.mirrored)


def resized_crop(pixels: np.ndarray, crop: Crop, size: int) -> Tensor:
    """A window of (H, W, 3) pixels -> (3, size, size)."""
    rows = slice(crop.top, crop.top + crop.height)
    image = resized(pixels[rows, crop.left : crop.left + crop.width], size, size)
    return (image.flip(2) if crop.mirrored else image).contiguous()


def resized(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """(H, W, 3) -> (3, height, width) by the antialiased bilinear filter, Pillow's."""
    if not pixels.flags.writeable:  # of which torch warns
        pixels = pixels.copy()
    if min(pixels.strides) < 0:  # torch has no such views
        pixels = np.ascontiguousarray(pixels)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(image, size=(height, width), mode='bilinear', antialias=True)[0]
