"""Section ``step``, second half: what each choice is worth, where a step goes, what the branches
cost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from bce3s.registry import MODELS
from benchmarks import runs
from benchmarks.tables import Table
from benchmarks.timing import Options, compare, measuring, synchronize

PARTS = (
    'data',
    'augmentation, mixing',
    'backbone forward',
    'head forward + backward',
    'backbone backward',
    'optimiser',
)
WITHOUT = {  # a choice of the shipped configs: what undoes it
    'bf16': {'model.precision': 'fp32'},
    'channels-last': {'model.channels_last': False},
    'bf16, channels-last': {'model.precision': 'fp32', 'model.channels_last': False},
    'the fused optimiser': {
        'optim_wrapper.optimizer.fused': False,
        'optim_wrapper.optimizer.foreach': False,
    },
}


def choices(options: Options) -> Table:
    """A BCE3S step as shipped, and how much longer it takes without each choice."""
    table = Table(
        'What a BCE3S step takes without ...: times the one as shipped',
        ('network', 'as shipped: ms', *WITHOUT, 'spread'),
        notes=['All in turns, data included. Without the fused optimiser: a loop over parameters.'],
    )
    for network, configs in runs.NETWORKS.items():
        measuring(f'step: what each choice is worth for {network}')
        with contextlib.ExitStack() as stack:
            steps = {
                name: stack.enter_context(
                    runs.started(runs.config(configs['BCE3S'], options, changes))
                ).step
                for name, changes in {'shipped': {}, **WITHOUT}.items()
            }
            times = compare(steps, options)
        shipped = times['shipped'].median
        row = {name: times[name].median / shipped for name in WITHOUT}
        spread = max(timing.spread for timing in times.values())
        table.rows.append(
            {'network': network, 'as shipped: ms': 1e3 * shipped, **row, 'spread': spread}
        )
    return table


def parts(options: Options) -> Table:
    """Seconds of every part of a BCE3S step, one after the other."""
    table = Table(
        'Where a BCE3S step goes: ms',
        ('network', 'precision', *PARTS, 'sum', 'whole step'),
        notes=['Head: three branches and the bank. Whole step: with the hooks of the Runner.'],
    )
    for network, configs in runs.NETWORKS.items():
        measuring(f'step: where a step of {network} goes')
        with runs.started(runs.config(configs['BCE3S'], options)) as ours:
            seconds = _seconds(ours, options)
            precision = ours.precision
        row = dict(zip(PARTS, 1e3 * seconds, strict=False), network=network, precision=precision)
        row |= {'sum': 1e3 * sum(seconds[:-1]), 'whole step': 1e3 * seconds[-1]}
        table.rows.append(row)
    return table


def _seconds(ours: runs.Run, options: Options) -> np.ndarray:
    """Medians of the parts, then of the whole step, taken in turns."""
    rows, stop = [], None
    least = 2 if options.quick else 5
    while len(rows) < least or time.perf_counter() < stop:
        row = _laps(ours, options.device)
        start = time.perf_counter()
        ours.step()
        synchronize(options.device)
        row.append(time.perf_counter() - start)
        if stop is None:  # the first is a warm-up
            stop = time.perf_counter() + 2 * options.seconds
        else:
            rows.append(row)
    return np.median(rows, axis=0)


def _laps(ours: runs.Run, device: str) -> list[float]:
    """Seconds of each of :data:`PARTS` in one step."""
    model = ours.model
    synchronize(device)
    marks = [time.perf_counter()]

    def lap() -> None:
        synchronize(device)
        marks.append(time.perf_counter())

    _, batch = ours.next_batch()
    lap()
    data = ours.views(batch)
    lap()
    features = model.features(data['inputs'])
    lap()
    cut = features.detach().requires_grad_()
    sum(model.head.loss(cut, data['data_samples']).values()).backward()
    lap()
    features.backward(cut.grad)
    lap()
    ours.optim_wrapper.step()
    ours.optim_wrapper.zero_grad()
    lap()
    return np.diff(marks).tolist()


# ------------------------------------------------------------ the three branches
def branches(options: Options) -> Table:
    """Heads alone, on the features of the same three views."""
    table = Table(
        'What three branches and the bank cost over plain CE on the same views: ms',
        ('network', 'three branches', 'CE', 'difference', 'a step', '% of a step'),
        notes=[
            'Forward, backward and the update of the parameters of the head, on the same features '
            'of three views; a step: the whole, with three branches, in the precision above.'
        ],
    )
    for network, configs in runs.NETWORKS.items():
        measuring(f'step: the three branches of {network}')
        cfg = runs.config(configs['BCE3S'], options)
        with runs.started(cfg) as ours:
            data = ours.views(ours.next_batch()[1])
            with torch.no_grad():
                features = ours.model.features(data['inputs'])
            plain_head = MODELS.build(runs.config(configs['CE'], options).model.head)
            heads = dict(tripartite=ours.model.head, ce=plain_head.to(features.device))
            functions = {
                name: _head_step(head, features, data['data_samples'], cfg)
                for name, head in heads.items()
            }
            times = compare(functions, options)
            step = compare(dict(step=ours.step), options)['step'].median
        more = times['tripartite'].beyond(times['ce'])
        table.rows.append(
            {
                'network': network,
                'three branches': 1e3 * times['tripartite'].median,
                'CE': 1e3 * times['ce'].median,
                'difference': 1e3 * more,
                'a step': 1e3 * step,
                '% of a step': 100 * more / step,
            }
        )
    return table


def _head_step(head: Any, features: torch.Tensor, targets: Any, cfg: Config) -> Callable:
    sgd = {k: v for k, v in cfg.optim_wrapper.optimizer.items() if k != 'type'}
    optimizer = torch.optim.SGD(head.parameters(), **sgd)

    def step() -> None:
        leaf = features.detach().requires_grad_()
        sum(head.loss(leaf, targets).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
