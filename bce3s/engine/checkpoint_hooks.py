"""Hooks around saving and loading: what goes in is plain, what comes out fits the model."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from bce3s.engine.run_state import bare_model
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS

PLAIN_TYPES = (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype)
HISTORY_KEYS = {'log_history', 'count_history', 'max_length'}


def plain(value: Any, where: str = 'checkpoint') -> Any:
    """``value`` with numpy scalars as Python numbers, arrays as tensors, HistoryBuffers as dicts of
    tensors.

    Raises:
        BCE3SError: something else, which ``torch.load(weights_only=True)`` would refuse.
    """
    if isinstance(value, HistoryBuffer):
        log_history, count_history = value.data
        return dict(
            log_history=torch.from_numpy(np.asarray(log_history, np.float64).copy()),
            count_history=torch.from_numpy(np.asarray(count_history, np.float64).copy()),
            max_length=int(value.max_length),
        )
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, torch.Tensor) or type(value) in PLAIN_TYPES:
        return value
    if isinstance(value, dict):
        return {plain(k, where): plain(v, f'{where}.{k}') for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(v, where) for v in value)
    if isinstance(value, list | set | frozenset):
        return [plain(v, where) for v in value]
    if isinstance(value, os.PathLike | str):
        return str(value)
    raise BCE3SError(
        f'{where} holds a value of type {type(value).__module__}.{type(value).__qualname__}, which '
        'a checkpoint cannot keep safely. Keep numbers, strings, tensors, lists and dicts there.'
    )


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Saves nothing that has to be unpickled, and bounds MMEngine's log histories.

    ``HistoryBuffer`` pickles its methods; ``before_save_checkpoint`` turns it and numpy scalars
    into tensors and plain types, ``after_load_checkpoint`` rebuilds it:
    ``torch.serialization.get_unsafe_globals_in_checkpoint(f) == []``. Its ``update`` copies the
    whole history: O(n) an iteration, so it is kept to ``max_length`` entries (averages over a log
    interval need no more).

    ``meta.config``, which nothing here writes, is taken out of what is loaded, wherever it came
    from: ``Runner.resume`` runs that text as Python code.
    """

    priority = 'LOWEST'  # after every hook that adds something to the checkpoint

    def __init__(self, max_length: int = 1000) -> None:
        self.max_length = max_length

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        (checkpoint.get('meta') or {}).pop('config', None)
        hub = checkpoint.get('message_hub')
        if not hub:
            return
        for name, history in hub['log_scalars'].items():
            if isinstance(history, dict) and history.keys() == HISTORY_KEYS:
                hub['log_scalars'][name] = HistoryBuffer(
                    history['log_history'].cpu().numpy(),
                    history['count_history'].cpu().numpy(),
                    history['max_length'],
                )
        # Saved as absolute paths. The folder may have been copied, and CheckpointHook removes the
        # former best: it must never reach into another run's folder.
        for name, value in list(hub['runtime_info'].items()):
            if isinstance(value, str) and name.startswith(('best_ckpt', 'last_ckpt')):
                hub['runtime_info'][name] = str(Path(runner.work_dir) / Path(value).name)
                if not value.endswith('.pth'):  # it would be removed: nothing but a checkpoint
                    del hub['runtime_info'][name]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if batch_idx % 100 == 0:
            for history in runner.message_hub.log_scalars.values():
                history.max_length = min(history.max_length, self.max_length)


@HOOKS.register_module()
class ResumedValidationHook(Hook):
    """Runs, after a resume, the validation due at the end of the epoch that the checkpoint holds.

    MMEngine saves an epoch's checkpoint before it validates, so a run stopped in between would
    never have that epoch's figures, and one stopped after its last epoch no report. A checkpoint
    within an epoch was written after the validation of the one before.
    """

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        epoch, loop = runner.epoch, runner.train_loop
        if epoch == 0 or runner.val_loop is None or epoch < loop.val_begin:
            return
        if getattr(loop, 'batches_done', 0):
            return
        if epoch % loop.val_interval == 0 or epoch >= loop.max_epochs:
            runner.val_loop.run()


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Stops where a checkpoint does not fit the model; MMEngine loads what fits and warns. Of a
    classifier whose rows lie on several ranks each takes its own.

    Args:
        ignore: prefixes of parameter and buffer names that may be missing, left over or of another
            shape.
    """

    priority = 'VERY_HIGH'

    def __init__(self, ignore: tuple[str, ...] | list[str] = ()) -> None:
        self.ignore = tuple(ignore)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        saved = checkpoint.get('state_dict', checkpoint)
        saved = {re.sub(r'^module\.', '', name): value for name, value in saved.items()}
        compare_states(bare_model(runner).state_dict(), saved, self.ignore)


def compare_states(model: dict, saved: dict, ignore: tuple[str, ...] = ()) -> None:
    """Compares names and shapes of two state dicts.

    Raises:
        BCE3SError: another number of classes (both are named), or another architecture (what
            differs is named).
    """
    missing = [k for k in model if k not in saved and not k.startswith(ignore)]
    extra = [k for k in saved if k not in model and not k.startswith(ignore)]
    shapes = {
        k: (tuple(saved[k].shape), tuple(model[k].shape))
        for k in model
        if k in saved and saved[k].shape != model[k].shape and not k.startswith(ignore)
    }
    if not (missing or extra or shapes):
        return
    rows = {(was[:1], now[:1]) for was, now in shapes.values() if was[1:] == now[1:]}
    others = [k for k, (was, now) in shapes.items() if was[1:] != now[1:]]
    in_head = all(not name.startswith(('backbone.', 'neck.')) for name in shapes)
    if len(rows) == 1 and in_head and not (missing or extra or others):
        ((was,), (now,)) = rows.pop()
        name, (old, new) = next(iter(shapes.items()))
        raise BCE3SError(
            f'The checkpoint was trained with {was} classes, this config has {now} ({name}: {old} '
            f'in the checkpoint, {new} in the model). Use the config it was trained with.'
        )
    differs = [
        f'{name}: {old} in the checkpoint, {new} here' for name, (old, new) in shapes.items()
    ]
    parts = [
        _named('missing in the checkpoint', missing),
        _named('unknown to the model', extra),
        _named('of another shape', differs),
    ]
    raise BCE3SError(
        f'The checkpoint is of another architecture than this config: '
        f'{"; ".join(filter(None, parts))}. Use the config it was trained with.'
    )


def _named(what: str, names: list[str], most: int = 3) -> str:
    more = f', ... ({len(names)} in all)' if len(names) > most else ''
    return f'{what}: {", ".join(names[:most])}{more}' if names else ''
