"""Margins and disturbances against loops, planes worked out by hand, and expectations in closed
form."""

import json
import math

import numpy as np
import pytest
import torch

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation import robustness
from bce3s.evaluation.robustness import (
    distances,
    feature_noise_shares,
    margin_quantiles,
    margins,
    measure_disturbance,
    rounded_shares,
    score_noise_shares,
    worst_case_accuracy,
)
from bce3s.randomness import generator

N, D, K = 60, 6, 4


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(K, D)), rng.normal(size=K)
    labels = rng.integers(0, K, N)
    return weight[labels] + 1.5 * rng.normal(size=(N, D)), labels, weight, bias


def margin_by_loops(h, y, weight, bias):
    """The definition, one other class after the other."""
    z = [
        sum(a * b for a, b in zip(h, w, strict=True)) - c for w, c in zip(weight, bias, strict=True)
    ]
    found = []
    for j in range(len(weight)):
        if j != y:
            apart = math.sqrt(sum((a - b) ** 2 for a, b in zip(weight[y], weight[j], strict=True)))
            found.append((z[y] - z[j]) / apart)
    return min(found)


def predicted(h, weight, bias):
    return int(np.argmax(weight @ h - bias))


# ------------------------------------------------------------ margins
def test_margins_match_loops(data):
    expected = [margin_by_loops(h, y, *data[2:]) for h, y in zip(*data[:2], strict=True)]
    assert margins(*data).tolist() == pytest.approx(expected)
    assert min(expected) < 0 < max(expected)


