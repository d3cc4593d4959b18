"""The objective of the unconstrained-features model (Eq. 3 of "BCE vs. CE in Deep Feature
Learning"), and its minimisation from random starts, in float64.

    f(W, H, b) = 1/N sum_{k, i} L(W h_i^(k) - b) + lambda_W/2 ||W||_F^2
                 + lambda_H/2 ||H||_F^2 + lambda_b/2 ||b||_2^2

Shapes: W (K, d), H (N, d) with one row a sample, b (K,), scores ``z = W h - b`` (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, minimize
from scipy.special import expit, log_softmax

from bce3s.errors import BCE3SError
from bce3s.theory.decays import Decays, check_classes

# scores (N, K), labels (N,) -> losses (N,), their derivatives along the scores (N, K)
Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def bce(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 2: ``softplus(-z_k) + sum_{j != k} softplus(z_j)``, and its derivatives."""
    signs = np.ones_like(scores)
    signs[np.arange(len(labels)), labels] = -1
    away = signs * scores
    return np.logaddexp(0, away).sum(1), signs * expit(away)


def ce(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 1: ``-log softmax(z)_k``, and its derivatives."""
    rows = np.arange(len(labels))
    logs = log_softmax(scores, axis=1)
    gradient = np.exp(logs)
    gradient[rows, labels] -= 1
    return -logs[rows, labels], gradient


def objective(
    weight: np.ndarray,
    features: np.ndarray,
    bias: np.ndarray,
    labels: np.ndarray,
    loss: Loss,
    decays: Decays,
) -> float:
    """f(W, H, b) of Eq. 3.

    Args:
        weight: W, (K, d).
        features: H, (N, d).
        bias: b, (K,), subtracted from the scores.
        labels: classes of the rows of H, (N,) integers.
        loss: ``bce`` or ``ce``.
        decays: lambda_W, lambda_H, lambda_b.
    """
    losses, _ = loss(features @ weight.T - bias, labels)
    return float(
        losses.mean()
        + decays.weight / 2 * np.sum(weight**2)
        + decays.feature / 2 * np.sum(features**2)
        + decays.bias / 2 * np.sum(bias**2)
    )


@dataclass(frozen=True)
class Problem:
    """What is minimised.

    Attributes:
        counts: n_k, samples of each class. Whole numbers unless ``shared``.
        dim: d, feature size.
        loss: ``bce`` or ``ce``.
        decays: lambda_W, lambda_H, lambda_b.
        shared: one feature for all samples of a class. No restriction at the minimum: given W and
            b, f is strictly convex in every h_i^(k), and the same for all i, so that at every
            stationary point they are equal. Much faster, and n_k need not be whole.
        nonnegative: H >= 0, as after a ReLU.

    Raises:
        BCE3SError: fewer than two classes, a class without samples, no dimension.
    """

    counts: Sequence[float]
    dim: int
    loss: Loss
    decays: Decays
    shared: bool = False
    nonnegative: bool = False

    def __post_init__(self) -> None:
        check_classes(len(self.counts))
        if self.dim < 1:
            raise BCE3SError(f'Features of size {self.dim}: give at least 1.')
        for k, count in enumerate(self.counts):
            if not count > 0 or not (self.shared or float(count).is_integer()):
                raise BCE3SError(
                    f'Class {k} has {count} samples: give a number above 0, and a whole one '
                    'unless the samples of a class share a feature.'
                )

    @classmethod
    def balanced(cls, classes: int, samples: float, dim: int, loss: Loss, decays: Decays, **more):
        """``classes`` classes of ``samples`` samples each."""
        return cls((samples,) * classes, dim, loss, decays, **more)

    def labels(self) -> np.ndarray:
        """Classes of the rows of H."""
        repeats = 1 if self.shared else np.asarray(self.counts, dtype=int)
        return np.repeat(np.arange(len(self.counts)), repeats)

    def copies(self) -> np.ndarray:
        """For how many samples each row of H stands."""
        if self.shared:
            return np.asarray(self.counts, dtype=float)
        return np.ones(int(sum(self.counts)))


@dataclass(frozen=True)
class Solution:
    """Where a minimisation ended.

    Attributes:
        weight: W, (K, d).
        features: H, (N, d), or (K, d) where the samples of a class share one.
        bias: b, (K,).
        labels: classes of the rows of H.
        objective: f(W, H, b).
        gradient: the largest component of the gradient, in the scaled variables of ``minimise``
            (with ``nonnegative``: of its part along which f can still fall).
        iterations: steps of L-BFGS.
    """

    weight: np.ndarray
    features: np.ndarray
    bias: np.ndarray
    labels: np.ndarray
    objective: float
    gradient: float
    iterations: int

    @property
    def scores(self) -> np.ndarray:
        """``W h - b``, one row a row of H."""
        return self.features @ self.weight.T - self.bias


def random_start(
    problem: Problem, seed: int, bias_mean: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W, H and b to start from: W and H normal, with equal norms of ``sqrt(lambda_W) W`` and
    ``sqrt(lambda_H) H`` on average; b uniform in ``bias_mean +- 1/sqrt(d)``.
    """
    random = np.random.default_rng(seed)
    classes, dim = len(problem.counts), problem.dim
    copies = problem.copies()[:, None]
    size = classes * problem.decays.weight / (len(copies) * problem.decays.feature)
    weight = random.normal(size=(classes, dim))
    features = random.normal(size=(len(copies), dim)) * np.sqrt(size / copies)
    bias = bias_mean + random.uniform(-1, 1, classes) / np.sqrt(dim)
    return weight, np.abs(features) if problem.nonnegative else features, bias


def minimise(
    problem: Problem, seed: int = 0, bias_mean: float = 0.0, steps: int = 20_000
) -> Solution:
    """L-BFGS from ``random_start``.

    With H scaled so that its decay equals that of W about 60 steps are enough. It runs until
    float64 cannot tell objectives apart (b to about 1e-7).

    Args:
        problem: what is minimised.
        seed: of the start.
        bias_mean: mean of the bias at the start.
        steps: at most so many.

    Raises:
        BCE3SError: not converged (largest gradient component above 1e-6) after ``steps``.
    """
    scaled = _Scaled(problem)
    start = scaled.join(*random_start(problem, seed, bias_mean))
    end = minimize(
        scaled,
        start,
        jac=True,
        method='L-BFGS-B',
        bounds=scaled.bounds() if problem.nonnegative else None,
        options=dict(maxiter=steps, maxfun=2 * steps, ftol=0, gtol=1e-13, maxcor=20),
    )
    gradient = end.jac
    if problem.nonnegative:  # at a bound, uphill inwards
        gradient = np.where((end.x <= scaled.bounds().lb) & (gradient > 0), 0, gradient)
    residual = float(np.abs(gradient).max())
    if residual > 1e-6:
        raise BCE3SError(
            f'The minimisation has not converged after {end.nit} steps (gradient {residual:.1e}): '
            'allow more steps or take larger decays.'
        )
    return Solution(
        *scaled.split(end.x), scaled.labels, float(end.fun), residual, iterations=int(end.nit)
    )


def best_of(problem: Problem, starts: int, seed: int = 0, bias_mean: float = 0.0) -> list[Solution]:
    """``minimise`` from several starts, the lowest objective first."""
    ends = [minimise(problem, seed + i, bias_mean) for i in range(starts)]
    return sorted(ends, key=lambda end: end.objective)


class _Scaled:
    """f and its gradient as a function of one vector: W, H rescaled, and b."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.labels = problem.labels()
        self.copies = problem.copies()[:, None]
        decays = problem.decays
        self.scale = np.sqrt(decays.weight / decays.feature / self.copies)
        classes, rows = len(problem.counts), len(self.copies)
        self.sizes = np.cumsum([classes * problem.dim, rows * problem.dim])

    def split(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W, H, b."""
        weight, features, bias = np.split(vector, self.sizes)
        shape = (-1, self.problem.dim)
        features = features.reshape(shape) * self.scale
        return weight.reshape(shape), features, bias

    def join(self, weight: np.ndarray, features: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The vector of W, H, b."""
        features = features / self.scale
        return np.concatenate([weight.ravel(), features.ravel(), bias])

    def bounds(self) -> Bounds:
        """H >= 0."""
        lower = np.full(self.sizes[-1] + len(self.problem.counts), -np.inf)
        lower[self.sizes[0] : self.sizes[1]] = 0
        return Bounds(lower, np.inf)

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        weight, features, bias = self.split(vector)
        decays, share = self.problem.decays, self.copies / self.copies.sum()
        losses, slopes = self.problem.loss(features @ weight.T - bias, self.labels)
        slopes *= share
        pull = decays.feature * self.copies * features
        value = losses @ share[:, 0] + np.sum(pull * features) / 2
        value += decays.weight / 2 * np.sum(weight**2) + decays.bias / 2 * np.sum(bias**2)
        gradient = (
            slopes.T @ features + decays.weight * weight,
            (slopes @ weight + pull) * self.scale,
            decays.bias * bias - slopes.sum(0),
        )
        return float(value), np.concatenate([part.ravel() for part in gradient])
