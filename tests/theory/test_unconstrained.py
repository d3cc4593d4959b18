"""The objective against the paper's sums, and its minima against the theorems."""

import math

import numpy as np
import pytest

from bce3s.errors import BCE3SError
from bce3s.evaluation.features import nc1
from bce3s.evaluation.neural_collapse import class_means, nc2, nc3
from bce3s.theory.bias_equation import joint_root
from bce3s.theory.closed_form import bce_minimum, ce_minimum, theorem_point
from bce3s.theory.decays import Decays
from bce3s.theory.imbalance import collapse_ratio
from bce3s.theory.unconstrained import (
    Problem,
    bce,
    best_of,
    ce,
    minimise,
    objective,
    random_start,
)

PAPER = Decays.equal(5e-4)


def slow_objective(weight, features_of, bias, loss, decays):
    """Eqs. 1-3 as printed; ``features_of[k][i]`` is h_i^(k)."""
    classes = len(weight)
    total, count, feature_norm = 0.0, 0, 0.0
    for k in range(classes):
        for h in features_of[k]:
            z = [
                sum(w * x for w, x in zip(weight[j], h, strict=True)) - bias[j]
                for j in range(classes)
            ]
            if loss == 'ce':
                total += math.log(1 + sum(math.exp(z[j] - z[k]) for j in range(classes) if j != k))
            else:
                total += math.log(1 + math.exp(-z[k]))
                total += sum(math.log(1 + math.exp(z[j])) for j in range(classes) if j != k)
            count += 1
            feature_norm += sum(x * x for x in h)
    weight_norm = sum(w * w for row in weight for w in row)
    return (
        total / count
        + decays.weight / 2 * weight_norm
        + decays.feature / 2 * feature_norm
        + decays.bias / 2 * sum(b * b for b in bias)
    )


@pytest.mark.parametrize('loss', [ce, bce])
def test_objective_is_the_papers_sums(loss):
    random = np.random.default_rng(3)
    counts, dim = (4, 1, 2), 5
    weight, bias = random.normal(size=(3, dim)), random.normal(size=3)
    groups = [random.normal(size=(n, dim)) for n in counts]
    decays = Decays(0.1, 0.02, 0.3)
    value = objective(weight, np.vstack(groups), bias, np.repeat([0, 1, 2], counts), loss, decays)
    assert value == pytest.approx(
        slow_objective(weight, groups, bias, loss.__name__, decays), rel=1e-13
    )


@pytest.mark.parametrize('loss', [ce, bce])
def test_derivatives_along_the_scores(loss):
    random = np.random.default_rng(0)
    scores, labels, step = random.normal(size=(3, 4)) * 3, np.array([2, 0, 3]), 1e-6
    _, slopes = loss(scores, labels)
    for i, j in np.ndindex(3, 4):
        shift = np.zeros_like(scores)
        shift[i, j] = step
        difference = loss(scores + shift, labels)[0] - loss(scores - shift, labels)[0]
        assert slopes[i, j] == pytest.approx(difference[i] / (2 * step), abs=1e-8)


@pytest.mark.parametrize('loss', [ce, bce])
def test_large_scores_neither_overflow_nor_vanish(loss):
    losses, slopes = loss(np.array([[-800.0, 800.0], [800.0, -800.0]]), np.array([0, 0]))
    assert losses[0] == pytest.approx(1600)
    assert losses[1] == 0
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize('loss', [ce, bce])
@pytest.mark.parametrize(('shared', 'counts'), [(False, (5, 3, 1)), (True, (5, 3, 0.5))])
def test_ends_where_the_objective_is_flat(loss, shared, counts):
    """Finite differences of the plain objective, not of the scaled one that is minimised."""
    decays = Decays(0.01, 0.004, 0.02)
    problem = Problem(counts, 4, loss, decays, shared=shared)
    end = minimise(problem)
    repeats = (5, 3, 1)
    labels = np.repeat([0, 1, 2], repeats)
    features = end.features[labels] if shared else end.features
    if shared:  # weighted sums in place of half a sample
        copies = np.array(counts)

        def value(weight, features, bias):
            losses, _ = loss(features @ weight.T - bias, np.arange(3))
            decay = decays.feature / 2 * (copies @ np.sum(features**2, axis=1))
            decay += decays.weight / 2 * np.sum(weight**2) + decays.bias / 2 * np.sum(bias**2)
            return losses @ copies / copies.sum() + decay

        point = [end.weight, end.features, end.bias]
    else:

        def value(weight, features, bias):
            return objective(weight, features, bias, labels, loss, decays)

        point = [end.weight, features, end.bias]
    assert value(*point) == pytest.approx(end.objective, rel=1e-13)
    random = np.random.default_rng(1)
    for _ in range(10):
        move = [random.normal(size=part.shape) for part in point]
        up, down = (
            value(*(p + sign * 1e-5 * m for p, m in zip(point, move, strict=True)))
            for sign in (1, -1)
        )
        assert abs(up - down) / 2e-5 < 1e-8
        assert min(up, down) > end.objective - 1e-13