def test_more_classes_than_samples_in_a_block(data, monkeypatch):
    """Blocks of samples sorted by class, which then go back to their places."""
    expected = margins(*data)
    monkeypatch.setattr(robustness, 'ROWS', K - 1)
    torch.testing.assert_close(margins(*data), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize('offset', [0.0, 1e3])
def test_distances_keep_their_digits(offset):
    """Far ones by inner products, near ones by differences; with an offset all are near."""
    weight = torch.randn(40, 9, generator=generator(0, 'weights'), dtype=torch.float64) + offset
    weight[3] = weight[2]
    weight[5] = weight[4] + 1e-9
    classes = torch.tensor([0, 2, 3, 4, 39])
    expected = (weight[classes, None] - weight).norm(dim=-1)
    found = distances(weight, classes)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    assert (found == 0).sum() == len(classes) + 2


def test_the_margin_is_where_the_decision_changes(data):
    features, labels, weight, bias = data
    for h, y, m in zip(features, labels, margins(*data).tolist(), strict=True):
        assert (m > 0) == (predicted(h, weight, bias) == y)
        if m <= 0:
            continue
        directions = [weight[j] - weight[y] for j in range(K) if j != y]
        directions = [v / np.linalg.norm(v) for v in directions]
        assert all(predicted(h + 0.999 * m * v, weight, bias) == y for v in directions)
        assert any(predicted(h + 1.001 * m * v, weight, bias) != y for v in directions)
        rng = np.random.default_rng(1)
        for v in rng.normal(size=(50, D)):  # and no other direction does it sooner
            assert predicted(h + 0.999 * m * v / np.linalg.norm(v), weight, bias) == y


def test_margins_of_a_simplex_are_the_same_at_any_scale():
    weight = np.eye(5) - 0.2  # rows at distance sqrt(2)
    labels = np.arange(5)
    for scale in (1e-3, 1.0, 64.0):
        m = margins(weight, labels, scale * weight, np.full(5, 3 * scale))
        assert m.tolist() == pytest.approx([1 / math.sqrt(2)] * 5)


def test_equal_weights_and_one_class():
    weight = np.array([[1.0, 0], [1, 0], [0, 1]])
    h = np.array([[1.0, 0], [1, 0], [1, 0]])
    assert margins(h, [0, 1, 2], weight, [0, 0.5, 0]).tolist() == [
        pytest.approx(1 / math.sqrt(2)),
        -math.inf,  # class 0 is above by its bias wherever the feature is
        pytest.approx(-1 / math.sqrt(2)),
    ]
    assert margins(h[:1], [0], weight).tolist() == [0.0]  # a tie with class 1
    assert margins(h, [0, 0, 0], weight[:1]).tolist() == [math.inf] * 3


def test_worst_case_and_quantiles():
    m = torch.tensor([0.3, -0.1, 0.5, 0.2, math.inf])
    assert worst_case_accuracy(m, [0, 0.2, 0.25, 1e9]) == [80, 60, 60, 20]
    assert margin_quantiles(m, (0, 0.2, 0.5, 1)) == {
        '0': pytest.approx(-0.1),
        '0.2': pytest.approx(0.2),
        '0.5': pytest.approx(0.3),
        '1': None,  # nothing changes the decision
    }


# ------------------------------------------------------------ noise
@pytest.mark.parametrize('normalize', [False, True])
def test_feature_noise_matches_a_loop(data, normalize):
    features, labels, weight, bias = data
    if normalize:
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    shares = feature_noise_shares(features, labels, weight, bias, (0.0, 0.7, 2.0), 3, 5, normalize)
    draws = [
        torch.randn(N, D, generator=generator(5, 'feature noise', r, 0), dtype=torch.float64)
        for r in range(3)
    ]
    for place, size in enumerate((0.0, 0.7, 2.0)):
        for i, (h, y) in enumerate(zip(features, labels, strict=True)):
            right = 0
            for draw in draws:
                e = draw[i].numpy()
                x = h + size * np.linalg.norm(h) * e / np.linalg.norm(e)
                x = x / np.linalg.norm(x) if normalize else x
                right += predicted(x, weight, bias) == y
            assert shares[place, i] == pytest.approx(right / 3)
    assert 0 < shares[2].mean() < shares[0].mean()


def test_two_classes_on_the_sphere_in_closed_form():
    """In 3 dimensions a component of a uniform unit vector is uniform in [-1, 1]: the feature
    (1, 0, 0) stays right of the plane x = 0 after a change of norm 2 with probability 3/4."""
    weight = np.array([[1.0, 0, 0], [-1, 0, 0]])
    features = np.tile([1.0, 0, 0], (20_000, 1))
    labels = np.zeros(20_000, dtype=int)
    shares = feature_noise_shares(features, labels, weight, sizes=(0.999, 2.0), repeats=1)
    assert shares[0].min() == 1
    assert float(shares[1].mean()) == pytest.approx(0.75, abs=4 * math.sqrt(0.1875 / 20_000))


def test_score_noise_in_closed_form_and_the_scale():
    """The gap 2 gamma against the noise of two scores, normal with variance 2 sigma^2."""
    features, labels = np.tile([1.0, 0], (20_000, 1)), np.zeros(20_000, dtype=int)
    weight = np.array([[1.0, 0], [-1, 0]])
    for scale in (1.0, 0.1):
        share = score_noise_shares(features, labels, scale * weight, sizes=(1.0,), repeats=1)
        expected = 0.5 * (1 + math.erf(scale))
        assert float(share.mean()) == pytest.approx(expected, abs=0.014)


def test_draws_depend_on_the_seed_alone(data):
    one = feature_noise_shares(*data, repeats=2, seed=3)
    assert torch.equal(one, feature_noise_shares(*data, repeats=2, seed=3))
    assert not torch.equal(one, feature_noise_shares(*data, repeats=2, seed=4))
    # from 1025 samples on there is a second block, with noise of its own
    many = [np.concatenate([a] * 20) for a in data[:2]]
    shares = score_noise_shares(*many, *data[2:], sizes=(1.0,), repeats=1)[0]
    assert not torch.equal(shares[:60], shares[1140:])


# ------------------------------------------------------------ rounding
def test_a_large_bias_uses_up_the_digits():
    """Cosines 1 and -1 times 0.001 beside a bias of 2: bfloat16 has 8 bits, so 2 +- 0.001 is 2."""
    weight, features = 1e-3 * np.array([[1.0, 0], [-1, 0]]), [[1.0, 0], [-1, 0]]
    labels, bias = [0, 1], [2.0, 2.0]
    assert rounded_shares(features, labels, weight, bias).tolist() == [0.5, 0.5]  # a tie
    assert rounded_shares(features, labels, weight, None).tolist() == [1, 1]
    assert rounded_shares(features, labels, weight, bias, torch.float16).tolist() == [1, 1]
    far = np.array([1e6, 1e6])  # beyond float16: equal infinities
    assert rounded_shares(features, labels, weight, far, torch.float16).tolist() == [0.5, 0.5]


# ------------------------------------------------------------ the whole
def test_the_report_is_made_of_the_parts(data):
    features, labels, weight, bias = data
    counts = [500, 300, 50, 5]
    report = measure_disturbance(*data, counts, (0.5, 1.0), (0.1,), repeats=2, seed=1)
    assert report['undisturbed'] == pytest.approx(
        100 * np.mean([predicted(h, weight, bias) == y for h, y in zip(*data[:2], strict=True)])
    )
    shares = feature_noise_shares(*data, (0.5, 1.0), repeats=2, seed=1)
    assert report['feature_noise'] == {
        'sizes': [0.5, 1.0],
        'accuracy': pytest.approx((100 * shares.mean(1)).tolist()),
    }
    relative = margins(*data) / torch.tensor(features).norm(dim=1)
    assert report['worst_case']['accuracy'] == worst_case_accuracy(relative, (0.5, 1.0))
    assert report['margin'] == margin_quantiles(relative)
    for name, members in (('many', (0, 1)), ('medium', (2,)), ('few', (3,))):
        of = np.isin(labels, members)
        part = report['splits'][name]
        assert part['feature_noise']['accuracy'] == pytest.approx(
            (100 * shares[:, of].mean(1)).tolist()
        )
        assert part['undisturbed'] == measure_disturbance(
            features[of], labels[of], weight, bias
        )['undisturbed']  # fmt: skip
    json.dumps(report, allow_nan=False)
    others = measure_disturbance(*data, counts, thresholds=Thresholds(many=400, few=400))['splits']
    assert others['medium'] is None
    assert others['many']['undisturbed'] == measure_disturbance(
        features[labels == 0], labels[labels == 0], weight, bias
    )['undisturbed']  # fmt: skip


def test_noise_hurts_no_less_than_its_worst_case_allows(data):
    report = measure_disturbance(*data)
    pairs = zip(report['worst_case']['accuracy'], report['feature_noise']['accuracy'], strict=True)
    assert all(worst <= random for worst, random in pairs)


def test_torch_float32_and_numpy_float64_agree(data):
    features, labels, weight, bias = data
    narrow = features.astype(np.float32)
    as_torch = measure_disturbance(
        torch.tensor(narrow), torch.tensor(labels), torch.tensor(weight), torch.tensor(bias)
    )
    assert as_torch == measure_disturbance(narrow.astype(np.float64), labels, weight, bias)


def test_limits_are_numbers_or_none():
    one_class = measure_disturbance(np.ones((3, 2)), [0, 0, 0], np.ones((1, 2)))
    assert one_class['undisturbed'] == 100
    assert set(one_class['margin'].values()) == {None}
    zeros = measure_disturbance(np.zeros((2, 2)), [0, 1], np.eye(2), [0, 1], [200, 5])
    assert zeros['undisturbed'] == 50  # only the biases speak
    assert zeros['feature_noise']['accuracy'] == [50.0] * 5
    assert zeros['splits']['medium'] is None
    equal = measure_disturbance(np.ones((4, 2)), [0, 1, 0, 1], np.ones((2, 2)))
    assert equal['undisturbed'] == 50  # all scores are equal
    assert set(equal['margin'].values()) == {0.0}
    for report in (one_class, zeros, equal):
        json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(labels=[0, 1]), r'60 samples but the labels have the shape \(2,\)'),
        (dict(labels=[K] * N), 'sample 0 has 4'),
        (dict(features=np.zeros((0, D)), labels=[]), 'no sample'),
        (dict(features=np.ones((N, D + 1))), '7 numbers each'),
        (dict(bias=[0.0]), '4 classes, but the biases'),
        (dict(weight=np.full((K, D), np.nan)), 'diverged'),
        (dict(class_counts=[1, 2]), '2 class counts'),
        (dict(repeats=0), 'repeats is 0'),
        (dict(sizes=(-1.0,)), 'must be finite and not negative'),
        (dict(score_sizes=(math.nan,)), 'must be finite and not negative'),
    ],
)
def test_bad_input_is_a_sentence(data, change, said):
    names = dict(zip(('features', 'labels', 'weight', 'bias'), data, strict=True))
    with pytest.raises(BCE3SError, match=said):
        measure_disturbance(**(names | change))


def test_other_bad_input(data):
    broken = data[0].copy()
    broken[7, 2] = math.inf
    with pytest.raises(BCE3SError, match='features of sample 7 are not finite'):
        margins(broken, *data[1:])
    with pytest.raises(BCE3SError, match='quantiles'):
        margin_quantiles([1.0], (2,))
    with pytest.raises(BCE3SError, match='no sample'):
        worst_case_accuracy([], (1.0,))
