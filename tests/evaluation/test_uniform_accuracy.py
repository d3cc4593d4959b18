"""Exact uniform accuracy against a search over all thresholds, and never below the paper's 200."""

import time

import measure_oracles as oracles
import numpy as np
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.evaluation.uniform_accuracy import (
    UniformAccuracy,
    exact_uniform_accuracy,
    gridded_uniform_accuracy,
    score_extremes,
    uniform_accuracy,
    uniform_accuracy_at_thresholds,
)


def random_scores(seed, kind='random', samples=60, classes=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    if kind == 'constant':
        return np.full((samples, classes), 0.3, dtype=dtype), labels
    if kind == 'ties':
        return rng.integers(-2, 3, (samples, classes)).astype(dtype), labels
    scores = rng.standard_normal((samples, classes))
    scores[np.arange(samples), labels] += {'random': 0, 'trained': 2, 'collapsed': 50}[kind]
    return scores.astype(dtype), labels


KINDS = ('random', 'trained', 'collapsed', 'constant', 'ties')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [np.float64, np.float32, np.float16])
def test_exact_is_the_best_of_all_thresholds(kind, dtype):
    for seed in range(3):
        scores, labels = random_scores(seed, kind, dtype=dtype)
        accuracy, threshold = uniform_accuracy(scores, labels)
        assert accuracy == pytest.approx(oracles.uniform_accuracy(scores.tolist(), labels))
        if accuracy:
            assert np.isfinite(threshold)
            assert threshold == dtype(threshold)  # comparing in the scores' dtype changes nothing
            reached = oracles.uniform_accuracy_at(threshold, scores.tolist(), labels)
            assert reached == pytest.approx(accuracy)
        else:
            assert threshold is None


@pytest.mark.parametrize('kind', KINDS)
def test_thresholds_match_the_paper_and_never_beat_exact(kind):
    for seed in range(5):
        scores, labels = random_scores(seed, kind)
        paper = uniform_accuracy_at_thresholds(scores, labels)
        expected = oracles.uniform_accuracy_of_thresholds(scores.tolist(), labels, 200)
        assert paper.accuracy == pytest.approx(expected)
        assert uniform_accuracy(scores, labels).accuracy >= paper.accuracy
        if paper.threshold is not None:
            reached = oracles.uniform_accuracy_at(paper.threshold, scores.tolist(), labels)
            assert reached == pytest.approx(paper.accuracy)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_exact_is_never_below_any_grid(dtype):
    generator = torch.Generator().manual_seed(0)
    below = 0
    for size in (1, 2, 7, 1000):
        for number in (1, 2, 200):
            negative = torch.randn(size, generator=generator).to(dtype)
            positive = negative + 2 * torch.rand(size, generator=generator).to(dtype) - 0.5
            exact = exact_uniform_accuracy(positive, negative)
            grid = gridded_uniform_accuracy(positive, negative, number)
            assert exact.accuracy >= grid.accuracy
            below += grid.accuracy < exact.accuracy
    assert below  # a grid does miss the best threshold


def test_intervals_are_half_open():
    # t = 1 is in [1, 2) but not in [0, 1)
    assert exact_uniform_accuracy([1.0, 2.0], [0.0, 1.0]).accuracy == 50
    accuracy, threshold = exact_uniform_accuracy([1.5, 2.0], [0.0, 1.0])
    assert accuracy == 100
    assert threshold == 1.25
    assert exact_uniform_accuracy([1.0, 1.0], [1.0, 1.0]) == UniformAccuracy(0.0, None)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('value', [1.0, -1.0, 1000.0, 0.0])
def test_threshold_between_neighbours_is_the_lower(dtype, value):
    step = torch.finfo(dtype).eps * max(abs(value), 1)
    low, middle, high = (torch.tensor([value + i * step], dtype=dtype) for i in range(3))
    assert low < middle < high
    for below, above in (
        (low, middle),
        (middle, high),
    ):  # a tie rounds down in one, up in the other
        accuracy, threshold = exact_uniform_accuracy(above, below)
        assert accuracy == 100
        assert bool((above > threshold).all())
        assert bool((threshold >= below).all())


def test_huge_scores_have_a_finite_threshold():
    accuracy, threshold = exact_uniform_accuracy([1.7e308], [-1.7e308])
    assert accuracy == 100
    assert threshold == 0


