"""Checkpoints that are read without unpickling code, written whole or not at all, and refused where
they do not fit.

Importing this module makes every local checkpoint that MMEngine loads go through
:func:`load_from_disk`, and registers the storage backend ``atomic`` for
``CheckpointHook(backend_args=dict(backend='atomic'))``.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader

from bce3s.engine.checkpoint_hooks import (
    CheckpointGuardHook,
    ResumedValidationHook,
    SafeCheckpointHook,
)
from bce3s.errors import BCE3SError
from bce3s.files import written_whole

__all__ = [
    'AtomicLocalBackend',
    'CheckpointGuardHook',
    'ResumedValidationHook',
    'SafeCheckpointHook',
    'load_from_disk',
    'resolve_checkpoint',
]


# ------------------------------------------------------------ reading
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_disk(filename: str | Path, map_location: Any = 'cpu') -> dict:
    """``torch.load`` of a local file that holds tensors and plain types only; no code in it is ever
    run.

    Raises:
        BCE3SError: no such file; truncated or not a checkpoint; or it holds objects that would have
            to be unpickled.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise BCE3SError(f'Checkpoint {path} does not exist. Check the path.')
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r'(?:GLOBAL|[Gg]lobal|class|function) ([\w.]+\.[\w.]+)', str(error))
        what = f' ({found[1].rstrip(".")})' if found else ''
        raise BCE3SError(
            f'{path} is refused: it is no checkpoint of tensors and plain values, and reading it '
            f'might run code{what}. Use a checkpoint written by this project, or one that '
            'torch.load(weights_only=True) reads.'
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BCE3SError(
            f'{path} cannot be read as a checkpoint ({reason}): it is truncated or another kind of '
            'file. Use an earlier checkpoint.'
        ) from error
    if not isinstance(checkpoint, dict):
        raise BCE3SError(f'{path} holds a {type(checkpoint).__name__}, not a checkpoint.')
    return checkpoint


def _check_resumable(path: Path) -> None:
    """Loads ``path`` and looks for what a resume needs."""
    checkpoint = load_from_disk(path)
    missing = [k for k in ('meta', 'state_dict', 'message_hub', 'optimizer') if k not in checkpoint]
    if missing:
        raise BCE3SError(
            f'{path} has no {", ".join(missing)}, so training cannot be resumed from it (a best_* '
            'checkpoint holds weights only). Resume from an epoch_*.pth, or start from its weights '
            f'with --cfg-options load_from={path}.'
        )


def _candidates(work_dir: Path) -> list[Path]:
    """Checkpoints of ``work_dir``: the one that ``last_checkpoint`` names, then by descending
    epoch.
    """
    epochs = {}
    for path in work_dir.glob('epoch_*.pth'):
        if number := re.fullmatch(r'epoch_(\d+)\.pth', path.name):
            epochs[int(number[1])] = path
    ordered = [epochs[epoch] for epoch in sorted(epochs, reverse=True)]
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file() and (text := pointer.read_text(errors='replace').strip()):
        # It holds an absolute path, stale once the folder was moved or copied: only the name
        # counts.
        named = work_dir / Path(text).name
        if named.is_file():
            ordered = [named, *(path for path in ordered if path != named)]
    return ordered


def resolve_checkpoint(work_dir: str | Path, resume: str | None) -> Path | None:
    """The checkpoint to resume from.

    ``resume`` is None (don't), ``'auto'`` (the newest in ``work_dir`` that loads; None if it holds
    none) or a path.

    Raises:
        BCE3SError: the named file is missing or unfit; or ``work_dir`` holds checkpoints, none of
            which loads.
    """
    if resume is None:
        return None
    if resume != 'auto':
        path = Path(resume).expanduser()
        _check_resumable(path)
        return path
    candidates = _candidates(Path(work_dir))
    for path in candidates:
        try:
            _check_resumable(path)
        except BCE3SError as error:
            print_log(f'Passed over: {error}', 'current', level=30)
        else:
            return path
    if candidates:
        names = ', '.join(path.name for path in candidates)
        raise BCE3SError(
            f'None of the checkpoints in {work_dir} can be resumed from ({names}). Name another '
            'with --resume PATH, or start again with --overwrite.'
        )
    return None


# ------------------------------------------------------------ writing
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
                f'{target} could not be written ({error.strerror or error}; {len(obj) / 1e6:.1f} '
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
