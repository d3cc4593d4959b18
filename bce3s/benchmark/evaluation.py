"""Section ``eval``: the time of every measure against samples N, dimensions d and classes K.

Each of the three is swept with the others fixed; the exponent of its growth is fitted by least
squares in log-log over the larger sizes and stands beside the one of the formula. Where other terms
of the formula still count at these sizes the fitted one is below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from bce3s.benchmark.growth import FITTED, exponent
from bce3s.benchmark.plain_evaluation import PLAIN
from bce3s.benchmark.tables import Table
from bce3s.benchmark.timing import Options, compare, measuring
from bce3s.datasets.long_tailed import Thresholds
from bce3s.evaluation.accuracy import evaluate
from bce3s.evaluation.class_means import class_means
from bce3s.evaluation.disturbance import measure_disturbance
from bce3s.evaluation.feature_statistics import (
    compactness,
    distinctiveness,
    measure,
    nc1,
    nc4,
    score_statistics,
)
from bce3s.evaluation.margins import margins
from bce3s.evaluation.nearest_class_mean import nearest_class_mean
from bce3s.evaluation.neural_collapse import nc2, nc3
from bce3s.evaluation.open_set import evaluate_open_set
from bce3s.evaluation.retrieval import evaluate_retrieval
from bce3s.evaluation.uniform_accuracy import uniform_accuracy, uniform_accuracy_at_thresholds

AXES = ('N', 'd', 'K')
REFERENCE = {'N': 20_000, 'd': 512, 'K': 100}
SWEEPS = {
    'N': (dict(d=128, K=100), (25_000, 50_000, 100_000, 200_000)),
    'd': (dict(N=10_000, K=100), (256, 512, 1024, 2048)),
    'K': (dict(N=10_000, d=128), (250, 500, 1000, 2000)),
}
OF_CLASSES = {  # of what is K^2 d, whatever N
    'N': (dict(d=128, K=500), (25_000, 50_000, 100_000, 200_000)),
    'd': (dict(N=4000, K=1000), (512, 1024, 2048, 4096)),
    'K': (dict(N=4000, d=512), (500, 1000, 2000, 4000)),
}
OF_PAIRS = {  # of what is N^2 d
    'N': (dict(d=256, K=100), (2500, 5000, 10_000, 20_000)),
    'd': (dict(N=5000, K=100), (512, 1024, 2048, 4096)),
    'K': (dict(N=5000, d=256), (50, 100, 200, 400)),
}
OF_DRAWS = {  # of what draws noise again and again
    'N': (dict(d=128, K=100), (2000, 4000, 8000, 16_000)),
    'd': (dict(N=2000, K=20), (1024, 2048, 4096, 8192)),
    'K': (dict(N=2000, d=128), (250, 500, 1000, 2000)),
}
BELOW_D = SWEEPS | {'K': (dict(N=10_000, d=1024), (64, 128, 256, 512))}  # for min(K, d)
QUICK = {name: (dict(N=200, d=8, K=5), (100, 200, 400)) for name in AXES}
QUICK |= {'d': (dict(N=200, K=5), (4, 8, 16)), 'K': (dict(N=200, d=8), (4, 8, 16))}


@dataclass(frozen=True)
class Data:
    """Features around class means, a classifier near them, and what follows from both."""

    features: torch.Tensor  # (N, d) float32
    labels: torch.Tensor  # (N,) every class occurs
    weight: torch.Tensor  # (K, d)
    bias: torch.Tensor  # (K,)
    scores: torch.Tensor | None  # (N, K)
    preds: torch.Tensor  # (N,)
    counts: list[int]  # (K,)

    @classmethod
    def draw(cls, N: int, d: int, K: int, with_scores: bool, device: str = 'cpu') -> Data:
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(K, d, generator=generator) / d**0.5
        labels = torch.randint(K, (N,), generator=generator)
        labels[:K] = torch.arange(min(K, N))
        features = torch.randn(N, d, generator=generator) + 2 * weight[labels]
        bias = torch.randn(K, generator=generator)
        # Logits are what follows for N x K numbers; three of four predictions are right
        scores = torch.randn(N, K, generator=generator) if with_scores else None
        wrong = torch.rand(N, generator=generator) < 0.25
        preds = torch.where(wrong, (labels + 1) % K, labels)
        counts = (1000 * 0.01 ** torch.linspace(0, 1, K)).int().tolist()
        tensors = (features, labels, weight, bias, scores, preds)
        moved = (None if value is None else value.to(device) for value in tensors)
        return cls(*moved, counts)


@dataclass(frozen=True)
class Measure:
    """A function, its formula, and where it is swept.

    Args:
        call: what is timed.
        formula: the order of its cost.
        exponents: in N, d and K, of the term that leads at these sizes; None: does not occur.
        sweeps: as :data:`SWEEPS`.
        prepare: what ``call`` gets beside the data and is not timed.
        scores: whether it takes (N, K) scores.
    """

    call: Callable[..., Any]
    formula: str
    exponents: tuple[int | None, int | None, int | None]
    sweeps: dict[str, tuple[dict[str, int], Sequence[int]]] = field(default_factory=lambda: SWEEPS)
    prepare: Callable[[Data], Any] | None = None
    scores: bool = False

    def at(self, sizes: dict[str, int], device: str) -> Callable[[], Any]:
        data = Data.draw(**sizes, with_scores=self.scores, device=device)
        if self.prepare is None:
            return lambda: self.call(data)
        extra = self.prepare(data)
        return lambda: self.call(data, extra)


def _halves(x: Data) -> tuple[torch.Tensor, ...]:
    """Queries and gallery, N / 2 each: N^2 / 4 pairs."""
    half = len(x.features) // 2
    return x.features[:half], x.labels[:half], x.features[half:], x.labels[half:]


def _known(x: Data) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(len(x.labels), generator=generator) + m for m in (1.0, 0.0))


MEASURES = {
    'accuracy, per class and splits': Measure(
        lambda x: evaluate(x.labels.cpu(), x.preds.cpu(), x.counts, Thresholds()),
        'N + K',
        (1, None, 0),
        {
            'N': (dict(d=1, K=100), (500_000, 1_000_000, 2_000_000, 4_000_000)),
            'K': (dict(N=1_000_000, d=1), (500, 1000, 2000, 4000)),
        },
    ),
    'uniform accuracy, exact': Measure(
        lambda x: uniform_accuracy(x.scores, x.labels), 'N K + N log N', (1, None, 1), scores=True
    ),
    'uniform accuracy, 200 thresholds': Measure(
        lambda x: uniform_accuracy_at_thresholds(x.scores, x.labels),
        'N K + N log N',
        (1, None, 1),
        scores=True,
    ),
    'class means': Measure(lambda x: class_means(x.features, x.labels), 'N d', (1, 1, 0)),
    'E_com': Measure(lambda x: compactness(x.features, x.labels), 'N d', (1, 1, 0)),
    'E_dis': Measure(lambda x: distinctiveness(x.features, x.labels), 'N d', (1, 1, 0)),
    'NC1': Measure(
        lambda x: nc1(x.features, x.labels),
        'N d min(K, d) + K d min(K, d)',
        (1, 1, 1),
        BELOW_D,
    ),
    'NC2': Measure(lambda x: nc2(x.weight), 'K^2 d', (0, 1, 2), OF_CLASSES),
    'NC3, of class means': Measure(
        lambda x, means: nc3(x.weight, means),
        'K^2 d',
        (0, 1, 2),
        OF_CLASSES,
        lambda x: class_means(x.features, x.labels, len(x.weight)),
    ),
    'NC4': Measure(lambda x: nc4(x.features, x.labels, x.weight, x.bias), 'N d K', (1, 1, 1)),
    'decision scores': Measure(
        lambda x: score_statistics(x.features, x.labels, x.weight), 'N d K', (1, 1, 1)
    ),
    'all of these, `measure`': Measure(
        lambda x: measure(x.features, x.labels, x.weight, x.bias), 'N d K', (1, 1, 1)
    ),
    'margins': Measure(
        lambda x: margins(x.features, x.labels, x.weight, x.bias), 'N d K + K^2 d', (1, 1, 1)
    ),
    'disturbances, 5 draws': Measure(
        lambda x: measure_disturbance(x.features, x.labels, x.weight, x.bias),
        'N d K + K^2 d',
        (1, 1, 1),
        OF_DRAWS,
    ),
    'nearest class mean': Measure(
        lambda x: nearest_class_mean(
            x.features, x.features, x.labels, len(x.weight), metric='cosine'
        ),
        'N d K',
        (1, 1, 1),
    ),
    'kNN and retrieval, halves of N': Measure(
        lambda x, halves: evaluate_retrieval(*halves, x.counts),
        'N^2 d',
        (2, 1, 0),
        OF_PAIRS,
        _halves,
    ),
    'open set: AUROC, OSCR, FPR': Measure(
        lambda x, s: evaluate_open_set(s[0], x.labels == x.preds, x.labels, s[1], x.counts),
        'N log N + K',
        (1, None, 0),
        {
            'N': (dict(d=1, K=100), (125_000, 250_000, 500_000, 1_000_000)),
            'K': (dict(N=250_000, d=1), (500, 1000, 2000, 4000)),
        },
        _known,
    ),
}


def run(options: Options) -> Iterator[Table]:
    """Growth of every measure; then some of them against the plain way."""
    rows, swept = [], []
    for name, one in MEASURES.items():
        measuring(name)
        row, points = _grown(name, one, options)
        rows.append(row)
        swept += points
    columns = ('measure', 'seconds', 'formula')
    columns += tuple(column for axis in AXES for column in (f'in {axis}', f'formula in {axis}'))
    sizes = _sizes(REFERENCE if not options.quick else dict(N=200, d=8, K=5))
    yield Table(
        f'Measures: seconds at {sizes}, and fitted growth exponents',
        columns,
        rows,
        [f'Exponents by least squares in log-log over the {FITTED} largest sizes of each sweep.'],
    )
    yield Table('The sweeps', ('measure', 'swept', 'at', 'seconds'), swept)
    yield _against_plain(options)


def _grown(name: str, one: Measure, options: Options) -> tuple[dict, list[dict]]:
    """The row of a measure and the rows of its sweeps."""
    reference = dict(N=200, d=8, K=5) if options.quick else REFERENCE
    row = {'measure': name, 'formula': one.formula}
    row['seconds'] = _seconds(one, [reference], options)[0]
    points = []
    for axis, expected in zip(AXES, one.exponents, strict=True):
        if expected is None:
            continue
        fixed, values = (QUICK if options.quick else one.sweeps)[axis]
        seconds = _seconds(one, [{**fixed, axis: value} for value in values], options)
        row |= {f'in {axis}': round(exponent(values, seconds), 2), f'formula in {axis}': expected}
        pairs = ', '.join(f'{s:.3g} ({v:,})' for v, s in zip(values, seconds, strict=True))
        points.append({'measure': name, 'swept': axis, 'at': _sizes(fixed), 'seconds': pairs})
    return row, points


def _seconds(one: Measure, sizes: Sequence[dict[str, int]], options: Options) -> list[float]:
    """The best time at each of ``sizes``, which take turns."""
    functions = {_sizes(size): one.at(size, options.device) for size in sizes}
    brief = replace(options, seconds=options.seconds / 10)
    return [timing.best for timing in compare(functions, brief, warmup=1).values()]


def _against_plain(options: Options) -> Table:
    reference = dict(N=200, d=8, K=5) if options.quick else REFERENCE
    data = Data.draw(**reference, with_scores=True, device=options.device)
    rows = []
    for name, plain in PLAIN.items():
        measuring(f'{name}, the plain way')
        one = MEASURES[name]
        part = plain.part(len(data.labels))
        functions = {
            'ours': one.at(reference, options.device),
            'plain': lambda plain=plain, part=part: plain.call(data, part),
        }
        times = compare(functions, replace(options, seconds=options.seconds / 2), warmup=1)
        seconds = times['plain'].best * (len(data.labels) / part) ** plain.power
        ours = times['ours'].best
        row = {'measure': name, 'ours s': ours, 'plain s': seconds, 'plain / ours': seconds / ours}
        extrapolated = f', {part:,} samples, extrapolated' if part < len(data.labels) else ''
        rows.append(row | {'the plain way': plain.what + extrapolated})
    columns = ('measure', 'ours s', 'plain s', 'plain / ours', 'the plain way')
    return Table(f'Measures against the plain way, {_sizes(reference)}', columns, rows)


def _sizes(sizes: dict[str, int]) -> str:
    return ', '.join(f'{axis} = {sizes[axis]:,}' for axis in AXES if axis in sizes)
