"""Distributions of positive and negative scores against masks over the whole matrix."""

import numpy as np
import pytest

from bce3s.evaluation.features import score_statistics
from bce3s.evaluation.score_distributions import density, negative_scores, positive_scores

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.normal(size=(70, 5)).astype(np.float32), RNG.integers(5, size=70)
OWN = np.eye(5, dtype=bool)[LABELS]
EVERY = np.ones(5, bool)


@pytest.mark.parametrize('mask', [EVERY, np.array([True, False, False, True, False])])
def test_all_scores_where_they_are_few(mask):
    positive = positive_scores(SCORES, LABELS, mask)
    negative = negative_scores(SCORES, LABELS, mask)
    assert sorted(positive.values) == sorted(SCORES[OWN & mask])
    assert sorted(negative.values) == sorted(SCORES[~OWN & mask])
    assert (positive.number, negative.number) == ((OWN & mask).sum(), (~OWN & mask).sum())
    assert negative.quantiles[2] == pytest.approx(np.median(SCORES[~OWN & mask]))


def test_means_are_those_of_the_papers_statistics():
    weight, features = RNG.normal(size=(5, 3)), RNG.normal(size=(70, 3))
    told = score_statistics(features, LABELS, weight)
    scores = features @ weight.T
    positive = positive_scores(scores, LABELS, EVERY)
    negative = negative_scores(scores, LABELS, EVERY)
    assert (positive.mean, positive.std) == pytest.approx((told['s_pos_mean'], told['s_pos_std']))
    assert (negative.mean, negative.std) == pytest.approx((told['s_neg_mean'], told['s_neg_std']))


def test_a_sample_of_negatives_is_the_same_each_time_and_near_the_whole():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(3000, 20)), rng.integers(20, size=3000)
    drawn = [negative_scores(scores, labels, np.ones(20, bool), limit=9000) for _ in range(2)]
    assert (drawn[0].values == drawn[1].values).all()
    assert len(drawn[0].values) <= 9000 < drawn[0].number == 3000 * 19
    assert drawn[0].quantiles == pytest.approx((-1.645, -0.674, 0, 0.674, 1.645), abs=0.06)
    scores[np.arange(3000), labels] = 1e9  # an own score must not be among them
    assert negative_scores(scores, labels, np.ones(20, bool), limit=9000).values.max() < 1e6


def test_empty_splits_and_one_class():
    none = np.zeros(5, bool)
    assert positive_scores(SCORES, LABELS, none) is None
    assert negative_scores(SCORES, LABELS, none) is None
    one = np.zeros(4, int)
    assert negative_scores(np.ones((4, 1)), one, np.ones(1, bool)) is None
    assert positive_scores(np.ones((4, 1)), one, np.ones(1, bool)).number == 4


def test_density_is_a_smoothed_histogram():
    heights, found = density([0.5] * 10, 0, 10, bins=10)
    assert heights.tolist() == [k + 0.5 for k in range(10)]
    assert found[:4] == pytest.approx([1, 4 / 6, 1 / 6, 0])
    heights, found = density(RNG.normal(size=20000), -4, 4)
    assert abs(heights[found.argmax()]) < 0.3
    assert np.isfinite(density([3.0, 3.0], 3, 3)[1]).all()
