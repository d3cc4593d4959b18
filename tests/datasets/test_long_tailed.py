"""Counts, subsets and splits against the published numbers and independently written rules."""

import math
from fractions import Fraction

import numpy as np
import pytest

from bce3s.datasets.long_tailed import (
    Thresholds,
    check_labels,
    check_several_labels,
    class_counts,
    select_subset,
    split_masks,
    split_of,
)
from bce3s.errors import BCE3SError


@pytest.mark.parametrize(
    ('n_max', 'classes', 'factor', 'total'),
    [
        (500, 100, 100, 10847),
        (500, 100, 50, 12608),
        (500, 100, 10, 19573),
        (5000, 10, 100, 12406),
        (5000, 10, 50, 13996),
        (5000, 10, 10, 20431),
    ],
)
def test_published_totals(n_max, classes, factor, total):
    counts = class_counts(n_max, classes, factor)
    assert sum(counts) == total
    assert counts[0] == n_max
    assert counts[-1] == n_max // factor
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize('factor', [2, 10, 20, 50, 100, 200, 256])
@pytest.mark.parametrize(('n_max', 'classes'), [(500, 100), (5000, 10), (120, 10), (6000, 10)])
def test_exp_is_the_floor_of_the_exact_value(n_max, classes, factor):
    # counts of at least 1: n <= n_max IF^(-i/(K-1)) < n + 1, raised to the power K - 1
    if factor > n_max:
        with pytest.raises(BCE3SError, match='would have no training image'):
            class_counts(n_max, classes, factor)
        return
    for i, n in enumerate(class_counts(n_max, classes, factor)):
        exact = Fraction(n_max) ** (classes - 1) / Fraction(factor) ** i
        assert Fraction(n) ** (classes - 1) <= exact < Fraction(n + 1) ** (classes - 1)


def test_rounding_takes_no_image_away():
    assert 49 * (1 / 49) < 1  # what a plain int() would cut to 0
    assert class_counts(49, 5, 49)[-1] == 1
    assert class_counts(49, 4, 49, 'step') == [49, 49, 1, 1]


def test_step():
    assert class_counts(500, 100, 100, 'step') == [500] * 50 + [5] * 50
    assert class_counts(12, 5, 5, 'step') == [12, 12, 2, 2, 2]  # an odd K: the minority is larger


@pytest.mark.parametrize('factor', [0.99, 0, -3, math.nan, math.inf, '100', None, True])
def test_imbalance_factor_out_of_range(factor):
    with pytest.raises(BCE3SError, match=r'imbalance_factor is .*>= 1'):
        class_counts(500, 100, factor)


@pytest.mark.parametrize('arguments', [(0, 10, 2), (10, 0, 2), (1.5, 10, 2), ('many', 10, 2)])
def test_counts_out_of_range(arguments):
    with pytest.raises(BCE3SError, match='must be an integer >= 1'):
        class_counts(*arguments)


def test_class_without_images_is_named():
    with pytest.raises(BCE3SError, match=r'class 2 \(cat\) would have no training image'):
        class_counts(5, 3, 6, classes=['ant', 'bee', 'cat'])


def ldam_oracle(labels, counts):
    """As in LDAM-DRW: global seed, then shuffle the indices of each class in turn."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    chosen = []
    for k in np.unique(labels):
        where = [i for i, label in enumerate(labels) if label == k]
        where = np.array(where)
        np.random.shuffle(where)  # noqa: NPY002
        chosen.extend(where[: counts[k]].tolist())
    np.random.set_state(state)  # noqa: NPY002
    return chosen


@pytest.fixture
def labels():
    return np.random.default_rng(3).permutation(np.repeat(np.arange(5), 40))


def test_first_n(labels):
    counts = [40, 20, 7, 3, 1]
    expected = [
        [i for i, label in enumerate(labels) if label == k][:n] for k, n in enumerate(counts)
    ]
    assert select_subset(labels, counts).tolist() == [i for part in expected for i in part]


def test_ldam_matches_the_oracle_and_leaves_the_global_state(labels):
    counts = [40, 20, 7, 3, 1]
    np.random.seed(17)  # noqa: NPY002
    expected_next = np.random.RandomState(17).rand()
    chosen = select_subset(labels, counts, 'ldam')
    assert np.random.rand() == expected_next  # noqa: NPY002
    assert chosen.tolist() == ldam_oracle(labels, counts)
    assert chosen.tolist() != select_subset(labels, counts).tolist()
    assert select_subset(labels, counts, 'ldam').tolist() == chosen.tolist()


def test_too_few_images(labels):
    with pytest.raises(BCE3SError, match=r'class 1 \(b\) has 40 images in FILE, 41 are needed'):
        select_subset(labels, [1, 41, 1, 1, 1], classes='abcde', source='FILE')


@pytest.mark.parametrize('value', [-1, 5, 255])
def test_labels_outside(labels, value):
    labels[[13, 20]] = value
    sentence = rf'label {value} at index 13 of FILE is not in 0..4 \(2 such labels\)'
    with pytest.raises(BCE3SError, match=sentence):
        check_labels(labels, 5, 'FILE')
    with pytest.raises(BCE3SError, match=sentence):
        select_subset(labels, [1] * 5, source='FILE')


def test_split_borders():
    assert split_of([101, 100, 20, 19, 0]).tolist() == ['many', 'medium', 'medium', 'few', 'few']
    assert split_of([6, 5, 4, 3, 2], Thresholds(many=5, few=3)).tolist() == [
        'many',
        'medium',
        'medium',
        'medium',
        'few',
    ]


@pytest.mark.parametrize(
    ('n_max', 'classes', 'factor', 'sizes'),
    [(500, 100, 100, (35, 35, 30)), (500, 100, 10, (69, 31, 0)), (5000, 10, 100, (8, 2, 0))],
)
def test_split_sizes(n_max, classes, factor, sizes):
    masks = split_masks(class_counts(n_max, classes, factor))
    assert tuple(int(masks[name].sum()) for name in ('many', 'medium', 'few')) == sizes
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
    assert all(mask.dtype == bool for mask in masks.values())


def test_thresholds_that_overlap():
    with pytest.raises(BCE3SError, match='a class would be both'):
        Thresholds(many=20, few=100)


@pytest.mark.parametrize(
    ('labels', 'sentence'),
    [
        ([[1, 0], [2, 1]], 'label 2 of class a at index 1: it must be 1 .* or -1'),
        ([[1, 0], [0, 0]], 'no picture with class b, .* or add pictures with it'),
        ([[1, 0], [1, 1]], 'no picture without class a, .* or add pictures without it'),
        ([[1, 0], [-1, 1]], 'no picture without class a'),
    ],
)
def test_several_labels_from_which_nothing_can_be_learnt(labels, sentence):
    check_several_labels(np.array([[1, 0], [0, 1], [-1, -1], [0, 0]]), 'ab')
    with pytest.raises(BCE3SError, match=sentence):
        check_several_labels(np.array(labels), 'ab')
