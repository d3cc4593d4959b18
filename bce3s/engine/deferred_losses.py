"""Losses are read when they are logged, so that a GPU never waits for the host in between."""

from __future__ import annotations

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from torch import Tensor

from bce3s.registry import HOOKS


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's hook reads every loss in every iteration, and the host waits for the device.

    This one keeps the losses where they are and reads all of them at once: when a line is logged,
    at the end of an epoch, and before a checkpoint is made, which holds their history (QuietRunner
    calls ``before_saving``). The history is as MMEngine's.
    """

    def __init__(self) -> None:
        self._unread: list[dict[str, Tensor]] = []

    def before_train(self, runner) -> None:
        super().before_train(runner)
        self._unread = []
        loggers = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._logged = min(loggers, default=1)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if outputs:
            # without the graph, which would live on
            self._unread.append({k: torch.as_tensor(v).detach() for k, v in outputs.items()})
        if (
            self.every_n_inner_iters(batch_idx, self._logged)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or self.is_last_train_iter(runner)
        ):
            self.before_saving(runner)

    def before_saving(self, runner) -> None:
        """Reads what was not read yet."""
        unread, self._unread = self._unread, []
        names = [f'train/{name}' for outputs in unread for name in outputs]
        values = [value for outputs in unread for value in outputs.values()]
        if values:
            column = torch.stack([value.double().reshape(()) for value in values])
            for name, value in zip(names, column.tolist(), strict=True):
                runner.message_hub.update_scalar(name, value)
