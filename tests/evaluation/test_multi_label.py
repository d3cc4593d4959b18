"""Several labels an image: against scikit-learn, against loops where labels are unknown, edges."""

import json

import numpy as np
import pytest
from sklearn import metrics

from bce3s.errors import BCE3SError
from bce3s.evaluation import multi_label as ml

EXACT = dict(rel=0, abs=1e-9)
COUNTS = [300, 150, 60, 30, 19, 3]
K = len(COUNTS)


def drawn(seed, unknown=0.0, ties=True, n=157, dtype=np.float32):
    """Labels with empty and full rows, a class without a positive; scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, K)) < [0.6, 0.4, 0.2, 0.1, 0.05, 0.0]).astype(np.int8)
    labels[:5], labels[5:7, :-1] = 0, 1
    scores = rng.normal(size=(n, K)) + labels
    scores = (scores.round(1) if ties else scores).astype(dtype)
    labels[rng.random(labels.shape) < unknown] = -1
    return labels, scores


@pytest.mark.parametrize('ties', [True, False])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_scikit_learn_says_the_same(ties, dtype):
    labels, scores = drawn(0, ties=ties, dtype=dtype)
    found = ml.evaluate_multi_label(labels, scores, COUNTS)
    expected = [metrics.average_precision_score(labels[:, k], scores[:, k]) for k in range(K - 1)]
    assert found['per_class'][:-1] == pytest.approx(100 * np.array(expected), **EXACT)
    assert found['per_class'][-1] is None  # no image has it
    assert found['all'] == pytest.approx(100 * np.mean(expected), **EXACT)
    assert found['many'] == pytest.approx(100 * np.mean(expected[:2]), **EXACT)
    assert found['few'] == pytest.approx(100 * expected[4], **EXACT)
    micro = metrics.average_precision_score(labels, scores, average='micro')
    assert found['micro_ap'] == pytest.approx(100 * micro, **EXACT)
    coverage, loss, ranking = (
        of(labels, scores)
        for of in (
            metrics.coverage_error,
            metrics.label_ranking_loss,
            metrics.label_ranking_average_precision_score,
        )
    )
    assert found['coverage_error'] == pytest.approx(coverage, **EXACT)
    assert found['ranking_loss'] == pytest.approx(100 * loss, **EXACT)
    assert found['label_ranking_ap'] == pytest.approx(100 * ranking, **EXACT)
    assert found['positives'] == (labels == 1).sum(axis=0).tolist()


@pytest.mark.parametrize('seed', range(3))
def test_unknown_labels_are_as_if_they_were_not_there(seed):
    labels, scores = drawn(seed, unknown=0.3)
    for k in range(K):
        known = labels[:, k] >= 0
        y, z = labels[known, k], scores[known, k]
        found = ml.average_precision(labels, scores)[k]
        if not y.any():
            assert np.isnan(found)
            continue
        assert found == pytest.approx(100 * metrics.average_precision_score(y, z), **EXACT)
    known = labels >= 0
    micro = metrics.average_precision_score(labels[known], scores[known])
    assert ml.micro_average_precision(labels, scores) == pytest.approx(100 * micro, **EXACT)
    coverage, loss, ranking = [], [], []
    for y, z in zip(labels, scores, strict=True):
        own, other = z[y == 1], z[y == 0]
        coverage.append(max((sum(z[y >= 0] >= s) for s in own), default=0))
        pairs = [s <= t for s in own for t in other]
        loss.append(np.mean(pairs) if pairs else 0)
        shares = [sum(own >= s) / sum(z[y >= 0] >= s) for s in own]
        ranking.append(np.mean(shares) if pairs else 1)
    found = ml.rankings(labels, scores)
    expected = [np.mean(coverage), 100 * np.mean(loss), 100 * np.mean(ranking)]
    assert [*found.values()] == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize('unknown', [0.0, 0.3])
def test_a_threshold_is_the_highest_of_those_with_the_largest_f1(unknown):
    labels, scores = drawn(4, unknown=unknown)
    found = ml.f1_thresholds(labels, scores)
    assert np.isnan(found[-1])
    for k in range(K - 1):
        known = labels[:, k] >= 0
        y, z = labels[known, k], scores[known, k]
        values = np.unique(z)
        between = values[:-1] + np.diff(values) / 2  # in the scores' precision
        candidates = [values[0] - 1, *between]  # all that tell images apart
        f1 = [metrics.f1_score(y, z > t) for t in candidates]
        best = max(t for t, value in zip(candidates, f1, strict=True) if value == max(f1))
        assert found[k] == pytest.approx(best, abs=1e-12)


def test_a_threshold_below_all_scores_is_finite_and_calls_all():
    scores = np.float32([[1.5], [1.5], [2.0]])
    (threshold,) = ml.f1_thresholds([[1], [1], [0]], scores)
    assert np.isfinite(threshold)
    assert (scores > threshold).all()
    near = np.array([[1.0], [np.nextafter(1.0, 0)]])  # nothing lies between
    (threshold,) = ml.f1_thresholds([[1], [0]], near)
    assert (near > threshold).tolist() == [[True], [False]]
    odd = np.float32([[np.nextafter(np.float32(1), np.float32(2))], [1.0]])
    (threshold,) = ml.f1_thresholds([[1], [0]], odd)
    assert (odd > np.float32(threshold)).tolist() == [[True], [False]]


def test_f1_at_given_thresholds_and_at_half_is_scikit_learns():
    labels, scores = drawn(1)
    limits = [0.5, -0.25, 1.0, 0.75, 1.25, 3.0]
    chosen = dict(thresholds=limits, fallback=[5], uncalled=[], chosen_on='val')
    found = ml.measure_decisions(labels, scores, COUNTS, None, 'test', chosen)
    for key, at in (('f1', limits), ('f1_half', 0.0)):
        called = scores.astype(np.float64) > at
        per_class = metrics.f1_score(labels, called, average=None, zero_division=0)[:-1]
        assert found[key]['all'] == pytest.approx(100 * per_class.mean(), **EXACT)
        assert found[key]['medium'] == pytest.approx(100 * per_class[2:4].mean(), **EXACT)
        micro = metrics.f1_score(labels, called, average='micro')
        assert found[key]['micro'] == pytest.approx(100 * micro, **EXACT)
    called = scores.astype(np.float64) > limits
    for key, of in (('precision', metrics.precision_score), ('recall', metrics.recall_score)):
        expected = 100 * of(labels, called, average=None, zero_division=0)[:-1]
        assert found[key][:-1] == pytest.approx(expected, **EXACT)
    assert found['recall'][-1] is None
    assert (found['chosen_on'], found['measured_on'], found['cross_fitted']) == ('val', 'test', 0)
    assert found['thresholds'] == limits
    json.dumps(found, allow_nan=False)


def test_what_is_chosen_on_the_same_images_is_measured_on_halves():
    labels, scores = drawn(2, unknown=0.2)
    found = ml.measure_decisions(labels, scores, COUNTS, None, 'val')
    assert found['fallback'] == [5]
    assert found['thresholds'][5] == 0.0
    assert found['thresholds'][:5] == ml.f1_thresholds(labels, scores)[:5].tolist()
    assert found['uncalled'] == []
    for k in range(K):  # a loop: positives and negatives take turns
        half, turn = np.full(len(labels), -1), {0: k % 2, 1: k % 2}
        for i, y in enumerate(labels[:, k]):
            if y >= 0:
                half[i], turn[y] = turn[y], 1 - turn[y]
        called = np.zeros(len(labels), dtype=bool)
        for side in (0, 1):
            theirs = half == 1 - side
            t = ml.measure_decisions(labels[theirs][:, [k]], scores[theirs][:, [k]], [9], None, '')
            called[half == side] = scores[half == side, k] > t['thresholds'][0]
        known = labels[:, k] >= 0
        y, z = labels[known, k], called[known]
        f1 = 100 * metrics.f1_score(y, z) if y.any() or z.any() else None
        assert found['f1_per_class'][k] == (f1 if f1 is None else pytest.approx(f1, **EXACT))
    tested = found['f1_per_class'][:5]  # no image is known to have the last class
    assert found['f1']['all'] == pytest.approx(np.mean(tested))
    again = ml.measure_decisions(labels, scores, COUNTS, None, 'val')
    assert again == found


def test_a_class_that_the_scores_say_nothing_of_is_not_called_everywhere():
    rng = np.random.default_rng(0)
    labels, scores = np.zeros((200, 2), np.int8), rng.normal(size=(200, 2))
    labels[np.argsort(scores[:, 0])[3]] = 1  # one of the lowest of class 0
    scores[labels[:, 1] == 1, 1] = 9.0
    assert (scores[:, 0] > ml.f1_thresholds(labels, scores)[0]).sum() == 197
    found = ml.measure_decisions(labels, scores, [9, 9], None, 'val')
    assert (found['uncalled'], found['fallback']) == ([0], [])
    assert found['thresholds'][0] == scores[:, 0].max()
    assert (scores[:, 1] > found['thresholds'][1]).sum() == 1


@pytest.mark.parametrize(
    ('labels', 'scores', 'says'),
    [
        ([0, 1], [[0.0], [1.0]], r'must be \(N, K\)'),
        ([[0, 2]], [[0.0, 1.0]], 'sample 0 has 2 for class 1'),
        ([[0, 1]], [[0.0, np.nan]], 'sample 0 are not finite'),
        (np.empty((0, 2), np.int8), np.empty((0, 2)), 'no sample'),
        ([[1, 0]], [[0.0, 1.0]], 'No class has both'),
    ],
)
def test_bad_input_is_a_sentence(labels, scores, says):
    with pytest.raises(BCE3SError, match=says):
        ml.evaluate_multi_label(labels, scores, [5, 5])
