"""A progress bar where somebody watches; plain lines where nobody does."""

from __future__ import annotations

import atexit
import logging
import sys
import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from bce3s.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """A bar at the bottom of a terminal: epoch, iteration, loss, learning rate, time left; log
    lines scroll above it.

    In a pipe, a file or a process that is not the first it does nothing at all. The loss is the
    last one that has already been read for the log, so the bar never waits for the device.

    Args:
        interval: seconds between two redraws.
    """

    priority = 'LOWEST'

    def __init__(self, interval: float = 0.1) -> None:
        self.interval = interval
        self._bar = None
        self._drawn = 0.0

    # -------------------------------------------------------------------------------------- the run
    def before_train(self, runner) -> None:
        self._start(runner, 'training', runner.max_iters, runner.iter)

    def before_test(self, runner) -> None:
        self._start(runner, 'testing', len(runner.test_dataloader), 0)

    def before_val_epoch(self, runner) -> None:
        self._draw(self._epoch(runner, runner.epoch) + ' validating', force=True)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self._bar is None or time.monotonic() - self._drawn < self.interval:
            return
        history = runner.message_hub.log_scalars.get('train/loss')
        loss = (
            f' loss {history.current():.4f}' if history is not None and len(history.data[0]) else ''
        )
        rate = next(iter(runner.optim_wrapper.get_lr().values()))[0]
        text = f'{self._epoch(runner, runner.epoch + 1)}{loss} lr {rate:.2e}'
        self._draw(text, completed=runner.iter + 1)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._draw('testing', completed=batch_idx + 1)

    def after_train_epoch(self, runner) -> None:
        self._draw(self._epoch(runner, runner.epoch + 1), completed=runner.iter, force=True)

    def after_train(self, runner) -> None:
        self._draw(self._epoch(runner, runner.epoch), force=True)

    def after_run(self, runner) -> None:
        self.stop()

    # -------------------------------------------------------------------------------------- the bar
    def _start(self, runner, text: str, total: int, completed: int) -> None:
        if self._bar is not None or not is_main_process() or not sys.stdout.isatty():
            return
        from rich import progress

        terminal = sys.stdout
        self._bar = progress.Progress(
            progress.TextColumn('{task.description}'),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn('left'),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            auto_refresh=False,  # no thread: loaders fork
        )
        self._task = self._bar.add_task(text, total=total, completed=completed)
        self._bar.start()
        # rich puts what is written to sys.stdout above its bar; MMEngine's handler kept the
        # terminal itself.
        self._handlers = [
            handler
            for handler in runner.logger.handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream is terminal
        ]
        self._terminal = terminal
        for handler in self._handlers:
            handler.setStream(sys.stdout)
        atexit.register(self.stop)  # also after an error: the cursor comes back

    def _draw(self, text: str, completed: int | None = None, force: bool = False) -> None:
        now = time.monotonic()
        if self._bar is None or (not force and now - self._drawn < self.interval):
            return
        self._drawn = now
        self._bar.update(self._task, description=text, completed=completed, refresh=True)

    def stop(self) -> None:
        """Takes the bar away and gives the terminal back."""
        if self._bar is None:
            return
        bar, self._bar = self._bar, None
        for handler in self._handlers:
            handler.setStream(self._terminal)
        bar.stop()
        atexit.unregister(self.stop)

    @staticmethod
    def _epoch(runner, epoch: int) -> str:
        return f'epoch {epoch}/{runner.max_epochs}'
