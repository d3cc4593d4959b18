"""Disturbances against loops and against expectations in closed form."""

import math

import numpy as np
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.evaluation import disturbed_accuracy
from bce3s.randomness import generator

N, D, K = 60, 6, 4
FEATURES, SCORES, ROUNDED = (f'accuracy_{x}' for x in ('feature_noise', 'score_noise', 'bfloat16'))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(K, D)), rng.normal(size=K)
    labels = rng.integers(0, K, N)
    return weight[labels] + 1.5 * rng.normal(size=(N, D)), labels, weight, bias


@pytest.mark.parametrize('normalize', [False, True])
def test_noise_matches_a_loop(data, normalize):
    features, labels, weight, bias = data
    if normalize:
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    right = {FEATURES: 0, SCORES: 0}
    for r in range(3):
        turn, shift = (
            torch.randn(N, width, generator=generator(5, name, r, 0), dtype=torch.float64).numpy()
            for width, name in ((D, 'feature noise'), (K, 'score noise'))
        )
        for h, y, e, s in zip(features, labels, turn, shift, strict=True):
            x = h + 0.7 * np.linalg.norm(h) * e / np.linalg.norm(e)
            x = x / np.linalg.norm(x) if normalize else x
            right[FEATURES] += np.argmax(weight @ x - bias) == y
            right[SCORES] += np.argmax(weight @ h - bias + 0.9 * s) == y
    found = disturbed_accuracy(features, labels, weight, bias, 0.7, 0.9, normalize, 3, 5)
    for name, number in right.items():
        assert found[name] == pytest.approx(100 * number / (3 * N))
        assert 30 < found[name] < 95


def test_two_classes_on_the_sphere_in_closed_form():
    """In 3 dimensions a component of a uniform unit vector is uniform in [-1, 1]: the feature
    (1, 0, 0) stays right of the plane x = 0 after a change of norm 2 with probability 3/4."""
    weight = np.array([[1.0, 0, 0], [-1, 0, 0]])
    features, labels = np.tile([1.0, 0, 0], (20_000, 1)), np.zeros(20_000, dtype=int)
    for size, expected in ((0.999, 1), (2.0, 0.75)):
        found = disturbed_accuracy(features, labels, weight, feature_noise=size, repeats=1)
        bound = 400 * math.sqrt(expected * (1 - expected) / 20_000)
        assert found[FEATURES] == pytest.approx(100 * expected, abs=bound)


def test_score_noise_in_closed_form_and_the_scale():
    """The gap 2 gamma against the noise of two scores, normal with variance 2 sigma^2."""
    features, labels = np.tile([1.0, 0], (20_000, 1)), np.zeros(20_000, dtype=int)
    weight = np.array([[1.0, 0], [-1, 0]])
    for scale in (1.0, 0.1):
        found = disturbed_accuracy(features, labels, scale * weight, score_noise=1.0, repeats=1)
        assert found[SCORES] == pytest.approx(50 * (1 + math.erf(scale)), abs=1.4)
        assert found[FEATURES] == 100  # of a relative size: the same at any scale


def test_draws_depend_on_the_seed_alone(data):
    one = disturbed_accuracy(*data, seed=3)
    assert one == disturbed_accuracy(*data, seed=3) != disturbed_accuracy(*data, seed=4)
    # from 1025 samples on there is a second block, with noise of its own
    block = [np.concatenate([a[:32]] * 32) for a in data[:2]]
    twice = [np.concatenate([a] * 2) for a in block]
    first, both = (
        disturbed_accuracy(*some, *data[2:], score_noise=1.0, repeats=1) for some in (block, twice)
    )
    assert first[SCORES] != both[SCORES]
    assert first[ROUNDED] == both[ROUNDED]


def test_a_large_bias_uses_up_the_digits():
    """Cosines 1 and -1 times 0.001 beside a bias of 2: bfloat16 has 8 bits, so 2 +- 0.001 is 2."""
    weight, features = 1e-3 * np.array([[1.0, 0], [-1, 0]]), [[1.0, 0], [-1, 0]]
    assert disturbed_accuracy(features, [0, 1], weight, [2.0, 2.0])[ROUNDED] == 50  # a tie
    assert disturbed_accuracy(features, [0, 1], weight)[ROUNDED] == 100


def test_torch_float32_and_numpy_float64_agree(data):
    narrow, labels, weight, bias = data[0].astype(np.float32), *data[1:]
    as_torch = disturbed_accuracy(*map(torch.tensor, (narrow, labels, weight, bias)))
    assert as_torch == disturbed_accuracy(narrow.astype(np.float64), labels, weight, bias)


def test_limits():
    one_class = disturbed_accuracy(np.ones((3, 2)), [0, 0, 0], np.ones((1, 2)))
    assert set(one_class.values()) == {100.0}
    zeros = disturbed_accuracy(np.zeros((2, 2)), [0, 1], np.eye(2), [0, 1])
    assert zeros[FEATURES] == zeros[ROUNDED] == 50  # only the biases speak
    equal = disturbed_accuracy(np.ones((4, 2)), [0, 1, 0, 1], np.ones((2, 2)))
    assert equal[FEATURES] == equal[ROUNDED] == 50  # all scores are equal


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(labels=[0, 1]), r'60 samples but the labels have the shape \(2,\)'),
        (dict(labels=[K] * N), 'sample 0 has 4'),
        (dict(features=np.zeros((0, D)), labels=[]), 'no sample'),
        (dict(features=np.ones((N, D + 1))), '7 numbers each'),
        (dict(features=np.full((N, D), np.inf)), 'features of sample 0 are not finite'),
        (dict(bias=[0.0]), '4 classes, but the biases'),
        (dict(weight=np.full((K, D), np.nan)), 'diverged'),
        (dict(repeats=0), 'repeats is 0'),
        (dict(feature_noise=-1.0), 'feature_noise is -1.0: it must be finite and not negative'),
        (dict(score_noise=math.nan), 'score_noise is nan'),
    ],
)
def test_bad_input_is_a_sentence(data, change, said):
    names = dict(zip(('features', 'labels', 'weight', 'bias'), data, strict=True))
    with pytest.raises(BCE3SError, match=said):
        disturbed_accuracy(**(names | change))
