"""From an image file to the crop that is trained on or tested: RGB, uint8, (3, size, size).

Most of the time of a JPEG goes to its entropy coding, so what counts is to decode no more of it
than a crop needs. OpenCV decodes 8-bit grey and colour JPEGs (libjpeg-turbo); every other file, and
every JPEG that OpenCV refuses, is left to Pillow, which also judges what is damaged.

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

import io
import math
import os
import random
import stat
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bce3s.datasets.jpeg_headers import JPEGHeader, jpeg_header, orientation_of
from bce3s.errors import BCE3SError

REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class Crop:
    """A window of an upright image, in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False


def read_random_crop(path: str, size: int, seed: int) -> Tensor:
    """:func:`random_crop` of the image in a file, resized: uint8 (3, size, size).

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    data = _read(path)
    header = jpeg_header(data)
    if header is not None:
        shape = header.height, header.width
        crop = random_crop(*(shape if header.orientation < 5 else shape[::-1]), seed)
        reduction = _reduction(crop, size)
        pixels = _decode(data, header, crop, reduction)
        if pixels is not None:
            return _resized_crop(pixels, _shrunk(crop, reduction), size, bgr=True)
    pixels = _decode_by_pillow(path, data)
    return _resized_crop(pixels, random_crop(*pixels.shape[:2], seed), size)


def read_centre(path: str, size: int, resize: int) -> Tensor:
    """The centre of the image in a file, its shorter side resized to ``resize``, at least ``size``.

    Nothing is approximated here: the whole image is decoded and resized. uint8 (3, size, size).

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    data = _read(path)
    header = jpeg_header(data)
    pixels = None if header is None else _decode(data, header)
    bgr = pixels is not None
    pixels = pixels if bgr else _decode_by_pillow(path, data)
    height, width = pixels.shape[:2]
    short = min(height, width)
    height, width = (int(resize * side / short) for side in (height, width))
    image = _resized(pixels, height, width)
    top, left = (round((side - size) / 2) for side in (height, width))
    image = image[:, top : top + size, left : left + size]
    return (image.flip(0) if bgr else image).contiguous()


def unreadable_because(path: str) -> str | None:
    """Why the image in a file cannot be read, after decoding all of it; None: it can."""
    try:
        data = _read(path)
        header = jpeg_header(data)
        if header is None or _decode(data, header) is None:
            _decode_by_pillow(path, data)
    except BCE3SError as error:
        return _reason(error.__cause__)
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


def _read(path: str) -> bytes:
    try:
        # A pipe would be waited for: without O_NONBLOCK when it is opened, then when it is read
        with open(path, 'rb', 0, opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError('it is no regular file')
            data = file.read()
        if not data:
            raise OSError('the file is empty')
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from error
    return data


def _decode(
    data: bytes, header: JPEGHeader, crop: Crop | None = None, reduction: int = 1
) -> np.ndarray | None:
    """Upright BGR pixels (H, W, 3), at least down to the last row of ``crop``; None if refused.

    With ``reduction`` 2, 4 or 8 both sides are so many times smaller, rounded up.

    An entropy-coded row can only be reached through those above it, but those below the crop are
    not decoded: the file is told to be lower than it is, by a whole row of blocks (of 32 pixels at
    most) or more. The end marker goes, for libjpeg warns of what lies between the last row and it.
    Two rows more than the crop has, for the interpolation of the colours.
    """
    if crop is not None and header.top_down and header.orientation == 1:
        height = crop.top + crop.height + 2 * reduction
        if height + 32 <= header.height:
            data = bytearray(data[:-2])
            data[header.height_at : header.height_at + 2] = height.to_bytes(2, 'big')
    try:
        flags = REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else _upright(pixels, header.orientation)


def _decode_by_pillow(path: str, data: bytes) -> np.ndarray:
    """Upright RGB pixels (H, W, 3) of any image that Pillow reads."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return _upright(_rgb(image), orientation_of(image.getexif))
    except MemoryError:  # says nothing of the image
        raise
    except Exception as error:  # a damaged image can raise anything
        raise _unreadable(path, error) from error


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no fixed range')
    if not image.mode.startswith('I'):
        return np.array(image.convert('RGB'))  # a copy, which torch may write to
    pixels = np.asarray(image)  # 16 bits, which `convert` would clip to 255
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 65535:
        raise ValueError('its pixels have more than 16 bits')
    if not (image.mode == 'I' and image.format == 'TIFF' and high <= 255):  # 8 bits, kept in 32
        pixels = pixels >> 8
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)


def _unreadable(path: str, error: Exception) -> BCE3SError:
    """To be raised from ``error``."""
    return BCE3SError(
        f'{path} cannot be read as an image ({_reason(error)}): replace or remove it.'
    )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # whose text names an object in memory
        return 'damaged, or no image'
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * Image.MAX_IMAGE_PIXELS
        return f'more than {limit:,} pixels, which Pillow takes for an attack: make it smaller'
    if isinstance(error, OSError) and error.strerror:  # without the path
        return error.strerror
    return str(error)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turned and mirrored as EXIF asks for: 2 left to right, 3 by half a turn, 4 top to bottom, 5
    transposed, 6 and 8 by a quarter clockwise and back, 7 transposed over the other diagonal."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def _reduction(crop: Crop, size: int) -> int:
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
    image = _resized(pixels[rows, crop.left : crop.left + crop.width], size, size)
    return image.flip([0] * bgr + [2] * crop.mirrored).contiguous()


def _resized(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """(H, W, 3) -> (3, height, width) by the antialiased bilinear filter, Pillow's."""
    if min(pixels.strides) < 0:  # torch has no such views
        pixels = np.ascontiguousarray(pixels)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(image, size=(height, width), mode='bilinear', antialias=True)[0]
