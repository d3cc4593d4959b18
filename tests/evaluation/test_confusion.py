"""Confusions of classes and splits against counting in loops, and the edges."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import evaluate
from bce3s.evaluation.confusion import (
    Confusion,
    confusion_matrix,
    frequent_confusions,
    in_blocks,
    row_shares,
    split_flow,
)

COUNTS = [300, 120, 50, 30, 5, 2]


def draw(seed=0, samples=200, classes=6):
    rng = np.random.default_rng(seed)
    return rng.integers(classes, size=samples), rng.integers(classes, size=samples)


def test_matrix_is_the_usual_one():
    labels, predicted = draw()
    found = confusion_matrix(labels, predicted, 6)
    assert (found == reference(labels, predicted, labels=range(6))).all()
    assert found.sum() == 200


@pytest.mark.parametrize('wrong', [([0, 1], [0]), ([0, 6], [0, 1]), ([0, 1], [0, -1])])
def test_classes_outside_and_lengths_that_differ(wrong):
    with pytest.raises(BCE3SError):
        confusion_matrix(*wrong, 6)


def test_rows_sum_to_100_and_a_class_without_images_has_none():
    shares = row_shares(np.array([[3, 1, 0], [0, 0, 0], [1, 1, 2]]))
    assert shares[0].tolist() == [75, 25, 0]
    assert np.isnan(shares[1]).all()
    assert shares[2].sum() == 100


def test_frequent_confusions_by_share_then_count():
    matrix = np.array([[90, 10, 0, 0], [5, 5, 0, 0], [0, 2, 2, 0], [1, 0, 0, 0]])
    assert frequent_confusions(matrix) == [
        Confusion(1, 0, 5, 50.0),
        Confusion(2, 1, 2, 50.0),
        Confusion(0, 1, 10, 10.0),
    ]  # 3 -> 0 has happened once: chance
    assert frequent_confusions(matrix, limit=1) == [Confusion(1, 0, 5, 50.0)]


def test_single_confusions_are_listed_where_there_are_no_others():
    assert frequent_confusions(np.array([[9, 1], [0, 3]])) == [Confusion(0, 1, 1, 10.0)]
    assert frequent_confusions(np.diag([4, 4])) == []


def test_flow_is_a_mean_over_classes_as_accuracies_are():
    labels, predicted = draw(seed=1)
    found = split_flow(confusion_matrix(labels, predicted, 6), COUNTS)
    splits = {'many': [0, 1], 'medium': [2, 3], 'few': [4, 5]}
    for true, rows in splits.items():
        for called, columns in splits.items():
            shares = [np.isin(predicted[labels == k], columns).mean() for k in rows]
            assert found[true][called] == pytest.approx(100 * np.mean(shares))
        assert sum(found[true].values()) == pytest.approx(100)


def test_flow_of_two_classes_a_split_holds_the_split_accuracy_from_above():
    labels, predicted = draw(seed=2)
    accuracy = evaluate(labels, predicted, COUNTS, Thresholds())
    flow = split_flow(confusion_matrix(labels, predicted, 6), COUNTS)
    for split in ('many', 'medium', 'few'):
        assert flow[split][split] >= accuracy[split]


def test_flow_of_empty_splits_is_none():
    flow = split_flow(np.array([[8, 2], [0, 0]]), [500, 3])
    assert flow['many'] == {'many': 80, 'medium': None, 'few': 20}
    assert set(flow['medium'].values()) == set(flow['few'].values()) == {None}


def test_blocks_keep_what_is_called_what():
    labels, predicted = draw(seed=3, samples=500, classes=10)
    shares = row_shares(confusion_matrix(labels, predicted, 10))
    blocks = in_blocks(shares, 5)
    assert blocks[1, 3] == pytest.approx(shares[2:4, 6:8].sum(axis=1).mean())
    assert np.allclose(blocks.sum(axis=1), 100)
    assert np.allclose(in_blocks(shares, 10), shares)


def test_blocks_leave_classes_without_images_out():
    shares = row_shares(np.array([[4, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    blocks = in_blocks(shares, 2)
    assert blocks[0].tolist() == [100, 0]
    assert np.isnan(blocks[1]).all()
