"""Open-set figures against double loops, scikit-learn's curves, closed forms and invariances."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from bce3s.errors import BCE3SError
from bce3s.evaluation.open_set import (
    auroc,
    curve,
    evaluate_open_set,
    fpr_at_tpr,
    oscr,
    threshold_at_tpr,
    unknown_accepted,
)

COUNTS = [300, 120, 50, 5]


def draw(ties, seed=0, known=83, unknown=57):
    """Scores of overlapping sets, rounded so that many are equal if asked for."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(1, 1, known), rng.normal(0, 1, unknown)
    if ties:
        scores = tuple(np.round(2 * s) / 2 for s in scores)
    return scores[0], rng.random(known) < 0.7, scores[1]


both = pytest.mark.parametrize('ties', [False, True])


# ------------------------------------------------------------ oracles
def auroc_by_loops(known, unknown):
    pairs = [1.0 if s > u else 0.5 if s == u else 0.0 for s in known for u in unknown]
    return 100 * sum(pairs) / len(pairs)


def points_by_loops(known, correct, unknown):
    """(FPR, TPR, CCR) at every threshold, from the highest to the lowest."""
    points = [(0.0, 0.0, 0.0)]
    for t in sorted({*known, *unknown}, reverse=True):
        fpr = sum(u >= t for u in unknown) / len(unknown)
        tpr = sum(s >= t for s in known) / len(known)
        ccr = sum(s >= t and c for s, c in zip(known, correct, strict=True)) / len(known)
        points.append((fpr, tpr, ccr))
    return points


def area(points, column):
    """Under the line through the points, over the FPR."""
    steps = itertools.pairwise(points)
    return 100 * sum((b[0] - a[0]) * (a[column] + b[column]) / 2 for a, b in steps)


# ------------------------------------------------------------ over all thresholds
@both
@pytest.mark.parametrize('seed', range(3))
def test_areas_equal_loops_over_pairs_and_over_thresholds(ties, seed):
    known, correct, unknown = draw(ties, seed)
    points = points_by_loops(known, correct, unknown)
    assert auroc(known, unknown) == pytest.approx(auroc_by_loops(known, unknown), abs=1e-10)
    assert auroc(known, unknown) == pytest.approx(area(points, 1), abs=1e-10)
    assert oscr(known, correct, unknown) == pytest.approx(area(points, 2), abs=1e-10)
    assert 0 < oscr(known, correct, unknown) < auroc(known, unknown) < 100


@both
def test_scikit_learn_agrees(ties):
    known, _, unknown = draw(ties)
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    scores = np.concatenate([known, unknown])
    assert auroc(known, unknown) == pytest.approx(100 * roc_auc_score(truth, scores), abs=1e-10)
    fpr, tpr, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    for level in (5, 50, 80, 95, 100):
        at = np.flatnonzero(100 * tpr >= level - 1e-9)[0]
        assert fpr_at_tpr(known, unknown, level) == pytest.approx(100 * fpr[at])
        assert threshold_at_tpr(known, level) <= thresholds[at]


@both
def test_curve_is_that_of_the_loops(ties):
    known, correct, unknown = draw(ties)
    points = np.array(points_by_loops(known, correct, unknown))
    found = curve(known, correct, unknown, points=10**5)
    for column, name in enumerate(('fpr', 'tpr', 'ccr')):
        np.testing.assert_allclose(found[name], 100 * points[:, column], atol=1e-12)


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    known, correct, unknown = draw(False, known=3000, unknown=2000)
    thin = curve(known, correct, unknown, points=101)
    assert len(thin['fpr']) <= 101
    assert (thin['fpr'][0], thin['tpr'][0], thin['ccr'][0]) == (0, 0, 0)
    assert (thin['fpr'][-1], thin['tpr'][-1]) == (100, 100)
    assert thin['ccr'][-1] == pytest.approx(100 * correct.mean())
    for name, exact in (
        ('tpr', auroc(known, unknown)),
        ('ccr', oscr(known, correct, unknown)),
    ):
        assert np.trapezoid(thin[name], thin['fpr']) / 100 == pytest.approx(exact, abs=0.1)


