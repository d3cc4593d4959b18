"""Section ``loop``: what MMEngine's Runner and its hooks add to a bare loop."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from bce3s.randomness import Clock
from bce3s.registry import MODELS
from benchmarks import runs
from benchmarks.tables import Table
from benchmarks.timing import Options, Timing, compare, measuring

CONFIG = runs.NETWORKS['ResNet-32']['BCE3S']
POINTS = ('before_train_iter', 'after_train_iter')
LOGGED = 50  # iterations between two log lines, as shipped: a turn has one line
TINY = {
    'model.backbone': dict(_delete_=True, type='OneConvolution'),
    'model.head.in_channels': 16,
    'model.precision': 'fp32',
    'model.data_preprocessor.augment': [],
    'train_dataloader.batch_size': 8,
}


@MODELS.register_module()
class OneConvolution(BaseModule):
    """The least that is a network: what is around it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=4)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) -> one feature map (B, 16, H / 4, W / 4)."""
        return (self.stem(x),)


def run(options: Options) -> Iterator[Table]:
    """Microseconds an iteration; then by hook."""
    measuring('loop: a step of ResNet-32, to compare with')
    with runs.started(runs.config(CONFIG, options)) as whole:
        step = compare(dict(step=whole.step), options)['step'].median
        precision = whole.precision
    cfg = runs.config(CONFIG, options, TINY)
    turn = cfg.default_hooks.logger.interval = 5 if options.quick else LOGGED
    with runs.started(cfg) as tiny:
        measuring('loop: Runner against bare loop')
        ways = {'bare loop': bare, 'train_step': train_step, 'Runner': runs.Run.step}
        functions = {name: functools.partial(_turn, way, tiny, turn) for name, way in ways.items()}
        times = {
            name: timing.divided(turn)
            for name, timing in compare(functions, options, warmup=1).items()
        }
        yield overhead(times, step, precision)
        measuring('loop: each hook')
        hooks = by_hook(tiny, 2 * turn if options.quick else 10 * turn)
        yield breakdown(times, hooks, step)


def _turn(way: Callable[[runs.Run], None], tiny: runs.Run, iterations: int) -> None:
    for _ in range(iterations):
        way(tiny)


# ------------------------------------------------------------ the two loops
def bare(run: runs.Run) -> None:
    """The same model, loader and optimiser without MMEngine; nothing is logged."""
    number, batch = run.next_batch()
    model, optimizer = run.model, run.optim_wrapper.optimizer
    model.data_preprocessor.clock = Clock(0, 0, number)
    data = model.data_preprocessor(batch, True)
    losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    optimizer.step()
    optimizer.zero_grad()


def train_step(run: runs.Run) -> None:
    """The Runner's iteration without its hooks: ``parse_losses`` and ``OptimWrapper``."""
    number, batch = run.next_batch()
    run.model.data_preprocessor.clock = Clock(0, 0, number)
    run.model.train_step(batch, optim_wrapper=run.optim_wrapper)


# ------------------------------------------------------------ the tables
def overhead(times: dict[str, Timing], step: float, precision: str) -> Table:
    table = Table(
        'An iteration of a tiny network (one convolution, 3 x 8 images, three branches): us',
        ('loop', 'us an iteration', 'beyond the bare loop', '% of a ResNet-32 step', 'spread'),
        notes=[
            'All hooks of configs/_base_/default_runtime.py, a log line every '
            f'{LOGGED} iterations (JSON, TensorBoard; the console goes nowhere); without '
            'validation, checkpoints and progress bar, which a pipe does not have.',
            'Median differences of turns taken in the same round. A ResNet-32 step with three '
            f'branches on three views: {1e3 * step:.0f} ms ({precision}).',
        ],
    )
    for name, timing in times.items():
        more = timing.beyond(times['bare loop'])
        table.rows.append(
            {
                'loop': name,
                'us an iteration': 1e6 * timing.median,
                'beyond the bare loop': None if name == 'bare loop' else 1e6 * more,
                '% of a ResNet-32 step': None if name == 'bare loop' else 100 * more / step,
                'spread': timing.spread,
            }
        )
    return table


def breakdown(times: dict[str, Timing], hooks: dict[str, float], step: float) -> Table:
    """``hooks``: seconds an iteration by the name of the hook's class."""
    total = times['Runner'].beyond(times['bare loop'])
    wrapper = times['train_step'].beyond(times['bare loop'])
    parts = {'parse_losses, OptimWrapper': wrapper}
    parts |= dict(sorted(hooks.items(), key=lambda item: -item[1]))
    parts['calling the hooks, the rest'] = total - sum(parts.values())
    table = Table(
        'What the Runner adds, part by part: us an iteration',
        ('part', 'us', '% of a ResNet-32 step'),
        notes=['A hook: before and after an iteration, log lines included. The rest by difference'
               ' of two measurements: below zero is noise.'],
    )  # fmt: skip
    for name, seconds in parts.items():
        table.rows.append(
            {'part': name, 'us': 1e6 * seconds, '% of a ResNet-32 step': 100 * seconds / step}
        )
    return table


def by_hook(run: runs.Run, iterations: int) -> dict[str, float]:
    """Seconds an iteration in each hook that does anything in it."""
    spent: dict[str, float] = {}
    for hook in run.runner.hooks:
        for point in POINTS:
            setattr(hook, point, _timed(getattr(hook, point), spent, type(hook).__name__))
    for _ in range(iterations):
        run.step()
    for hook in run.runner.hooks:
        for point in POINTS:
            delattr(hook, point)
    nothing = min(spent.values())  # the clock itself, in a hook that has neither
    return {name: (seconds - nothing) / iterations for name, seconds in spent.items()}


def _timed(function: Callable, spent: dict[str, float], name: str) -> Callable:
    spent.setdefault(name, 0.0)

    def timed(*args: Any, **kwargs: Any) -> None:
        start = time.perf_counter()
        function(*args, **kwargs)
        spent[name] += time.perf_counter() - start

    return timed
