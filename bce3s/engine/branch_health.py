"""Says in time that the contrastive branch gives nothing to the features."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from bce3s.engine.run_state import bare_model
from bce3s.evaluation.branch_health import health_sentence, inert_from
from bce3s.evaluation.selection import add_to_history
from bce3s.registry import HOOKS

HEALTH = 'contrastive_health'  # its name in the message hub, which checkpoints keep
PATIENCE = 5  # inert epochs in a row before it is said: some branches recover


@HOOKS.register_module()
class BranchHealthHook(Hook):
    """Looks at the contrastive branch of the first stage: :func:`contrastive_health`.

    Every ``interval`` steps, and in the last one of an epoch, the figures go to the visualizer
    (``contrastive/share`` ...); their means over an epoch are kept with the run and shown in its
    report. An epoch in which the branch gives less than 1 % of the gradient that reaches the
    features is inert; the fifth in a row is said in the log. Numbers of the training do not change.

    Args:
        interval: steps; each costs about a backward pass of the head.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._seen: list[dict[str, float]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        self._seen.clear()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        head = bare_model(runner).head
        if getattr(head, 'contrastive', None) is None or head.finetuning:
            return
        last = self.end_of_epoch(runner.train_dataloader, batch_idx)
        due = last or self.every_n_inner_iters(batch_idx, self.interval)
        head.watching = due and runner.epoch >= head.contrastive.start_epoch

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        head = bare_model(runner).head
        if getattr(head, 'watching', False) and head.health:
            numbers = torch.stack([*head.health.values()]).tolist()  # one transfer
            values = dict(zip(head.health, numbers, strict=True))
            head.watching, head.health = False, {}
            self._seen.append(values)
            scalars = {f'contrastive/{name}': value for name, value in values.items()}
            runner.visualizer.add_scalars(scalars, step=runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if not self._seen:
            return
        row: dict[str, float] = {'epoch': runner.epoch + 1}
        row |= {k: sum(seen[k] for seen in self._seen) / len(self._seen) for k in self._seen[0]}
        history = add_to_history(runner.message_hub.get_info(HEALTH, []), row)
        if inert_from(history) == row['epoch'] - PATIENCE + 1:
            runner.logger.warning(health_sentence([row]))
        runner.message_hub.update_info(HEALTH, history)