def test_paper_size_where_theorem_holds():
    """K = 10, d = 32, n = 100: 32,330 variables, b to 1e-6, W an ETF to 1e-4."""
    root, rho = joint_root(10, 100, PAPER)
    assert root == pytest.approx(4.139896, abs=1e-6)
    end = minimise(Problem.balanced(10, 100, 32, bce, PAPER), seed=5)
    assert np.abs(end.bias - root).max() < 1e-6
    assert nc2(end.weight) < 1e-4
    assert nc2(end.weight, centred=False) < 1e-4
    assert np.sum(end.weight**2) == pytest.approx(rho, rel=1e-6)
    assert end.objective == pytest.approx(theorem_point(10, 100, PAPER).objective, abs=1e-12)


def test_paper_size_ce():
    end = minimise(Problem.balanced(10, 100, 32, ce, PAPER), seed=6)
    assert np.abs(end.bias).max() < 1e-6
    assert nc2(end.weight, centred=False) < 1e-4
    assert end.objective == pytest.approx(ce_minimum(10, 100, PAPER).objective, abs=1e-12)


@pytest.mark.parametrize('loss', [ce, bce])
@pytest.mark.parametrize('dim', [3, 4, 9])  # K - 1, K, more
def test_neural_collapse(loss, dim):
    """Eqs. 7-11 and NC1-NC3, from a random start."""
    decays = Decays(2e-3, 1e-3, 1e-4)
    end = minimise(Problem.balanced(4, 8, dim, loss, decays), seed=1)
    norms = np.linalg.norm(end.weight, axis=1)
    assert np.ptp(norms) < 1e-5 * norms.mean()
    scaled = np.sqrt(decays.weight / (8 * decays.feature)) * end.weight
    assert np.abs(end.features - scaled[end.labels]).max() < 1e-5
    assert np.abs(scaled.sum(0)).max() < 1e-5
    means = class_means(end.features, end.labels)
    assert nc1(end.features, end.labels) < 1e-10
    assert nc2(end.weight, centred=False) < 1e-5
    assert nc3(end.weight, means) < 1e-5
    gram = norms.mean() ** 2 * 4 / 3 * (np.eye(4) - 1 / 4)
    assert np.abs(end.weight @ end.weight.T - gram).max() < 1e-4 * norms.mean() ** 2
    minimum = (bce_minimum if loss is bce else ce_minimum)(4, 8, decays)
    assert np.abs(end.bias - minimum.bias).max() < 1e-5


def test_beyond_the_theorem():
    """n = 12: the other minimum, with a lower objective, from every start."""
    point, minimum = theorem_point(10, 12, PAPER), bce_minimum(10, 12, PAPER)
    ends = best_of(Problem.balanced(10, 12, 10, bce, PAPER), 3)
    for end in ends:
        assert end.objective == pytest.approx(minimum.objective, abs=1e-12)
        assert np.abs(end.bias - 12**0.5).max() < 1e-6
        assert nc2(end.weight) < 1e-6
        assert nc2(end.weight, centred=False) > 0.3
        assert end.weight.mean(0) @ end.features.mean(0) == pytest.approx(minimum.shift, abs=1e-5)
        assert np.sum(end.weight**2) == pytest.approx(minimum.rho, rel=1e-6)
    assert ends[0].objective == pytest.approx(0.25080, abs=5e-6)
    assert point.objective == pytest.approx(0.25402, abs=5e-6)


def test_no_room_for_the_means():
    """d = K - 1: Theorem 3.2's point is the lowest found at n = 12, and no longer at n = 4."""
    at_12 = best_of(Problem.balanced(10, 12, 9, bce, PAPER, shared=True), 4)[0]
    assert at_12.objective == pytest.approx(theorem_point(10, 12, PAPER).objective, abs=1e-9)
    at_4 = best_of(Problem.balanced(10, 4, 9, bce, PAPER, shared=True), 4)[0]
    assert at_4.objective < theorem_point(10, 4, PAPER).objective - 0.01
    assert at_4.objective > bce_minimum(10, 4, PAPER).objective + 0.001
    assert np.ptp(at_4.bias) > 0.5


@pytest.mark.parametrize('loss', [ce, bce])
def test_samples_of_a_class_may_share_a_feature(loss):
    decays = Decays(1e-3, 2e-3, 5e-4)
    full = minimise(Problem((6, 4, 1), 3, loss, decays), seed=0)
    shared = minimise(Problem((6, 4, 1), 3, loss, decays, shared=True), seed=1)
    assert full.objective == pytest.approx(shared.objective, abs=1e-12)
    np.testing.assert_allclose(full.bias, shared.bias, atol=1e-5)
    np.testing.assert_allclose(
        full.weight @ full.weight.T, shared.weight @ shared.weight.T, atol=1e-4
    )
    for k in range(3):
        assert np.ptp(full.features[full.labels == k], axis=0).max() < 1e-5


