"""Section ``head``: a step of the three branches, optimiser included, against K and r.

S = r K classes are sampled for a batch of B samples in V views with d dimensions, D of them in the
bank. The formulas: time V B S d (joint) + V B S D (contrastive) + S^2 d (uniformity) + V B d^2 (the
projector), memory S d + V B S and a block of the uniformity's cosines, nothing in K.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bce3s.engine.lazy_sgd import LazySGD
from bce3s.losses.resampling import number_of_classes
from bce3s.models import SampledTripartiteHead, TripartiteHead
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks.plain import PlainModel
from benchmarks.tables import Table
from benchmarks.timing import Options, compare, measuring, peak_memory

# S -> the (K, r) with r K = S; the groups are measured in turns.
GROUPS = {
    100: ((100, 1.0), (1000, 0.1), (10_000, 0.01), (100_000, 0.001)),
    1000: ((1000, 1.0), (10_000, 0.1), (100_000, 0.01), (1_000_000, 0.001)),
    10_000: ((10_000, 1.0), (100_000, 0.1), (1_000_000, 0.01)),
}
QUICK = {20: ((20, 1.0), (200, 0.1)), 40: ((40, 1.0), (400, 0.1)), 80: ((80, 1.0), (800, 0.1))}
TARGET = ((100_000, 0.01), (1000, 1.0), 1.5)
DENSE = (100, 1000, 10_000)
MEMORY = 10 * 2**30  # that the parameters and their momentum may take, and half of what is free
PLAIN_MEMORY = 4 * 2**30  # that the plain way may take
BATCH, DIM, PROJECTION = 64, 512, 128
SGD = dict(lr=0.01, momentum=0.9, weight_decay=5e-4)
COLUMNS = ('K', 'r', 'S', 'ms', 'over r = 1', 'ms, no uniformity', 'peak MiB', 'GFLOP')
COLUMNS += ('% of ceiling',)
FITTED = 3  # of the sizes of a sweep, the largest ones: there the leading term leads
LEGEND = (
    'ms: the best of all rounds. Peak: above the parameters, their momentum and the bank. Ceiling: '
    'a large float32 matrix product, in the same turns; counted are the matrix products of the '
    'branches and the projector.'
)


@dataclass
class Step:
    """Forward, backward and optimiser of a head on given features.

    Args:
        num_classes: K. rate: r; 1: torch's SGD, else ``LazySGD``.
        batch: B. dim: d. views: V, 1 or 3 (mixed with a partner batch).
        device: where.
    """

    num_classes: int
    rate: float
    batch: int = BATCH
    dim: int = DIM
    views: int = 1
    device: str = 'cpu'

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        with torch.device(self.device):
            sampled = {}
            if self.rate < 1:
                sampled = dict(sample_rate=self.rate, classifier=dict(type='SampledClassifier'))
            self.head = (SampledTripartiteHead if sampled else TripartiteHead)(
                self.num_classes,
                self.dim,
                joint=dict(type='BCEJoint'),
                contrastive=dict(type='BCEContrastive'),
                uniformity=dict(type='BCEUniformity'),
                projection_dim=PROJECTION,
                **sampled,
            )
            self.features = torch.randn(self.views * self.batch, self.dim, requires_grad=True)
        self.optimizer = (torch.optim.SGD if self.rate == 1 else LazySGD)(
            self.head.parameters(), **SGD
        )
        self.uniformity, self.steps = self.head.uniformity, 0

    @property
    def sampled(self) -> int:
        """S."""
        labels = self.batch * (1 if self.views == 1 else 2)  # and partners
        return number_of_classes(self.num_classes, self.rate, labels)

    @property
    def flops(self) -> float:
        """Of the matrix products, 2 a multiplication: forward, and backward to all that learns."""
        rows, d, s = self.views * self.batch, self.dim, self.sampled
        compared = max(self.views - 1, 1) * self.batch  # rows that the bank is compared with
        projector = 6 * rows * (d * d + d * PROJECTION)
        return 6 * rows * s * d + 4 * compared * s * PROJECTION + 4 * s * s * d + projector

    def targets(self) -> Targets:
        """Other labels, and other sampled classes, in each step."""
        self.steps += 1
        generator = torch.Generator().manual_seed(self.steps)
        labels = torch.randint(self.num_classes, (2, self.batch), generator=generator)
        labels, partners = labels.to(self.device)
        clock = Clock(step=self.steps)
        if self.views == 1:
            return Targets.plain(labels, clock)
        return Targets.mixed(labels, partners, [1.0, 0.7, 0.6], clock)

    def __call__(self) -> None:
        losses = self.head.loss(self.features, self.targets())
        sum(losses.values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.features.grad = None

    def without_uniformity(self) -> None:
        """The same without its third branch."""
        self.head.uniformity = None
        self()
        self.head.uniformity = self.uniformity


class PlainStep:
    """The same as public code does it: every row, K x K cosines, a loop over the bank, SGD."""

    def __init__(self, num_classes: int, batch: int, dim: int, device: str) -> None:
        torch.manual_seed(0)
        model = PlainModel(nn.Identity(), dim, num_classes, 'BCE3S', projection_dim=PROJECTION)
        self.model, self.device, self.batch = model.to(device), device, batch
        self.features = torch.randn(3 * batch, dim, device=device, requires_grad=True)
        self.optimizer = torch.optim.SGD(model.parameters(), **SGD)

    def __call__(self) -> None:
        labels = torch.randint(self.model.num_classes, (2, self.batch)).to(self.device)
        losses = self.model.losses(self.features, *labels, lams=(1.0, 0.7, 0.6))
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()


# ------------------------------------------------------------ the section
def run(options: Options) -> Iterator[Table]:
    """Growth in K and S; the target; dense heads against the plain way."""
    growth, seconds = _growth(options)
    yield growth
    if all(pair in seconds for pair in TARGET[:2]):
        yield _target(seconds)
    yield _against_plain(options)


def _growth(options: Options) -> tuple[Table, dict[tuple[int, float], float]]:
    """The table and the seconds at each (K, r)."""
    rows, notes = [], []
    for sampled, pairs in (QUICK if options.quick else GROUPS).items():
        measuring(f'heads that compare with {sampled:,} classes')
        steps: dict[tuple[int, float], Step] = {}
        for pair in pairs:
            if lack := _lack(pair[0], options.device, sum(k for k, _ in steps)):
                notes.append(f'K = {pair[0]:,}, r = {pair[1]:g} left out: {lack}.')
                continue
            steps[pair] = Step(*pair, **_sizes(options), device=options.device)
        rows += _rows(steps, options)
    seconds = {(row['K'], row['r']): row['ms'] / 1000 for row in rows}
    batch, dim = _sizes(options).values()
    return (
        Table(
            f'A step of the three branches, optimiser included: B = {batch}, d = {dim}, one view',
            COLUMNS,
            rows,
            [*_exponents(rows), *notes, LEGEND],
        ),
        seconds,
    )


def _rows(steps: dict[tuple[int, float], Step], options: Options) -> list[dict]:
    """Those of heads of one S, measured in turns."""
    functions: dict[object, Callable[[], object]] = dict(steps)
    functions |= {(*pair, ''): step.without_uniformity for pair, step in steps.items()}
    size = 256 if options.quick else 8192 if options.device.startswith('cuda') else 2048
    square = torch.randn(size, size, device=options.device)
    functions['product'] = partial(torch.mm, square, square, out=torch.empty_like(square))
    times = compare(functions, replace(options, seconds=options.seconds / 4), warmup=1)
    ceiling = 2 * size**3 / times['product'].best
    rows = []
    for pair, step in steps.items():
        best, first = times[pair].best, times[next(iter(steps))].best
        memory = peak_memory(step, options.device)
        rows.append(
            {
                'K': pair[0],
                'r': pair[1],
                'S': step.sampled,
                'ms': 1000 * best,
                'over r = 1': best / first,
                'ms, no uniformity': 1000 * times[(*pair, '')].best,
                'peak MiB': None if memory is None else memory / 2**20,
                'GFLOP': step.flops / 1e9,
                '% of ceiling': 100 * step.flops / best / ceiling,
            }
        )
    return rows


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """p of ``values ~ sizes^p``, by least squares in log-log over the ``FITTED`` largest sizes.

    Args:
        sizes: at least two different ones, in any order.
        values: positive, such as seconds.
    """
    largest = np.argsort(sizes)[-FITTED:]
    x, y = (np.log(np.asarray(numbers, float)[largest]) for numbers in (sizes, values))
    return float(np.polyfit(x, y, 1)[0])


def _exponents(rows: list[dict]) -> list[str]:
    """Fitted growth: in S at r = 1 and in K at each S."""

    def fit(over: str, column: str, chosen: list[dict]) -> str:
        pairs = [(row[over], row[column]) for row in chosen if row[column]]
        return f'{exponent(*zip(*pairs, strict=True)):.2f}' if len(pairs) > 1 else '-'

    dense = [row for row in rows if row['r'] == 1]
    in_s = (
        f'Growth in S at r = 1: time {fit("S", "ms", dense)} (the operations counted: '
        f'{fit("S", "GFLOP", dense)}), without uniformity {fit("S", "ms, no uniformity", dense)} '
        f'(formula: 1), memory {fit("S", "peak MiB", dense)} (formula: 1).'
    )
    parts = []
    for sampled in sorted({row['S'] for row in rows}):
        group = [row for row in rows if row['S'] == sampled and row['r'] < 1]
        parts.append(
            f'S = {sampled:,}: time {fit("K", "ms", group)}, memory {fit("K", "peak MiB", group)}'
        )
    return [in_s, f'Growth in K at fixed S, r < 1 (formula: 0): {"; ".join(parts)}.']


def _target(seconds: dict[tuple[int, float], float]) -> Table:
    (sampled, dense, most) = TARGET
    names = [f'K = {k:,}, r = {r:g}' for k, r in (sampled, dense)]
    ours, theirs = seconds[sampled], seconds[dense]
    row = {names[0] + ', ms': 1000 * ours, names[1] + ', ms': 1000 * theirs}
    row |= {'ratio': ours / theirs, 'at most': most}
    return Table('Many classes for the price of few, optimiser included', tuple(row), [row])


def _against_plain(options: Options) -> Table:
    """Heads on three views, dense and sampled, and the plain way's, which is dense."""
    rows, sizes, notes, rates = [], _sizes(options), [], {'r = 1': 1.0, 'r = 0.1': 0.1}
    for classes in (20, 40) if options.quick else DENSE:
        measuring(f'heads on three views, K = {classes:,}')
        if 32 * classes**2 > PLAIN_MEMORY:
            notes.append(f'K = {classes:,}: the plain way needs more than 4 GiB.')
            continue
        steps: dict[str, Callable[[], object]] = {
            name: Step(classes, rate, **sizes, views=3, device=options.device)
            for name, rate in rates.items()
        }
        steps['plain'] = PlainStep(classes, **sizes, device=options.device)
        times = compare(steps, replace(options, seconds=options.seconds / 2), warmup=1)
        row: dict[str, float | None] = {'K': classes}
        for name, step in steps.items():
            memory = peak_memory(step, options.device)
            row[f'{name} ms'] = 1000 * times[name].best
            row[f'{name} MiB'] = None if memory is None else memory / 2**20
        for name in rates:
            row[f'plain / {name}'] = row['plain ms'] / row[f'{name} ms']
        rows.append(row)
    columns = ('K', *(f'{name} ms' for name in steps), *(f'plain / {name}' for name in rates))
    columns += tuple(f'{name} MiB' for name in steps)
    title = f'The same on three views, B = {sizes["batch"]}, against the plain way'
    return Table(title, columns, rows, notes)


def _sizes(options: Options) -> dict[str, int]:
    return dict(batch=4, dim=16) if options.quick else dict(batch=BATCH, dim=DIM)


def _lack(num_classes: int, device: str, beside: int) -> str | None:
    """Why so many classes (beside others) cannot be had in memory, or None."""
    need = (num_classes + beside) * 4 * (2 * DIM + PROJECTION + 4)
    if device.startswith('cuda'):
        limit = torch.cuda.mem_get_info()[0] // 2
    else:
        limit = min(MEMORY, _available() // 2)
    if need <= limit:
        return None
    return f'{need / 2**30:.1f} GiB are needed for W, momentum and bank, {limit / 2**30:.1f} given'


def _available() -> int:
    """Bytes of memory that are free; without Linux's figures unlimited."""
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
    except OSError:
        return 2 * MEMORY
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith('MemAvailable'))