def test_closed_forms():
    low, high = np.arange(5.0), np.arange(10.0, 17)
    right, half = np.ones(7, bool), np.arange(7) < 3
    assert auroc(high, low) == oscr(high, right, low) == 100
    assert auroc(low, high) == oscr(low, np.ones(5), high) == 0
    assert oscr(high, half, low) == pytest.approx(300 / 7)  # separated: the accuracy
    assert (fpr_at_tpr(high, low), fpr_at_tpr(low, high)) == (0, 100)
    assert auroc(np.zeros(4), np.zeros(9)) == 50  # constant scores: no information
    assert oscr(np.zeros(7), half, np.zeros(9)) == pytest.approx(150 / 7)
    assert fpr_at_tpr(np.zeros(4), np.zeros(9)) == 100
    assert auroc([1.0], [0.0]) == 100


@both
def test_of_perfect_classification_the_oscr_is_the_auroc(ties):
    known, correct, unknown = draw(ties)
    area = pytest.approx(auroc(known, unknown), rel=1e-12)
    assert oscr(known, np.ones_like(correct), unknown) == area
    assert oscr(known, np.zeros_like(correct), unknown) == 0
    assert oscr(known, correct, unknown) <= 100 * correct.mean()


@both
def test_only_the_order_of_the_scores_matters(ties):
    known, correct, unknown = draw(ties)
    shuffle = np.random.default_rng(1).permutation(len(known))
    expected = auroc(known, unknown), oscr(known, correct, unknown), fpr_at_tpr(known, unknown)
    for change in (lambda s: 7 * s - 100, np.exp, lambda s: torch.from_numpy(s) ** 3):
        u, s, c = change(unknown), change(known[shuffle]), correct[shuffle]
        assert (auroc(s, u), oscr(s, c, u), fpr_at_tpr(s, u)) == pytest.approx(expected)
    assert auroc(-unknown, -known) == pytest.approx(auroc(known, unknown))  # roles exchanged
    assert auroc(unknown, known) == pytest.approx(100 - auroc(known, unknown))


def test_normal_scores_have_the_binormal_area():
    """Phi(mu / sqrt 2) = Phi(1/sqrt 2)."""
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(1, 1, 200_000), rng.normal(0, 1, 200_000)
    found = auroc(known, unknown)
    assert found == pytest.approx(100 * (1 + math.erf(0.5)) / 2, abs=0.2)


# ------------------------------------------------------------ at one threshold
def test_threshold_at_tpr_by_hand():
    known = np.arange(1.0, 21)  # 95 % of 20 are 19: those from 2 on
    assert threshold_at_tpr(known) == 2
    assert threshold_at_tpr(known, 100) == 1
    assert threshold_at_tpr(known, 1e-3) == 20
    assert threshold_at_tpr(known[:19]) == 1  # 18.05 are asked for: all 19
    assert fpr_at_tpr(known, [1.9, 2.0, 2.1, 30.0]) == 75  # equal to it: accepted
    # the smallest share that is at least the one asked for, also where scores are equal
    assert threshold_at_tpr([1.0, 1.0, 2.0, 3.0], 50) == 2
    assert threshold_at_tpr([1.0, 1.0, 2.0, 3.0], 60) == 1


@pytest.mark.parametrize('size', [20, 40, 60, 100, 2000])
def test_whole_percentages_ask_for_no_sample_more(size):
    known = np.arange(size, dtype=float)
    for tpr in range(5, 101, 5):
        accepted = (known >= threshold_at_tpr(known, tpr)).sum()
        assert accepted == size * tpr // 100


