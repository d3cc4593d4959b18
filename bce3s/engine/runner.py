"""MMEngine's runner, with a console that a person can read and a stop that loses nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from bce3s.engine.checkpoint import (
    RATE,
    as_json,
    changes,
    check_course,
    check_optimizer,
    sentence,
    take_over_rates,
)
from bce3s.engine.loops import ResumableTrainLoop
from bce3s.engine.run_state import all_or_none
from bce3s.errors import BCE3SError
from bce3s.files import write_all
from bce3s.signals import shield_workers

FOR_THE_FILE = (
    '\n' + '-' * 60 + '\nSystem environment',
    'Config:\n',
    'Hooks will be executed',
    'Exp name:',
    'Distributed training is not used',  # of one process
    'Loads checkpoint by',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    '`save_param_scheduler` is True',
    '`resume_param_scheduler` is True',
    'resumed key: ',  # losses of a stage that is over
    'The value of random seed in the checkpoint',  # said with what else has changed
)
MMENGINES_HOOKS = {
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
}


class QuietRunner(Runner):
    """Keeps the dumps of environment, config and hooks, and MMEngine's warnings about itself, for
    the log file; the console shows what happens in this run. ``default_hooks.NAME=None`` leaves out
    any of the default hooks, not only MMEngine's own. ``env_cfg.tf32`` says whether a GPU may
    round the factors of float32 products to TF32's 10 bits of mantissa: several times as fast.

    It trains with :class:`ResumableTrainLoop` unless ``train_cfg`` names another loop. On the
    processes of a run ``save_checkpoint`` succeeds everywhere or fails everywhere; before it looks
    at anything it calls ``before_saving(runner)`` of each hook that has it, on all of them.
    """

    _meta: dict[str, Any]
    _resuming = False

    asked: list[str] | None = None  # options of a call that resumes; None: any change will do

    def setup_env(self, env_cfg: dict) -> None:
        super().setup_env(env_cfg)
        if torch.cuda.is_available() and 'tf32' in env_cfg:
            torch.backends.cudnn.allow_tf32 = env_cfg['tf32']
            torch.set_float32_matmul_precision('high' if env_cfg['tf32'] else 'highest')

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _raise  # logging would go on, with a traceback a line
            else:
                handler.addFilter(_is_for_the_console)
        return logger

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        # None must reach MMEngine for a hook of its own, which would come back otherwise
        kept = {k: v for k, v in (hooks or {}).items() if v is not None or k in MMENGINES_HOOKS}
        super().register_default_hooks(kept)

    # ------------------------------------------------------------ training
    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, dict) and 'type' not in loop and loop.get('by_epoch'):
            cfg = {key: value for key, value in loop.items() if key != 'by_epoch'}
            return ResumableTrainLoop(**cfg, runner=self, dataloader=self._train_dataloader)
        return super().build_train_loop(loop)

    @staticmethod
    def build_dataloader(*args, **kwargs) -> DataLoader:
        loader = Runner.build_dataloader(*args, **kwargs)
        shield_workers(loader)
        return loader

    # ------------------------------------------------------------ checkpoints
    def save_checkpoint(self, *args, meta: dict | None = None, **kwargs) -> None:
        """Called by all processes; the first one writes, with ``meta.experiment``.

        Raises:
            BCE3SError: it could not be written, or another process could not go on.
        """
        self.call_hook('before_saving')
        with all_or_none(self):
            meta = {**(meta or {}), 'experiment': as_json(self.cfg)}
            super().save_checkpoint(*args, meta=meta, **kwargs)

    def dump_config(self) -> None:
        """Not yet: what a run in the folder was begun with stays until this one is under way."""

    def load_or_resume(self) -> None:
        super().load_or_resume()
        if is_main_process():  # whole or not at all: a resumed run reads it
            name = Path(self.cfg.filename or f'{self.timestamp}.py').name
            write_all({name: self.cfg.pretty_text}, self.work_dir)

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        self._meta = checkpoint.setdefault('meta', {})
        self._meta.pop('config', None)  # Runner.resume would run this text as Python code
        if self._resuming and hasattr(self.optim_wrapper, 'optimizer'):
            check_optimizer(self.optim_wrapper.optimizer, checkpoint['optimizer'])
        return checkpoint

    def resume(self, filename: str, *args, **kwargs) -> None:
        """As MMEngine's; also within an epoch, with a config that may have changed: what differs
        from the checkpoint's is named in one warning, and a changed learning rate takes effect.
        """
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        groups = self.optim_wrapper.param_groups
        configured = [group.get('initial_lr', group['lr']) for group in groups]
        seed = self.seed
        self._resuming = True
        try:
            super().resume(filename, *args, **kwargs)
            if hasattr(self.train_loop, 'continue_from'):
                self.train_loop.continue_from(self._meta)
            changed = changes(self.cfg, self._meta)
        except BCE3SError:
            raise
        except Exception as error:  # the content of a file can be anything
            raise BCE3SError(
                f'{filename} cannot be resumed from with this config ({error}).'
            ) from error
        finally:
            self._resuming = False
        if self.asked is not None:
            check_course(changed, self.asked)
        rates = take_over_rates(
            self.optim_wrapper, self.param_schedulers, configured, constant=RATE in changed
        )
        if text := sentence(changed, (self._meta.get('seed'), seed), rates):
            self.logger.warning(text)


def _is_for_the_console(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(FOR_THE_FILE)


def _raise(_record: logging.LogRecord) -> None:
    """Called where a handler catches the error, which goes on from here."""
    raise
