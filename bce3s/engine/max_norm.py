"""A bound on the length of the classifier's weight vectors."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from bce3s.engine.run_state import bare_model
from bce3s.engine.schedule import second_stage_begins
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS


@HOOKS.register_module()
class MaxNormHook(Hook):
    """After each step, ``w_k <- w_k min(1, max_norm / ||w_k||)`` for every class k.

    Alshammari et al., Long-Tailed Recognition via Weight Balancing (CVPR 2022). Their public code
    does so once an epoch, with a radius that follows from the norms it finds (``threshold``).

    Args:
        max_norm: radius of the ball; or
        threshold: t in [0, 1]: the second stage alone is bounded, by the radius ``low + t (high -
            low)`` of the smallest and largest norm at its beginning.
        finetuning_only: whether to leave the first stage of a two-stage run alone.
        allow_normalized: accept a classifier whose weights are normalised in the forward pass, as
            the public implementation of BCE3S does: the bound then changes no logit.
    """

    def __init__(
        self,
        max_norm: float | None = None,
        threshold: float | None = None,
        finetuning_only: bool = False,
        allow_normalized: bool = False,
    ) -> None:
        if (max_norm is None) == (threshold is None):
            raise BCE3SError('MaxNormHook takes max_norm or threshold: give one of them.')
        if threshold is None and not max_norm > 0:
            raise BCE3SError(f'MaxNormHook: max_norm must be positive, not {max_norm}.')
        if max_norm is None and not 0 <= threshold <= 1:
            raise BCE3SError(f'MaxNormHook: threshold must be in [0, 1], not {threshold}.')
        self.max_norm, self.threshold = max_norm, threshold
        self.finetuning_only = finetuning_only or max_norm is None
        self.allow_normalized = allow_normalized

    def before_train(self, runner: Runner) -> None:
        head = bare_model(runner).head
        if head.sample_rate < 1:
            raise BCE3SError(
                'MaxNormHook bounds every row of the classifier after each step, which '
                f'model.head.sample_rate={head.sample_rate} is there to avoid: remove the hook '
                'from custom_hooks, or set model.head.type=TripartiteHead.'
            )
        if head.classifier.normalize_weight and not self.allow_normalized:
            raise BCE3SError(
                'MaxNormHook has no effect here, for the classifier normalises its weights: set '
                'model.head.classifier.normalize_weight=False, or remove the hook from '
                'custom_hooks.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['max_norm'] = self.max_norm

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self.threshold is not None:
            self.max_norm = checkpoint.get('meta', {}).get('max_norm')

    def before_train_epoch(self, runner: Runner) -> None:
        model = bare_model(runner)
        if self.threshold is None or not model.finetuning:
            return
        if self.max_norm is None or second_stage_begins(runner):
            norms = model.head.classifier.weight.detach().norm(dim=1)
            low, high = norms.min().item(), norms.max().item()
            self.max_norm = low + self.threshold * (high - low)

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: dict
    ) -> None:
        model = bare_model(runner)
        if model.finetuning or not self.finetuning_only:
            weight = model.head.classifier.weight
            norms = weight.norm(dim=1, keepdim=True)
            weight.mul_((self.max_norm / norms).clamp(max=1))
