"""Files of a run, written whole or not at all.

Importing this module registers the storage backend ``atomic`` for
``CheckpointHook(backend_args=dict(backend='atomic'))``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mmengine.fileio import LocalBackend, register_backend

from bce3s.errors import BCE3SError
from bce3s.files import reason, written_whole


@register_backend('atomic', force=True)
class AtomicLocalBackend(LocalBackend):
    """Files appear whole or not at all: temporary file beside the target, fsync, ``os.replace``.

    What ``CheckpointHook`` removes to make room, it removes BEFORE it writes. Here a removal waits
    until the next file is safely written, so a full disk never leaves a run without its last
    checkpoint.
    """

    _to_remove: ClassVar[set[str]] = set()  # MMEngine makes a new instance for each save

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes ``obj`` to ``filepath``.

        Raises:
            BCE3SError: the disk is full or the folder cannot be written; ``filepath`` is as it was.
        """
        target = Path(filepath)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as file:
                file.write(obj)
        except OSError as error:
            raise BCE3SError(
                f'{target} could not be written ({reason(error)}; {len(obj) / 1e6:.1f} '
                'MB). Checkpoints written earlier are intact. Make room, then continue with '
                '--resume.'
            ) from error
        self._remove_pending(keep=str(target))

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Writes text the same way."""
        self.put(obj.encode(encoding), filepath)

    def remove(self, filepath: str | Path) -> None:
        """Removes ``filepath`` once the next file is written."""
        self._to_remove.add(str(filepath))

    @classmethod
    def _remove_pending(cls, keep: str) -> None:
        cls._to_remove.discard(keep)
        while cls._to_remove:
            Path(cls._to_remove.pop()).unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """A small file beside the checkpoints, written as they are."""
    AtomicLocalBackend().put_text(text, path)
