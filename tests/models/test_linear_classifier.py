"""The linear classifier: how it starts, and what it refuses. Its scores: see test_head.py."""

from __future__ import annotations

import math

import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.models.linear_classifier import LinearClassifier
from bce3s.models.weight_scaling import LWSClassifier


def test_initial_values():
    """W Kaiming-normal with a = 1: standard deviation 1/sqrt(d); b uniform in +-1/sqrt(d)."""
    torch.manual_seed(0)
    classifier = LinearClassifier(400, 500, True, True)
    assert classifier.weight.std().item() == pytest.approx(1 / 20, rel=0.02)
    kurtosis = (classifier.weight / classifier.weight.std()).pow(4).mean().item()
    assert kurtosis == pytest.approx(3, rel=0.05)  # a uniform one has 1.8
    assert classifier.bias.abs().max() <= 1 / 20
    assert classifier.bias.std().item() == pytest.approx(1 / 20 / math.sqrt(3), rel=0.1)


def test_uniform_initial_values_are_those_of_a_linear_layer():
    torch.manual_seed(3)
    ours = LinearClassifier(40, 50, init='kaiming_uniform')
    torch.manual_seed(3)
    theirs = torch.nn.Linear(40, 50)
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


@pytest.mark.parametrize('init', ['kaiming_normal', 'kaiming_uniform'])
def test_the_mean_of_the_initial_bias_has_the_sign_of_the_paper(init):
    torch.manual_seed(0)
    plain = LinearClassifier(400, 500, init=init)
    torch.manual_seed(0)
    moved = LinearClassifier(400, 500, init=init, bias_mean=6.0)
    assert torch.equal(moved.weight, plain.weight)
    torch.testing.assert_close(moved.bias, plain.bias - 6, atol=1e-5, rtol=0)
    assert moved.linear()[1].mean().item() == pytest.approx(-6, abs=0.01)


@pytest.mark.parametrize('scale', [0, -1.0, math.nan, math.inf])
def test_scales_that_are_none(scale):
    with pytest.raises(BCE3SError, match='scale of the classifier must be positive'):
        LinearClassifier(3, 4, scale=scale)


def test_refuses():
    with pytest.raises(BCE3SError, match="init is 'xavier'"):
        LinearClassifier(3, 4, init='xavier')
    for options in (dict(bias=False, bias_mean=2), dict(bias_mean=math.inf)):
        with pytest.raises(BCE3SError, match='it must be finite, and 0 if'):
            LinearClassifier(3, 4, **options)
    for options in (dict(bias_mean='six'), dict(scale='x')):
        with pytest.raises(BCE3SError, match='must be a number'):
            LinearClassifier(3, 4, **options)


@pytest.mark.parametrize('train_weights', [False, True])
@pytest.mark.parametrize('normalize', [False, True])
def test_scales_multiply_weight_and_bias_in_the_second_stage(train_weights, normalize):
    """LWS by hand; the first stage is that of a linear classifier, to the bit."""
    options = dict(normalize_weight=normalize, normalize_feature=normalize, scale=3.0)
    torch.manual_seed(0)
    plain = LinearClassifier(4, 5, **options)
    torch.manual_seed(0)
    ours = LWSClassifier(4, 5, train_weights=train_weights, **options).double()
    plain, x = plain.double(), torch.randn(6, 4, dtype=torch.float64)
    assert torch.equal(ours(x), plain(x))
    ours(x).sum().backward()
    assert ours.scales.grad is None
    assert ours.weight.grad is not None

    ours.zero_grad()
    ours.finetune()
    with torch.no_grad():
        ours.scales.copy_(torch.tensor([0.5, 1.0, 2.0, -1.0, 0.0]))
    logits, up = ours(x), torch.randn(6, 5, dtype=torch.float64)
    expected = [
        [s * z for s, z in zip(ours.scales.tolist(), row, strict=True)] for row in plain(x).tolist()
    ]
    torch.testing.assert_close(logits, torch.tensor(expected, dtype=torch.float64))
    (up * logits).sum().backward()
    torch.testing.assert_close(ours.scales.grad, (up * plain(x)).sum(0).detach())
    weight, bias = ours.linear()
    torch.testing.assert_close(ours.embed(x) @ weight.T + bias, logits)
    assert (ours.weight.grad is not None) == (ours.bias.grad is not None) == train_weights
