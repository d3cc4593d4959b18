"""What the header of an image says of it, without decoding a pixel."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image

ORIENTATION = 0x0112  # the tag of EXIF
XMP = b'http://ns.adobe.com/xap/1.0/\0'  # begins its segment of a JPEG


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


def jpeg_header(data: bytes) -> JPEGHeader | None:
    """What a JPEG says of itself; None where it is another kind, damaged or no JPEG at all.

    Source: ITU-T T.81, Annex B.
    """
    if data[:2] != b'\xff\xd8' or data[-2:] != b'\xff\xd9':  # a cut one does not end so
        return None
    at, frame, exif, xmp = 2, None, b'', b''
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        body = data[at + 4 : at + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            frame = marker, at + 5, body
        elif marker == 0xE1 and body.startswith(b'Exif\0\0'):
            exif = body
        elif marker == 0xE1 and body.startswith(XMP):
            xmp = body
        elif marker == 0xDA:  # the first scan: what follows is pixels
            return _header(frame, body, orientation_of(partial(_tags, exif, xmp)))
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


def _tags(exif: bytes, xmp: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)
    if found and ORIENTATION not in tags:
        tags[ORIENTATION] = int(found[1])
    return tags


def orientation_of(read: Callable[[], Image.Exif]) -> int:
    """1..8 of the tags that ``read`` gives; 1 where they have none or are damaged."""
    try:
        value = read().get(ORIENTATION)
    except Exception:  # damaged metadata can raise anything, and is no reason to lose an image
        return 1
    return value if value in range(1, 9) else 1
