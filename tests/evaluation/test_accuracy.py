"""Accuracies against loops written from the definitions, scikit-learn, and the edges."""

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation import accuracy

COUNTS = [500, 101, 100, 60, 20, 19, 5]
K = len(COUNTS)


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, 400)
    return labels, np.where(rng.random(400) < 0.5, labels, rng.integers(0, K, 400))


def test_per_class_and_splits_match_loops(sample):
    labels, preds = sample
    result = accuracy.evaluate(labels, preds, COUNTS, Thresholds())
    per_class, members = [], {'many': [], 'medium': [], 'few': []}
    for k in range(K):
        right = [p == k for y, p in zip(labels, preds, strict=True) if y == k]
        per_class.append(100 * sum(right) / len(right))
        n = COUNTS[k]
        members['many' if n > 100 else 'few' if n < 20 else 'medium'].append(per_class[-1])
    assert result['per_class'] == pytest.approx(per_class)
    assert result['all'] == pytest.approx(sum(per_class) / K)
    for split, values in members.items():
        assert result[split] == pytest.approx(sum(values) / len(values))
    assert [len(v) for v in members.values()] == [2, 3, 2]
    right = sum(y == p for y, p in zip(labels, preds, strict=True))
    assert result['accuracy'] == pytest.approx(100 * right / 400)
    assert result['samples'] == 400


def test_counts_of_exactly_20_and_100_are_medium():
    means = accuracy.split_accuracy([1.0, 2, 4, 8], [101, 100, 20, 19], Thresholds())
    assert means == {'all': 3.75, 'many': 1.0, 'medium': 3.0, 'few': 8.0}
    means = accuracy.split_accuracy([1.0, 2, 4, 8], [101, 100, 20, 19], Thresholds(99, 21))
    assert means == {'all': 3.75, 'many': 1.5, 'medium': None, 'few': 6.0}


def test_sklearn_agrees(sample):
    labels, preds = sample
    f1 = f1_score(labels, preds, average='macro', zero_division=0)
    assert accuracy.macro_f1(labels, preds, K) == pytest.approx(100 * f1)
    balanced = balanced_accuracy_score(labels, preds)
    found = accuracy.evaluate(labels, preds, [5] * K, Thresholds())
    assert found['all'] == pytest.approx(100 * balanced)


def test_macro_f1_counts_a_class_that_is_only_predicted_and_leaves_out_one_that_never_occurs():
    labels, preds = [0, 0, 1, 1], [0, 2, 1, 1]  # class 2 is predicted only, class 3 never occurs
    ours = accuracy.macro_f1(labels, preds, 4)
    expected = f1_score(labels, preds, average='macro', zero_division=0)
    assert ours == pytest.approx(100 * expected)
    assert ours == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)


def test_class_without_test_sample_is_null_and_in_no_mean():
    result = accuracy.evaluate([0, 0, 2], [0, 1, 2], [200, 150, 30, 10], Thresholds())
    assert result['per_class'] == [50.0, None, 100.0, None]
    assert (result['all'], result['many'], result['medium']) == (75.0, 50.0, 100.0)
    assert result['few'] is None  # its only class is untested
    json.dumps(result, allow_nan=False)


def test_empty_split_is_none_and_zero_stays_zero():
    result = accuracy.evaluate([0, 1], [1, 0], [5000, 50], Thresholds())
    assert (result['many'], result['medium'], result['few']) == (0.0, 0.0, None)


def test_a_million_classes_take_no_matrix():
    result = accuracy.evaluate([0, 999_999], [0, 0], [1] * 1_000_000, Thresholds())
    assert (result['accuracy'], result['all'], result['few']) == (50.0, 50.0, 50.0)


def test_one_class():
    result = accuracy.evaluate([0, 0], [0, 0], [5], Thresholds())
    figures = [result[key] for key in ('all', 'few', 'accuracy', 'macro_f1')]
    assert figures == [100.0] * 4


def test_all_is_not_plain_accuracy_on_an_unbalanced_test_set():
    result = accuracy.evaluate([0] * 9 + [1], [0] * 10, [200, 5], Thresholds())
    assert (result['accuracy'], result['all']) == (90.0, 50.0)


def test_result_is_plain_python(sample):
    result = accuracy.evaluate(*sample, COUNTS, Thresholds())
    for value in (*result.values(), *result['per_class']):
        assert type(value) in (float, int, list, type(None))


@pytest.mark.parametrize(
    ('labels', 'preds', 'said'),
    [
        ([0, 1], [0], '1 samples but the labels have the shape'),
        ([0, 7], [0, 0], r'labels must be classes 0\.\.6, but sample 1 has 7'),
        ([0, -1], [0, 0], 'sample 1 has -1'),
        ([0, 1], [0, 9], 'sample 1 has 9'),
        ([0.5, 1.0], [0, 0], 'integers'),
        ([], [], 'no sample'),
    ],
)
def test_bad_input_is_a_sentence(labels, preds, said):
    with pytest.raises(BCE3SError, match=said):
        accuracy.evaluate(labels, preds, COUNTS, Thresholds())


def test_numbers_of_classes_must_agree():
    with pytest.raises(BCE3SError, match='3 per-class accuracies but 2 class counts'):
        accuracy.split_accuracy([1, 2, 3], [5, 5], Thresholds())
