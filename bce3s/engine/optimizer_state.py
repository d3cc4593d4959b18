"""Whether the optimiser's state in a checkpoint is that of the run's own optimiser."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bce3s.engine.checkpoint_content import Content

MOMENTS = {'momentum_buffer', 'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'square_avg', 'sum'}
# torch fills in what else a file of an earlier version of it has not
NEEDED = {'params', 'lr', 'momentum', 'dampening', 'weight_decay', 'betas', 'eps'}


def check_optimizer(where: str, optim_wrapper: Any, saved: Any) -> None:
    """Whether ``saved``, of a checked checkpoint, is the state of such an optimiser. torch takes
    hyperparameters as they come, and a fused step reads moments of another shape past their end.

    Raises:
        BCE3SError: it is not.
    """
    content, optimizer = Content(where, 0), getattr(optim_wrapper, 'optimizer', None)
    if optimizer is None or not isinstance(saved, dict):  # several, or none to be loaded
        return
    saved_groups = saved.get('param_groups', [])
    sizes = [
        [len(g['params']) for g in groups] for groups in (saved_groups, optimizer.param_groups)
    ]
    content.require(sizes[0] == sizes[1], 'optimizer', 'of a model with these parameters')
    for own, group in zip(optimizer.param_groups, saved_groups, strict=True):
        for key, value in own.items():
            name = f'optimizer.param_groups.{key}'
            content.require(key in group or key not in NEEDED, name, 'there')
            content.require(_same_kind(value, group.get(key, value)), name, f'like {_kind(value)}')
        states = [saved['state'].get(number) for number in group['params']]
        for key in MOMENTS:  # of a step that was made all have one
            kinds = {state.get(key) is None for state in states if state is not None}
            content.require(len(kinds) < 2, f'optimizer.state: {key}', 'there for each parameter')
        for number, state, parameter in zip(group['params'], states, own['params'], strict=True):
            for key, value in (state or {}).items():
                fits = key not in MOMENTS or value is None or _is_moment(value, parameter)
                content.require(
                    fits, f'optimizer.state.{number}.{key}', 'of the parameter it is for'
                )


def _is_moment(value: Any, parameter: Tensor) -> bool:
    real = isinstance(value, Tensor) and value.dtype.is_floating_point
    return (
        real and value.shape == parameter.shape and value.numel() <= value.untyped_storage().size()
    )


def _same_kind(own: Any, saved: Any) -> bool:
    if isinstance(own, list | tuple) and own and isinstance(own[0], Tensor):
        return True  # the parameters
    return _kind(own) == _kind(saved)


def _kind(value: Any) -> str:
    """In words; lists and tuples with the kinds of what they hold."""
    if isinstance(value, bool) or value is None:
        return 'True or False'
    if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1):
        return 'a number'
    if isinstance(value, list | tuple):
        return f'a list ({", ".join(map(_kind, value))})'
    return f'a {type(value).__name__}'
