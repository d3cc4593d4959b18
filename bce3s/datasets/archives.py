"""Files out of tar archives. The caller says which members he wants and what each is to be called:
no path is ever taken from an archive, and what was not asked for is passed over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bce3s.errors import BCE3SError

LARGEST_MEMBER = 256 << 20  # bytes; the largest file of CIFAR has 155 MB, of ImageNet 15 MB
HIGHEST_RATIO = 100  # of bytes in an archive to its own; tarfile would look for more without end


@dataclass
class Extraction:
    """What became of the wanted members; ``missing``: those that the archive does not have."""

    written: int = 0
    kept: int = 0
    passed_over: int = 0
    missing: list[str] = field(default_factory=list)


def extract(
    archive: Path,
    wanted: Mapping[str, str],
    root: Path,
    largest: int = LARGEST_MEMBER,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Takes ``wanted`` out of a tar or tar.gz archive, in one pass. Each file appears whole or not
    at all, and one that is there with its size is kept: an extraction that was stopped goes on.

    Args:
        archive: its path.
        wanted: name of a member -> path of the file below ``root``. ``INNER.tar/NAME`` is the
            member NAME of the archive INNER.tar inside this one.
        root: the folder of the targets; folders below it are created.
        largest: bytes of the largest member to expect.
        progress: called with the bytes of the archive that are read, and all of them.

    Raises:
        BCE3SError: the archive is damaged, a wanted member is no plain file or too large, or a
            file cannot be written. What was written before stays.
    """
    done, left = Extraction(), set(wanted)
    inner = {name[: name.index('.tar/') + 4] for name in wanted if '.tar/' in name}

    def read(tar: tarfile.TarFile, prefix: str = '') -> None:
        while (member := tar.next()) is not None:
            tar.members.clear()  # an archive can have millions
            if not 0 <= member.size <= HIGHEST_RATIO * size + (1 << 20):
                raise tarfile.ReadError(f'a header of it says {member.size} bytes')
            name = prefix + member.name.removeprefix('./')
            if name in left and not (member.isreg() and member.size <= largest):
                raise tarfile.ReadError(f'{name!r} is no plain file of up to {largest} bytes')
            if name in left:
                left.remove(name)
                _take(tar, member, root / wanted[name], done)
            elif not prefix and name in inner and member.isreg():
                with tarfile.open(fileobj=tar.extractfile(member), mode='r|') as below:
                    read(below, f'{name}/')
            else:
                done.passed_over += 1
            if progress:
                progress(packed.tell(), size)

    try:
        with archive.open('rb') as packed, tarfile.open(fileobj=packed, mode='r|*') as whole:
            size = os.fstat(packed.fileno()).st_size
            read(whole)
    except Exception as error:  # a damaged header can raise anything
        raise BCE3SError(
            f'{archive} cannot be unpacked ({error}): if it is truncated or damaged, delete it and '
            'fetch it again; else free space or permissions are missing'
        ) from error
    done.missing = [name for name in wanted if name in left]
    return done


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, done: Extraction) -> None:
    if target.is_file() and target.stat().st_size == member.size:
        done.kept += 1
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as file:
            shutil.copyfileobj(tar.extractfile(member), file)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    done.written += 1


def require_md5(path: Path, md5: str, remedy: str = '') -> None:
    """Raises BCE3SError unless ``path`` has this checksum; ``remedy``: what else could be done."""
    try:
        with path.open('rb') as file:
            found = hashlib.file_digest(file, 'md5').hexdigest()
    except OSError as error:
        raise BCE3SError(f'{path} cannot be read ({error.strerror})') from error
    if found != md5:
        raise BCE3SError(
            f'{path}: MD5 {found}, published is {md5}: it is truncated, damaged or another copy. '
            f'Delete it to fetch it again{remedy}'
        )
