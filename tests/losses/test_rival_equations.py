"""Equations of rivals in float64 against loops: values, gradients, edges."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import oracles
import pytest
import torch
from scipy.special import ive
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses import (
    InverseSoftmaxCE,
    balanced_contrastive,
    class_temperatures,
    concentration,
    expert_divergence,
    log_bessel,
    power_weights,
    simsiam,
    vmf_logits,
)

close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)


def noise(*shape, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=gen, dtype=torch.float64)


def tensor(values):
    return torch.tensor(np.array(values), dtype=torch.float64)


# ------------------------------------------------------------------------------- GLMC


@pytest.mark.parametrize('p', [0, 0.5, 1.2])
def test_power_weights(p):
    counts = [500, 40, 7, 1]
    close(power_weights(counts, p), tensor(oracles.power_weights(counts, p)))
    with pytest.raises(BCE3SError, match='class 1 has no training sample'):
        power_weights([3, 0, 1], p)


def test_simsiam():
    p, z = noise(2, 5, 3).requires_grad_(), noise(2, 5, 3, seed=1).requires_grad_()
    value = simsiam(p, z).mean()
    value.backward()
    theirs = z.detach().numpy()
    close(value, tensor(oracles.simsiam(p.detach().numpy(), theirs)))
    expected = oracles.gradient(lambda x: oracles.simsiam(x, theirs), p.detach().numpy())
    torch.testing.assert_close(p.grad, tensor(expected), rtol=1e-6, atol=1e-8)
    assert z.grad is None  # the gradient is stopped


# ------------------------------------------------------------------------------- ProCo

ORDERS = (0, 0.5, 1, 7, 15, 49.5, 63, 127, 1023)


@pytest.mark.parametrize('nu', ORDERS)
def test_log_bessel_equals_scipys_where_that_is_finite(nu):
    x = np.geomspace(1e-3, 1e5, 60)
    with np.errstate(divide='ignore'):
        expected = np.log(ive(nu, x)) + x - nu * np.log(x)
    finite = ive(nu, x) > 1e-290
    assert finite.sum() > 10
    value = log_bessel(torch.from_numpy(x**2), nu).numpy()
    np.testing.assert_allclose(value[finite], expected[finite], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize('nu', ORDERS)
def test_log_bessel_and_its_gradient_equal_mpmaths(nu):
    """40 digits, from where the Bessel function is 1e-5000 to where it is 1e400000."""
    mp = pytest.importorskip('mpmath')
    for x in (1e-8, 0.1, 5.0, 63.0, 1e3, 1e6):
        with mp.workdps(40):
            value = mp.log(mp.besseli(nu, x)) - nu * mp.log(mp.mpf(x))
            slope = mp.besseli(nu + 1, x) / mp.besseli(nu, x) / x / 2
        square = torch.tensor(x**2, dtype=torch.float64, requires_grad=True)
        ours = log_bessel(square, nu)
        ours.backward()
        assert ours.item() == pytest.approx(float(value), rel=1e-13, abs=1e-13)
        assert square.grad.item() == pytest.approx(float(slope), rel=1e-9)


def test_log_bessel_at_0_and_of_float32():
    for nu in ORDERS:
        at_0 = -math.lgamma(nu + 1) - nu * math.log(2)
        assert log_bessel(torch.zeros(()), nu).item() == pytest.approx(at_0, rel=1e-13, abs=1e-13)
    x = torch.tensor([0.0, 1e12], requires_grad=True)
    log_bessel(x, 63).sum().backward()
    assert x.grad.dtype == torch.float32
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('dim', [2, 3, 16, 128])
def test_vmf_logits(dim):
    f, means = F.normalize(noise(4, dim), dim=1), F.normalize(noise(5, dim, seed=1), dim=1)
    means *= torch.tensor([[0.9], [0.8], [0.5], [0.05], [0.0]])

    def value(x):
        return vmf_logits(x, means, 0.1)

    oracle = partial(
        oracles.vmf_logits, means=[*means[:4].tolist(), [1e-9] + [0] * (dim - 1)], tau=0.1
    )
    close(value(f), tensor(oracle(f.tolist())), rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(value, f.clone().requires_grad_(), atol=1e-5, rtol=1e-5)


def test_vmf_logits_of_the_ordinary_sphere():
    """D = 3, C(x) = x / (4 pi sinh x); and towards a point mass, where the logits are cosines."""
    f, mu = F.normalize(noise(4, 3), dim=1), F.normalize(noise(5, 3, seed=1), dim=1)
    length = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)[:, None]
    kappa = 3 * length / (1 - length**2)
    moved = (kappa * mu + f[:, None] / 0.5).norm(dim=2)
    expected = (moved.sinh() / moved).log() - (kappa.sinh() / kappa).log().T
    close(vmf_logits(f, length * mu, 0.5), expected)
    assert concentration(mu).tolist() == [1e5] * 5
    torch.testing.assert_close(vmf_logits(f, mu, 0.5), f @ mu.T / 0.5, rtol=0, atol=1e-4)


def test_a_feature_against_a_class_that_it_cancels():
    """|kappa mu + f / tau| = 0: smooth there, and so is the gradient."""
    mean = torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64)
    kappa = concentration(mean).item()
    f = torch.tensor([[-1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    value = vmf_logits(f, mean, 1 / kappa)
    value.sum().backward()
    close(value, tensor([[-math.log(math.sinh(kappa) / kappa)]]))
    assert f.grad.isfinite().all()


# ------------------------------------------------------------------------------- experts


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('counts', [[50, 3, 20, 7, 20], [1, 1, 1, 1, 1]])
def test_inverse_softmax(counts, soft):
    z = noise(4, 5).requires_grad_()
    labels = noise(4, 5, seed=1).softmax(1) if soft else torch.tensor([4, 0, 1, 1])
    rows = labels.tolist() if soft else np.eye(5)[labels].tolist()

    def oracle(x):
        values = [
            oracles.inverse_softmax_row(v, t, counts, 1.5) for v, t in zip(x, rows, strict=True)
        ]
        return sum(values) / len(values)

    value = InverseSoftmaxCE(tau=1.5, class_counts=counts)(z, labels)
    value.backward()
    close(value, tensor(oracle(z.tolist())))
    expected = oracles.gradient(lambda x: oracle(x.tolist()), z.detach().numpy())
    torch.testing.assert_close(z.grad, tensor(expected), rtol=1e-6, atol=1e-8)


def test_inverse_softmax_refuses():
    with pytest.raises(BCE3SError, match='tau must be a number >= 0'):
        InverseSoftmaxCE(tau=-1)
    with pytest.raises(BCE3SError, match='class 1 has no training sample'):
        InverseSoftmaxCE(class_counts=[3, 0])
    with pytest.raises(BCE3SError, match='needs the class counts'):
        InverseSoftmaxCE()(noise(1, 3), torch.tensor([0]))


@pytest.mark.parametrize('temperature', [[1.0] * 4, [1.0, 0.9, 0.6, 0.5]])
def test_expert_divergence(temperature):
    z, warmth = noise(3, 2, 4).requires_grad_(), tensor(temperature)
    value = expert_divergence(z, warmth)
    value.sum().backward()
    mean = z.detach().mean(0).tolist()
    samples = z.detach().transpose(0, 1).numpy()  # (B, E, K)
    for i, sample in enumerate(samples):
        oracle = partial(oracles.expert_divergence, temperature=temperature, mean=mean[i])
        close(value[i], tensor(oracles.expert_divergence(sample.tolist(), temperature)))
        expected = oracles.gradient(oracle, sample)  # the mean is held
        torch.testing.assert_close(z.grad[:, i], tensor(expected), rtol=1e-6, atol=1e-8)
    assert expert_divergence(z[:1]).abs().max() < 1e-12  # one expert is its own mean


@pytest.mark.parametrize('spread', [0, 0.05, 1])
def test_class_temperatures(spread):
    counts = [50, 3, 20]
    close(class_temperatures(counts, spread), tensor(oracles.class_temperatures(counts, spread)))


# ------------------------------------------------------------------------------- BCL


@pytest.mark.parametrize('prototypes', [True, False])
def test_balanced_contrastive(prototypes):
    """Anchors are some of the keys; with prototypes every class is there, else some anchor may be
    the only one of its class."""
    own, labels = torch.tensor([4, 0, 2, 5]), torch.tensor([2, 0, 2, 1, 0, 3])
    if prototypes:
        labels = torch.cat([labels, torch.arange(5)])
    keys = F.normalize(noise(len(labels), 3), dim=1)

    def value(x):
        return balanced_contrastive(x[own], labels[own], x, labels, own, 0.4).mean()

    def oracle(x):
        each = [oracles.balanced_contrastive(i, x, labels.tolist(), 0.4) for i in own.tolist()]
        return sum(each) / len(each)

    x = keys.clone().requires_grad_()
    result = value(x)
    result.backward()
    close(result, tensor(oracle(keys.tolist())))
    expected = oracles.gradient(lambda v: oracle(v.tolist()), keys.numpy())
    torch.testing.assert_close(x.grad, tensor(expected), rtol=1e-6, atol=1e-8)
    rows = balanced_contrastive(keys[own], labels[own], keys, labels, own, 0.4)
    assert (rows[3] == 0).item() == (not prototypes)  # class 3 is seen once
