"""What is written: checkpoints of plain values, whole or not at all, when they are due and when the
run is asked to stop.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from bce3s.engine.checkpoint import is_damaged, survey
from bce3s.engine.loops import epoch_size
from bce3s.engine.run_state import highest, stop_requested
from bce3s.errors import BCE3SError
from bce3s.files import reason, written_whole
from bce3s.registry import HOOKS
from bce3s.signals import Preempted, be_patient


# ------------------------------------------------------------ whole or not at all
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


# ------------------------------------------------------------ plain values
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
    """

    priority = 'LOWEST'  # after every hook that adds something to the checkpoint

    def __init__(self, max_length: int = 1000) -> None:
        self.max_length = max_length

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
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


# ------------------------------------------------------------ when
@HOOKS.register_module()
class RunCheckpointHook(CheckpointHook):
    """MMEngine's hook, which also saves within an epoch and when the run is asked to stop.

    ``epoch_E.pth`` holds the end of epoch E, ``iter_I.pth`` the moment after iteration I within an
    epoch; both can be resumed from (:class:`ResumableTrainLoop`). Files are written whole or not at
    all. Of those that can be read the last ``max_keep_ckpts`` are kept; a damaged one does not
    count and goes when that many newer ones stand. ``save_best`` is MMEngine's.

    After SIGTERM, SIGUSR1 or Ctrl-C (:mod:`bce3s.signals`) the run saves after the present
    iteration and ends with :class:`Preempted`. Processes agree on it, and on the clock, in every
    ``look_every``-th iteration, on the CPU; a single one looks at each. A validation is broken off
    and made up for after the resume.

    Args:
        interval: epochs between two ``epoch_E.pth``; the last epoch is saved in any case.
        interval_iters: iterations between two ``iter_I.pth``; 0: none.
        interval_minutes: minutes after which an ``iter_I.pth`` is due; 0: none.
        look_every: iterations between two questions to the other processes.
        max_keep_ckpts: how many are kept; -1: all.
        **kwargs: further arguments of ``CheckpointHook``.

    Raises:
        BCE3SError: an interval that is negative, ``look_every`` or ``max_keep_ckpts`` of 0; or a
            loop without epochs, which is MMEngine's ``CheckpointHook``'s.
    """

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int = 0,
        interval_minutes: float = 0.0,
        look_every: int = 10,
        max_keep_ckpts: int = 2,
        **kwargs,
    ) -> None:
        if min(interval_iters, interval_minutes) < 0 or look_every < 1 or not max_keep_ckpts:
            raise BCE3SError(
                f'RunCheckpointHook: interval_iters={interval_iters}, interval_minutes='
                f'{interval_minutes} must not be negative, look_every={look_every} must be at '
                f'least 1, max_keep_ckpts={max_keep_ckpts} at least 1, or -1 for all.'
            )
        kwargs.setdefault('backend_args', dict(backend='atomic'))
        # MMEngine's own bookkeeping of what is kept stays switched off: -1
        super().__init__(interval=int(interval), max_keep_ckpts=-1, **kwargs)
        self.interval_iters, self.interval_seconds = interval_iters, 60 * interval_minutes
        self.look_every, self.keep = look_every, max_keep_ckpts
        self._training = self._due_at_end = False

    def before_train(self, runner: Runner) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise BCE3SError(
                f'RunCheckpointHook saves by epochs, which {type(runner.train_loop).__name__} has '
                "not: use default_hooks.checkpoint.type='CheckpointHook'."
            )
        super().before_train(runner)
        self._training, self._due_at_end = True, False
        self._saved = runner.iter  # what is resumed from, or nothing yet
        self._clock = time.monotonic()
        self._look_every = self.look_every if runner.world_size > 1 else 1
        self._serial, self._kept, self._damaged = 0, [], []
        if is_main_process():
            _remove_leftovers(Path(self.out_dir))
            valid, unfit = survey(self.out_dir)
            self._kept = [path for path, _ in valid]
            self._serial = max((serial for _, (serial, _) in valid), default=0)
            self._damaged = [path for path in unfit if is_damaged(path)]
        be_patient()

    # ------------------------------------------------------------ when
    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        iteration = runner.iter + 1
        due = self.every_n_train_iters(runner, self.interval_iters)
        if self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._due_at_end |= due  # its end is a moment later, and the better place
            return
        stop, late = self._look(runner) if iteration % self._look_every == 0 else ('', 0)
        if due or late or stop:
            runner.logger.info(f'Saving checkpoint at {iteration} iterations')
            self._save(runner, f'iter_{iteration}.pth', runner.epoch, iteration)
        if stop:
            self._leave(stop, f'in epoch {runner.epoch + 1} after iteration {iteration}')

    def after_train_epoch(self, runner) -> None:
        epoch = runner.epoch + 1
        stop, late = self._look(runner)
        due = self.every_n_epochs(runner, self.interval, self.save_begin)
        due |= self.save_last and self.is_last_train_epoch(runner)
        if due or self._due_at_end or late or stop:
            runner.logger.info(f'Saving checkpoint at {epoch} epochs')
            self._save(runner, self.filename_tmpl.format(epoch), epoch, runner.iter)
        self._due_at_end = False
        if stop:
            self._leave(stop, f'after epoch {epoch}')

    def before_val_epoch(self, runner) -> None:
        """Processes may have unequal numbers of batches: they ask each other while all have one."""
        if self._in_training(runner):
            (fewest,) = highest(runner, -len(runner.val_dataloader))
            self._val_batches = -fewest

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        asked = (batch_idx + 1) % self.look_every == 0 or self._look_every == 1
        if not (self._in_training(runner) and asked and batch_idx < self._val_batches):
            return
        stop, _ = self._look(runner)
        if not stop:
            return
        if self._saved != runner.iter:
            self._save(runner, self.filename_tmpl.format(runner.epoch), runner.epoch, runner.iter)
        self._leave(stop, f'while validating epoch {runner.epoch}')

    def _in_training(self, runner) -> bool:
        return self._training and isinstance(runner._train_loop, BaseLoop)

    def _look(self, runner) -> tuple[str, int]:
        late = 0 < self.interval_seconds <= time.monotonic() - self._clock
        return stop_requested(runner, int(late))

    def _leave(self, signal: str, where: str) -> None:
        saved = f'saved {self.last_ckpt}; ' if self.last_ckpt else ''
        raise Preempted(signal, f'{where}; {saved}continue with --resume.', agreed=True)

    # ------------------------------------------------------------ what and where
    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        """After a new best one: the last one is written again, which then knows of it."""
        self._save(runner, self.filename_tmpl.format(step), meta['epoch'], meta['iter'])

    def _save(self, runner, name: str, epoch: int, iteration: int) -> None:
        """All processes call this; the first one writes."""
        self._serial += 1
        self.last_ckpt = str(Path(self.out_dir, name))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        size = epoch_size(runner.train_dataloader)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=dict(epoch=epoch, iter=iteration, serial=self._serial, epoch_size=size),
            backend_args=self.backend_args,
        )
        self._saved, self._clock = iteration, time.monotonic()
        if is_main_process():
            AtomicLocalBackend().put_text(self.last_ckpt, Path(runner.work_dir, 'last_checkpoint'))
            self._make_room(Path(self.last_ckpt))

    def _make_room(self, written: Path) -> None:
        self._kept = [path for path in self._kept if path != written] + [written]
        self._damaged = [path for path in self._damaged if path != written]
        if self.keep < 0 or len(self._kept) < self.keep:
            return
        for path in [*self._kept[: -self.keep], *self._damaged]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._kept, self._damaged = self._kept[-self.keep :], []


def _remove_leftovers(folder: Path) -> None:
    """Temporary files of a run that was killed while it wrote; nobody else writes to ``folder``."""
    for pattern in ('.epoch_*.pth.tmp', '.iter_*.pth.tmp', '.best_*.pth.tmp'):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
