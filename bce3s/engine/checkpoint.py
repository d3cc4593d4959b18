"""Checkpoints that are read without unpickling code, and refused where they do not fit.

Importing this module makes every checkpoint that MMEngine loads from this machine or by http go
through :func:`load_from_disk`, every ``torch.load`` of the process read tensors and plain types
only, and registers the storage backend ``atomic`` (:mod:`bce3s.engine.atomic`).
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import apply_to

from bce3s.engine.atomic import AtomicLocalBackend
from bce3s.engine.checkpoint_content import checked
from bce3s.engine.checkpoint_hooks import (
    CheckpointGuardHook,
    ResumedValidationHook,
    SafeCheckpointHook,
)
from bce3s.engine.pickle_check import check_file
from bce3s.errors import BCE3SError

__all__ = [
    'AtomicLocalBackend',
    'CheckpointGuardHook',
    'ResumedValidationHook',
    'SafeCheckpointHook',
    'load_for_mmengine',
    'load_from_disk',
    'read_whole',
    'resolve_checkpoint',
    'survey',
]


os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'  # for what others load, torchvision's weights


# ------------------------------------------------------------ reading
def load_from_disk(filename: str | Path, map_location: Any = 'cpu') -> dict:
    """``torch.load`` of a local file that holds tensors and plain types only; no code in it is ever
    run.

    Before it is read, its pickle is followed by :mod:`bce3s.engine.pickle_check`; after that its
    content is checked and copied by :mod:`bce3s.engine.checkpoint_content`, which also leaves out
    ``meta.config``, the text that MMEngine would run on a resume.

    Raises:
        BCE3SError: no such file; truncated or not a checkpoint; it holds objects that would have to
            be unpickled; or what it holds has not the form of a checkpoint.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise BCE3SError(f'Checkpoint {path} does not exist. Check the path.')
    try:
        check_file(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r'(?:GLOBAL|[Gg]lobal|class|function) ([\w.]+\.[\w.]+)', str(error))
        what = found[1].rstrip('.') if found else str(error).splitlines()[0][:200]
        raise BCE3SError(
            f'{path} is refused: it is no checkpoint of tensors and plain values ({what}). Nothing '
            'of it was run. Use a checkpoint written by this project, or one that holds weights '
            'only.'
        ) from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise BCE3SError(
            f'{path} does not fit into the memory ({path.stat().st_size / 1e6:.1f} MB).'
        ) from error
    except Exception as error:  # a damaged file can raise anything
        reason = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
        raise BCE3SError(
            f'{path} cannot be read as a checkpoint ({reason}): it is truncated or another kind of '
            'file. Use an earlier checkpoint.'
        ) from error
    if not isinstance(checkpoint, dict):
        raise BCE3SError(
            f'{path} holds a value of type {type(checkpoint).__name__}, not a checkpoint.'
        )
    return checked(str(path), path.stat().st_size, checkpoint)


def read_whole(path: Path) -> dict:
    """:func:`load_from_disk`, and every record has the checksum with which it was written, which
    ``torch.load`` does not look at.

    Raises:
        BCE3SError: as :func:`load_from_disk`; a record was changed.
    """
    checkpoint = load_from_disk(path)
    if name := _changed_record(path):
        raise BCE3SError(
            f'{path} is damaged: its record {name} has another checksum than when it was written. '
            'Use another checkpoint.'
        )
    return checkpoint


def _changed_record(path: Path) -> str | None:
    """The first record of a torch file whose CRC-32 is wrong."""
    if not zipfile.is_zipfile(path):  # before torch 1.6: without checksums
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        return str(error)


# What was read to see whether a run can be resumed from it, until the runner asks for it.
_held: dict[tuple[Path, int, int], dict] = {}


def _identity(path: Path) -> tuple[Path, int, int]:
    state = path.stat()
    return path.resolve(), state.st_mtime_ns, state.st_size


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_for_mmengine(filename: str | Path, map_location: Any = 'cpu') -> dict:
    """What every load of a local file by MMEngine comes to: :func:`read_whole`. A file that
    :func:`resolve_checkpoint` has just read is not read again; its tensors are on the CPU then,
    from where models and optimisers copy them.
    """
    path = Path(filename).expanduser()
    if path.is_file() and (held := _held.pop(_identity(path), None)) is not None:
        return held
    checkpoint = read_whole(path)
    if map_location != 'cpu':
        checkpoint = apply_to(
            checkpoint, lambda x: isinstance(x, torch.Tensor), lambda x: x.to(map_location)
        )
    return checkpoint


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(url: str, map_location: Any = 'cpu') -> dict:
    """Weights at an address (``load_from``), fetched once to torch's cache, then as of
    :func:`load_from_disk`.

    Raises:
        BCE3SError: they cannot be fetched, or what was fetched is refused.
    """
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(url).path).name or 'weights')
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
    except (OSError, ValueError) as error:  # of the network, or of the disk
        raise BCE3SError(f'{url} cannot be fetched to {path}: {error}.') from error
    return load_from_disk(path, map_location)


