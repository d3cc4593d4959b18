"""The model in a normalised space against PyTorch's derivatives, bisection, loops, its limits."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.theory import normalized
from bce3s.theory.normalized import LOSSES, convergence_rate, minimum, modes, optimal_bias
from studies.normalized_descent import Path, Points, Record, descend, random_start

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
    scale, sizes = 3.0, (5, 1, 6)
    rate = normalized.shared_rate_at_fixed_bias(scale, 5, bias)
    eigenvalues = hessian_at_simplex('bce', scale, *sizes, bias, with_bias=False)
    assert np.abs(eigenvalues - rate).min() < 1e-12
    assert (eigenvalues.min() < -1e-10) == (rate < 0)


@pytest.mark.parametrize('num_classes', [4, 10, 100])
@pytest.mark.parametrize('scale', [0.01, 1.0, 64.0])
def test_without_bias_the_simplex_is_no_minimum_of_bce_at_any_scale(num_classes, scale):
    assert normalized.shared_rate_at_fixed_bias(scale, num_classes, 0.0) < 0
    best = optimal_bias(scale, num_classes)
    assert normalized.shared_rate_at_fixed_bias(scale, num_classes, best) > 0


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


# ------------------------------------------------------------ the descent
@pytest.mark.parametrize('loss', LOSSES)
def test_a_step_follows_the_gradient_of_the_loss(loss):
    start, scale, dt = random_start(3, 2, 4, seed=3, bias=0.3), 2.5, 1e-6
    end = descend(loss, scale, start, until=dt, step=dt).end
    vectors = (start.weight, start.features, start.bias)
    w, h, b = (torch.tensor(v, requires_grad=True) for v in vectors)
    labels = torch.tensor(start.labels)
    gw, gh, gb = torch.autograd.grad(torch_loss(loss, scale, w, h, b, labels), (w, h, b))
    for new, old, gradient, number in (
        (end.weight, start.weight, gw, 3),
        (end.features, start.features, gh, 6),
        (end.bias, start.bias, gb, 3),
    ):
        assert (new - old) / dt == pytest.approx(-number * gradient.numpy(), abs=1e-5)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('scale', [0.5, 3.0, 16.0])
def test_random_starts_end_at_the_minimum_at_the_predicted_rate(loss, scale):
    path = descend(loss, scale, random_start(6, 3, 8, seed=1))
    assert path.records[-1].distance < 1e-6
    assert path.rate() == pytest.approx(convergence_rate(loss, scale, 6, 3, 8), rel=0.02)
    end = path.end
    value = loss_by_loops(loss, scale, end.features, end.labels, end.weight, end.bias)
    assert value == pytest.approx(minimum(loss, scale, 6).value, rel=1e-8)
    assert end.features @ end.weight.T == pytest.approx(
        np.where(end.labels[:, None] == np.arange(6), 1, -1 / 5), abs=3e-6
    )
    if loss == 'bce':
        assert end.bias == pytest.approx(optimal_bias(scale, 6), abs=1e-5)
    else:
        assert end.bias.sum() == pytest.approx(0, abs=1e-9)  # no force along the ridge


def test_time_is_the_number_of_small_steps_times_their_size():
    start = random_start(5, 2, 6, seed=2)
    free = descend('ce', 2.0, start, until=4.0)
    fixed = descend('ce', 2.0, start, until=4.0, step=1e-3)
    assert free.end.time == fixed.end.time == 4.0
    assert free.records[-1].distance == pytest.approx(fixed.records[-1].distance, rel=0.05)
    assert len(fixed.records) > 10 * len(free.records)


def test_bce_without_a_bias_goes_elsewhere():
    held = descend('bce', 4.0, random_start(6, 2, 8), max_steps=2000, train_bias=False)
    assert held.records[-1].alignment > 0.5
    assert not held.end.bias.any()


def test_small_scale_from_zero_bias_passes_through_collapse_unless_it_starts_at_its_best():
    at_zero = descend('bce', 0.05, random_start(10, 3, 12), until=300.0)
    assert at_zero.records[-1].accuracy < 50
    assert np.linalg.norm(at_zero.end.weight.mean(0)) > 0.99  # all weights are one
    best = random_start(10, 3, 12, bias=optimal_bias(0.05, 10))
    assert descend('bce', 0.05, best, until=300.0).records[-1].accuracy == 100


def test_a_path_goes_on_where_it_ended_and_the_start_is_untouched():
    start = random_start(4, 2, 5)
    kept = start.features.copy(), start.weight.copy(), start.bias.copy()
    whole = descend('bce', 1.0, start, 2.0, step=0.1)
    rest = descend('bce', 1.0, descend('bce', 1.0, start, 1.0, step=0.1).end, 2.0, step=0.1)
    assert rest.end.features == pytest.approx(whole.end.features, abs=1e-12)
    for now, before in zip((start.features, start.weight, start.bias), kept, strict=True):
        np.testing.assert_array_equal(now, before)
    with pytest.raises(BCE3SError, match='after the end'):
        descend('bce', 1.0, whole.end, until=1.0)


def test_records_against_loops_and_ties():
    points = Points(np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 0], [0.6, 0.8]]), np.zeros(2))
    record = descend('ce', 1.0, points, max_steps=0).records[0]
    assert record.alignment == pytest.approx(math.sqrt((0 + 0.36 + 0.04) / 2))
    assert record.frame == pytest.approx(1.6)
    assert record.distance == pytest.approx(math.sqrt(0.2 + 1.6**2))
    assert record.accuracy == 100
    points.features[1] = points.features[0] = [1 / math.sqrt(5), 2 / math.sqrt(5)]
    points.weight[1] = points.weight[0]  # equal scores
    assert descend('ce', 1.0, points, max_steps=0).records[0].accuracy == 0


def test_rate_and_time_of_a_known_path():
    path = Path([Record(t, 0.0, math.exp(-0.5 * t), 100.0, 0.0) for t in np.arange(0, 40, 0.5)])
    assert path.rate() == pytest.approx(0.5)
    assert path.time_to('frame', 0.1) == 5.0  # log(10) / 0.5 = 4.6
    assert path.time_to('distance', 1e-12) is None
    assert Path(path.records[:10]).rate() is None


def test_starts_are_on_the_sphere_and_functions_of_the_seed():
    one, same, other = random_start(3, 4, 5, 7), random_start(3, 4, 5, 7), random_start(3, 4, 5, 8)
    np.testing.assert_array_equal(one.features, same.features)
    assert not np.allclose(one.weight, other.weight)
    assert np.linalg.norm(one.features, axis=1) == pytest.approx(1)
    assert one.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


# ------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ('call', 'said'),
    [
        (lambda: minimum('mse', 1.0, 3), "'mse': use 'ce' or 'bce'"),
        (lambda: minimum('ce', 0.0, 3), 'gamma is 0.0: it must be positive'),
        (lambda: minimum('ce', math.nan, 3), 'gamma is nan'),
        (lambda: minimum('bce', 1.0, 1), 'needs at least 2'),
        (lambda: modes('ce', 1.0, 5, 2, 3), '5 classes do not fit into 3 dimensions'),
        (lambda: modes('ce', 1.0, 5, 0, 5), '0 features a class'),
        (lambda: random_start(5, 2, 3), 'do not fit'),
        (lambda: descend('ce', math.inf, random_start(2, 1, 1)), 'gamma is inf'),
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
