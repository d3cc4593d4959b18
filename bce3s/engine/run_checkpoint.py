"""When a run saves: by epoch, by iteration, by the clock, and when it is asked to stop."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from bce3s.engine.atomic import write_text
from bce3s.engine.checkpoint import survey
from bce3s.engine.loops import epoch_size
from bce3s.engine.preemption import Preempted, highest, stop_requested
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS
from bce3s.signals import be_patient


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
        by_epoch: False: ``interval`` counts iterations, as MMEngine has it.
        **kwargs: further arguments of ``CheckpointHook``.

    Raises:
        BCE3SError: an interval that is negative, ``look_every`` or ``max_keep_ckpts`` of 0.
    """

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int = 0,
        interval_minutes: float = 0.0,
        look_every: int = 10,
        max_keep_ckpts: int = 2,
        by_epoch: bool = True,
        **kwargs,
    ) -> None:
        if not by_epoch:
            interval, interval_iters = -1, interval
        if min(interval_iters, interval_minutes) < 0 or look_every < 1 or not max_keep_ckpts:
            raise BCE3SError(
                f'RunCheckpointHook: interval_iters={interval_iters}, interval_minutes='
                f'{interval_minutes} must not be negative, look_every={look_every} must be at '
                f'least 1, max_keep_ckpts={max_keep_ckpts} at least 1, or -1 for all.'
            )
        kwargs.setdefault('backend_args', dict(backend='atomic'))
        # MMEngine's own bookkeeping of what is kept stays switched off: -1
        super().__init__(interval=interval, max_keep_ckpts=-1, **kwargs)
        self.interval_iters, self.interval_seconds = interval_iters, 60 * interval_minutes
        self.look_every, self.keep = look_every, max_keep_ckpts
        self._training = self._due_at_end = False

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._training, self._due_at_end = True, False
        self._saved = runner.iter  # what is resumed from, or nothing yet
        self._clock = time.monotonic()
        self._look_every = self.look_every if runner.world_size > 1 else 1
        self._serial, self._kept, self._damaged = 0, [], []
        if is_main_process():
            _remove_leftovers(Path(self.out_dir))
            readable, self._damaged = survey(self.out_dir)
            self._kept = [path for path, _ in readable]
            self._serial = max((order[0] for _, order in readable), default=0)
        be_patient()

    # ------------------------------------------------------------ when
    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        iteration = runner.iter + 1
        due = self.every_n_train_iters(runner, self.interval_iters)
        if self._by_epoch(runner):
            if self.end_of_epoch(runner.train_dataloader, batch_idx):
                self._due_at_end |= due  # its end is a moment later, and the better place
                return
        else:
            due |= self.save_last and self.is_last_train_iter(runner)
        stop, late = self._look(runner) if iteration % self._look_every == 0 else ('', 0)
        if due or late or stop:
            runner.logger.info(f'Saving checkpoint at {iteration} iterations')
            self._save(runner, f'iter_{iteration}.pth', runner.epoch, iteration)
        if stop:
            self._leave(stop, f'in epoch {runner.epoch + 1} after iteration {iteration}')

    def after_train_epoch(self, runner) -> None:
        if not self._by_epoch(runner):
            return
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
            name = self.filename_tmpl.format(runner.epoch)
            if not self._by_epoch(runner):
                name = f'iter_{runner.iter}.pth'
            self._save(runner, name, runner.epoch, runner.iter)
        self._leave(stop, f'while validating epoch {runner.epoch}')

    def _in_training(self, runner) -> bool:
        return self._training and isinstance(runner._train_loop, BaseLoop)

    @staticmethod
    def _by_epoch(runner) -> bool:
        return isinstance(runner.train_loop, EpochBasedTrainLoop)

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
            write_text(self.last_ckpt, Path(runner.work_dir, 'last_checkpoint'))
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
