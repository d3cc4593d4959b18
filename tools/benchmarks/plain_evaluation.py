"""Measures as public code writes them: loops over classes, thresholds and pairs.

They compute what ``bce3s.evaluation`` computes (test_benchmark_evaluation.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from benchmarks.evaluation import Data


def per_class_accuracy(x: Data, part: int) -> list[float]:
    """A mask over all samples for each class."""
    labels, preds = x.labels[:part].cpu().numpy(), x.preds[:part].cpu().numpy()
    accuracy = []
    for k in range(len(x.counts)):
        own = labels == k
        accuracy.append(100.0 * (preds[own] == k).mean() if own.any() else float('nan'))
    return accuracy


def uniform_accuracy(x: Data, part: int, thresholds: int = 200) -> float:
    """Every score compared with every threshold."""
    scores, labels = x.scores[:part], x.labels[:part]
    own = torch.nn.functional.one_hot(labels, scores.shape[1]).bool()
    low, high = scores[own].min(), scores[~own].max()
    best = 0.0
    for t in torch.linspace(float(low), float(high), thresholds, dtype=torch.float64):
        right = ((scores > t) == own).all(dim=1)
        best = max(best, 100.0 * right.float().mean().item())
    return best


def compactness(x: Data, part: int) -> float:
    """The mean cosine over all pairs of samples of each class."""
    features, labels = x.features[:part], x.labels[:part]
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    means = []
    for k in range(len(x.counts)):
        own = unit[labels == k]
        if len(own):
            means.append((own @ own.T).mean().item())
    return 50.0 * (float(np.mean(means)) + 1)


def distinctiveness(x: Data, part: int) -> float:
    """The mean cosine over all pairs of samples of each pair of classes."""
    unit = torch.nn.functional.normalize(x.features[:part], dim=1)
    groups = [unit[x.labels[:part] == k] for k in range(len(x.counts))]
    groups = [group for group in groups if len(group)]
    total = 0.0
    for k, own in enumerate(groups):
        for j, other in enumerate(groups):
            if j != k:
                total += (own @ other.T).mean().item()
    return 50.0 * (1 - total / (len(groups) * (len(groups) - 1)))


def class_means(x: Data, part: int) -> torch.Tensor:
    """A mask over all samples for each class."""
    features, labels = x.features[:part], x.labels[:part]
    return torch.stack([features[labels == k].double().mean(0) for k in range(len(x.counts))])


def nc1(x: Data, part: int) -> float:
    """Both covariances as d x d matrices, and a pseudo-inverse."""
    features, labels = x.features[:part].double(), x.labels[:part]
    means, overall = class_means(x, part), features.mean(0)
    within = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    within = within.to(features.device)
    for k in range(len(x.counts)):
        rest = features[labels == k] - means[k]
        within += rest.T @ rest
    between = (means - overall).T @ (means - overall) / len(means)
    inverse = torch.linalg.pinv(between, hermitian=True)
    return float(torch.trace(within / part @ inverse) / len(means))


class Plain(NamedTuple):
    """A measure the plain way.

    ``call(data, part)`` on the first ``part`` samples; ``what`` it does; ``power`` of its growth in
    N, by which a time on ``limit`` samples is extrapolated.
    """

    call: Callable[[Any, int], Any]
    what: str
    power: int = 1
    limit: int | None = None

    def part(self, samples: int) -> int:
        return samples if self.limit is None else min(samples, self.limit)


PLAIN = {
    'accuracy, per class and splits': Plain(per_class_accuracy, 'a mask for each class'),
    'uniform accuracy, 200 thresholds': Plain(
        uniform_accuracy, 'all scores against each of 200 thresholds', limit=10_000
    ),
    'class means': Plain(class_means, 'a mask for each class'),
    'E_com': Plain(compactness, 'double sum within classes', 2, 10_000),
    'E_dis': Plain(distinctiveness, 'double sum between classes', 2, 5000),
    'NC1': Plain(nc1, 'd x d covariances and a pseudo-inverse'),
}
