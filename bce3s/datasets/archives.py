"""Files out of tar archives, safely: the one place that unpacks what somebody else packed.

The caller says which members he wants and where each goes; no path is ever taken from the archive.
So of a crafted archive

* absolute names, ``..``, names with NUL, links, devices, pipes and whatever else was not asked for
  are passed over: nothing is created for them;
* a wanted name that is a link, a folder, a device, a sparse file, larger than expected, or there
  twice is refused with a sentence, and so is an archive that unpacks to much more than its own
  size, runs backwards or has a header beyond any sense;
* targets with ``..``, absolute ones, and two that need the same name are refused beforehand.

Files appear whole or not at all, however the process ends. (A power failure may cost the last half
minute: waiting for the disk after each of 100,000 files took ten.) What is there with the size that
the archive says is left alone, so an extraction that was stopped goes on. Links in the folder above
the targets are followed: they are the user's own, this module creates none.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import stat
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from bce3s.errors import BCE3SError

LARGEST_MEMBER = 256 << 20  # bytes; the largest file of CIFAR has 155 MB, of ImageNet 15 MB
LARGEST_HEADER = 1 << 20  # bytes of a name or of extended attributes
HIGHEST_RATIO = 100  # of the bytes in a gzip file to its own size; JPEG files have 1, text 10
GZIP = b'\x1f\x8b'

T = TypeVar('T')


@dataclass
class Extraction:
    """What became of the wanted members; ``missing``: those that the archive does not have."""

    written: int = 0
    kept: int = 0
    passed_over: int = 0
    missing: list[str] = field(default_factory=list)


class _Refused(Exception):
    """Why an archive is refused; a BCE3SError adds which one and what to do."""


def extract(
    archive: Path,
    wanted: Mapping[str, str],
    root: Path,
    largest: int = LARGEST_MEMBER,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Takes ``wanted`` out of a tar or tar.gz archive, in one pass.

    Args:
        archive: its path. Whether it is compressed is seen from its first bytes.
        wanted: name of a member -> path of the file below ``root``. ``INNER.tar/NAME`` is the
            member NAME of the archive INNER.tar inside this one.
        root: the folder of the targets; folders below it are created.
        largest: bytes of the largest member to expect.
        progress: called with the bytes of the archive that are read, and all of them.

    Raises:
        BCE3SError: the archive is damaged, truncated or not to be trusted, or a file cannot be
            written; what was written before stays, each file whole.
    """
    _check_targets(wanted)
    done = Extraction()
    reader = _Reader(wanted, root, largest, done)
    try:
        with archive.open('rb') as packed:
            size = os.fstat(packed.fileno()).st_size
            reader.report = lambda: progress(packed.tell(), size) if progress else None
            if packed.peek(2)[:2] == GZIP:
                with gzip.GzipFile(fileobj=packed) as stream:
                    reader.read(_Forward(stream, size * HIGHEST_RATIO + (1 << 20)))
            else:
                reader.read(_Forward(packed, size))
    except _Refused as error:
        raise BCE3SError(
            f'{archive} is not safe to unpack: {error}. Delete it and fetch it from the published '
            'address.'
        ) from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BCE3SError(
            f'{archive} cannot be unpacked ({error}): if it is truncated or damaged, delete it and '
            'fetch it again; else free space or permissions are missing'
        ) from error
    done.missing = [name for name in wanted if name not in reader.seen]
    return done


def require_md5(archive: Path, md5: str) -> None:
    """Raises BCE3SError unless ``archive`` is the published one."""
    try:
        with archive.open('rb') as file:
            found = hashlib.file_digest(file, 'md5').hexdigest()
    except OSError as error:
        raise BCE3SError(f'{archive} cannot be read ({error.strerror})') from error
    if found != md5:
        raise BCE3SError(
            f'{archive}: MD5 {found}, published is {md5}: it is truncated, damaged or another '
            'file. Nothing was unpacked; delete it and fetch it again'
        )


