"""A run that has diverged stops, instead of training on NaN to the end and saving it; or it leaves
such steps out, if told so.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from torch import Tensor

from bce3s.engine.run_state import all_or_none, bare_model
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS

SKIPPED, IN_A_ROW = 'skipped_steps', 'skipped_steps_in_a_row'  # in the message hub
TOLD = 5  # skipped steps that are logged


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """What happens at a loss that is NaN or infinite. Weights that are not finite are never saved.

    ``action='stop'`` raises, before a checkpoint is written. The losses stay on their device until
    they are read together: one host read every ``interval`` iterations, at the end of an epoch and
    before a checkpoint.

    ``action='skip'`` leaves a step out if a loss, or a gradient on any process, is not finite:
    weights, momentum and buffers (BatchNorm's statistics, the memory bank) are those of before the
    batch, and its losses appear in no history. The iteration counts, so order and rates of the run
    stay. It costs a host read and a copy of all buffers in every step. The message hub's
    ``skipped_steps`` counts, checkpoints keep it, the first five are logged. An average of weights
    (``EMAHook``) counts the step.

    Args:
        interval: iterations between two reads.
        action: ``'stop'`` or ``'skip'``.
        patience: steps left out in a row after which the run stops all the same.

    Raises:
        BCE3SError: epoch, iteration, the terms and their values, learning rate, samples, last
            checkpoint, remedy.
    """

    priority = 'HIGHEST'  # before the hooks that log and save; a step left out ends here

    def __init__(self, interval: int = 1, action: str = 'stop', patience: int = 100) -> None:
        if interval < 1 or patience < 1:
            raise BCE3SError(
                f'NonFiniteLossHook: interval is {interval}, patience {patience}; both must be at '
                'least 1.'
            )
        if action not in ('stop', 'skip'):
            raise BCE3SError(f"NonFiniteLossHook: action is {action!r}; use 'stop' or 'skip'.")
        self.interval, self.skipping, self.patience = interval, action == 'skip', patience
        self._unread: list[tuple[int, dict, Any]] = []
        self._guard: StepGuard | None = None

    def before_train(self, runner) -> None:
        if self.skipping:
            self._guard = StepGuard(runner.optim_wrapper, bare_model(runner))

    def before_train_epoch(self, runner) -> None:
        self._unread = []

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self._guard is not None:
            self._guard.remember()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if not outputs or 'loss' not in outputs:
            return
        # Of the batch only labels and indices are kept, not the images; of losses not the graph.
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        losses = {k: torch.as_tensor(v).detach() for k, v in outputs.items() if 'loss' in k}
        if self._guard is not None:
            self._count(runner, losses, samples, outputs)
            return
        self._unread.append((runner.iter, losses, samples))
        if self.every_n_inner_iters(batch_idx, self.interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            self.before_saving(runner)

    def _count(self, runner, losses: dict, samples: Any, outputs: dict) -> None:
        info = runner.message_hub.runtime_info
        if not self._guard.skipped:
            if info.get(IN_A_ROW):
                runner.message_hub.update_info(IN_A_ROW, 0)
            return
        self._guard.restore()
        count, in_a_row = info.get(SKIPPED, 0) + 1, info.get(IN_A_ROW, 0) + 1
        runner.message_hub.update_info(SKIPPED, count)
        runner.message_hub.update_info(IN_A_ROW, in_a_row)
        what = _what(runner, runner.iter, losses, samples)
        if in_a_row >= self.patience:
            raise BCE3SError(
                f'{in_a_row} steps in a row were not finite and left out; the last: {what}. '
                f'{_remedy(runner)}'
            )
        if count <= TOLD:
            runner.logger.warning(f'Step left out ({count} so far): {what}.')
        outputs.clear()  # no other hook logs it

    def before_saving(self, runner) -> None:
        """Reads what was not read yet; all processes do, and stop together."""
        with all_or_none(runner):
            self._read(runner)

    def _read(self, runner) -> None:
        unread, self._unread = self._unread, []
        if not unread:
            return
        totals = torch.stack([losses['loss'].reshape(()) for _, losses, _ in unread])
        finite = totals.isfinite().tolist()
        if not all(finite):
            what = _what(runner, *unread[finite.index(False)])
            raise BCE3SError(f'{what}. {_remedy(runner)}')

    def after_train(self, runner) -> None:
        self.before_saving(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._read(runner)
        weights = checkpoint['state_dict']
        for name, _ in bare_model(runner).named_parameters():
            if name in weights and not weights[name].isfinite().all():
                raise BCE3SError(
                    f'Weight {name} is not finite after iteration {checkpoint["meta"]["iter"]}; it '
                    f'is not saved. {_remedy(runner)}'
                )


class StepGuard:
    """Lets ``optim_wrapper`` make a step only if its losses and gradients are finite everywhere.

    Args:
        optim_wrapper: any of MMEngine's; its ``backward`` and ``step`` are called once or several
            times, and once, in a ``train_step``.
        model: whose buffers :meth:`restore` takes back.

    Attributes:
        skipped: whether the last step was left out, on all processes alike.
    """

    def __init__(self, optim_wrapper: Any, model: torch.nn.Module) -> None:
        self.model, self.optimizer = model, optim_wrapper.optimizer
        self._optim_wrapper = optim_wrapper
        self._backward, self._step = optim_wrapper.backward, optim_wrapper.step
        optim_wrapper.backward, optim_wrapper.step = self.backward, self.step
        self._losses: list[Tensor] = []
        self._buffers: dict[str, Tensor] = {}
        self.skipped = False

    def remember(self) -> None:
        """The buffers as they are before the batch."""
        self.skipped, self._losses = False, []
        for name, buffer in self.model.named_buffers():
            if name in self._buffers and self._buffers[name].shape == buffer.shape:
                self._buffers[name].copy_(buffer)
            else:
                self._buffers[name] = buffer.clone()

    @torch.no_grad()
    def restore(self) -> None:
        """The buffers as they were remembered."""
        for name, buffer in self.model.named_buffers():
            buffer.copy_(self._buffers[name])

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self._losses.append(loss.detach())
        self._backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        if not self._finite():
            self.skipped = True
            self._lower_scale()
        else:
            self._step(**kwargs)

    @torch.no_grad()
    def _lower_scale(self) -> None:
        """What a scaler of gradients (fp16) does after a step that it leaves out: on every rank,
        also where the others alone saw that it must be.
        """
        scaler = getattr(self._optim_wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():
            return
        for gradient in self._gradients():
            gradient.fill_(math.nan)
        scaler.unscale_(self.optimizer)
        scaler.update(self._optim_wrapper._scale_update_param)  # fixed, or None

    def _gradients(self) -> list[Tensor]:
        """Their numbers; of a sparse one those of its rows."""
        groups = self.optimizer.param_groups
        gradients = [p.grad for group in groups for p in group['params'] if p.grad is not None]
        return [g._values() if g.is_sparse else g for g in gradients]

    def _finite(self) -> bool:
        """One host read; with several processes one reduction of a number."""
        values = self._gradients()
        values += [loss.reshape(1) for loss in self._losses]
        # the largest absolute value of each: NaN and inf come through
        peaks = torch.stack([v.abs().amax().float() if v.numel() else v.sum() for v in values])
        bad = (~peaks.isfinite()).any().int()
        all_reduce(bad, 'max')
        return not bad.item()


def _what(runner, iteration: int, losses: dict, samples: Any) -> str:
    values = {name: float(value) for name, value in losses.items()}
    bad = ', '.join(f'{name} = {v}' for name, v in values.items() if not math.isfinite(v))
    rest = ', '.join(f'{name} = {v:.4g}' for name, v in values.items() if math.isfinite(v))
    rates = ', '.join(
        f'{name} {"/".join(f"{lr:g}" for lr in dict.fromkeys(lrs))}'
        for name, lrs in runner.optim_wrapper.get_lr().items()
    )
    what = 'The loss' if bad else 'A gradient, or the loss of another process,'
    parts = [
        f'{what} is not finite in epoch {runner.epoch + 1}, iteration {iteration + 1}: {bad}',
        f'(finite: {rest})' if rest else '',
        f'at {rates}',
        _samples(samples),
    ]
    return ' '.join(filter(None, parts))


def _samples(samples: Any, most: int = 8) -> str:
    """``with samples 3, 17, ...; classes 0, 9, ...`` if the batch says so."""
    parts = []
    for key, name in (('indices', 'samples'), ('labels', 'classes')):
        if isinstance(samples, dict) and key in samples:
            found = torch.as_tensor(samples[key])
            if found.dim() == 2:  # several labels a sample
                found = (found > 0).nonzero()[:, 1]
            values = list(dict.fromkeys(found.flatten().tolist()))
            values = sorted(values) if key == 'labels' else values
            more = f', ... ({len(values)})' if len(values) > most else ''
            parts.append(f'{name} {", ".join(map(str, values[:most]))}{more}')
    return 'with ' + '; '.join(parts) if parts else ''


def _remedy(runner) -> str:
    path = runner.message_hub.runtime_info.get('last_ckpt')
    # MMEngine notes the path before it writes the file
    written = path and Path(path).is_file()
    last = f'The last good checkpoint is {path}.' if written else 'No checkpoint was written yet.'
    return (
        f'{last} Go on with a lower rate, clipped gradients or without such steps, with --resume '
        'if there is a checkpoint: --cfg-options optim_wrapper.optimizer.lr=LR, '
        "optim_wrapper.clip_grad.max_norm=5 or default_hooks.non_finite.action='skip'."
    )
