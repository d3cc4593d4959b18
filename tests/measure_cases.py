"""Features with labels and a classifier on which the measures are tested, and what they give."""

from __future__ import annotations

import measure_oracles as oracles
import numpy as np
import pytest

K, D = 5, 7
COUNTS = [200, 150, 100, 50, 10]  # many, many, medium, medium, few


def made(seed=2, samples=60, spread=1.2):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(K), rng.integers(0, K, samples - K)])
    weight = rng.standard_normal((K, D))
    features = 2 * weight[labels] + spread * rng.standard_normal((samples, D)) + 0.5
    return np.maximum(features, 0), labels, weight, 0.5 * rng.standard_normal(K)


def in_batches(features, labels, sizes):
    ends = np.cumsum(sizes)
    return [
        (features[end - size : end], labels[end - size : end])
        for size, end in zip(sizes, ends, strict=True)
    ]


def expected_of(features, labels, weight, bias):
    scores = oracles.scores_of(features, weight, bias)
    return {
        'accuracy': oracles.accuracy(scores, labels),
        'uniform_accuracy': oracles.uniform_accuracy(scores, labels),
        'uniform_accuracy_200': oracles.uniform_accuracy_of_thresholds(scores, labels, 200),
        'nc1': oracles.nc1(features, labels, K),
        'nc2': oracles.nc2(weight, centred=True),
        'nc2_uncentred': oracles.nc2(weight, centred=False),
        'nc3': oracles.nc3(weight, features, labels, centred=False),
        'nc3_centred': oracles.nc3(weight, features, labels, centred=True),
        'nc4': oracles.nc4(features, labels, weight, bias),
        'e_com': oracles.compactness(features, labels, K),
        'e_dis': oracles.distinctiveness(features, labels, K),
        'rho': sum(float(w) ** 2 for row in weight for w in row),
        **oracles.score_statistics(features, labels, weight),
        **dict(zip(('b_mean', 'b_std'), oracles.mean_and_std(bias), strict=True)),
        'samples': len(labels),
        'classes': K,
    }


def close(result, expected, rel=1e-9):
    """Compares nested dicts; counts exactly."""
    assert result.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            close(result[key], value, rel)
        elif value is None:
            assert result[key] is None, key
        else:
            assert result[key] == pytest.approx(value, rel=rel, abs=1e-12), key
