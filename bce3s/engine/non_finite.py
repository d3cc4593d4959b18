"""A run that has diverged stops, instead of training on NaN to the end and saving it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from bce3s.engine.run_state import bare_model
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Raises at the first loss that is NaN or infinite, before a checkpoint is written.

    The losses stay on their device until they are read together: one host read every ``interval``
    iterations and at the end of an epoch. Weights that are not finite are never saved.

    Args:
        interval: iterations between two reads.

    Raises:
        BCE3SError: epoch, iteration, the terms and their values, learning rate, samples, last
            checkpoint, remedy.
    """

    priority = 'HIGH'  # before the hooks that log and save

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise BCE3SError(f'NonFiniteLossHook: interval is {interval}; it must be at least 1.')
        self.interval = interval
        self._unread: list[tuple[int, dict, Any]] = []

    def before_train_epoch(self, runner) -> None:
        self._unread = []

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if not outputs or 'loss' not in outputs:
            return
        # Of the batch only labels and indices are kept, not the images; of losses not the graph.
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        losses = {k: torch.as_tensor(v).detach() for k, v in outputs.items() if 'loss' in k}
        self._unread.append((runner.iter, losses, samples))
        if self.every_n_inner_iters(batch_idx, self.interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            self._read(runner)

    def _read(self, runner) -> None:
        unread, self._unread = self._unread, []
        if not unread:
            return
        totals = torch.stack([losses['loss'].reshape(()) for _, losses, _ in unread])
        finite = totals.isfinite().tolist()
        if not all(finite):
            raise BCE3SError(_sentence(runner, *unread[finite.index(False)]))

    def after_train(self, runner) -> None:
        self._read(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._read(runner)
        weights = checkpoint['state_dict']
        for name, _ in bare_model(runner).named_parameters():
            if name in weights and not weights[name].isfinite().all():
                raise BCE3SError(
                    f'Weight {name} is not finite at the end of epoch {runner.epoch + 1}; it is '
                    f'not saved. {_last_checkpoint(runner)} {_remedy()}'
                )


def _sentence(runner, iteration: int, losses: dict, samples: Any) -> str:
    values = {k: float(v) for k, v in losses.items()}
    bad = ', '.join(f'{k} = {v}' for k, v in values.items() if not _is_finite(v))
    rest = ', '.join(f'{k} = {v:.4g}' for k, v in values.items() if _is_finite(v))
    rates = ', '.join(
        f'{name} {"/".join(f"{lr:g}" for lr in dict.fromkeys(lrs))}'
        for name, lrs in runner.optim_wrapper.get_lr().items()
    )
    parts = [
        f'The loss is not finite in epoch {runner.epoch + 1}, iteration {iteration + 1}: {bad}',
        f'(finite: {rest})' if rest else '',
        f'at {rates}',
        _samples(samples),
    ]
    return f'{" ".join(filter(None, parts))}. {_last_checkpoint(runner)} {_remedy()}'


def _is_finite(value: float) -> bool:
    return value - value == 0


def _samples(samples: Any, most: int = 8) -> str:
    """``; samples 3, 17, ...; classes 0, 9, ...`` if the batch says so."""
    if not isinstance(samples, dict):
        return ''
    text = ''
    for key, name in (('indices', 'samples'), ('labels', 'classes')):
        if key in samples:
            values = torch.as_tensor(samples[key]).flatten().tolist()
            if key == 'labels':
                values = sorted(set(values))
            more = f', ... ({len(values)})' if len(values) > most else ''
            text += f'; {name} {", ".join(map(str, values[:most]))}{more}'
    return text.removeprefix('; ') and f'with {text.removeprefix("; ")}'


def _last_checkpoint(runner) -> str:
    path = runner.message_hub.runtime_info.get('last_ckpt')
    # MMEngine notes the path before it writes the file
    written = path and Path(path).is_file()
    return f'The last good checkpoint is {path}.' if written else 'No checkpoint was written yet.'


def _remedy() -> str:
    return (
        'Start again with a lower optim_wrapper.optimizer.lr, or clip gradients, with --resume if '
        'there is a checkpoint: --cfg-options optim_wrapper.clip_grad.max_norm=5 (a resumed run '
        'keeps the learning rate of its checkpoint).'
    )
