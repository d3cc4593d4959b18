"""Expected calibration error and the likelihoods behind it, against loops and closed forms."""

import math

import numpy as np
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.evaluation.calibration import (
    Sigmoid,
    Softmax,
    by_split,
    expected_calibration_error,
    reliability,
)


def ece_by_loop(confidence, correct, bins):
    """Eq. 3 of Guo et al., bin by bin."""
    total = 0.0
    for m in range(1, bins + 1):
        inside = [
            (c, r)
            for c, r in zip(confidence, correct, strict=True)
            if (m - 1) / bins < c <= m / bins or (m == 1 and c == 0)
        ]
        if inside:
            accuracy = sum(r for _, r in inside) / len(inside)
            mean = sum(c for c, _ in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return 100 * total


@pytest.mark.parametrize('bins', [1, 2, 10, 15])
def test_ece_is_the_papers(bins):
    rng = np.random.default_rng(bins)
    confidence = np.concatenate([rng.random(200), np.arange(bins + 1) / bins])
    correct = rng.random(len(confidence)) < confidence**2
    expected = ece_by_loop(confidence, correct, bins)
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(expected)


def test_closed_forms():
    sure = np.ones(10)
    assert expected_calibration_error(sure, sure) == 0.0
    assert expected_calibration_error(sure, 0 * sure) == 100.0
    assert expected_calibration_error(0 * sure, 0 * sure) == 0.0
    assert expected_calibration_error([0.75] * 4, [1, 1, 1, 0]) == 0.0
    # in one bin the errors cancel, in two they add
    assert expected_calibration_error([0.4, 0.6], [1, 0], bins=1) == 0.0
    assert expected_calibration_error([0.4, 0.6], [1, 0], bins=2) == pytest.approx(60.0)


def test_bins_of_the_diagram():
    table = reliability([0.0, 0.5, 0.50001, 1.0, 1.0], [1, 0, 1, 1, 0], bins=2)
    assert table.edges.tolist() == [0.0, 0.5, 1.0]
    assert table.samples.tolist() == [2, 3]  # an edge belongs to the bin below it
    assert table.accuracy == pytest.approx([50.0, 200 / 3])
    assert table.confidence == pytest.approx([25.0, 100 * 2.50001 / 3])
    shares = table.samples / 5
    assert table.ece == pytest.approx((shares * abs(table.accuracy - table.confidence)).sum())
    assert np.isnan(reliability([0.9], [1], bins=3).accuracy).tolist() == [True, True, False]


def test_splits_are_of_their_samples_alone():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    confidence, correct = rng.random(90), rng.random(90) < 0.5
    found = by_split(confidence, correct, labels, [200, 50, 5])
    assert found['all'] == expected_calibration_error(confidence, correct)
    for k, name in enumerate(('many', 'medium', 'few')):
        own = labels == k
        assert found[name] == expected_calibration_error(confidence[own], correct[own])
    assert by_split(confidence, correct, labels, [200, 200, 5])['medium'] is None


@pytest.mark.parametrize(
    ('confidence', 'correct', 'sentence'),
    [
        ([0.5, 1.1], [1, 1], 'sample 1 is 1.1'),
        ([-0.1], [1], 'sample 0'),
        ([0.5, float('nan')], [1, 1], 'sample 1 are not finite'),
        ([0.5], [1, 1], 'one of each'),
        ([], [], 'There are no confidences'),
    ],
)
def test_mistakes_are_sentences(confidence, correct, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        expected_calibration_error(confidence, correct)


def test_a_label_out_of_range_is_a_sentence():
    with pytest.raises(BCE3SError, match=r'0\.\.1'):
        by_split([0.5], [1], [2], [5, 5])


# ------------------------------------------------------------ probabilities
LOGITS = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * 4
LABELS = torch.arange(40) % 5


def loops(kind, logits, labels, beta):
    total = 0.0
    for row, y in zip((beta * logits.double()).tolist(), labels.tolist(), strict=True):
        if kind is Softmax:
            total -= math.log(math.exp(row[y]) / sum(map(math.exp, row)))
        else:
            for j, z in enumerate(row):
                p = 1 / (1 + math.exp(-z))
                total -= math.log(p if j == y else 1 - p)
    return total / len(labels)


@pytest.mark.parametrize('kind', [Softmax, Sigmoid])
@pytest.mark.parametrize('beta', [0.3, 1.0, 2.0])
def test_likelihood_and_its_slope(kind, beta):
    nll = kind().nll(LOGITS, LABELS, beta)
    assert nll == pytest.approx(loops(kind, LOGITS, LABELS, beta))
    step = 1e-5
    slope = (kind().nll(LOGITS, LABELS, beta + step) - kind().nll(LOGITS, LABELS, beta - step)) / 2
    assert kind().slope(LOGITS, LABELS, beta) == pytest.approx(slope / step, rel=1e-5)


def test_confidence_is_that_of_the_largest_logit():
    row = np.array([[2.0, -1.0]])
    assert Sigmoid().confidence(row) == pytest.approx([1 / (1 + math.exp(-2))])
    assert Softmax().confidence(row) == pytest.approx([1 / (1 + math.exp(-3))])
    assert Softmax().confidence(np.array([[1e4, -1e4]])) == [1.0]


def test_large_logits_neither_overflow_nor_vanish():
    row = np.array([[1e4, -1e4]])
    assert Sigmoid().nll(row, [1]) == pytest.approx(2e4)
    assert Softmax().nll(row, [1]) == pytest.approx(2e4)
    assert Sigmoid().nll(row, [0]) == 0.0


@pytest.mark.parametrize('kind', [Softmax, Sigmoid])
def test_blocks_do_not_matter(kind, monkeypatch):
    whole = kind().nll(LOGITS, LABELS), kind().confidence(LOGITS)
    monkeypatch.setattr('bce3s.evaluation.arrays.BLOCK', 15)
    assert kind().nll(LOGITS, LABELS) == pytest.approx(whole[0])
    assert (kind().confidence(LOGITS) == whole[1]).all()
    broken = LOGITS.clone()
    broken[33, 2] = float('nan')
    with pytest.raises(BCE3SError, match='sample 33'):
        kind().confidence(broken)
