"""What is wrong with the file of one image, as far as its beginning and its end tell."""

from __future__ import annotations

import os
import stat
import zlib
from typing import NamedTuple

from bce3s.errors import BCE3SError

HOW = ('none', 'files', 'headers', 'pixels')
BLOCK = 4096  # bytes that are read at the beginning and at the end

# beginning -> what the end of a complete file must hold
_ENDS = {
    b'\xff\xd8\xff': b'\xff\xd9',
    b'\x89PNG\r\n\x1a\n': b'IEND\xaeB`\x82',
    b'GIF8': b'\x3b',
}


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
    its first and last 4 KiB say is an image that is complete (JPEG, PNG, GIF, WebP); where they
    leave a doubt, and of other formats, all of it is decoded. ``'pixels'``: all is decoded.
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
    if how == 'headers' and _complete(file, size, head, tail):
        return Look(None, mark)
    from bce3s.datasets.decoding import unreadable_because  # torch and OpenCV, if needed

    reason = unreadable_because(path)
    return Look(reason and f'cannot be read as an image ({reason})', mark)


def _complete(file: int, size: int, head: bytes, tail: bytes) -> bool:
    """Whether the file is without doubt a whole image; the doubtful ones are decoded."""
    if head[:4] == b'RIFF' and head[8:12] == b'WEBP':
        return int.from_bytes(head[4:8], 'little') + 8 <= size
    end = next((end for begin, end in _ENDS.items() if head.startswith(begin)), None)
    if end is None or end not in tail:
        return False
    if end == b'\x3b':
        return tail.rstrip(b'\0').endswith(end)
    if end == b'\xff\xd9':
        return tail.endswith(end) and _has_scan(file, size, head)
    return head[12:16] == b'IHDR' and _pixels(head[16:24]) <= 1 << 26


def _pixels(sides: bytes) -> int:
    return int.from_bytes(sides[:4], 'big') * int.from_bytes(sides[4:], 'big')


def _has_scan(file: int, size: int, head: bytes) -> bool:
    """Whether a JPEG's pixels begin before its end: the thumbnail of a cut one ends alike."""
    start, at = 0, 2  # head begins at byte `start` of the file
    while at + 4 < size:
        if at + 4 - start > len(head):
            start, head = at, os.pread(file, BLOCK, at)
        marker = head[at - start : at - start + 4]
        if len(marker) < 4 or marker[0] != 0xFF:
            return False
        if marker[1] == 0xDA:
            return True
        at += 2 + int.from_bytes(marker[2:], 'big')
    return False
