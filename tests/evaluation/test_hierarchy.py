"""Scores of parents and the level of an answer, against loops over probabilities."""

import math

import numpy as np
import pytest

from bce3s.errors import BCE3SError
from bce3s.evaluation.hierarchy import parent_accuracy, parent_logits, roll_up

PARENTS = np.array([0, 2, 0, 1, 2, 0])


def case(seed=0, images=60, scale=2.0):
    rng = np.random.default_rng(seed)
    return rng.normal(-1, scale, (images, len(PARENTS))), rng.integers(0, len(PARENTS), images)


def probability_of_parent(row, parent, sigmoid):
    children = [k for k, p in enumerate(PARENTS) if p == parent]
    if not sigmoid:
        return sum(math.exp(row[k]) for k in children) / sum(math.exp(z) for z in row)
    none = 1.0
    for k in children:
        none *= 1 - 1 / (1 + math.exp(-row[k]))
    return 1 - none


@pytest.mark.parametrize('sigmoid', [True, False])
def test_a_parent_has_the_probability_of_its_children(sigmoid):
    logits, _ = case()
    upper = parent_logits(logits, PARENTS, sigmoid)
    for row, found in zip(logits, upper, strict=True):
        expected = [probability_of_parent(row, p, sigmoid) for p in range(3)]
        if sigmoid:
            shares = 1 / (1 + np.exp(-found))
        else:
            shares = np.exp(found) / np.exp(row).sum()
        assert shares == pytest.approx(expected, abs=1e-12)
    assert upper[:, 1] == pytest.approx(logits[:, 3], abs=1e-9)  # of one child: that of the child


def test_large_and_small_logits_are_exact():
    upper = parent_logits([[800.0, 800.0], [-800.0, -800.0], [-40.0, -40.0]], [0, 0], True)
    assert upper[:, 0] == pytest.approx([1600, -800 + math.log(2), -40 + math.log(2)])
    assert parent_logits([[-800.0, -800.0]], [0, 0], False)[0, 0] == pytest.approx(
        -800 + math.log(2)
    )


@pytest.mark.parametrize('sigmoid', [True, False])
@pytest.mark.parametrize('thresholds', [0.5, (0.5, 1.0, -np.inf, 2.0, 0.0, 1.5)])
def test_the_answer_is_of_the_deepest_level_that_is_sure(sigmoid, thresholds):
    logits, _ = case(1, 200, 1.0)
    limits = np.broadcast_to(thresholds, 6)
    highest = np.array([0.9, 0.7, 0.8])
    answers = roll_up(logits, PARENTS, thresholds, highest, sigmoid)
    levels = set()
    for row, k, p, logit, limit in zip(logits, *answers, strict=True):
        best = max(range(6), key=lambda j: row[j])
        upper = parent_logits(row[None], PARENTS, sigmoid)[0]
        above = max(range(3), key=lambda j: upper[j])
        if row[best] > limits[best]:
            expected = best, -1
        elif upper[above] > highest[above]:
            expected = -1, above
        else:
            expected = -1, -1
        assert (k, p) == expected
        assert (logit, limit) == (upper[above], highest[above])
        levels.add((k >= 0, p >= 0))
    assert levels == {(True, False), (False, True), (False, False)}


def test_the_accuracy_of_parents_is_a_mean_over_them():
    logits, labels = case(2)
    labels[labels == 3] = 0  # parent 1 has no image
    called = [max(range(3), key=lambda p: probability_of_parent(row, p, True)) for row in logits]
    own = [PARENTS[k] for k in labels]
    right = [a == b for a, b in zip(called, own, strict=True)]
    means = [np.mean([r for r, p in zip(right, own, strict=True) if p == k]) for k in (0, 2)]
    found = parent_accuracy(logits, labels, PARENTS, True)
    assert found == pytest.approx(dict(all=100 * np.mean(means), plain=100 * np.mean(right)))


def test_each_class_has_one_parent():
    with pytest.raises(BCE3SError, match='2 parents'):
        parent_logits(np.zeros((4, 3)), [0, 1], True)
