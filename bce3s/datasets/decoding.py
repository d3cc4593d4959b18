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

Images are turned upright by their EXIF orientation, which torchvision's ``default_loader`` ignores.
Grey, palette and CMYK images become RGB, alpha is dropped, of 16 bits the upper 8 are kept.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bce3s.errors import BCE3SError

ORIENTATION = 0x0112  # the tag of EXIF
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


@dataclass(frozen=True)
class JPEGHeader:
    """Of a complete 8-bit JPEG, grey or in three colours.

    Attributes:
        height, width: as stored, before it is turned upright.
        height_at: where the file says its height, two bytes.
        top_down: whether all colours of a row precede all of the next, so that decoding can stop.
        orientation: 1..8, 1 for upright.
    """

    height: int
    width: int
    height_at: int
    top_down: bool
    orientation: int


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


def jpeg_header(data: bytes) -> JPEGHeader | None:
    """What a JPEG says of itself; None where it is another kind, damaged or no JPEG at all.

    Source: ITU-T T.81, Annex B.
    """
    if data[:2] != b'\xff\xd8' or data[-2:] != b'\xff\xd9':  # a cut one does not end so
        return None
    at, frame, orientation = 2, None, 1
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        body = data[at + 4 : at + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            frame = marker, at + 5, body
        elif marker == 0xE1 and body.startswith(b'Exif\0\0'):
            orientation = _orientation(lambda exif=body: _tags(exif))
        elif marker == 0xDA:  # the first scan: what follows is pixels
            return _header(frame, body, orientation)
        at += 2 + length
    return None


def _header(frame: tuple | None, scan: bytes, orientation: int) -> JPEGHeader | None:
    if frame is None or len(frame[2]) < 6 or not scan:
        return None
    marker, height_at, (precision, *shape, colours) = frame[0], frame[1], frame[2][:6]
    height, width = shape[0] << 8 | shape[1], shape[2] << 8 | shape[3]
    if precision != 8 or colours not in (1, 3) or not (height and width):
        return None
    top_down = marker != 0xC2 and scan[0] == colours
    return JPEGHeader(height, width, height_at, top_down, orientation)


def _tags(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    return tags


def _orientation(read: Callable[[], Image.Exif]) -> int:
    try:
        value = read().get(ORIENTATION)
    except Exception:  # damaged metadata can raise anything, and is no reason to lose an image
        return 1
    return value if value in range(1, 9) else 1


def _read(path: str) -> bytes:
    try:
        with open(path, 'rb', buffering=0) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from error


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
            return _upright(_rgb(image), _orientation(image.getexif))
    except Exception as error:  # a damaged image can raise anything
        raise _unreadable(path, error, data) from error


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no fixed range')
    if not image.mode.startswith('I'):
        return np.array(image.convert('RGB'))  # a copy, which torch may write to
    pixels = np.asarray(image)  # 16 bits, which `convert` would clip to 255
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError('its pixels have more than 16 bits')
    return np.repeat((pixels >> 8).astype(np.uint8)[..., None], 3, axis=2)


def _unreadable(path: str, error: Exception, data: bytes | None = None) -> BCE3SError:
    reason = str(error)
    if data == b'':
        reason = 'the file is empty'
    elif isinstance(error, UnidentifiedImageError):  # whose text names an object in memory
        reason = 'damaged, or no image'
    return BCE3SError(f'{path} cannot be read as an image ({reason}): replace or remove it.')


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
