"""Scores of being known: against loops in float64, and the choice among them."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection_scores import (
    ENERGY,
    MAHALANOBIS,
    MAX_LOGIT,
    NEIGHBOURS,
    ClassDistances,
    Gain,
    Images,
    all_scores,
    energy,
    held_out_gains,
    nearest,
    recommended,
    refitted,
)


def clusters(number=40, classes=6, width=8, noise=0.5, seed=0, of=None):
    """Features about a mean of each class, and logits that are cosines to these means."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(7).normal(0, 2, (classes, width))
    labels = np.arange(number) % classes if of is None else np.full(number, of)
    features = means[labels] + rng.normal(0, noise, (number, width))
    return Images(features.astype(np.float32), (features @ means.T).astype(np.float32), labels)


@pytest.mark.parametrize('sigmoid', [True, False])
def test_energy_against_a_loop(sigmoid):
    logits = np.random.default_rng(0).normal(0, 3, (20, 5))
    for row, found in zip(logits, energy(logits, sigmoid), strict=True):
        if sigmoid:
            expected = sum(math.log1p(math.exp(z)) for z in row)
        else:
            expected = math.log(sum(math.exp(z) for z in row))
        assert found == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(energy([[1e4, -1e4]], sigmoid)).all()


@pytest.mark.parametrize(('number', 'width'), [(120, 8), (20, 30)])  # fewer images than dimensions
def test_the_mahalanobis_distance_against_a_loop(number, width):
    train, images = clusters(number, width=width), clusters(15, width=width, seed=1)
    unit = [x.features / np.linalg.norm(x.features, axis=1, keepdims=True) for x in (train, images)]
    unit = [rows.astype(np.float64) for rows in unit]
    means = np.stack([unit[0][train.labels == k].mean(0) for k in range(6)])
    covariance, _ = ledoit_wolf(unit[0] - means[train.labels], assume_centered=True)
    inverse = np.linalg.inv(covariance)
    found = ClassDistances.of(train.features, train.labels).scores(images.features)
    for x, score in zip(unit[1], found, strict=True):
        expected = -min(float((x - mean) @ inverse @ (x - mean)) for mean in means)
        assert score == pytest.approx(expected, rel=1e-4)


def test_blocks_change_nothing(monkeypatch):
    train, images = clusters(100), clusters(5, seed=1)
    whole = ClassDistances.of(train.features, train.labels).scores(images.features)
    monkeypatch.setattr('bce3s.evaluation.arrays.BLOCK', 24)  # three rows
    parts = ClassDistances.of(train.features, train.labels).scores(images.features)
    assert parts == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize('features', [np.eye(4), np.zeros((4, 4)), np.ones((4, 4))])
def test_one_image_a_class_and_features_that_are_all_the_same(features):
    found = ClassDistances.of(features, np.arange(4)).scores(features)
    assert found == pytest.approx(np.zeros(4), abs=1e-12)
    assert ClassDistances.of(features, np.arange(4)).scores(-np.eye(4)[:1])[0] < 0


def test_features_that_do_not_fit():
    found = ClassDistances.of(np.eye(4), np.arange(4))
    with pytest.raises(BCE3SError, match='5 dimensions, the class means 4'):
        found.scores(np.ones((2, 5)))
    with pytest.raises(BCE3SError, match='sample 1 are not finite'):
        found.scores([[1.0, 0, 0, 0], [math.nan, 0, 0, 0]])
    with pytest.raises(BCE3SError, match='not finite'):
        ClassDistances.of([[math.inf, 0.0]], [0])
    with pytest.raises(BCE3SError, match='no sample'):
        ClassDistances.of(np.zeros((0, 4)), np.zeros(0, int))


def test_neighbours_against_a_loop():
    pytest.importorskip('faiss')
    train, images = clusters(40), clusters(5, seed=1)
    unit = [x.features / np.linalg.norm(x.features, axis=1, keepdims=True) for x in (train, images)]
    for k in (1, 10, 40, 41):
        expected = np.sort(unit[1] @ unit[0].T)[:, -min(k, 40)]
        assert nearest(images.features, train.features, k) == pytest.approx(expected, abs=1e-6)


