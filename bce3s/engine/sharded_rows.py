"""What a run does with a classifier whose rows lie on several ranks (``model.head.shard=True``).

A checkpoint holds whole matrices, as of a run without shards: any number of ranks can go on from
it, one too, and it can be tested like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

from bce3s.errors import BCE3SError
from bce3s.shards import Shards


@contextmanager
def whole_rows(runner: Runner) -> Iterator[None]:
    """While it lasts, model and optimiser of the first rank hold whole matrices, in the memory of
    the host, to be saved; all ranks must enter it together. Without shards nothing happens.
    """
    model, shards = model_and_shards(runner)
    if shards is None:
        yield
        return
    held = []
    optimizer = runner.optim_wrapper.optimizer if _is_built(runner) else None
    for tensor in list(_matrices(model, optimizer)):  # before their shapes change
        blocks = [block.cpu() if shards.rank == 0 else None for block in shards.blocks(tensor.data)]
        if shards.rank == 0:
            held.append((tensor, tensor.data))
            tensor.data = torch.cat(blocks)
    try:
        yield
    finally:
        for tensor, rows in held:
            tensor.data = rows


def take_own_rows(runner: Runner, checkpoint: dict) -> None:
    """Cut the whole matrices of a checkpoint, before it is loaded, down to this rank's rows."""
    model, shards = model_and_shards(runner)
    if shards is None:
        return

    def cut(values: dict, keys: Iterable) -> None:
        for key in keys:
            value = values.get(key)
            if isinstance(value, Tensor) and value.dim() and len(value) == shards.rows:
                values[key] = shards.take(value).clone()  # the whole one can go

    state = checkpoint.get('state_dict', checkpoint)
    names = model._ddp_params_and_buffers_to_ignore
    cut(state, [prefix + name for name in names for prefix in ('', 'module.')])
    moments = checkpoint.get('optimizer', {}).get('state', {})
    if moments and _is_built(runner):
        groups = runner.optim_wrapper.optimizer.param_groups
        own = {id(p) for p in model.head.classifier.parameters()}
        order = [id(p) for group in groups for p in group['params']]
        for index in (i for i, p in enumerate(order) if p in own and i in moments):
            cut(moments[index], list(moments[index]))


def check_sharding(
    head: nn.Module, optim_wrapper: OptimWrapper, hooks: Iterable[Hook] = ()
) -> None:
    """Whether this run can train a head of which each rank holds a part; its gradients are clipped
    by the norm over all ranks.

    Raises:
        BCE3SError: it cannot.
    """
    if head.shards is None:
        return
    if any(isinstance(hook, EMAHook) for hook in hooks):
        raise BCE3SError(
            "EMAHook would save the average of one rank's classes only, for model.head.shard=True "
            'spreads them over the ranks: remove the hook from custom_hooks, or set '
            'model.head.shard=False.'
        )
    if getattr(optim_wrapper, 'clip_func', None) is clip_grad_norm_:
        if optim_wrapper.clip_grad_kwargs.get('norm_type', 2) in (float('inf'), 'inf'):
            raise BCE3SError(
                'With model.head.shard=True gradients cannot be clipped by their largest number: '
                'set optim_wrapper.clip_grad.norm_type=2, or model.head.shard=False.'
            )
        own = {id(p) for p in head.classifier.parameters()}
        optim_wrapper.clip_func = partial(_clip_over_ranks, own=own)


def _clip_over_ranks(
    parameters: list[nn.Parameter], max_norm: float, norm_type: float = 2.0, *, own: set, **kwargs
) -> Tensor:
    """``clip_grad_norm_`` where each rank has a part of the gradients of ``own`` (ids)."""
    shared = [p.grad for p in parameters if id(p) not in own]
    rows = [p.grad for p in parameters if id(p) in own]
    power = get_total_norm(rows, norm_type, **kwargs) ** norm_type
    all_reduce(power)
    total = (get_total_norm(shared, norm_type, **kwargs) ** norm_type + power) ** (1 / norm_type)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def model_and_shards(runner: Runner) -> tuple[nn.Module, Shards | None]:
    """The model without its wrapper, and how its classes lie on the ranks, if they do."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model, getattr(getattr(model, 'head', None), 'shards', None)


def _is_built(runner: Runner) -> bool:
    return isinstance(runner.optim_wrapper, OptimWrapper)


def _matrices(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Iterator[Tensor]:
    """W, b, the bank, and what the optimiser keeps for each of their rows."""
    for parameter in model.head.classifier.parameters():
        yield parameter
        for value in {} if optimizer is None else optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                yield value
    if model.head.contrastive is not None:
        yield from model.head.bank.buffers()
