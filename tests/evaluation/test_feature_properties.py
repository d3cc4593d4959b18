"""E_com and E_dis in closed form against the double sums, closed cases and the edges."""

import time

import measure_oracles as oracles
import numpy as np
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.evaluation.features import compactness, distinctiveness

K = 3


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(K), rng.integers(0, K, 20)])
    return np.maximum(rng.standard_normal((len(labels), 5)) + np.eye(K, 5)[labels], 0), labels


@pytest.mark.parametrize('dtype', [np.float64, np.float32, np.float16])
def test_equal_the_double_sums(data, dtype):
    features, labels = data[0].astype(dtype), data[1]
    exact = features.astype(np.float64)
    expected = oracles.compactness(exact, labels, K)
    assert compactness(features, labels) == pytest.approx(expected, rel=1e-12)
    expected = oracles.distinctiveness(exact, labels, K)
    assert distinctiveness(features, labels) == pytest.approx(expected, rel=1e-12)


def test_equal_the_double_sums_on_a_sample_of_many():
    """More rows than a block has; the oracle sees them all in matrix form."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 300, generator=generator) + 0.2
    labels = torch.randint(0, 7, (4000,), generator=generator)
    unit = torch.nn.functional.normalize(features.double())
    centred = torch.nn.functional.normalize(features.double() - features.double().mean(dim=0))
    same = [(centred[labels == k] @ centred[labels == k].T).mean() for k in range(7)]
    cross = [
        (unit[labels == k] @ unit[labels == j].T).mean()
        for k in range(7)
        for j in range(7)
        if j != k
    ]
    expected = 50 * (float(sum(same)) / 7 + 1)
    assert compactness(features, labels) == pytest.approx(expected, rel=1e-12)
    expected = 50 * (1 - float(sum(cross)) / 42)
    assert distinctiveness(features, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('classes', [2, 5, 10])
def test_a_collapse_to_the_simplex(classes):
    rows = np.eye(classes) - 1 / classes
    labels = np.repeat(np.arange(classes), 4)
    assert compactness(rows[labels], labels) == pytest.approx(100)
    expected = 50 * (1 + 1 / (classes - 1))  # cosines of -1 / (K - 1)
    assert distinctiveness(rows[labels], labels) == pytest.approx(expected)


def test_length_does_not_matter(data):
    features, labels = data
    lengths = np.random.default_rng(1).uniform(0.5, 2, (len(labels), 1))
    expected = pytest.approx(distinctiveness(features, labels))
    assert distinctiveness(lengths * features, labels) == expected
    assert compactness(7 * features, labels) == pytest.approx(compactness(features, labels))


def test_arguments_are_not_changed(data):
    features, labels = torch.tensor(data[0]), torch.tensor(data[1])
    before = features.clone()
    compactness(features, labels)
    distinctiveness(features, labels)
    assert torch.equal(features, before)


def test_vectors_of_norm_zero_have_the_cosine_zero(data):
    features, labels = data
    features[3] = 0
    expected = oracles.distinctiveness(features, labels, K)
    assert distinctiveness(features, labels) == pytest.approx(expected)
    features = np.round(features * 1024) / 1024  # sums are exact
    features[labels == 1] = 0
    features[0] -= features.sum(axis=0)  # the mean is 0: class 1 lies on it
    assert compactness(features, labels) == pytest.approx(oracles.compactness(features, labels, K))
    zeros = np.zeros_like(features)
    assert compactness(zeros, labels) == 50
    assert distinctiveness(zeros, labels) == 50


def test_classes_without_samples_are_left_out(data):
    features, labels = data
    apart = labels * 2  # classes 1 and 3 have none
    expected = pytest.approx(compactness(features, labels), rel=1e-14)  # sums of 9 and 3 classes
    assert compactness(features, apart, 9) == expected
    assert distinctiveness(features, apart, 9) == pytest.approx(distinctiveness(features, labels))


def test_one_class(data):
    features, labels = data
    one = np.zeros_like(labels)
    assert distinctiveness(features, one) is None
    expected = oracles.compactness(features, one, 1)
    assert compactness(features, one) == pytest.approx(expected)
    assert compactness(features[:1], one[:1]) == 50  # one sample is its own mean


@pytest.mark.parametrize('measure', [compactness, distinctiveness])
def test_bad_input(data, measure):
    features, labels = data
    with pytest.raises(BCE3SError, match='23 samples but the labels'):
        measure(features, labels[1:])
    with pytest.raises(BCE3SError, match='no sample'):
        measure(features[:0], labels[:0])
    with pytest.raises(BCE3SError, match='sample 0 has -1'):
        measure(features, labels - 1)
    with pytest.raises(BCE3SError, match=r'classes 0..1, but sample 2 has 2'):
        measure(features, labels, 2)
    for bad in (np.nan, np.inf, -np.inf):
        features[4, 2] = bad
        with pytest.raises(BCE3SError, match='features of sample 4 are not finite'):
            measure(features, labels)


@pytest.mark.slow
def test_50000_by_512_features_take_less_than_two_seconds():
    features, labels = torch.randn(50_000, 512), torch.randint(0, 100, (50_000,))
    begun = time.process_time()  # one thread: what else the machine does is left out
    values = compactness(features, labels), distinctiveness(features, labels)
    seconds = time.process_time() - begun
    print(f'{seconds:.2f} s, {values}')
    assert seconds < 2
