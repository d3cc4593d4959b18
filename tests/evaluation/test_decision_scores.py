"""Score and bias statistics against loops; alpha(b) against what the paper printed."""

import math

import measure_oracles as oracles
import numpy as np
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.evaluation.decision_scores import alpha, bias_statistics, rho
from bce3s.evaluation.features import score_statistics

# Tables of the paper: rho, b, K, batch size, alpha as printed; every decay is 5e-4
PRINTED = {
    'Table 6, ResNet-18, SGD': (407.1362, 2.2170, 10, 128, -0.0268),
    'Table 6, ResNet-18, AdamW': (357.9696, 3.5134, 10, 128, -0.0086),
    'Table 7, ResNet-18, SGD': (395.3918, 2.2618, 10, 128, -0.0266),
    'Table 7, ResNet-18, AdamW': (366.6813, 3.2905, 10, 128, -0.0105),
    'Table 7, DenseNet-121, AdamW': (360.5613, 3.4612, 10, 128, -0.0090),
    'Table 8, ResNet-18, AdamW': (1708.9231, 1.1317, 100, 128, -0.2147),
    'Table 8, ResNet-50, SGD': (289.5987, 0.3210, 100, 128, -0.4090),
    'Table 11, SGD, batch 16': (199.6890, 0.7828, 10, 16, -0.0660),
    'Table 11, SGD, batch 2048': (351.9647, 2.6332, 10, 2048, 0.0077),
    'Table 11, AdamW, batch 16': (189.2794, 1.2651, 10, 16, -0.0457),
    'Table 11, AdamW, batch 64': (300.8807, 2.5261, 10, 64, -0.0188),
    'Table 11, AdamW, batch 512': (590.9918, 3.8500, 10, 512, -0.0064),
}


@pytest.mark.parametrize('cell', PRINTED)
def test_alpha_as_printed(cell):
    norm, b, classes, batch, printed = PRINTED[cell]
    value = alpha(b, norm, classes, batch / classes, 5e-4, 5e-4)
    assert value == pytest.approx(printed, abs=7e-5)  # rho and b are rounded, too
    defined = alpha(b, norm, classes, batch / classes, 5e-4, 5e-4, 5e-4)
    assert defined == pytest.approx(value + 5e-4 * b)


def test_alpha_of_table_7_with_and_without_the_decay_of_the_bias():
    cell = (3.2905, 366.6813, 10, 12.8, 5e-4, 5e-4)
    assert round(alpha(*cell), 4) == -0.0105  # as printed
    assert round(alpha(*cell, 5e-4), 4) == -0.0089  # as Eq. 57 defines it


@pytest.mark.parametrize('b', [-3.0, 0.0, 2.5])
def test_alpha_matches_equation_57(b):
    values = (30.0, 7, 11.5, 2e-4, 3e-4, 5e-3)
    assert alpha(b, *values) == pytest.approx(oracles.alpha(b, *values), rel=1e-12)


def test_alpha_at_its_limits():
    assert alpha(1e4, 1e6, 10, 10, 1e-4, 1e-4) == pytest.approx(0)  # -sigmoid(-inf) + sigmoid(-inf)
    assert alpha(-1e4, 1.0, 10, 10, 1e-4, 1e-4) == pytest.approx(-0.9)
    assert alpha(1.0, 3.0, 1, 10, 1e-4, 1e-4) is None
    assert alpha(1.0, 3.0, 10, 10, 1e-4, 0.0) is None
    assert alpha(1.0, 3.0, 10, 0, 1e-4, 1e-4) is None
    with pytest.raises(BCE3SError, match='at least 0'):
        alpha(1.0, 3.0, 10, 10, -1e-4, 1e-4)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 30)
    return rng.standard_normal((30, 5)) + 1, labels, rng.standard_normal((4, 5))


def test_score_statistics_match_the_loops(data):
    assert score_statistics(*data) == pytest.approx(oracles.score_statistics(*data), rel=1e-12)
    single = torch.tensor(data[0], dtype=torch.float32)
    exact = oracles.score_statistics(single.double().numpy(), *data[1:])
    assert score_statistics(single, torch.tensor(data[1]), data[2]) == pytest.approx(exact)


def test_a_small_spread_of_large_scores():
    scores = np.array([[7.0, -2.0, -2.0], [7.0, -2.0, -2.0]]) * 1e3
    scores[1] += 1e-8 * np.array([1, 1, -1])
    values = score_statistics(scores, [0, 0], np.eye(3))
    pos = np.diff(scores[:, 0]).item() / 2
    neg = scores[:, 1:].astype(np.longdouble) + 2e3  # exact: a difference of neighbours
    assert values['s_pos_std'] == pytest.approx(pos, rel=1e-4)
    assert values['s_neg_std'] == pytest.approx(float(neg.std()), rel=1e-4)


def test_one_class_has_no_negative_scores():
    values = score_statistics(np.ones((3, 2)), [0, 0, 0], np.ones((1, 2)))
    assert values == {'s_pos_mean': 2, 's_pos_std': 0, 's_neg_mean': None, 's_neg_std': None}


def test_rho_and_bias_statistics():
    weight, bias = np.array([[3.0, 4.0], [1.0, 2.0]]), [1.0, 2.0, 6.0]
    assert rho(weight) == 30
    assert bias_statistics(bias) == pytest.approx({'b_mean': 3, 'b_std': math.sqrt(14 / 3)})
    assert bias_statistics([5.0]) == {'b_mean': 5, 'b_std': 0}


def test_bad_input(data):
    features, labels, weight = data
    with pytest.raises(BCE3SError, match='5 numbers each, the classifier takes 4'):
        score_statistics(features, labels, weight[:, 1:])
    with pytest.raises(BCE3SError, match='30 samples but the labels'):
        score_statistics(features, labels[1:], weight)
    with pytest.raises(BCE3SError, match=r'classes 0..2, but sample \d+ has 3'):
        score_statistics(features, labels, weight[:3])
    with pytest.raises(BCE3SError, match='no sample'):
        score_statistics(features[:0], labels[:0], weight)
    features[11, 0] = np.nan
    with pytest.raises(BCE3SError, match='features of sample 11 are not finite'):
        score_statistics(features, labels, weight)
