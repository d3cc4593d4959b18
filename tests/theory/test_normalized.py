"""The model in a normalised space against PyTorch's derivatives, bisection, loops, its limits."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.theory.normalized import LOSSES, convergence_rate, minimum, modes, optimal_bias

SIZES = [(5, 2, 7), (4, 2, 3), (3, 2, 4), (2, 2, 3), (2, 1, 1)]  # K, n, d


# ------------------------------------------------------------ helpers
def simplex(num_classes, dim):
    """(K, d) unit vectors with cosines -1/(K-1), turned at random."""
    centred = np.eye(num_classes) - 1 / num_classes
    rows = np.linalg.svd(centred)[0][:, : num_classes - 1] * math.sqrt(
        num_classes / (num_classes - 1)
    )
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(dim, dim)))[0]
    return rows @ turn[: num_classes - 1]


def softplus(z):
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


def loss_by_loops(loss, scale, features, labels, weight, bias):
    """The definitions, sum by sum."""
    total = 0.0
    for h, y in zip(features, labels, strict=True):
        z = [scale * (float(w @ h) - b) for w, b in zip(weight, bias, strict=True)]
        if loss == 'ce':
            total += math.log(sum(math.exp(v - z[y]) for v in z))
        else:
            total += softplus(-z[y]) + sum(softplus(v) for j, v in enumerate(z) if j != y)
    return total / len(features)


def torch_loss(loss, scale, weight, features, bias, labels):
    z = scale * (F.normalize(features, dim=1) @ F.normalize(weight, dim=1).T - bias)
    if loss == 'ce':
        return F.cross_entropy(z, labels)
    target = F.one_hot(labels, len(weight)).double()
    return F.binary_cross_entropy_with_logits(z, target, reduction='none').sum(1).mean()


def hessian_at_simplex(loss, scale, num_classes, per_class, dim, bias, with_bias=True):
    """Eigenvalues by automatic differentiation, each vector scaled by the square root of the number
    of its kind (that is: N times, K times the gradient); d more zeros for each radius."""
    weight = torch.tensor(simplex(num_classes, dim))
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    features, samples = weight[labels], len(labels)

    def f(x):
        h, w, b = x.split([samples * dim, num_classes * dim, num_classes])
        h = features + h.view(samples, dim) * math.sqrt(samples)
        w = weight + w.view(num_classes, dim) * math.sqrt(num_classes)
        b = bias + b * math.sqrt(num_classes)
        return torch_loss(loss, scale, w, h, b if with_bias else b.detach() * 0 + bias, labels)

    size = (samples + num_classes) * dim + num_classes
    start = torch.zeros(size, dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(f, start)
    assert gradient.abs().max() < 1e-12 or not with_bias  # it is a stationary point
    hessian = torch.autograd.functional.hessian(f, start)
    return np.sort(torch.linalg.eigvalsh(hessian).numpy())


# ------------------------------------------------------------ the minimum
@pytest.mark.parametrize('scale', [1e-3, 0.1, 1.0, 8.0, 64.0])
@pytest.mark.parametrize('num_classes', [2, 3, 10, 1000])
def test_bias_is_the_root_of_its_equation(scale, num_classes):
    others = num_classes - 1

    def pull(b):  # decreasing
        positive = math.exp(-softplus(scale * (1 - b)))
        return others * math.exp(-softplus(scale * (b + 1 / others))) - positive

    low, high = -1.0, 1.0 + 2 * math.log(max(others, 2)) / scale
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if pull(middle) > 0 else (low, middle)
    assert optimal_bias(scale, num_classes) == pytest.approx(low, rel=1e-9, abs=1e-9)


def test_bias_at_the_ends():
    assert 1e-6 * optimal_bias(1e-6, 10) == pytest.approx(math.log(9), rel=1e-5)
    assert optimal_bias(1e5, 10) == pytest.approx(8 / 18, rel=1e-4)
    assert optimal_bias(3.0, 2) == pytest.approx(0, abs=1e-12)  # by symmetry


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('scale', [0.2, 3.0, 20.0])
def test_value_is_the_loss_of_the_simplex(loss, scale):
    weight, labels = simplex(5, 6), np.repeat(np.arange(5), 3)
    at = minimum(loss, scale, 5)
    value = loss_by_loops(loss, scale, weight[labels], labels, weight, [at.bias] * 5)
    assert value == pytest.approx(at.value, rel=1e-10)
    assert weight[0] @ weight[1] == pytest.approx(at.negative_cosine)
    assert at.positive_error == pytest.approx(4 * at.negative_error)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('scale', [0.3, 2.0, 12.0])
def test_nothing_random_and_no_neighbour_is_below_the_minimum(loss, scale):
    at, rng = minimum(loss, scale, 4), np.random.default_rng(0)
    best, labels = simplex(4, 5), np.repeat(np.arange(4), 2)
    for spread in (1e-3, 0.1, 1.0, 1e3):
        for _ in range(20):
            w = best + spread * rng.normal(size=best.shape)
            h = best[labels] + spread * rng.normal(size=(8, 5))
            w, h = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (w, h))
            b = at.bias + min(spread, 1.0) * rng.normal(size=4)
            assert loss_by_loops(loss, scale, h, labels, w, b) > at.value


def test_bce_has_half_the_exponent_of_ce():
    near, far = ([minimum(x, s, 10).positive_error for x in LOSSES] for s in (40, 60))
    fall = np.log(np.divide(near, far)) / 20
    assert fall == pytest.approx([10 / 9, 5 / 9], rel=1e-6)


# ------------------------------------------------------------ the rates
@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('scale', [0.1, 1.0, 5.0])
@pytest.mark.parametrize('sizes', SIZES)
def test_modes_are_the_eigenvalues_of_the_hessian(loss, scale, sizes):
    num_classes, per_class, _ = sizes
    bias = minimum(loss, scale, num_classes).bias
    expected = hessian_at_simplex(loss, scale, *sizes, bias)
    ours = [mode.rate for mode in modes(loss, scale, *sizes) for _ in range(mode.count)]
    radii = [0.0] * (num_classes * (per_class + 1))
    assert np.sort(ours + radii) == pytest.approx(expected, abs=1e-12)
    assert convergence_rate(loss, scale, *sizes) == pytest.approx(
        min(rate for rate in expected if rate > 1e-10)
    )


@pytest.mark.parametrize('bias', [-0.5, 0.0, 0.4, 2.0])
def test_a_held_bias_can_make_the_simplex_a_saddle(bias):
    """The rate of ``shared`` in the words of the module, at b = 0 below 0 for every K >= 4."""
    scale, k = 3.0, 5
    p, q = (1 / (1 + math.exp(scale * x)) for x in (1 - bias, 1 / (k - 1) + bias))
    eigenvalues = hessian_at_simplex('bce', scale, k, 1, 6, bias, with_bias=False)
    assert np.abs(eigenvalues - scale * (2 * p - (k - 2) * q)).min() < 1e-12
    assert (eigenvalues.min() < -1e-10) == (2 * p < (k - 2) * q)


@pytest.mark.parametrize('loss', LOSSES)
def test_small_scales_within_is_linear_and_the_frame_quadratic(loss):
    def rate(name, scale):
        return next(m.rate for m in modes(loss, scale, 10, 2, 12) if m.name == name)

    assert rate('within', 1e-4) == pytest.approx(1e-4, rel=1e-3)
    halved = {name: rate(name, 1e-4) / rate(name, 5e-5) for name in ('within', 'frame')}
    assert halved == pytest.approx(dict(within=2, frame=4), rel=1e-3)
    assert convergence_rate(loss, 1e-4, 10) == rate('frame', 1e-4)


@pytest.mark.parametrize(('loss', 'exponent'), [('ce', 10 / 9), ('bce', 5 / 9)])
def test_large_scales_the_rate_falls_exponentially(loss, exponent):
    rates = [convergence_rate(loss, scale, 10, dim=16) / scale for scale in (30, 40)]
    assert math.log(rates[0] / rates[1]) / 10 == pytest.approx(exponent, rel=1e-4)


# ------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ('call', 'said'),
    [
        (lambda: minimum('mse', 1.0, 3), "'mse': use 'ce' or 'bce'"),
        (lambda: minimum('ce', 0.0, 3), 'gamma is 0.0: it must be positive'),
        (lambda: minimum('ce', math.nan, 3), 'gamma is nan'),
        (lambda: minimum('bce', 1.0, 1), 'needs at least 2'),
        (lambda: modes('ce', 1.0, 5, 2, 3), '5 classes do not fit into 3 dimensions'),
        (lambda: modes('ce', 1.0, 5, 0, 5), '0 features per class'),
    ],
)
def test_bad_input_is_a_sentence(call, said):
    with pytest.raises(BCE3SError, match=said):
        call()


def test_scales_beyond_float64_give_zero_not_nan():
    at = minimum('ce', 2000.0, 10)
    assert (at.value, at.positive_error) == (0.0, 0.0)
    assert convergence_rate('ce', 2000.0, 10) == 0.0
    assert optimal_bias(2000.0, 10) == pytest.approx(8 / 18, abs=1e-3)
