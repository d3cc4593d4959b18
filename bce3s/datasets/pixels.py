"""The pixels of an image: bytes of a file -> upright (H, W, 3) arrays, uint8, RGB.

Pillow reads the header and judges what is damaged. OpenCV decodes 8-bit grey and colour JPEGs
(libjpeg-turbo) and colours of 16 bits, of which Pillow would keep the upper 8; Pillow decodes the
rest. What is transparent or has more than 8 bits becomes RGB by one rule, :class:`Colours`.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from bce3s.errors import BCE3SError

ORIENTATION = 0x0112  # the tag of EXIF
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
HUGE = 1 << 25  # pixels (100 MB of RGB); above them images are read smaller
WHITE = (255, 255, 255)

# Pillow warns above half its limit; here such images cost no more memory than one of them does
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Colours:
    """How an image becomes 8-bit RGB, alike in training, evaluation and prediction.

    Attributes:
        bits: that images of more than 8 bits a value use: v becomes v >> (bits - 8), at most 255.
            None: as many as the largest value of each image needs, at least 8.
        ground: R, G, B of what shows behind transparent parts.
    """

    bits: int | None = None
    ground: tuple[int, int, int] = WHITE


USUAL = Colours()


class ImageFile:
    """An image file of which the header is read.

    Attributes:
        path, data: where it is, and its bytes.
        huge: whether it has more than ``HUGE`` pixels.
        fast: whether it is decoded in less time where it is decoded smaller.
        wide: whether it has more than 8 bits a value.

    Raises:
        BCE3SError: it cannot be read, or is no image.
    """

    def __init__(self, path: str, data: bytes | None = None) -> None:
        self.path, self.data = path, read_bytes(path) if data is None else data
        with _blamed_on(path):
            self._image = Image.open(io.BytesIO(self.data))
        width, height = self._image.size
        self.huge = width * height > HUGE
        self._deep = is_deep(self._image)
        kind, mode = self._image.format, self._image.mode
        whole = self.data.endswith(b'\xff\xd9')  # OpenCV fills what a cut one lacks with grey
        self.fast = whole and kind in ('JPEG', 'MPO') and mode in ('L', 'RGB')
        self.wide = self._deep or mode.startswith('I')

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width, upright."""
        width, height = self._image.size
        return (height, width) if self._orientation < 5 else (width, height)

    @property
    def _orientation(self) -> int:
        with _blamed_on(self.path):
            if not self.fast:  # a PNG's tags may follow its pixels; a TIFF is turned by Pillow
                self._image.load()
            return orientation_of(self._image)

    def pixels(self, colours: Colours = USUAL, reduction: int = 1) -> np.ndarray:
        """Upright pixels (H, W, 3); with ``reduction`` 2, 4 or 8 both sides are so many times
        smaller, rounded up.

        Raises:
            BCE3SError: it cannot be read as an image.
        """
        with _blamed_on(self.path):
            pixels = self._by_opencv(reduction) if self.fast else None
            if pixels is None:
                deep = self.data if self._deep else None
                pixels = _by_pillow(self._image, colours, reduction, deep)
            return upright(pixels, self._orientation)

    def _by_opencv(self, reduction: int) -> np.ndarray | None:
        flags = REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(self.data, np.uint8), flags)
        except cv2.error:
            return None
        return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def highest(self) -> int:
        """The largest value of an image of more than 8 bits; 0 of another one."""
        with _blamed_on(self.path):
            values = _values(self._image, self.data if self._deep else None)
            return 0 if values is None else int(values[..., :3].max())


def pixels_of_file(path: str, colours: Colours = USUAL, side: int = 1 << 30) -> np.ndarray:
    """Upright pixels (H, W, 3) of the image in a file; a huge one may come smaller, with at least
    2 ``side`` pixels in its shorter side.

    Raises:
        BCE3SError: the file cannot be read as an image.
    """
    file = ImageFile(path)
    return file.pixels(colours, reduction_for(min(file.sides), side) if file.huge else 1)


def pixels_of_picture(image: Image.Image, colours: Colours = USUAL) -> np.ndarray:
    """Upright pixels (H, W, 3) of an image that Pillow has opened.

    Raises:
        BCE3SError: it is damaged, or of a kind without a fixed range.
    """
    with _blamed_on(getattr(image, 'filename', '') or 'The picture', remedy=''):
        deep = None
        if is_deep(image):
            image.fp.seek(0)
            deep = image.fp.read()
        return upright(_by_pillow(image, colours, 1, deep), orientation_of(image))