def test_constant_scores_separate_nothing():
    scores, labels = np.zeros((5, 3)), np.array([0, 1, 2, 0, 1])
    assert uniform_accuracy(scores, labels) == UniformAccuracy(0.0, None)
    assert uniform_accuracy_at_thresholds(scores, labels) == UniformAccuracy(0.0, None)


def test_the_shortcut_of_the_paper_is_strict():
    # The least positive is the largest negative score, the only threshold of the grid, and in no
    # interval; the second sample is right below it
    positive, max_negative = [1.0, 1.0], [1.0, 0.0]
    assert gridded_uniform_accuracy(positive, max_negative) == UniformAccuracy(0.0, None)
    assert exact_uniform_accuracy(positive, max_negative) == UniformAccuracy(50.0, 0.5)


def test_one_class_has_no_negative_score():
    accuracy, threshold = uniform_accuracy(np.array([[3.0], [-2.0]]), [0, 0])
    assert accuracy == 100
    assert np.isfinite(threshold)
    assert threshold < -2
    assert uniform_accuracy_at_thresholds(np.array([[3.0], [-2.0]]), [0, 0]).accuracy == 100


def test_extremes_and_kinds_of_arrays():
    scores, labels = random_scores(0)
    positive, max_negative = score_extremes(scores, labels)
    for z, y, high, low in zip(scores, labels, positive, max_negative, strict=True):
        assert high == z[y]
        assert low == max(np.delete(z, y))
    expected = uniform_accuracy(scores, labels)
    assert uniform_accuracy(torch.tensor(scores), torch.tensor(labels)) == expected
    assert uniform_accuracy(scores.tolist(), labels.tolist()) == expected
    frozen = scores.copy()
    frozen.flags.writeable = False
    assert uniform_accuracy(frozen, labels.astype(np.uint8)) == expected
    assert uniform_accuracy(scores[::-1], labels[::-1]) == expected
    assert uniform_accuracy(scores.astype('>f8'), labels) == expected
    integers = np.array([[3, 1], [0, 2]])
    assert uniform_accuracy(integers, [0, 1]) == UniformAccuracy(100.0, 1.5)
    with_gradient = torch.tensor(scores, requires_grad=True)
    assert uniform_accuracy(with_gradient, labels) == expected


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('column', [0, 1, 2])
def test_non_finite_scores_name_their_sample(bad, column):
    scores, labels = random_scores(0, classes=3)
    scores[7, column] = bad
    scores[9, column] = bad
    with pytest.raises(BCE3SError, match='sample 7 '):
        uniform_accuracy(scores, labels)


def test_bad_input():
    scores, labels = random_scores(0)
    with pytest.raises(BCE3SError, match='60 samples but the labels have the shape'):
        uniform_accuracy(scores, labels[:-1])
    with pytest.raises(BCE3SError, match='no sample'):
        uniform_accuracy(scores[:0], labels[:0])
    with pytest.raises(BCE3SError, match=r'classes 0\.\.3, but sample 5 has 4'):
        uniform_accuracy(scores, [0, 1, 2, 3, 0, 4] + [0] * 54)
    with pytest.raises(BCE3SError, match='sample 1 has -1'):
        uniform_accuracy(scores[:2], [0, -1])
    with pytest.raises(BCE3SError, match='must be integers'):
        uniform_accuracy(scores, labels.astype(float))
    with pytest.raises(BCE3SError, match='matrix'):
        uniform_accuracy(scores[0], labels)
    with pytest.raises(BCE3SError, match='one number of each'):
        exact_uniform_accuracy([1.0, 2.0], [0.0])
    with pytest.raises(BCE3SError, match='scores of sample 1 are not finite'):
        exact_uniform_accuracy([1.0, np.nan], [0.0, 0.0])


@pytest.mark.slow
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_50000_by_1000_scores_take_less_than_two_seconds(dtype):
    scores, labels = torch.randn(50_000, 1000, dtype=dtype), torch.randint(0, 1000, (50_000,))
    scores[torch.arange(50_000), labels] += 4
    begun = time.process_time()  # one thread: what else the machine does is left out
    exact = uniform_accuracy(scores, labels)
    seconds = time.process_time() - begun
    print(f'{dtype}: {seconds:.2f} s, {exact}')
    assert seconds < 2
    assert exact.accuracy >= uniform_accuracy_at_thresholds(scores, labels).accuracy
