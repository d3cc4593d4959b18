"""A bound on the length of the classifier's weight vectors."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from bce3s.engine.run_state import bare_model
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS


@HOOKS.register_module()
class MaxNormHook(Hook):
    """After each step, ``w_k <- w_k min(1, max_norm / ||w_k||)`` for every class k.

    Alshammari et al., Long-Tailed Recognition via Weight Balancing (CVPR 2022).

    Args:
        max_norm: radius of the ball.
        finetuning_only: whether to leave the first stage of a two-stage run alone.
        allow_normalized: accept a classifier whose weights are normalised in the forward pass, as
            the public implementation of BCE3S does: the bound then changes no logit.
    """

    def __init__(
        self, max_norm: float, finetuning_only: bool = False, allow_normalized: bool = False
    ) -> None:
        if not max_norm > 0:
            raise BCE3SError(f'MaxNormHook: max_norm must be positive, not {max_norm}.')
        self.max_norm, self.finetuning_only = max_norm, finetuning_only
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

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: dict
    ) -> None:
        model = bare_model(runner)
        if model.finetuning or not self.finetuning_only:
            weight = model.head.classifier.weight
            norms = weight.norm(dim=1, keepdim=True)
            weight.mul_((self.max_norm / norms).clamp(max=1))