def _check_targets(wanted: Mapping[str, str]) -> None:
    """No target may lie outside its root, and none may be another one or a folder of another."""
    targets = set(wanted.values())
    if len(targets) < len(wanted):
        raise BCE3SError('two members of the archive would become the same file')
    for target in targets:
        path = PurePosixPath(target)
        if path.is_absolute() or '..' in path.parts or not path.parts or '\0' in target:
            raise BCE3SError(f'{target!r} is not a path below the folder of the data set')
        inside = next((str(p) for p in path.parents if str(p) in targets), None)
        if inside is not None:
            raise BCE3SError(f'{inside!r} would be a file and, for {target!r}, a folder')


class _Forward:
    """A file that is only ever read forwards, in pieces of a sensible size, up to ``limit`` bytes:
    what tarfile needs, and what a crafted header cannot turn into a loop or a huge allocation.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._limit = file, limit

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 2 * LARGEST_HEADER:
            raise _Refused(f'a header of it asks for {size} bytes at once')
        self._stay_below(self.tell() + size)
        return self._file.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or position < self.tell():
            raise _Refused('a header of it points backwards')
        self._stay_below(position)
        return self._file.seek(position)

    def _stay_below(self, position: int) -> None:
        # an archive may end anywhere in its last record of 10,240 bytes
        if position > self._limit + (1 << 20):
            raise tarfile.ReadError(
                f'a member of it ends beyond {self._limit} bytes: it is truncated, or no archive '
                'of such data'
            )


class _Reader:
    """Walks through an archive and the archives in it."""

    def __init__(
        self, wanted: Mapping[str, str], root: Path, largest: int, done: Extraction
    ) -> None:
        self.wanted, self.root, self.largest, self.done = wanted, root, largest, done
        self.inner = {name[: name.index('.tar/') + 4] for name in wanted if '.tar/' in name}
        self.seen: set[str] = set()
        self.writer = f'{socket.gethostname()}.{os.getpid()}'
        self.report: Callable[[], None] = lambda: None

    def read(self, file: _Forward, prefix: str = '') -> None:
        with _header(lambda: tarfile.open(fileobj=file, mode='r:')) as tar:
            while (member := _next(tar)) is not None:
                name = prefix + member.name.removeprefix('./')
                if not prefix and name in self.inner:
                    self._require_plain(name, member, limit=None)
                    self.read(_Forward(tar.extractfile(member), member.size), f'{name}/')
                elif name in self.wanted:
                    self._require_plain(name, member, self.largest)
                    self._take(tar, member, self.root / self.wanted[name])
                else:
                    self.done.passed_over += 1
                self.report()

    def _require_plain(self, name: str, member: tarfile.TarInfo, limit: int | None) -> None:
        if name in self.seen:
            raise _Refused(f'{name!r} is in it twice')
        self.seen.add(name)
        if not member.isreg() or member.issparse():
            raise _Refused(f'{name!r} is {_kind(member)}, not a plain file')
        if member.size < 0 or (limit is not None and member.size > limit):
            raise _Refused(f'{name!r} has {member.size} bytes, 0 to {limit} are expected')

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        if _is_there(target, member.size):
            self.done.kept += 1
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f'.{target.name}.{self.writer}.tmp')
        try:
            with temporary.open('wb') as file:
                shutil.copyfileobj(tar.extractfile(member), file, LARGEST_HEADER)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        self.done.written += 1


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member. Those before it are forgotten: an archive can have millions."""
    tar.members.clear()
    return _header(tar.next)


def _header(read: Callable[[], T]) -> T:
    """What ``read`` returns after it has read a header of an archive."""
    try:
        return read()
    except (_Refused, tarfile.TarError, EOFError, zlib.error, OSError):
        raise
    except Exception as error:  # a damaged header can raise anything
        raise tarfile.ReadError(f'{type(error).__name__}: {error}') from error


def _is_there(path: Path, size: int) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _kind(member: tarfile.TarInfo) -> str:
    kinds = dict(
        issym='a symbolic link', islnk='a hard link', isdir='a folder', isfifo='a pipe'
    ) | dict(ischr='a device', isblk='a device')
    return next((text for test, text in kinds.items() if getattr(member, test)()), 'a sparse file')
