"""The pixels of an image: bytes of a file -> upright (H, W, 3) arrays.

OpenCV decodes 8-bit grey and colour JPEGs (libjpeg-turbo); every other file, and every JPEG that
OpenCV refuses, is left to Pillow, which also judges what is damaged.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

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


def pixels_of_file(path: str) -> np.ndarray:
    """Upright RGB pixels (H, W, 3) of the image in a file.

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    data = read_bytes(path)
    header = jpeg_header(data)
    pixels = None if header is None else decode(data, header)
    return decode_by_pillow(path, data) if pixels is None else pixels[..., ::-1]


def pixels_of_picture(image: Image.Image) -> np.ndarray:
    """Upright RGB pixels (H, W, 3) of an image that Pillow has opened.

    Raises:
        BCE3SError: it is damaged, or of a kind without a fixed range.
    """
    try:
        image.load()
        return upright(_rgb(image), orientation_of(image.getexif))
    except MemoryError:  # says nothing of the image
        raise
    except Exception as error:  # a damaged image can raise anything
        name = getattr(image, 'filename', '') or 'The picture'
        raise BCE3SError(f'{name} cannot be read as an image ({why(error)}).') from error


def read_bytes(path: str) -> bytes:
    """The content of a regular file.

    Raises:
        BCE3SError: it cannot be read, or is empty.
    """
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


def decode(
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
    return None if pixels is None else upright(pixels, header.orientation)


def decode_by_pillow(path: str, data: bytes) -> np.ndarray:
    """Upright RGB pixels (H, W, 3) of any image that Pillow reads.

    Raises:
        BCE3SError: it does not.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return upright(_rgb(image), orientation_of(image.getexif))
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
    return BCE3SError(f'{path} cannot be read as an image ({why(error)}): replace or remove it.')


def why(error: Exception) -> str:
    """The reason in a few words."""
    if isinstance(error, UnidentifiedImageError):  # whose text names an object in memory
        return 'damaged, or no image'
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * Image.MAX_IMAGE_PIXELS
        return f'more than {limit:,} pixels, which Pillow takes for an attack: make it smaller'
    if isinstance(error, OSError) and error.strerror:  # without the path
        return error.strerror
    return str(error)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turned and mirrored as EXIF asks for: 2 left to right, 3 by half a turn, 4 top to bottom, 5
    transposed, 6 and 8 by a quarter clockwise and back, 7 transposed over the other diagonal."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]
