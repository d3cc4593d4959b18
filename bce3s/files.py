"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
    try:
        with temporary.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
