"""Angles of a classifier against closed forms: simplex, orthogonal vectors, loops over pairs."""

import math

import numpy as np
import pytest
import torch

from bce3s.evaluation.classifier_angles import (
    angles_by_split,
    cosines,
    equal_norms,
    etf_cosine,
    etf_degrees,
    norms,
)


def simplex(classes):
    return np.eye(classes) - 1 / classes


def test_a_simplex_has_the_angles_of_one_and_no_spread():
    found = angles_by_split(3 * simplex(10), [500] * 4 + [50] * 3 + [5] * 3)
    for split, classes in (('all', 10), ('many', 4), ('medium', 3), ('few', 3)):
        assert found[split].classes == classes
        assert found[split].mean == pytest.approx(-1 / 9)
        assert found[split].std == pytest.approx(0, abs=1e-12)
        assert found[split].mean_angle == pytest.approx(math.degrees(math.acos(-1 / 9)))
        assert found[split].least_angle == pytest.approx(etf_degrees(10))


def test_mean_cosine_can_not_be_below_the_simplex():
    weight = np.random.default_rng(0).normal(size=(30, 8))
    assert angles_by_split(weight / norms(weight)[:, None], [50] * 30)['all'].mean >= etf_cosine(30)


def test_split_figures_are_over_pairs_with_any_other_class():
    weight, counts = np.random.default_rng(1).normal(size=(6, 4)), [300, 120, 50, 30, 5, 2]
    unit = [row / math.sqrt(sum(row**2)) for row in weight]
    few = {
        k: [math.degrees(math.acos(unit[k] @ unit[j])) for j in range(6) if j != k] for k in (4, 5)
    }
    found = angles_by_split(weight, counts)['few']
    both = few[4] + few[5]
    pairs = np.cos(np.radians(both))
    assert found.std == pytest.approx(np.std(pairs))
    assert found.mean == pytest.approx(np.mean(pairs))
    assert found.mean_angle == pytest.approx(np.mean(both))
    assert found.least_angle == pytest.approx((min(few[4]) + min(few[5])) / 2)


def test_lengths_do_not_count_and_tensors_are_taken():
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    scaled = weight * torch.tensor([1e-20, 1.0, 5.0, 1e15, 2.0])[:, None]
    assert cosines(scaled) == pytest.approx(cosines(weight), abs=1e-6)
    assert norms(weight) == pytest.approx(weight.norm(dim=1).numpy(), rel=1e-6)


def test_edges():
    assert angles_by_split([[1.0, 2.0]], [7])['all'] is None
    assert etf_degrees(1) is None
    assert angles_by_split(simplex(3), [500] * 3)['few'] is None
    assert cosines([[0.0, 0.0], [1.0, 0.0]]).tolist() == [[1, 0], [0, 1]]
    # opposite and equal vectors: rounding must not leave [-1, 1]
    rows = np.array([[0.1, 0.3], [-0.1, -0.3], [0.1, 0.3]])
    assert np.isfinite(angles_by_split(rows, [5] * 3)['all'].mean_angle)


def test_equal_norms():
    assert equal_norms([1, 1.0005])
    assert not equal_norms([1, 1.01])
    assert equal_norms([2.0])
