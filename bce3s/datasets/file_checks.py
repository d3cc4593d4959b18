"""What is wrong with the file of one image."""

from __future__ import annotations

import os
import stat
import zlib
from typing import NamedTuple

from bce3s.errors import BCE3SError

HOW = ('none', 'files', 'headers', 'pixels')
BLOCK = 4096  # bytes that are read at the beginning and at the end


class Look(NamedTuple):
    """``problem``: what is wrong, or None. ``mark``: 64 bits that equal files share; 0: unknown."""

    problem: str | None
    mark: int = 0


def check_how(name: str, how: str) -> None:
    """Raises BCE3SError where ``how`` is none of ``HOW``; ``name``: whose argument it is."""
    if how not in HOW:
        raise BCE3SError(f'{name}: check is {how!r}; use one of {", ".join(HOW)}.')


def look_at(path: str, how: str) -> Look:
    """Checks the file of one image.

    ``'files'``: it is there, a regular file, not empty, and may be read. ``'headers'``: and what
    its header and its end say is a complete JPEG, or its sums a complete PNG; where these leave
    a doubt, and of other formats, all of it is decoded. ``'pixels'``: all is decoded.
    """
    try:
        # O_NONBLOCK: a pipe would be waited for
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Look('links to a file that is not there' if os.path.islink(path) else 'is missing')
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return Look(f'cannot be opened ({getattr(error, "strerror", None) or error})')
    try:
        return _look(path, file, how)
    except OSError as error:
        return Look(f'cannot be read ({error.strerror})')
    finally:
        os.close(file)


def _look(path: str, file: int, how: str) -> Look:
    status = os.fstat(file)
    if stat.S_ISDIR(status.st_mode):
        return Look('is a folder, not an image')
    if not stat.S_ISREG(status.st_mode):
        return Look('is no regular file')
    size = status.st_size
    if not size:
        return Look('is empty')
    if how == 'files':
        return Look(None)
    head = os.pread(file, BLOCK, 0)
    tail = os.pread(file, BLOCK, size - BLOCK) if size > BLOCK else head
    mark = (size & 0xFFFFFFFF) << 32 | zlib.crc32(tail, zlib.crc32(head))
    from bce3s.datasets.decoding import unreadable_because  # torch and OpenCV, if needed

    reason = None
    if how == 'pixels' or not _complete(file, tail):
        reason = unreadable_because(path)
    return Look(reason and f'cannot be read as an image ({reason})', mark)


def _complete(file: int, tail: bytes) -> bool:
    """Whether an image is whole without doubt: a JPEG whose pixels begin and that has its end, a
    PNG all of whose parts have the sums that they should have. The others are decoded.
    """
    from PIL import Image

    try:
        with os.fdopen(os.dup(file), 'rb') as opened, Image.open(opened) as image:
            if image.format == 'PNG':
                image.verify()
            return image.format == 'PNG' or (
                image.format in ('JPEG', 'MPO') and tail.endswith(b'\xff\xd9')
            )
    except Exception:  # a damaged image can raise anything: decoding it tells what is wrong
        return False
