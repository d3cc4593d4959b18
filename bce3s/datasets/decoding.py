"""From an image file to the crop that is trained on or tested: RGB, uint8, (3, size, size).

Most of the time of a JPEG goes to its entropy coding, so what counts is to decode no more of it
than a crop needs (:mod:`bce3s.datasets.pixels`).

A crop is resized by torch's antialiased bilinear filter. The result is that of Pillow and
torchvision's ``RandomResizedCrop``, or ``Resize`` and ``CenterCrop``, to within 1 of 255 (0.02 in
the mean). Where a training crop has at least 4 times the sides asked for, the JPEG is decoded at
1/2, 1/4 or 1/8, never to less than twice the sides asked for. Then the crop's borders move to whole
pixels of that, by at most 1/4 pixel of the result, and values are off by 0.4 to 0.5 in the mean
(photos, against the same crop of the whole image).

Images are turned upright by their orientation in EXIF, or else in XMP, which torchvision's
``default_loader`` ignores. Grey, palette and CMYK images become RGB, alpha is dropped, of 16 bits
the upper 8 are kept (a TIFF of 32-bit integers is taken for 8 bits where none exceeds 255, else for
16); of an animation the first frame is read.
"""

from __future__ import annotations

import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bce3s.datasets.jpeg_headers import jpeg_header
from bce3s.datasets.pixels import REDUCED, Crop, decode, decode_by_pillow, read_bytes, why
from bce3s.errors import BCE3SError


def read_random_crop(path: str, size: int, seed: int) -> Tensor:
    """:func:`random_crop` of the image in a file, resized: uint8 (3, size, size).

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    data = read_bytes(path)
    header = jpeg_header(data)
    if header is not None:
        shape = header.height, header.width
        crop = random_crop(*(shape if header.orientation < 5 else shape[::-1]), seed)
        reduction = reduction_for(crop, size)
        pixels = decode(data, header, crop, reduction)
        if pixels is not None:
            return _resized_crop(pixels, _shrunk(crop, reduction), size, bgr=True)
    pixels = decode_by_pillow(path, data)
    return _resized_crop(pixels, random_crop(*pixels.shape[:2], seed), size)


def read_centre(path: str, size: int, resize: int) -> Tensor:
    """The centre of the image in a file, its shorter side resized to ``resize``, at least ``size``.

    Nothing is approximated here: the whole image is decoded and resized. uint8 (3, size, size).

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    data = read_bytes(path)
    header = jpeg_header(data)
    pixels = None if header is None else decode(data, header)
    bgr = pixels is not None
    pixels = pixels if bgr else decode_by_pillow(path, data)
    image = centre(pixels, size, resize)
    return image.flip(0) if bgr else image


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


def unreadable_because(path: str) -> str | None:
    """Why the image in a file cannot be read, after decoding all of it; None: it can."""
    try:
        data = read_bytes(path)
        header = jpeg_header(data)
        if header is None or decode(data, header) is None:
            decode_by_pillow(path, data)
    except BCE3SError as error:
        return why(error.__cause__)
    return None


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


def reduction_for(crop: Crop, size: int) -> int:
    """How many times smaller a JPEG may be decoded to have 2 pixels for each that is asked for."""
    spare = min(crop.height, crop.width) // (2 * size)
    return max(k for k in REDUCED if k <= max(1, spare))


def _shrunk(crop: Crop, reduction: int) -> Crop:
    """The crop in an image that was decoded smaller, its borders moved to whole pixels of that."""
    top, left, bottom, right = (
        round(n / reduction)
        for n in (crop.top, crop.left, crop.top + crop.height, crop.left + crop.width)
    )
    return Crop(top, left, bottom - top, right - left, crop.mirrored)


def _resized_crop(pixels: np.ndarray, crop: Crop, size: int, bgr: bool = False) -> Tensor:
    rows = slice(crop.top, crop.top + crop.height)
    image = resized(pixels[rows, crop.left : crop.left + crop.width], size, size)
    return image.flip([0] * bgr + [2] * crop.mirrored).contiguous()


def resized(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """(H, W, 3) -> (3, height, width) by the antialiased bilinear filter, Pillow's."""
    if not pixels.flags.writeable:  # of which torch warns
        pixels = pixels.copy()
    if min(pixels.strides) < 0:  # torch has no such views
        pixels = np.ascontiguousarray(pixels)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(image, size=(height, width), mode='bilinear', antialias=True)[0]