def test_accepted_at_a_given_threshold():
    assert unknown_accepted([-1.0, 0.0, 1.0, 2.0], 0) == 50  # at the threshold is rejected
    assert unknown_accepted([-1.0], 0) == 0


# ------------------------------------------------------------ report
def labelled(ties=False):
    known, correct, unknown = draw(ties)
    return (
        known,
        correct,
        np.arange(len(known)) ** 2 % 3 + (np.arange(len(known)) % 7 == 0),
        unknown,
    )


def test_report_has_means_over_classes_and_over_samples():
    known, correct, labels, unknown = labelled()
    report = evaluate_open_set(
        known, correct, labels, unknown, COUNTS, score_thresholds={'sigmoid 1/2': 0.0}
    )
    classes = sorted(set(labels))
    split = {'many': [0, 1], 'medium': [2], 'few': [3]}
    areas = {k: auroc(known[labels == k], unknown) for k in classes}
    rights = {k: oscr(known[labels == k], correct[labels == k], unknown) for k in classes}
    rejected = {k: 100 * np.mean(known[labels == k] <= 0) for k in classes}
    at = report['at']['sigmoid 1/2']
    for found, by_class in (
        (report['auroc'], areas),
        (report['oscr'], rights),
        (at['known_rejected'], rejected),
    ):
        assert found['all'] == pytest.approx(np.mean(list(by_class.values())))
        for name, members in split.items():
            members = [by_class[k] for k in members if k in by_class]
            assert found[name] == (pytest.approx(np.mean(members)) if members else None)
    assert report['auroc']['plain'] == pytest.approx(auroc(known, unknown))
    assert report['oscr']['plain'] == pytest.approx(oscr(known, correct, unknown))
    assert report['fpr95']['plain'] == fpr_at_tpr(known, unknown)
    assert report['fpr95']['many'] == fpr_at_tpr(known[labels < 2], unknown)
    assert at['unknown_accepted'] == unknown_accepted(unknown, 0)
    assert at['known_rejected']['plain'] == pytest.approx(100 * np.mean(known <= 0))
    assert report['at']['95 % TPR']['unknown_accepted'] == report['fpr95']['plain']
    assert report['at']['95 % TPR']['known_rejected']['plain'] <= 5
    json.dumps(report, allow_nan=False)


def test_a_split_without_samples_is_none():
    known, correct, unknown = draw(False)
    report = evaluate_open_set(known, correct, np.zeros(len(known), int), unknown, COUNTS)
    for name in ('auroc', 'oscr', 'fpr95'):
        assert report[name]['many'] is not None
        assert report[name]['medium'] is report[name]['few'] is None


# ------------------------------------------------------------ bad input
NONE = np.zeros(0)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'unknown': NONE}, 'There are no unknown scores'),
        ({'known': NONE, 'correct': NONE}, 'There are no known scores'),
        ({'known': [np.nan] * 83}, 'known scores of sample 0 are not finite'),
        ({'unknown': [0.0, np.inf]}, 'unknown scores of sample 1 are not finite'),
        ({'correct': [True] * 82}, '83 scores of known samples, but 82 flags'),
        ({'labels': [0] * 82}, 'There are 83 samples but the labels have the shape'),
        ({'labels': [4] * 83}, r'classes 0..3, but sample 0 has 4'),
        ({'unknown': np.zeros((3, 4))}, r'have the shape \(3, 4\): give one number'),
    ],
)
def test_bad_arguments_are_sentences(change, sentence):
    names = ('known', 'correct', 'labels', 'unknown')
    given = dict(zip(names, labelled(), strict=True)) | change
    with pytest.raises(BCE3SError, match=sentence):
        evaluate_open_set(*(given[name] for name in names), COUNTS)


@pytest.mark.parametrize('tpr', [0, -1, 101, math.nan])
def test_a_rate_out_of_its_range(tpr):
    with pytest.raises(BCE3SError, match='tpr is'):
        fpr_at_tpr([1.0], [0.0], tpr)