def test_ridge_of_ce():
    """lambda_b = 0: the final mean of b is the initial one, the objective the same."""
    decays = Decays(1e-3, 1e-3, 0.0)
    problem = Problem.balanced(4, 10, 6, ce, decays)
    minimum = ce_minimum(4, 10, decays).objective
    for mean in (0.0, 3.0, 10.0):
        started = random_start(problem, 2, mean)[2].mean()
        end = minimise(problem, seed=2, bias_mean=mean)
        assert end.bias.mean() == pytest.approx(started, abs=1e-10)
        assert abs(started - mean) < 0.5
        assert np.ptp(end.bias) < 1e-5
        assert end.objective == pytest.approx(minimum, abs=1e-13)
        moved = objective(end.weight, end.features, end.bias + 7, end.labels, ce, decays)
        assert moved == pytest.approx(end.objective, abs=1e-13)


def test_bce_has_no_ridge():
    decays = Decays(1e-3, 1e-3, 0.0)
    problem = Problem.balanced(4, 10, 6, bce, decays)
    root, _ = joint_root(4, 10, decays)
    for mean in (0.0, 10.0):
        assert np.abs(minimise(problem, bias_mean=mean).bias - root).max() < 1e-5


def test_ce_bias_decays_to_zero():
    end = minimise(Problem.balanced(4, 10, 6, ce, Decays(1e-3, 1e-3, 1e-5)), bias_mean=10)
    assert np.abs(end.bias).max() < 1e-4


@pytest.mark.parametrize('batch', [16, 256])
def test_nonnegative_features(batch):
    """H >= 0 from a random start ends at its closed form, with orthogonal features at 256."""
    problem = Problem.balanced(10, batch / 10, 12, bce, PAPER, shared=True, nonnegative=True)
    end, minimum = minimise(problem), bce_minimum(10, batch / 10, PAPER, nonnegative=True)
    assert end.features.min() >= 0
    assert end.objective == pytest.approx(minimum.objective, abs=1e-12)
    assert np.abs(end.bias - minimum.bias).max() < 1e-6
    gram = end.features @ end.features.T
    between = gram[~np.eye(10, dtype=bool)].max() / gram[0, 0]
    assert (between < 1e-12) == (batch == 256)


@pytest.mark.parametrize('bias_decay', [0.0, 5e-3, 1.0])
@pytest.mark.parametrize('loss', [ce, bce])
def test_minority_collapse_at_the_same_ratio(loss, bias_decay):
    decays = Decays(5e-3, 5e-3, bias_decay)
    threshold = collapse_ratio(100, (3, 3), decays)
    for ratio, equal in ((0.97 * threshold, False), (1.03 * threshold, True)):
        problem = Problem((100,) * 3 + (100 / ratio,) * 3, 6, loss, decays, shared=True)
        few = minimise(problem).weight[3:]
        spread = np.linalg.norm(few - few.mean(0), axis=1).max()
        assert (spread < 1e-4) == equal


def test_softmax_codes_when_classes_outnumber_dimensions():
    """BCE with a small lambda_b and CE with the bias held at 0: hexagon and icosahedron."""
    for classes, dim, cosine in ((6, 2, 0.5), (12, 3, 1 / 5**0.5)):
        for loss, bias_decay in ((bce, 1e-3), (ce, 1.0)):
            decays = Decays(1e-3, 1e-3, bias_decay)
            problem = Problem.balanced(classes, 50, dim, loss, decays, shared=True)
            weight = best_of(problem, 3)[0].weight
            unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
            cosines = (unit @ unit.T)[np.triu_indices(classes, 1)]
            assert cosines.max() == pytest.approx(cosine, abs=1e-4)


def test_random_start():
    decays = Decays(1e-3, 4e-3, 0)
    problem = Problem((50,) * 4, 20, bce, decays, nonnegative=True)
    weight, features, bias = random_start(problem, 0, bias_mean=2.0)
    assert features.min() >= 0
    assert np.abs(bias - 2).max() <= 1 / 20**0.5
    ratio = 1e-3 * np.sum(weight**2) / (4e-3 * np.sum(features**2))
    assert ratio == pytest.approx(1, abs=0.3)
    again = random_start(problem, 0, bias_mean=2.0)
    assert all(np.array_equal(a, b) for a, b in zip(again, (weight, features, bias), strict=True))
    assert not np.array_equal(random_start(problem, 1)[0], weight)


@pytest.mark.parametrize(
    ('counts', 'dim', 'shared', 'said'),
    [
        ((5,), 3, False, '1 classes'),
        ((5, 0), 3, False, 'Class 1 has 0 samples'),
        ((5, 2.5), 3, False, 'Class 1 has 2.5 samples'),
        ((5, -1.0), 3, True, 'Class 1 has -1.0 samples'),
        ((5, float('nan')), 3, True, 'Class 1 has nan samples'),
        ((5, 5), 0, False, 'Features of size 0'),
    ],
)
def test_bad_problems(counts, dim, shared, said):
    with pytest.raises(BCE3SError, match=said):
        Problem(counts, dim, bce, PAPER, shared=shared)


def test_too_few_steps():
    with pytest.raises(BCE3SError, match='has not converged after 3 steps'):
        minimise(Problem.balanced(4, 10, 6, bce, PAPER), steps=3)
