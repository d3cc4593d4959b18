"""MMEngine's runner with a console that a person can read."""

from __future__ import annotations

import logging

import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner

FOR_THE_FILE = (
    '\n' + '-' * 60 + '\nSystem environment',
    'Config:\n',
    'Hooks will be executed',
    'Exp name:',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    '`save_param_scheduler` is True',
    '`resume_param_scheduler` is True',
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
    """

    def setup_env(self, env_cfg: dict) -> None:
        super().setup_env(env_cfg)
        if torch.cuda.is_available() and 'tf32' in env_cfg:
            torch.backends.cudnn.allow_tf32 = env_cfg['tf32']
            torch.set_float32_matmul_precision('high' if env_cfg['tf32'] else 'highest')

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_the_console)
        return logger

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        # None must reach MMEngine for a hook of its own, which would come back otherwise
        kept = {k: v for k, v in (hooks or {}).items() if v is not None or k in MMENGINES_HOOKS}
        super().register_default_hooks(kept)


def _is_for_the_console(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(FOR_THE_FILE)
