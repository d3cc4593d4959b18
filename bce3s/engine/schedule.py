"""What happens when: the learning rate, and the stage of the classifier alone.

Both are functions of the epoch, in a warm-up of epoch and batch, so a resumed run needs nothing
stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from bce3s.engine.lazy_sgd import LazySGD
from bce3s.engine.run_state import bare_model, finetune_epochs
from bce3s.errors import BCE3SError
from bce3s.randomness import derived_seed
from bce3s.registry import DATA_SAMPLERS, HOOKS
from bce3s.samplers import NaturalSampler
from bce3s.wording import counted


def cosine_factor(epoch: int, epochs: int, shift: float) -> float:
    """``(1 + cos(pi (epoch + shift) / epochs)) / 2`` for epoch = 0 .. epochs - 1."""
    return (1 + math.cos(math.pi * min(1.0, (epoch + shift) / epochs))) / 2


class EpochLRHook(Hook):
    """Sets the learning rate before each epoch, as a factor on the optimiser's.

    Args:
        warmup_epochs: W. In the first W epochs the rate rises with every step, step t (from 0) of T
            having the factor ``(t + 1) / T``; the schedule proper has the other epochs.
    """

    def __init__(self, warmup_epochs: int = 0) -> None:
        self.warmup_epochs = int(warmup_epochs)

    def factor(self, epoch: int, epochs: int) -> float:
        """The factor of epoch = 0 .. epochs - 1."""
        raise NotImplementedError

    def epochs(self, runner: Runner) -> int:
        """E, the number of epochs of the schedule, those of the warm-up included."""
        return runner.max_epochs

    def before_train(self, runner: Runner) -> None:
        if runner.param_schedulers:
            raise BCE3SError(
                f'{type(self).__name__} and param_scheduler both set the learning rate: leave one '
                'of them out, default_hooks.schedule=None or param_scheduler=None.'
            )
        if finetune_epochs(runner) and not isinstance(self, TwoStageHook):
            raise BCE3SError(
                'train_cfg.finetune_epochs is the length of a second stage, which '
                f'{type(self).__name__} does not have: set it to 0, or use '
                "default_hooks.schedule.type='TwoStageHook'."
            )
        warmup, epochs = self.warmup_epochs, self.epochs(runner)
        if warmup < 0 or 0 < epochs <= warmup:
            raise BCE3SError(
                f'{type(self).__name__}: warmup_epochs is {warmup}, but the schedule has '
                f'{counted(epochs, "epoch")} in all: set both so that 0 <= warmup_epochs < epochs, '
                'for example --cfg-options default_hooks.schedule.warmup_epochs=0.'
            )
        for group in _groups(runner):
            group.setdefault('initial_lr', group['lr'])
        if not warmup:
            stage = 'run' if epochs == runner.max_epochs else 'first stage'
            self._warn_of_rate_0(runner, stage, epochs)

    def _warn_of_rate_0(self, runner: Runner, stage: str, epochs: int) -> None:
        if epochs > 0 and not any(self.factor(epoch, epochs) for epoch in range(epochs)):
            runner.logger.warning(
                f'{type(self).__name__}: the learning rate is 0 throughout the {stage}, which '
                'trains nothing: give it more epochs, or set default_hooks.schedule.shift=0.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch - self.warmup_epochs
        if epoch >= 0:
            self._set(runner, self.factor(epoch, self.epochs(runner) - self.warmup_epochs))

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        warmup = min(self.warmup_epochs, self.epochs(runner))
        if runner.epoch < warmup:
            steps = len(runner.train_dataloader)
            self._set(runner, (runner.epoch * steps + batch_idx + 1) / (warmup * steps))

    @staticmethod
    def _set(runner: Runner, factor: float) -> None:
        for group in _groups(runner):
            group['lr'] = group['initial_lr'] * factor


@HOOKS.register_module()
class CosineLRHook(EpochLRHook):
    """Cosine learning rate over the whole run: ``lr (1 + cos(pi (e + shift) / E)) / 2``.

    Args:
        shift: 0 starts at the full rate, as PyTorch's cosine. 1, as BCE3S published it, steps
            before each epoch: the last one trains at rate 0.
        warmup_epochs: see :class:`EpochLRHook`; E and e are then of the epochs after them.
    """

    def __init__(self, shift: float = 0.0, warmup_epochs: int = 0) -> None:
        super().__init__(warmup_epochs)
        self.shift = float(shift)

    def factor(self, epoch: int, epochs: int) -> float:
        return cosine_factor(epoch, epochs, self.shift)


@HOOKS.register_module()
class StepLRHook(EpochLRHook):
    """The learning rate times ``gamma`` at each milestone.

    Milestones are shares of the run, so that a shortened one keeps its shape. "BCE vs. CE in Deep
    Feature Learning" (ICML 2025) names its SGD schedule "step" and no more; the defaults are our
    reading: of 100 epochs the first 40 at the full rate, 40 at a tenth, 20 at a hundredth.

    Args:
        milestones: in (0, 1), ascending; epoch e (from 0) of E is past m if ``e >= m E``.
        gamma: in (0, 1].
        warmup_epochs: see :class:`EpochLRHook`; the milestones are then shares of the rest.

    Raises:
        BCE3SError: milestones or gamma outside these bounds.
    """

    def __init__(
        self,
        milestones: Sequence[float] = (0.4, 0.8),
        gamma: float = 0.1,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__(warmup_epochs)
        bounds = [0, *milestones, 1]
        if not all(low < high for low, high in pairwise(bounds)) or not 0 < gamma <= 1:
            raise BCE3SError(
                f'StepLRHook: milestones={list(milestones)}, gamma={gamma}: milestones are shares '
                'of the run, ascending in (0, 1), and gamma lies in (0, 1].'
            )
        self.milestones, self.gamma = tuple(milestones), gamma

    def factor(self, epoch: int, epochs: int) -> float:
        # 1e-9: a product that is whole in exact arithmetic must not lose an epoch to rounding
        return self.gamma ** sum(epoch + 1e-9 >= share * epochs for share in self.milestones)


@HOOKS.register_module()
class TwoStageHook(CosineLRHook):
    """The last ``train_cfg.finetune_epochs`` train the classifier alone. The public implementation
    of BCE3S names 10, 20 and 40 of them; its log has 10.

    At the start of that stage the feature extractor is frozen, the head switches to its second loss
    (``finetune`` and ``beta`` of :class:`~bce3s.models.TripartiteHead`) on the origin view, the
    optimiser's momentum is forgotten, and a cosine of its own begins. With ``finetune_epochs=0``
    there is the first stage only; with ``max_epochs == finetune_epochs`` the second only, which
    needs ``load_from``, a checkpoint of a first stage. docs/second_stages.md has the methods.

    Args:
        lr, weight_decay: of the second stage. ``auto_scale_lr`` scales this rate too, and
            ``lr_mult`` of ``optim_wrapper.paramwise_cfg`` holds in both stages.
        freeze_norm: see ``LongTailedClassifier.finetune_classifier``; False as in the public
            implementation.
        sampler: of the second stage, a config of :mod:`bce3s.samplers`, for instance
            ``dict(type='PowerSampler', q=1)``, class-balanced; None: that of the first.
        new_classifier: whether the second stage begins with new weights in the classifier.
        shift: see :class:`CosineLRHook`; for both stages.
        warmup_epochs: of the first stage.
    """

    def __init__(
        self,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        freeze_norm: bool = True,
        sampler: dict | None = None,
        new_classifier: bool = False,
        shift: float = 0.0,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__(shift, warmup_epochs)
        self.lr, self.weight_decay, self.freeze_norm = float(lr), float(weight_decay), freeze_norm
        self.sampler, self.new_classifier = sampler, new_classifier
        self._second_sampler: NaturalSampler | None = None
        self._loaded_stage = 1

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['stage'] = 1 + bare_model(runner).finetuning

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._loaded_stage = checkpoint.get('meta', {}).get('stage', 1)

    def epochs(self, runner: Runner) -> int:
        return runner.max_epochs - finetune_epochs(runner)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        first = self.epochs(runner)
        if not 0 <= first <= runner.max_epochs:
            raise BCE3SError(
                f'TwoStageHook: train_cfg.finetune_epochs is {finetune_epochs(runner)}, but the '
                f'run has {counted(runner.max_epochs, "epoch")} in all, both stages counted: set '
                'both so that 0 <= finetune_epochs <= max_epochs, for example '
                '--cfg-options train_cfg.max_epochs=12 train_cfg.finetune_epochs=2.'
            )
        if self._loaded_stage == 2 and 0 < runner.epoch < first:
            raise BCE3SError(
                f'The checkpoint is of the second stage, but epoch {runner.epoch + 1} belongs to '
                f'the first {first} epochs of this run, the first stage: resume with the '
                'train_cfg.max_epochs and finetune_epochs it was begun with, or from a checkpoint '
                'of the first stage.'
            )
        if first == 0 and runner.epoch == 0 and not runner._load_from:
            raise BCE3SError(
                'This run has the second stage only and would fine-tune the classifier on random '
                'features: give it a checkpoint of a first stage, --cfg-options load_from=PATH.'
            )
        self._warn_of_rate_0(runner, 'second stage', finetune_epochs(runner))
        if self.sampler is not None and first < runner.max_epochs:
            self._second_sampler = _built(self.sampler, runner)  # now: what is wrong is told now

    def before_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch - self.epochs(runner)
        if epoch < 0:
            super().before_train_epoch(runner)
            return
        model, stage = bare_model(runner), finetune_epochs(runner)
        if not model.finetuning:
            model.finetune_classifier(self.freeze_norm)
            if self._second_sampler is not None:
                runner.train_dataloader.batch_sampler.sampler = self._second_sampler
                self._second_sampler.set_epoch(runner.epoch)
        if self.new_classifier and second_stage_begins(runner):
            _renew(model.head.classifier, derived_seed(runner.seed, 'new classifier'))
        if epoch == 0:
            optimizer = runner.optim_wrapper.optimizer
            if isinstance(optimizer, LazySGD):
                optimizer.flush()  # what it owes the rows still has momentum
            optimizer.state.clear()
            logged = runner.message_hub.log_scalars
            for name in [name for name in logged if name.startswith('train/loss_')]:
                if name != 'train/loss_joint':
                    del logged[name]  # or the log would repeat it
            runner.logger.info(f'Second stage: the classifier alone for {counted(stage, "epoch")}.')
        rate = self.lr * cosine_factor(epoch, stage, self.shift)
        whole = runner.optim_wrapper.optimizer.defaults['lr']
        for group in _groups(runner):
            # what auto_scale_lr and lr_mult made of the optimiser's rate
            group['lr'] = rate * (group['initial_lr'] / whole if whole else 1)
            group['weight_decay'] = self.weight_decay


def second_stage_begins(runner: Runner) -> bool:
    """Whether the next step is the first one of the second stage."""
    first = runner.epoch == runner.max_epochs - finetune_epochs(runner)
    return first and runner.train_loop.batches_done == 0


def _renew(classifier: nn.Module, seed: int) -> None:
    """New initial weights, the same on every rank and device."""
    fresh = deepcopy(classifier).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fresh.reset_parameters()
    classifier.load_state_dict(fresh.state_dict())


def _built(sampler: dict, runner: Runner) -> NaturalSampler:
    former = getattr(runner.train_dataloader.batch_sampler, 'sampler', None)
    if not isinstance(former, NaturalSampler):
        raise BCE3SError(
            'TwoStageHook: the second stage has a sampler of its own, which takes the place of a '
            f'sampler of this project, not of {type(former).__name__}: set train_dataloader.'
            "batch_sampler.type='GlobalBatchSampler' and sampler.type='NaturalSampler'."
        )
    return DATA_SAMPLERS.build({**sampler, 'dataset': former.dataset, 'seed': former.seed})


def _groups(runner: Runner) -> list[dict]:
    return runner.optim_wrapper.optimizer.param_groups