def _check_resumable(path: Path) -> None:
    """Loads ``path`` and looks for what a resume needs."""
    checkpoint = read_whole(path)
    missing = [
        k for k in ('meta', 'state_dict', 'message_hub', 'optimizer') if not checkpoint.get(k)
    ]
    if missing:
        raise BCE3SError(
            f'{path} has no {", ".join(missing)}, so training cannot be resumed from it (a best_* '
            'checkpoint holds weights only). Resume from an epoch_*.pth, or start from its weights '
            f'with --cfg-options load_from={path}.'
        )
    _held.clear()
    _held[_identity(path)] = checkpoint


# ------------------------------------------------------------ which one
def _candidates(work_dir: Path) -> list[Path]:
    """Files of ``work_dir`` that look like checkpoints to resume from."""
    found = {
        path
        for kind in ('epoch', 'iter')
        for path in work_dir.glob(f'{kind}_*.pth')
        if re.fullmatch(rf'{kind}_\d+\.pth', path.name) and path.is_file()
    }
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file() and (text := pointer.read_text(errors='replace').strip()):
        # It holds an absolute path, stale once the folder was moved or copied: only the name
        # counts. It names a file of another name_tmpl; which one is newest it does not decide.
        named = work_dir / Path(text).name
        if named.is_file():
            found.add(named)
    return sorted(found)


def _order(path: Path) -> tuple[int, int]:
    """When a checkpoint was written: its number in the run's folder (files of earlier versions have
    none: 0), then the iterations it holds. Tensors are not read where that can be helped.

    Raises:
        BCE3SError: it cannot be read.
    """
    try:
        check_file(path)
        checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        meta = checkpoint['meta']
        order = (meta.get('serial', 0), meta['iter'])
    except Exception:  # damaged in any way, or of an old kind: this one finds the words for it
        meta = load_from_disk(path).get('meta') or {}
        order = (meta.get('serial', 0), meta.get('iter', -1))
    return order if all(type(number) is int for number in order) else (0, -1)


def _by_age(work_dir: Path) -> tuple[list[tuple[Path, tuple[int, int]]], dict[Path, BCE3SError]]:
    """Candidates that can be opened with their :func:`_order`, ascending; and why not the others.

    After ``--resume`` from an older file, those of the branch that was left are older than what is
    written from then on, although they hold more iterations: ``serial`` counts saves, no clock.
    """
    readable, broken = {}, {}
    for path in _candidates(work_dir):
        try:
            readable[path] = _order(path)
        except BCE3SError as error:
            broken[path] = error
    return sorted(readable.items(), key=lambda item: item[1]), broken


def survey(folder: str | Path) -> tuple[list[tuple[Path, tuple[int, int]]], list[Path]]:
    """Checkpoints of ``folder`` that are sound, oldest first, each with its number and iteration;
    and those that are damaged (not those that are merely no checkpoints to resume from).
    """
    readable, broken = _by_age(Path(folder))
    sound = [item for item in readable if _changed_record(item[0]) is None]
    changed = [path for path, _ in readable if path not in dict(sound)]
    torn = [path for path in broken if not zipfile.is_zipfile(path)]
    return sound, changed + torn


def resolve_checkpoint(work_dir: str | Path, resume: str | None) -> Path | None:
    """The checkpoint to resume from.

    ``resume`` is None (don't), ``'auto'`` (the one written last in ``work_dir`` among those that
    are sound, at the end of an epoch or within one; None if it holds none) or a path. What is
    passed over is logged with the reason.

    Raises:
        BCE3SError: the named file is missing or unfit; or ``work_dir`` holds checkpoints, none of
            which can be used.
    """
    if resume is None:
        return None
    if resume != 'auto':
        path = Path(resume).expanduser()
        _check_resumable(path)
        return path
    readable, broken = _by_age(Path(work_dir))
    for error in broken.values():
        print_log(f'Passed over: {error}', 'current', level=logging.WARNING)
    for path, _ in reversed(readable):
        try:
            _check_resumable(path)
        except BCE3SError as error:
            print_log(f'Passed over: {error}', 'current', level=logging.WARNING)
        else:
            return path
    if readable or broken:
        names = ', '.join(path.name for path in [*(path for path, _ in readable), *broken])
        raise BCE3SError(
            f'None of the checkpoints in {work_dir} can be resumed from ({names}). Name another '
            'with --resume PATH, or start again with --overwrite.'
        )
    return None
