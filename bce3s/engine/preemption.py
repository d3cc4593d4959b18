"""What several processes have to agree on between two iterations, without a GPU waiting for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch import distributed

from bce3s.signals import FailedElsewhere, Preempted, requested

__all__ = ['Preempted', 'all_or_none', 'highest', 'stop_requested']


def highest(runner: Runner, *values: int) -> tuple[int, ...]:
    """The highest of each value over all processes; every one of them has to call this.

    Through gloo, also where gradients go through NCCL: the device's queue is not touched.
    """
    if get_world_size() == 1:
        return values
    column = torch.tensor(values, dtype=torch.int64)
    distributed.all_reduce(column, distributed.ReduceOp.MAX, group=_group(runner))
    return tuple(column.tolist())


def _group(runner: Runner) -> distributed.ProcessGroup | None:
    if not hasattr(runner, '_control_group'):
        gloo = distributed.get_backend() == 'gloo'
        runner._control_group = None if gloo else distributed.new_group(backend='gloo')
    return runner._control_group


def stop_requested(runner: Runner, *values: int) -> tuple[str, ...]:
    """The name of the signal by which any process was asked to stop ('': none), then the highest of
    ``values``; every process has to call this.
    """
    number, *rest = highest(runner, requested(), *values)
    return (signal.Signals(number).name if number else '', *rest)


@contextmanager
def all_or_none(runner: Runner) -> Iterator[None]:
    """Every process runs the block; where it fails in one of them, it fails in all.

    Otherwise those that wait for that one in the next step would wait until they are killed.

    Raises:
        FailedElsewhere: another process failed; that one has the reason.
    """
    try:
        yield
    except Exception:
        highest(runner, 1)
        raise
    if highest(runner, 0) != (0,):
        raise FailedElsewhere('Another process could not go on; its message says why.')
