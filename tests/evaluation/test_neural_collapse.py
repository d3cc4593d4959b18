"""NC1 to NC4 against the paper's loops, at an exact collapse, and at the edges."""

import math

import measure_oracles as oracles
import numpy as np
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.evaluation import neural_collapse as nc
from bce3s.evaluation.features import nc1, nc4
from bce3s.evaluation.neural_collapse import class_means

K, D = 4, 6


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(K), rng.integers(0, K, 30)])  # imbalanced, all present
    features = rng.standard_normal((K, D))[labels] + 0.5 * rng.standard_normal((len(labels), D))
    return np.maximum(features, 0), labels, rng.standard_normal((K, D)), rng.standard_normal(K)


def simplex(classes, width):
    """W with W W^T = I - 11^T / K, in ``width`` dimensions"""
    rows = np.eye(classes) - 1 / classes
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((width, width)))[0]
    return np.pad(rows, ((0, 0), (0, width - classes))) @ rotation


def test_nc1_to_nc4_match_the_loops(data):
    features, labels, weight, bias = data
    means = class_means(features, labels)
    assert nc1(features, labels) == pytest.approx(oracles.nc1(features, labels, K), rel=1e-9)
    for centred in (False, True):
        assert nc.nc2(weight, centred) == pytest.approx(oracles.nc2(weight, centred), rel=1e-9)
        expected = oracles.nc3(weight, features, labels, centred)
        assert nc.nc3(weight, means, centred) == pytest.approx(expected, rel=1e-9)
    assert nc.nc2(weight) == nc.nc2(weight, centred=True)
    expected = oracles.nc4(features, labels, weight, bias)
    assert 0 < expected < 1
    assert nc4(features, labels, weight, bias) == pytest.approx(expected)
    without_bias = oracles.nc4(features, labels, weight, np.zeros(K))
    assert nc4(features, labels, weight) == pytest.approx(without_bias)


def test_class_means_match_the_loops(data):
    features, labels, *_ = data
    means = class_means(torch.tensor(features, dtype=torch.float32), labels, K + 1)
    features = features.astype(np.float32).astype(np.float64)
    for k in range(K):
        np.testing.assert_allclose(means.means[k], oracles.class_mean(features, labels, k))
    np.testing.assert_allclose(means.global_mean, oracles.global_mean(features))
    assert means.counts.tolist() == [*np.bincount(labels), 0]
    assert means.classes.tolist() == list(range(K))


