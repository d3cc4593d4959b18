"""Images as small files within the page, whether they lie in files or in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.checks import printable
from bce3s.errors import BCE3SError
from bce3s.page.content import Picture
from bce3s.wording import counted

if TYPE_CHECKING:
    from torch.utils.data import Dataset

SIDE = 96  # pixels of the longer side at most: 3 KB of a photo
SMALL = 48  # pixels up to which an image is kept as it is


@dataclass
class Pictures:
    """Images by their place, read one by one when they are shown.

    Attributes:
        images: (N,) paths; or a data set of as many images in memory, whose items have ``inputs``,
            uint8 (C, H, W).
        gone: why those that could not be read could not, by their places.
    """

    images: Sequence[str] | Dataset
    gone: dict[int, str] = field(default_factory=dict)

    @cached_property
    def _folder(self) -> str:
        """That all files are in or below."""
        return os.path.commonpath({os.path.dirname(os.path.abspath(path)) for path in self.images})

    @property
    def files(self) -> bool:
        """Whether they are files."""
        return isinstance(self.images, list | tuple)

    def name(self, index: int) -> str:
        """The path of a file from the folder of all; else the place of the image."""
        if not self.files:
            return f'image {index}'
        relative = os.path.relpath(self.images[index], self._folder)
        return printable(relative.replace(os.sep, '/'))

    def picture(self, index: int, *lines: str) -> Picture:
        """An image with texts below it; without the image, where it cannot be read any more."""
        index = int(index)
        try:
            pixels = self._pixels(index)
        except BCE3SError as error:
            self.gone[index] = str(error)
            return Picture(self.name(index), list(lines))
        return Picture(self.name(index), list(lines), small_file(pixels))

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        if self.files:
            from bce3s.datasets.pixels import read_bytes
            from bce3s.own_data.thumbnails import small_pixels

            path = self.images[index]
            return small_pixels(path, read_bytes(path), SIDE)[0]
        return self.images[index]['inputs'].permute(1, 2, 0).numpy()

    def notes(self, whose: str) -> list[str]:
        """A sentence where images are gone, with the first of them; else none."""
        if not self.gone:
            return []
        first = printable(next(iter(self.gone.values())))
        return [f'{whose}: {counted(len(self.gone), "picture")} cannot be shown: {first}']


def small_file(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (H, W, 1 or 3) as a file of at most ``SIDE`` a side: a JPEG, or a PNG of what is
    small anyway.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    file, small = io.BytesIO(), max(height, width) <= SMALL
    look = dict(format='PNG', optimize=True) if small else dict(format='JPEG', quality=80)
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, **look)
    return file.getvalue()
