"""SGD for a classifier of which each step sees a few rows only."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import SGD

from bce3s.errors import BCE3SError
from bce3s.registry import OPTIMIZERS

LONGEST = 4096  # steps that a row may stay behind
BLOCK = 2**20  # numbers of a parameter that are brought up to date at a time


def _share_of_gradient(group: dict[str, Any]) -> float:
    """How often ``g + lambda w`` counts in the step of w: with Nesterov once more in mu v."""
    return 1 + float(group['momentum']) if group['nesterov'] else 1.0


class _Lag:
    """How far the rows of a parameter (K, ...) are behind.

    A step without a gradient moves a row w and its momentum v linearly, ``(w, v) <- A_t (w, v)``.
    ``since[s]`` is the product ``A_t ... A_{s + 1}`` of the steps after s, ``last[k]`` the step up
    to which row k is. Products are kept for every s, in float64: their inverses do not exist in
    practice (momentum^t).
    """

    def __init__(self, parameter: Tensor) -> None:
        self.last = torch.empty(len(parameter), dtype=torch.long, device=parameter.device)
        self.since = self.last.new_empty(LONGEST + 1, 2, 2, dtype=torch.float64)
        self.restart()

    def restart(self) -> None:
        """All rows are up to date."""
        self.steps = 0
        self.last.zero_()
        self.since.zero_().diagonal(0, 1, 2).fill_(1)  # those of steps to come stay so

    def append(self, group: dict[str, Any]) -> None:
        """Another step. Its scalars go into kernels as arguments, so a GPU is not waited for."""
        lr, momentum, decay = (float(group[k]) for k in ('lr', 'momentum', 'weight_decay'))
        ahead = momentum if group['nesterov'] else 1.0  # of the momentum, in the step of w
        own = _share_of_gradient(group)
        w, v = self.since[: self.steps + 1].unbind(1)  # what (w, v) are of those of step s
        moved_w = (1 - lr * decay * own) * w - lr * ahead * momentum * v
        if momentum:
            v.mul_(momentum).add_(w, alpha=decay)
        w.copy_(moved_w)
        self.steps += 1


@OPTIMIZERS.register_module()
class LazySGD(SGD):
    """``torch.optim.SGD`` whose sparse gradients cost what their rows cost.

    Momentum in PyTorch's form, ``v <- mu v + g + lambda w``, ``w <- w - lr v`` (Nesterov:
    ``w - lr (g + lambda w + mu v)``). Dense gradients are PyTorch's business. With a sparse one
    (COO, over the rows of a parameter) only its rows are touched in the step; momentum and weight
    decay of the others are owed to them, and made up for before they are read again:
    ``SampledTripartiteHead`` has its classifier ask for it. The result is that of SGD
    with the same gradient made dense, but for rounding, whatever happens to lr, momentum and decay
    in between.

    A step takes O(S d) time and memory for S rows of d numbers, and O(4096) for what is owed; a row
    behind by 4096 steps makes all rows be brought up to date, as do :meth:`flush`, a state dict and
    a read of the whole parameter. A parameter of K rows has 8 K bytes more than with SGD.

    Args:
        params, lr, momentum, weight_decay, nesterov, foreach, fused: as of ``torch.optim.SGD``; the
            last two are for dense gradients.

    Raises:
        BCE3SError: dampening or maximize; a sparse gradient of a parameter whose reader does not
            ask, such as ``nn.Embedding(sparse=True)``.
    """

    def __init__(self, params: Any, lr: float = 1e-3, **kwargs: Any) -> None:
        self._lags: dict[Tensor, _Lag] = {}
        super().__init__(params, lr, **kwargs)
        self._step_supports_amp_scaling = False  # a gradient scaler unscales sparse ones itself

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name in ('dampening', 'maximize'):
            if group[name]:
                raise BCE3SError(
                    f'LazySGD: {name}={group[name]} is not offered: leave it out, or use SGD (with '
                    'model.head.type=TripartiteHead).'
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = []
        for group in self.param_groups:
            for parameter in group['params']:
                grad = parameter.grad
                if grad is None:
                    continue
                if grad.is_sparse:
                    self._sparse_step(parameter, grad, group)
                    sparse.append((parameter, grad))
                    parameter.grad = None
                else:
                    self.flush(parameter)
        inspect.unwrap(SGD.step)(self)  # bare: PyTorch calls step hooks around this step already
        for parameter, grad in sparse:
            parameter.grad = grad
        return loss

    def _sparse_step(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        lag = self._lag(parameter)
        if lag.steps == LONGEST:
            self.flush(parameter)
        if group['momentum'] and self.state[parameter].get('momentum_buffer') is None:
            self.state[parameter]['momentum_buffer'] = torch.zeros_like(parameter)
        lag.append(group)
        rows, values = grad._indices()[0], grad._values()  # a row may occur twice: no coalescing,
        self._move(parameter, rows)  # for which a GPU would have to be waited for
        parameter.index_add_(0, rows, values, alpha=-float(group['lr']) * _share_of_gradient(group))
        if group['momentum']:
            self.state[parameter]['momentum_buffer'].index_add_(0, rows, values)

    def _move(self, parameter: Tensor, rows: Tensor) -> None:
        """Bring ``rows`` (S,) and their momentum up to date."""
        lag = self._lags[parameter]
        momentum = self.state.get(parameter, {}).get('momentum_buffer')
        owed = lag.since[lag.last[rows]].to(parameter.dtype)
        owed = owed.view(-1, 4, *[1] * (parameter.dim() - 1)).unbind(1)
        w = parameter.index_select(0, rows)
        moved = owed[0] * w
        if momentum is not None:
            v = momentum.index_select(0, rows)
            moved.addcmul_(owed[1], v)
            momentum.index_copy_(0, rows, v.mul_(owed[3]).addcmul_(owed[2], w))
        parameter.index_copy_(0, rows, moved)
        lag.last.index_fill_(0, rows, lag.steps)

    def _lag(self, parameter: Tensor) -> _Lag:
        """What the rows of ``parameter`` are owed; from now on its reader asks for it."""
        if parameter not in self._lags:
            readers = getattr(parameter, 'before_read', None)
            if readers is None:
                raise BCE3SError(
                    'LazySGD has a sparse gradient of a parameter whose rows it cannot bring up to '
                    'date before they are read; it is made for the classifier of '
                    'SampledTripartiteHead. Give a parameter that something else reads dense '
                    'gradients.'
                )
            self._lags[parameter] = _Lag(parameter)
            itself, its = weakref.ref(self), weakref.ref(parameter)

            def before_read(rows: Tensor | None) -> None:
                optimizer, parameter = itself(), its()
                if optimizer is not None and parameter is not None:
                    optimizer.catch_up(parameter, rows)

            readers.append(before_read)
        return self._lags[parameter]

    @torch.no_grad()
    def catch_up(self, parameter: nn.Parameter, rows: Tensor | None = None) -> None:
        """Bring ``rows`` (S,), distinct, of ``parameter`` up to date; None: all."""
        lag = self._lags.get(parameter)
        if lag is None or lag.steps == 0:
            return
        if rows is not None:
            self._move(parameter, rows)
            return
        size = max(1, BLOCK // max(1, parameter[0].numel()))
        for block in torch.arange(len(parameter), device=parameter.device).split(size):
            self._move(parameter, block)
        lag.restart()

    def flush(self, parameter: nn.Parameter | None = None) -> None:
        """Bring all rows of ``parameter``, None: of every one, up to date."""
        for owed in list(self._lags) if parameter is None else [parameter]:
            self.catch_up(owed)

    def state_dict(self) -> dict[str, Any]:
        """That of SGD, all rows up to date: SGD can load it, and this what SGD has saved."""
        self.flush()
        return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also of ``load_state_dict``: the rows are as up to date as the state is."""
        super().__setstate__(state)
        for lag in self.__dict__.setdefault('_lags', {}).values():
            lag.restart()


