"""The section ``eval``: fits are right, the plain way computes the same, every measure is timed."""

import numpy as np
import pytest
import torch

from bce3s.benchmark import evaluation
from bce3s.benchmark.growth import exponent
from bce3s.benchmark.plain_evaluation import PLAIN
from bce3s.benchmark.timing import Options
from bce3s.evaluation.accuracy import evaluate
from bce3s.evaluation.class_means import class_means
from bce3s.evaluation.feature_statistics import compactness, distinctiveness, nc1
from bce3s.evaluation.uniform_accuracy import gridded_uniform_accuracy, score_extremes


@pytest.mark.parametrize('power', [0, 1, 2, 1.5])
def test_the_exponent_of_a_power_is_found(power):
    sizes = [3, 10, 40, 90]
    assert exponent(sizes, [7e-3 * s**power for s in sizes]) == pytest.approx(power)


def test_the_exponent_is_that_of_the_larger_sizes():
    sizes = [1, 10, 100, 1000, 10_000]
    seconds = [1 + 1e-3 * s**2 for s in sizes]  # a constant, then a square
    assert exponent(sizes, seconds) == pytest.approx(2, abs=0.05)
    assert exponent(sizes[::-1], seconds[::-1]) == pytest.approx(2, abs=0.05)


def test_the_exponent_bears_noise():
    rng = np.random.default_rng(0)
    sizes = [100, 200, 400, 800]
    fits = [exponent(sizes, [s * np.exp(0.05 * rng.normal()) for s in sizes]) for _ in range(50)]
    assert np.mean(fits) == pytest.approx(1, abs=0.05)


def test_quick_section():
    growth, sweeps, plain = evaluation.run(Options(quick=True, seconds=0.01))
    assert [row['measure'] for row in growth.rows] == list(evaluation.MEASURES)
    for row, one in zip(growth.rows, evaluation.MEASURES.values(), strict=True):
        assert row['seconds'] > 0
        for axis, expected in zip('NdK', one.exponents, strict=True):
            assert row.get(f'formula in {axis}') == expected
            assert (row.get(f'in {axis}') is None) == (expected is None)
    axes = sum(value is not None for one in evaluation.MEASURES.values() for value in one.exponents)
    assert len(sweeps.rows) == axes
    assert [row['measure'] for row in plain.rows] == list(PLAIN)
    assert all(row['plain / ours'] > 0 for row in plain.rows)


def test_every_axis_of_a_formula_is_swept():
    for one in evaluation.MEASURES.values():
        for axis, expected in zip('NdK', one.exponents, strict=True):
            if expected is not None:
                fixed, values = one.sweeps[axis]
                assert {*fixed, axis} == set('NdK')
                assert len(values) >= 4
                assert list(values) == sorted(values)


@pytest.fixture
def data():
    return evaluation.Data.draw(N=300, d=6, K=7, with_scores=True)


def test_the_plain_way_computes_the_same(data):
    number = len(data.labels)

    def plain(name):
        return PLAIN[name].call(data, number)

    accuracy = evaluate(data.labels, data.preds, data.counts, evaluation.Thresholds())
    assert plain('accuracy, per class and splits') == pytest.approx(accuracy['per_class'])
    grid = gridded_uniform_accuracy(*score_extremes(data.scores, data.labels))
    assert plain('uniform accuracy, 200 thresholds') == pytest.approx(grid.accuracy, abs=1e-3)
    assert grid.accuracy > 0
    means = class_means(data.features, data.labels).means
    torch.testing.assert_close(plain('class means'), means)
    assert plain('E_com') == pytest.approx(compactness(data.features, data.labels), rel=1e-5)
    assert plain('E_dis') == pytest.approx(distinctiveness(data.features, data.labels), rel=1e-5)
    assert plain('NC1') == pytest.approx(nc1(data.features, data.labels), rel=1e-4)


def test_nc1_of_the_plain_way_weighs_samples_as_ours(data):
    features, labels = data.features[:100], data.labels[:100]
    assert PLAIN['NC1'].call(data, 100) == pytest.approx(nc1(features, labels), rel=1e-4)


def test_a_part_is_extrapolated():
    plain = PLAIN['E_dis']
    assert plain.part(20_000) == plain.limit < 20_000
    assert plain.part(7) == 7
    assert PLAIN['class means'].part(10**6) == 10**6
