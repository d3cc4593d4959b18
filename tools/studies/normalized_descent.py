r"""Gradient flow of CE and BCE in a normalised space, from random starts: what the rates of
:mod:`bce3s.theory.normalized` (which has the model, and what of it is ours) say of the end, seen
from the beginning.

The steps of plain gradient descent become useless in the numbers that large scales need (about
``exp(gamma)``), so time is followed instead: each step is as long as the curvature at that moment
allows. Gradient descent with a step size that is small enough takes ``time / step`` steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.errors import BCE3SError
from bce3s.theory.normalized import check, check_sizes

Array = NDArray[np.float64]


@dataclass
class Points:
    """The free vectors of the model at some time.

    Attributes:
        features: (K n, d) unit vectors, the n of class 0 first.
        weight: (K, d) unit vectors.
        bias: (K,), in the sign of ``gamma (w . h - b)``.
        time: of gradient flow since the start.
    """

    features: Array
    weight: Array
    bias: Array
    time: float = 0.0

    @property
    def labels(self) -> NDArray[np.int64]:
        """(K n,) the class of each feature."""
        return np.repeat(np.arange(len(self.weight)), len(self.features) // len(self.weight))


class Record(NamedTuple):
    """Where a run is at ``time``.

    ``alignment``: root mean square of ``||h_i - w_y||`` (the collapse onto the own weight: NC1 and
    NC3); ``frame``: root mean square of ``w_j . w_k + 1/(K-1)`` over j != k (the ETF: NC2). Both
    are of first order in the deviation. ``accuracy`` in percent, a tie counting as wrong.
    """

    time: float
    alignment: float
    frame: float
    accuracy: float
    bias: float

    @property
    def distance(self) -> float:
        """From the minimum: alignment and frame together."""
        return math.hypot(self.alignment, self.frame)


@dataclass
class Path:
    """What a run passed, and where it ended."""

    records: list[Record] = field(default_factory=list)
    end: Points | None = None

    def time_to(self, measure: str, below: float) -> float | None:
        """The first recorded time at which ``measure`` ('alignment', 'frame', 'distance') is below
        a number; None if that is not reached."""
        return next((r.time for r in self.records if getattr(r, measure) < below), None)

    def rate(self, high: float = 1e-3, low: float = 1e-6) -> float | None:
        """The slope of ``-log(distance)`` over time where the distance is between low and high
        (least squares over its second half); None if there are fewer than 4 records.
        """
        inside = [r for r in self.records if low < r.distance < high]
        inside = inside[len(inside) // 2 :]
        if len(inside) < 4:
            return None
        times = np.array([r.time for r in inside])
        slope = np.polyfit(times / times[-1], np.log([r.distance for r in inside]), 1)[0]
        return float(-slope / times[-1])


def random_start(
    num_classes: int, per_class: int, dim: int, seed: int = 0, bias: float = 0.0
) -> Points:
    """Features and weights uniform on the sphere; all biases equal.

    Args:
        num_classes: K. per_class: n. dim: d, at least K - 1.
        seed: of the generator. bias: b_j at the start; BCE's best is that of
            :func:`bce3s.theory.normalized.optimal_bias`.

    Raises:
        BCE3SError: K < 2, n < 1, d < K - 1.
    """
    check('ce', 1.0, num_classes)
    check_sizes(num_classes, per_class, dim)
    rng = np.random.default_rng(seed)
    features = _unit(rng.normal(size=(num_classes * per_class, dim)))
    weight = _unit(rng.normal(size=(num_classes, dim)))
    return Points(features, weight, np.full(num_classes, float(bias)))


def descend(
    loss: str,
    scale: float,
    start: Points,
    until: float = math.inf,
    tolerance: float = 1e-6,
    max_steps: int = 20_000,
    step: float | None = None,
    train_bias: bool = True,
    every: int = 5,
) -> Path:
    """Follows the negative gradient on the spheres (:mod:`bce3s.theory.normalized` has its metric).

    Args:
        loss: ``ce`` or ``bce``. scale: gamma.
        start: where to begin; it is not changed.
        until: the time to stop at. tolerance: the distance (:class:`Record`) to stop below.
        max_steps: as many steps at most.
        step: a fixed one; None: 0.4 over a bound on the largest eigenvalue of the Hessian.
        train_bias: whether the biases move.
        every: steps between two records, after a few of which each is recorded.

    Returns:
        The records, of the start and the end too, and the end.

    Raises:
        BCE3SError: another loss, gamma not positive, a start that is already past ``until``.
    """
    num_classes = len(start.weight)
    check(loss, scale, num_classes)
    if start.time > until:
        raise BCE3SError(f'The start is at time {start.time:g}, after the end at {until:g}.')
    labels = start.labels
    own = labels[:, None] == np.arange(num_classes)
    at = Points(start.features, start.weight, start.bias, start.time)
    path = Path()
    for number in range(max_steps + 1):
        z = scale * (at.features @ at.weight.T - at.bias)
        early = number < 4 * every  # a run over many decades of time begins in its first steps
        if early or number % every == 0 or at.time >= until or number == max_steps:
            path.records.append(_record(at, z, labels))
            if at.time >= until or path.records[-1].distance < tolerance:
                break
        gradient = _errors(loss, z, own)
        dt = min(step or 0.4 / _curvature_bound(gradient, scale, num_classes), until - at.time)
        at = _moved(at, scale * gradient, dt, train_bias)
    path.end = at
    return path


def _moved(at: Points, gradient: Array, dt: float, train_bias: bool) -> Points:
    """One step of length ``dt`` along the tangents; ``gradient`` (K n, K) by cosine."""
    per_class = len(at.weight) / len(gradient)  # K / N: the mean over the class's features
    features = _step(at.features, gradient @ at.weight, dt)
    weight = _step(at.weight, per_class * gradient.T @ at.features, dt)
    bias = at.bias + dt * per_class * gradient.sum(0) if train_bias else at.bias
    return Points(features, weight, bias, at.time + dt)


def _step(points: Array, gradient: Array, dt: float) -> Array:
    # Without the projection the radial part would shorten the step: dt would not be time.
    radial = (gradient * points).sum(1, keepdims=True)
    return _unit(points - dt * (gradient - radial * points))


def _unit(vectors: Array) -> Array:
    return vectors / np.sqrt((vectors * vectors).sum(1, keepdims=True))


def _errors(loss: str, z: Array, own: NDArray[np.bool_]) -> Array:
    """Derivatives of each sample's loss by its scores, (N, K), accurate where they are tiny."""
    if loss == 'bce':
        return np.where(own, -1.0, 1.0) * np.exp(-np.logaddexp(0.0, np.where(own, z, -z)))
    powers = np.exp(z - z.max(1, keepdims=True))
    negatives = np.where(own, 0.0, powers / powers.sum(1, keepdims=True))
    return np.where(own, -negatives.sum(1, keepdims=True), negatives)


def _curvature_bound(gradient: Array, scale: float, num_classes: int) -> float:
    """At least half of the Hessian's largest eigenvalue: from the sums over rows and columns of the
    errors e (bends of the spheres) and of e (1 - e) (curvature of the loss)."""
    size = np.abs(gradient)
    bend, curve = (
        max(part.sum(1).max(), num_classes * part.mean(0).max())
        for part in (size, size * (1 - size))
    )
    return 2 * scale * bend + 3 * scale**2 * curve


def _record(at: Points, z: Array, labels: NDArray[np.int64]) -> Record:
    num_classes = len(at.weight)
    apart = at.features - at.weight[labels]
    cosines = (at.weight @ at.weight.T)[~np.eye(num_classes, dtype=bool)]
    others = z.copy()
    rows = np.arange(len(z))
    others[rows, labels] = -np.inf
    return Record(
        at.time,
        math.sqrt((apart**2).sum(1).mean()),
        math.sqrt(((cosines + 1 / (num_classes - 1)) ** 2).mean()),
        100.0 * float((z[rows, labels] > others.max(1)).mean()),
        float(at.bias.mean()),
    )
