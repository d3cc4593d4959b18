"""The sweep over the scale gamma that ``tools/normalized_space.py`` shows: rates predicted and
measured, times to neural collapse, and what a fixed time gives, disturbances included.

After the claims of an abstract; see :mod:`bce3s.theory.normalized` for what is public of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bce3s.evaluation.features import measure
from bce3s.evaluation.robustness import measure_disturbance
from bce3s.theory.normalized import (
    convergence_rate,
    minimum,
    modes,
    optimal_bias,
    shared_rate_at_fixed_bias,
)
from studies.normalized_descent import Path, Points, Record, descend, random_start

SCALES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
ALIGNED, FRAMED, LEARNT = 0.1, 0.01, 99.0  # what the times are taken to
KEPT = ('nc1', 'nc2', 'nc3', 'e_com', 'e_dis', 'uniform_accuracy')
COURSE = 150  # points kept of a run


@dataclass(frozen=True)
class Variant:
    """A loss, and whether the bias starts at 0 or where it is best."""

    name: str
    loss: str
    best_bias: bool
    title: str


VARIANTS = (
    Variant('ce', 'ce', False, 'CE'),
    Variant('bce', 'bce', False, 'BCE, b from 0'),
    Variant('bce_best', 'bce', True, 'BCE, b from b*'),
)


@dataclass(frozen=True)
class Options:
    """The size of the study.

    Attributes:
        scales: the values of gamma. classes: K. samples: n, features a class. dim: d.
        budget: the time at which features and classifier are examined.
        seed: of the random start (the same vectors for all), and of the noise.
        max_steps: of each run.
    """

    scales: Sequence[float] = SCALES
    classes: int = 10
    samples: int = 5
    dim: int = 16
    budget: float = 10.0
    seed: int = 0
    max_steps: int = 20_000


def run(options: Options, each: Iterable = iter) -> dict[str, Any]:
    """All variants at all scales.

    Args:
        options: the sizes.
        each: wraps the list of runs, to show progress.

    Returns:
        ``options``; ``fastest``: by loss, the scale with the highest rate; ``rows``, one for each
        variant and scale. Numbers that JSON can hold; None where a run was cut short before the
        number could be had.

    Raises:
        BCE3SError: no such model (:func:`bce3s.theory.normalized.modes`).
    """
    shape = (options.classes, options.samples, options.dim)
    for scale in options.scales:
        modes('ce', scale, *shape)  # a scale or a size that makes no sense is found at once
    runs = [(variant, scale) for variant in VARIANTS for scale in options.scales]
    rows = [_row(variant, scale, options) for variant, scale in each(runs)]
    return {
        'options': {**vars(options), 'scales': list(options.scales)},
        'fastest': {loss: fastest_scale(loss, *shape) for loss in ('ce', 'bce')},
        'rows': rows,
    }


def fastest_scale(loss: str, num_classes: int, per_class: int, dim: int) -> float:
    """The gamma at which the slowest rate is highest, to about 1 %."""
    grid = np.geomspace(0.1, 100, 700)
    rates = [convergence_rate(loss, scale, num_classes, per_class, dim) for scale in grid]
    return float(grid[int(np.argmax(rates))])


def _row(variant: Variant, scale: float, options: Options) -> dict[str, Any]:
    shape = (options.classes, options.samples, options.dim)
    bias = optimal_bias(scale, options.classes) if variant.best_bias else 0.0
    start = random_start(*shape, seed=options.seed, bias=bias)
    at_budget, whole = _paths(variant.loss, scale, start, options)
    found = [mode for mode in modes(variant.loss, scale, *shape) if mode.name != 'free']
    rates = {mode.name: mode.rate for mode in found}
    return {
        'variant': variant.name,
        'loss': variant.loss,
        'scale': scale,
        'best_bias': minimum(variant.loss, scale, options.classes).bias,
        'held_bias_rate': shared_rate_at_fixed_bias(scale, options.classes, 0.0)
        if options.dim >= options.classes
        else None,
        'predicted_rate': min(mode.rate for mode in found),
        'highest_rate': max(mode.rate for mode in found),
        'within_rate': rates.get('within', rates.get('within_span')),
        'measured_rate': whole.rate(),
        'time_to_accuracy': _learnt_for_good(whole.records),
        'time_to_alignment': whole.time_to('alignment', ALIGNED),
        'time_to_frame': whole.time_to('frame', FRAMED),
        'budget': _examine(scale, at_budget, options),
        'course': _thinned(whole.records),
    }


def _learnt_for_good(records: list[Record]) -> float | None:
    """The first recorded time from which on the accuracy is at least ``LEARNT``: it may come, go
    and come back."""
    wrong = [place for place, r in enumerate(records) if r.accuracy < LEARNT]
    after = wrong[-1] + 1 if wrong else 0
    return records[after].time if after < len(records) else None


def _paths(loss: str, scale: float, start: Points, options: Options) -> tuple[Path, Path]:
    """Up to the budget, and from the start to the minimum (or as far as the steps reach)."""
    steps = options.max_steps
    first = descend(loss, scale, start, until=options.budget, max_steps=steps)
    second = descend(loss, scale, first.end, max_steps=steps)
    return first, Path(first.records + second.records[1:], second.end)


def _examine(scale: float, path: Path, options: Options) -> dict[str, Any]:
    """Features and classifier at the end of a path; ``weight`` and ``bias`` include gamma."""
    last, end = path.records[-1], path.end
    data = (end.features, end.labels, scale * end.weight, scale * end.bias)
    measures = measure(*data)
    own = end.labels[:, None] == np.arange(options.classes)
    cosines = end.features @ end.weight.T
    return {
        'time': last.time,
        'accuracy': last.accuracy,
        'alignment': last.alignment,
        'frame': last.frame,
        'bias': last.bias,
        'positive_cosine': float(cosines[own].mean()),
        'negative_cosine': float(cosines[~own].mean()),
        **{name: measures[name] for name in KEPT},
        'disturbance': measure_disturbance(*data, seed=options.seed, normalize=True),
    }


def _thinned(records: list[Record]) -> list[list[float]]:
    """Time, distance and accuracy at up to ``COURSE`` moments, evenly over the logarithm of time
    (the start apart, which is at time 0)."""
    times = np.array([r.time for r in records])
    moments = np.geomspace(times[1], times[-1], COURSE)
    places = np.unique(np.searchsorted(times, moments).clip(max=len(times) - 1))
    return [[records[i].time, records[i].distance, records[i].accuracy] for i in places]


def of_variant(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of a variant, in the order of the scales."""
    return [row for row in result['rows'] if row['variant'] == name]


def power(rows: list[dict[str, Any]], key: str) -> float | None:
    """Between two rows: the power of gamma that ``key`` grows with; None without both numbers.

    >>> power([{'scale': 1.0, 'x': 3.0}, {'scale': 2.0, 'x': 12.0}], 'x')
    2.0
    """
    (low, first), (high, second) = ((row['scale'], row[key]) for row in rows)
    if not first or not second or low == high:
        return None
    return math.log(second / first) / math.log(high / low)


def exponent(rows: list[dict[str, Any]], key: str) -> float | None:
    """Between two rows: e such that ``key`` is proportional to ``gamma exp(e gamma)``."""
    (low, first), (high, second) = ((row['scale'], row[key]) for row in rows)
    if not first or not second or low == high:
        return None
    return math.log(second / high / (first / low)) / (high - low)