def test_whitening_is_the_pseudo_inverse(data):
    features, labels, *_ = data
    between = oracles.covariances(features, labels, K)[0]
    whitening = class_means(features, labels).whitening.numpy()
    assert len(whitening) == K - 1  # the rank: the weighted sum of the centred means is 0
    inverse = np.linalg.pinv(between, rcond=1e-12, hermitian=True)
    np.testing.assert_allclose(K * whitening.T @ whitening, inverse, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(('classes', 'width'), [(2, 2), (5, 8), (10, 10)])
def test_all_are_zero_at_the_collapse(classes, width):
    weight = simplex(classes, width)
    labels = np.repeat(np.arange(classes), 3)
    features = 2 * weight[labels] + 0.7  # class means around a common mean, no variance
    means = class_means(features, labels)
    assert nc1(features, labels) == pytest.approx(0, abs=1e-25)
    assert nc.nc2(weight) == pytest.approx(0, abs=1e-12)
    assert nc.nc2(weight, centred=False) == pytest.approx(0, abs=1e-12)
    assert nc.nc3(weight, means) == pytest.approx(0, abs=1e-12)
    assert nc.nc3(weight, means, centred=True) == pytest.approx(0, abs=1e-12)
    assert nc4(features, labels, weight, weight @ np.full(width, 0.7)) == 0


def test_a_common_part_of_the_weights_is_seen_by_the_uncentred_only():
    weight = simplex(5, 8)
    shifted = weight + 0.3 * np.ones(8)
    labels = np.repeat(np.arange(5), 2)
    means = class_means(weight[labels], labels)
    assert nc.nc2(shifted) == pytest.approx(0, abs=1e-12)
    assert nc.nc2(shifted, centred=False) > 0.1
    assert nc.nc3(shifted, means, centred=True) == pytest.approx(0, abs=1e-12)
    assert nc.nc3(shifted, means) > 0.1


def test_scatter_of_1e_8_of_the_means():
    """NC1 without cancellation: against residuals taken in extended precision."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(K), 10)
    features = rng.standard_normal((K, D))[labels] + 5 + 1e-8 * rng.standard_normal((4 * 10, D))
    residuals = np.empty_like(features)
    for k in range(K):
        rows = features[labels == k].astype(np.longdouble)
        residuals[labels == k] = rows - rows.mean(axis=0)
    between = oracles.covariances(features, labels, K)[0]
    within = residuals.T @ residuals / len(labels)
    inverse = np.linalg.pinv(between, rcond=1e-12, hermitian=True)
    expected = np.trace(within @ inverse) / K
    assert 1e-17 < expected < 1e-14
    assert nc1(features, labels) == pytest.approx(expected, rel=1e-9)


def test_more_classes_than_dimensions():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(7), rng.integers(0, 7, 30)])
    features = rng.standard_normal((7, 3))[labels] + 0.1 * rng.standard_normal((37, 3))
    weight = rng.standard_normal((7, 3))
    assert nc1(features, labels) == pytest.approx(oracles.nc1(features, labels, 7), rel=1e-9)
    assert nc.nc2(weight) == pytest.approx(oracles.nc2(weight, True), rel=1e-9)
    expected = oracles.nc3(weight, features, labels, False)
    assert nc.nc3(weight, class_means(features, labels)) == pytest.approx(expected, rel=1e-9)
    # An ETF of 7 classes needs 6 dimensions: the best rank-3 Gram matrix is this far away
    assert nc.nc2(weight) > math.sqrt(2 - 2 * math.sqrt(3 / 6)) - 1e-9


def test_a_class_without_samples_is_left_out(data):
    features, labels, weight, bias = data
    wider = np.insert(weight, 2, 1.0, axis=0)  # class 2 of five has no sample
    relabelled = labels + (labels >= 2)
    means, wide_means = class_means(features, labels), class_means(features, relabelled, K + 1)
    assert nc1(features, relabelled, K + 1) == pytest.approx(nc1(features, labels))
    for centred in (False, True):
        expected = pytest.approx(nc.nc3(weight, means, centred))
        assert nc.nc3(wider, wide_means, centred) == expected
    never = np.insert(bias, 2, 1e9)  # and is never predicted
    assert nc4(features, relabelled, wider, never) == nc4(features, labels, weight, bias)


def test_what_is_not_defined_is_none(data):
    features, labels, weight, _ = data
    one = np.zeros_like(labels)
    means = class_means(features, one)
    assert nc1(features, one) is None
    assert nc.nc2(weight[:1]) is None
    assert nc.nc3(weight[:1], means) is None
    assert nc4(features, one, weight[:1]) is None
    assert nc.nc2(np.zeros((K, D))) is None
    assert nc.nc2(np.full((K, D), 0.1)) is None  # equal rows: nothing is left but rounding
    assert nc.nc3(np.full((K, D), 0.1), class_means(features, labels), centred=True) is None
    constant = np.full((len(labels), D), 0.1)
    assert nc1(constant, labels) is None
    assert nc.nc3(weight, class_means(constant, labels)) is None


def test_bad_input(data):
    features, labels, weight, bias = data
    means = class_means(features, labels)
    with pytest.raises(BCE3SError, match='34 samples but the labels'):
        nc1(features, labels[1:])
    with pytest.raises(BCE3SError, match='no sample'):
        nc1(features[:0], labels[:0])
    with pytest.raises(BCE3SError, match=r'classes 0..2, but sample 3 has 3'):
        nc1(features, labels, 3)
    with pytest.raises(BCE3SError, match='the classifier takes 5'):
        nc.nc3(weight[:, 1:], means)
    with pytest.raises(BCE3SError, match='6 numbers each, the classifier takes 5'):
        nc4(features, labels, weight[:, 1:], bias)
    with pytest.raises(BCE3SError, match='not finite'):
        nc.nc2(weight * np.nan)
    features[5, 1] = np.inf
    for measure in (nc1, class_means, lambda h, y: nc4(h, y, weight)):
        with pytest.raises(BCE3SError, match='features of sample 5 are not finite'):
            measure(features, labels)
