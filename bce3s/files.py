"""Files that appear whole or not at all, and folders that one run at a time may write."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bce3s.errors import BCE3SError

# A disk that is full, beyond its quota or the limit of a file's size, broken, or read-only.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}

# A path that is too long, a loop, no folder, a folder, special, or not allowed.
PATH_ERRORS = {
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL),
    *(errno.EACCES, errno.EPERM),
}


def reason(error: OSError) -> str:
    """Why a file could not be written, in the system's words, with the file where it is known."""
    why = error.strerror or str(error)
    return f'{why}: {error.filename}' if error.filename else why


@contextmanager
def written_whole(path: Path, shared: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which becomes ``path`` when the block ends without an error.

    A reader finds the old file or the new one, never half of it, even after a kill or on a full
    disk: a temporary file in the same folder, fsync, ``os.replace``, fsync of the folder.

    Args:
        path: the target.
        shared: whether other processes or machines may write the same target at the same time.
            Otherwise what a killed process left behind is overwritten by the next one.

    Raises:
        OSError: as raised while writing; ``path`` is then as it was.
    """
    writer = f'.{socket.gethostname()}.{os.getpid()}' if shared else ''
    temporary = path.with_name(f'.{path.name}{writer}.tmp')
    if path.exists() and not path.is_file():  # such as /dev/null, which would be replaced
        raise OSError(errno.EINVAL, 'it is there, and no regular file', str(path))
    try:
        with temporary.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):  # or it would hide why there is one
            temporary.unlink(missing_ok=True)


def write_all(contents: Mapping[str, str | bytes], folder: str | Path) -> Path:
    """Writes files into a folder, each whole or not at all, and returns the path of the last.

    Args:
        contents: of each, by its name.
        folder: is made if it is not there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with written_whole(folder / name) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    return folder / name


def _sync_folder(folder: Path) -> None:
    """Makes a rename in ``folder`` durable, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def checkpoints_in(folder: Path) -> list[Path]:
    """Those of a run, and the file that names the last one."""
    patterns = ('epoch_*.pth', 'iter_*.pth', 'best_*.pth', 'last_checkpoint')
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps a second run out of ``folder`` until the block ends or this process dies.

    Raises:
        BCE3SError: another process holds the folder, or it cannot be made or written to.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / '.lock').open('a+')
    except OSError as error:
        raise BCE3SError(
            f'{folder} is no folder that can be written to ({reason(error)}): give another '
            '--work-dir.'
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BCE3SError(
                f'{folder} is being written by another run ({file.read().strip()}): wait for it, '
                'stop it, or give another --work-dir.'
            ) from None
        except OSError:  # a file system without locks
            pass
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}')
        file.flush()
        yield


def hush_writers() -> None:
    """A thread that cannot write to the disk (TensorBoard's) prints no traceback: it hands its
    error on to the run, which ends with a sentence. For the rest of the process, for the thread may
    come to it after the run's end.
    """
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (isinstance(args.exc_value, OSError) and args.exc_value.errno in DISK_ERRORS):
            before(args)

    threading.excepthook = hook