def test_each_score_is_higher_for_known_images():
    pytest.importorskip('faiss')
    train = clusters(120)
    known, strange = clusters(30, seed=1), clusters(30, seed=2)
    strange = Images(-strange.features, -strange.logits, strange.labels)
    scores = [all_scores(images, train, sigmoid=False) for images in (known, strange)]
    assert list(scores[0]) == [MAX_LOGIT, ENERGY, MAHALANOBIS, NEIGHBOURS]
    for name in scores[0]:
        assert scores[0][name].mean() > scores[1][name].max(), name


@pytest.mark.parametrize('sigmoid', [True, False])
def test_the_classifier_is_fitted_anew_without_the_class(sigmoid):
    train = clusters(300)
    kept = train.labels != 4
    inside = Images(train.features[kept], None, train.labels[kept])
    logits = refitted(inside, train.features, sigmoid)
    assert logits.shape == (300, 5)
    names = np.array([0, 1, 2, 3, 5])
    assert (names[logits.argmax(1)] == train.labels)[kept].mean() > 0.95
    rows = inside.features.astype(np.float64)
    mean, scale = rows.mean(0), rows.std(0)
    rows, images = (rows - mean) / scale, (train.features - mean) / scale
    model = LogisticRegression(C=1 / (len(rows) * 1e-3), max_iter=1000)
    if sigmoid:
        model = OneVsRestClassifier(model)
        expected = model.fit(rows, inside.labels).predict_proba(images)
        found = 1 / (1 + np.exp(-logits.astype(float)))
        found /= found.sum(1, keepdims=True)
    else:
        expected = model.fit(rows, inside.labels).predict_proba(images)
        found = np.exp(logits - logits.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
    assert found == pytest.approx(expected, abs=0.05)
    assert (refitted(inside, train.features, sigmoid) == logits).all()
    assert torch.is_grad_enabled()


def test_no_column_of_a_class_held_out_is_looked_at():
    """Logits that know the class cannot change what is said of it."""
    pytest.importorskip('faiss')
    train, validation = clusters(200), clusters(60, seed=1)
    counts = [50, 40, 30, 20, 10, 5]
    found = held_out_gains(train, validation, True, counts)
    assert found[MAX_LOGIT][1:] == (0.0, 0.0)
    other = validation._replace(logits=validation.logits * math.nan)
    assert held_out_gains(train, other, True, counts) == found
    for gain in found.values():
        assert 50 < gain.auroc <= 100


def test_the_score_of_the_features_is_taken_where_it_is_better():
    """All lie on a line: linear classifiers take what is far out for known, distances do not."""
    pytest.importorskip('faiss')
    rng = np.random.default_rng(0)

    def images(number):
        labels = np.arange(number) % 10
        angles = 2 * np.pi * labels / 10 + rng.normal(0, 0.03, number)
        plane = np.stack([np.cos(angles), np.sin(angles), np.ones(number)], 1)
        return Images(plane.astype(np.float32), None, labels)

    gains = held_out_gains(images(300), images(100), True, [30] * 10)
    assert gains[MAHALANOBIS].auroc > 95
    assert recommended(gains) in (MAHALANOBIS, NEIGHBOURS)


def test_the_largest_logit_is_taken_unless_another_is_clearly_better():
    first = {MAX_LOGIT: Gain(80, 0, 0)}
    assert recommended(None) == MAX_LOGIT
    for gain, error, taken in ((0.9, 0, False), (1.1, 0, True), (5, 4, False), (5, 3, True)):
        found = recommended(first | {ENERGY: Gain(80 + gain, gain, error)})
        assert (found == ENERGY) == taken


@pytest.mark.parametrize('labels', [np.zeros(20, int), np.array([], int)])
def test_nothing_can_be_held_out(labels):
    pytest.importorskip('faiss')
    train = clusters(60)
    validation = Images(np.ones((len(labels), 8), np.float32), None, labels)
    assert held_out_gains(train, validation, True, [10] * 6) is None


def test_no_more_than_the_first_images_of_a_class_are_looked_at(monkeypatch):
    pytest.importorskip('faiss')
    train, validation = clusters(240), clusters(60, seed=1)
    counts = [50, 40, 30, 20, 10, 5]
    monkeypatch.setattr('bce3s.evaluation.rejection_scores.PER_CLASS', (5, 20))
    found = held_out_gains(train, validation, True, counts)
    first = Images(*(values[:120] for values in train))  # twenty of each of the six
    assert held_out_gains(first, validation, True, counts) == found
    monkeypatch.setattr('bce3s.evaluation.rejection_scores.PER_CLASS', (5, 100))
    assert held_out_gains(train, validation, True, counts) != found