def reduction_for(side: int, asked: int) -> int:
    """How many times smaller ``side`` pixels may be decoded to leave 2 for each that is asked for:
    1, 2, 4 or 8.
    """
    return max(k for k in REDUCED if k <= max(1, side // (2 * asked)))


def on_ground(image: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    """RGB: an image with transparent parts, before a ground of one colour."""
    if image.mode != 'RGBA':  # a palette, or a colour that stands for nothing
        image = image.convert('RGBA')
    below = Image.new('RGB', image.size, tuple(ground))
    below.paste(image, mask=image)
    return below


def read_bytes(path: str) -> bytes:
    """The content of a regular file.

    Raises:
        BCE3SError: it cannot be read, or is empty.
    """
    with _blamed_on(path):
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise OSError('it is no regular file')
        with open(path, 'rb', 0) as file:
            data = file.read()
        if not data:
            raise OSError('the file is empty')
        return data


# ---------------------------------------------------------------------------------------- 8-bit RGB
def _by_pillow(
    image: Image.Image, colours: Colours, reduction: int, deep: bytes | None
) -> np.ndarray:
    """(H, W, 3), as stored. ``deep``: the content of its file where :func:`is_deep`."""
    values = _values(image, deep)
    if values is not None:
        image = _narrowed(image, values, colours.bits)
    if image.has_transparency_data:
        image = on_ground(image, colours.ground)
    if reduction > 1:
        image = (image if image.mode in ('L', 'RGB') else image.convert('RGB')).reduce(reduction)
    return np.array(image if image.mode == 'RGB' else image.convert('RGB'))  # a copy of its own


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet has 16 bits a colour, as the file has them."""
    tiles = getattr(image, 'tile', ())
    return image.mode in ('RGB', 'RGBA', 'LA') and any(';16' in str(tile[3]) for tile in tiles)


def _values(image: Image.Image, deep: bytes | None) -> np.ndarray | None:
    """Values of more than 8 bits, (H, W, 1, 3 or 4); None: the image has none, or it is in colours
    that OpenCV does not read, of which Pillow keeps the upper 8 bits.
    """
    image.load()
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no fixed range')
    if image.mode.startswith('I'):
        values = np.asarray(image)[..., None]
        if values.min() < 0 or values.max() > 65535:
            raise ValueError('its pixels have more than 16 bits')
        return values
    values = deep and cv2.imdecode(np.frombuffer(deep, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[2:] not in ((3,), (4,)):
        return None
    return values[..., [2, 1, 0, 3][: values.shape[2]]]


def _narrowed(image: Image.Image, values: np.ndarray, bits: int | None) -> Image.Image:
    """8 bits of each value: mode L, LA, RGB or RGBA."""
    colours, alpha = values[..., :3], values[..., 3:]
    bits = bits or max(8, int(colours.max()).bit_length())
    upper = np.minimum(colours >> (bits - 8), 255).astype(np.uint8)
    narrow = Image.fromarray(upper[..., 0] if upper.shape[2] == 1 else upper)
    if alpha.size:
        narrow.putalpha(Image.fromarray((alpha[..., 0] >> 8).astype(np.uint8)))
    elif image.mode.startswith('I') and 'transparency' in image.info:
        opaque = values[..., 0] != image.info['transparency']
        narrow.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return narrow


# -------------------------------------------------------------------------------- upright, or named
def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turned and mirrored as EXIF asks for: 2 left to right, 3 by half a turn, 4 top to bottom, 5
    transposed, 6 and 8 by a quarter clockwise and back, 7 transposed over the other diagonal."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def orientation_of(image: Image.Image) -> int:
    """1..8 of its EXIF, or else of its XMP; 1 where they have none or are damaged."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # damaged metadata can raise anything, and is no reason to lose an image
        return 1
    return value if value in range(1, 9) else 1


@contextmanager
def _blamed_on(path: str, remedy: str = ': replace or remove it') -> Iterator[None]:
    """Whatever goes wrong is said of an image."""
    try:
        yield
    except (BCE3SError, MemoryError):  # the second says nothing of the image
        raise
    except Exception as error:  # a damaged image can raise anything
        raise BCE3SError(f'{path} cannot be read as an image ({why(error)}){remedy}.') from error


def why(error: BaseException | None) -> str:
    """The reason in a few words."""
    if isinstance(error, UnidentifiedImageError):  # whose text names an object in memory
        return 'damaged, or no image'
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * Image.MAX_IMAGE_PIXELS
        return f'more than {limit:,} pixels, which Pillow takes for an attack: make it smaller'
    if isinstance(error, OSError) and error.strerror:  # without the path
        return error.strerror
    return str(error)