def check_sampling(
    head: nn.Module, optim_wrapper: OptimWrapper, hooks: Iterable[Hook] = ()
) -> None:
    """Whether this optimiser, with these hooks, can train a head that samples its classes.

    Raises:
        BCE3SError: it cannot.
    """
    if head.sample_rate == 1:
        return
    given = f'With model.head.sample_rate={head.sample_rate} the classifier has sparse gradients, '
    if not isinstance(optim_wrapper.optimizer, LazySGD):
        raise BCE3SError(
            f'{given}and {type(optim_wrapper.optimizer).__name__} is not made for them: set '
            "optim_wrapper.optimizer.type='LazySGD', or model.head.type=TripartiteHead."
        )
    if getattr(optim_wrapper, 'clip_func', None) is nn.utils.clip_grad_value_:
        raise BCE3SError(
            f'{given}which PyTorch cannot clip by value: set optim_wrapper.clip_grad.type='
            "'norm', or model.head.type=TripartiteHead."
        )
    if any(isinstance(hook, EMAHook) for hook in hooks):
        raise BCE3SError(
            'EMAHook averages every row of the classifier after each step, which '
            f'model.head.sample_rate={head.sample_rate} is there to avoid: remove the hook from '
            'custom_hooks, or set model.head.type=TripartiteHead.'
        )
