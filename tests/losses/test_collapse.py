"""The contrastive branch's remedies against loops, and its collapse near the parallel state."""

from functools import partial

import numpy as np
import oracles
import pytest
import torch
from test_losses import SOFT, SOME, B, D, K, check, filled_bank, make_targets, noise, per_view
from test_losses import contrastive as of_batch

from bce3s.errors import BCE3SError
from bce3s.losses import BCEContrastive, CEContrastive
from bce3s.models import ClassMemoryBank, TripartiteHead
from bce3s.theory.contrastive import common_push, parallel_loss


def softplus_row(z, t, classes, weight):
    """The second part weighed."""
    return sum(
        t[j] * oracles.softplus(-z[j]) + weight * (1 - t[j]) * oracles.softplus(z[j])
        for j in classes
    )


@pytest.mark.parametrize('filled', [(True,) * K, SOME])
@pytest.mark.parametrize('center', [False, True])
@pytest.mark.parametrize('negatives', ['sum', 'mean'])
@pytest.mark.parametrize('bias', [0.0, -1.7, 'balanced'])
def test_remedies_against_loops(bias, negatives, center, filled):
    tau, bank = 0.5, filled_bank(filled)
    loss = BCEContrastive(tau, bias=bias, negatives=negatives, center=center)
    seen = [j for j in range(K) if filled[j]]
    weight = 1 / (len(seen) - 1) if negatives == 'mean' else 1.0
    offset = -np.log(len(seen) - 1) - 1 / tau if bias == 'balanced' else bias

    def oracle(z):
        m = np.array(bank.features)
        mean = sum(m[j] for j in seen) / len(seen) if center else 0.0
        row = lambda s, t, classes: softplus_row(  # noqa: E731
            [None if v is None else v + offset for v in s], t, classes, weight
        )
        return oracles.contrastive(
            row, per_view(z) - mean, (m - mean).tolist(), filled, SOFT, tau, [1, 2]
        )

    check(partial(of_batch, loss, bank=bank, targets=make_targets()), oracle, noise(3 * B, D))


def test_published_values_are_the_default():
    z, bank = noise(3 * B, D), filled_bank()
    options = dict(bias=0.0, center=False, negatives='sum', learn=False)
    plain = of_batch(BCEContrastive(), z, bank, make_targets())
    assert torch.equal(of_batch(BCEContrastive(**options), z, bank, make_targets()), plain)


def test_learnt_temperature_and_offset():
    loss, fixed = (
        BCEContrastive(0.5, bias=-2.0, learn=True).double(),
        BCEContrastive(0.5, bias=-2.0),
    )
    z, bank = noise(3 * B, D), filled_bank()
    value = of_batch(loss, z, bank, make_targets())
    torch.testing.assert_close(value, of_batch(fixed, z, bank, make_targets()), rtol=1e-6, atol=0)
    value.backward()
    assert loss.log_tau.grad != 0
    assert loss.offset.grad != 0
    for runaway in (1e4, -1e4):  # of a temperature: bounded, never NaN
        loss.log_tau.data.fill_(runaway)
        assert of_batch(loss, z, bank, make_targets()).isfinite()
    one = ClassMemoryBank(1, D)
    one.update(torch.ones(1, D), torch.tensor([0]))
    for bias in (0.0, 'balanced'):  # a class count of 1
        alone = BCEContrastive(bias=bias, negatives='mean', center=True)
        assert alone(torch.ones(2, D), torch.tensor([0, 0]), one).isfinite()


@pytest.mark.parametrize('classes', [10, 100, 1000])
@pytest.mark.parametrize('bias', [0.0, -2.0, 'balanced', None])
def test_descent_near_the_parallel_state(classes, bias):
    """The pull to the class is 1, the push away from the common mean is ``common_push``; None:
    softmax.
    """
    gen = torch.Generator().manual_seed(0)
    delta = 1e-5 * torch.randn(classes, 64, generator=gen, dtype=torch.float64)
    e = 1e-5 * torch.randn(64, generator=gen, dtype=torch.float64)
    delta[:, 0], e[0] = 0, 0
    delta -= delta.mean(0)
    mean = torch.eye(64, dtype=torch.float64)[0]
    bank = ClassMemoryBank(classes, 64).double()
    bank.update(mean + delta, torch.arange(classes))
    z = (mean + e)[None].requires_grad_()
    loss = CEContrastive() if bias is None else BCEContrastive(bias=bias)
    (grad,) = torch.autograd.grad(loss(z, torch.tensor([3]), bank), z)
    found = torch.linalg.lstsq(torch.stack([delta[3], e], 1), -grad[0][:, None]).solution[:, 0]
    b = -np.log(classes - 1) - 1 if bias == 'balanced' else bias
    push = 0.0 if bias is None else common_push(classes, bias=b)
    np.testing.assert_allclose(found, [1, push], rtol=1e-3, atol=1e-3)


def test_the_parallel_state_is_a_fixed_point():
    bank = ClassMemoryBank(100, 8).double()
    direction = noise(1, 8)
    bank.update(direction * torch.arange(1, 101)[:, None], torch.arange(100))
    z = (3 * direction).expand(5, 8).clone().requires_grad_()
    value = BCEContrastive()(z, torch.arange(5), bank)
    assert value.item() == pytest.approx(parallel_loss(100), rel=1e-12)
    assert torch.autograd.grad(value, z)[0].abs().max() < 1e-12


def test_refuses():
    for bias in ('prior', float('nan'), None):
        with pytest.raises(BCE3SError, match="bias is a number or 'balanced'"):
            BCEContrastive(bias=bias)
    with pytest.raises(BCE3SError, match="negatives is 'sum' or 'mean'"):
        BCEContrastive(negatives='average')
    with pytest.raises(BCE3SError, match=r'momentum must be in \[0, 1\)'):
        ClassMemoryBank(3, 2, momentum=1.0)


def test_the_bank_as_a_moving_average_of_unit_length():
    bank, rows = ClassMemoryBank(4, D, momentum=0.75, normalize=True), noise(3, 6, D).float()
    kept = {}
    for step, labels in enumerate([[0, 1, 0, 2, 1, 0], [1, 1, 0, 0, 1, 2], [3, 0, 0, 3, 0, 0]]):
        bank.update(rows[step], torch.tensor(labels))
        for k in set(labels):
            last = rows[step][max(i for i, y in enumerate(labels) if y == k)]
            unit = last / last.norm()
            kept[k] = 0.75 * kept[k] + 0.25 * unit if k in kept else unit
    torch.testing.assert_close(bank.features, torch.stack([kept[k] for k in range(4)]))


def test_a_bank_saved_without_unit_length_is_refused():
    def head(normalize):
        bank, joint = dict(normalize=normalize), dict(type='BCEJoint')
        return TripartiteHead(4, D, joint, dict(type='BCEContrastive'), bank=bank)

    saved = head(False)
    saved.bank.update(9 * torch.ones(1, 128), torch.tensor([1]))
    with pytest.raises(BCE3SError, match=r'saved without model\.head\.bank\.normalize'):
        head(True).load_state_dict(saved.state_dict())
    again = head(True)
    again.bank.update(9 * torch.ones(1, 128), torch.tensor([1]))
    head(True).load_state_dict(again.state_dict())


def test_the_projectors_norm_takes_the_common_direction_away():
    torch.manual_seed(0)
    options = dict(joint=dict(type='BCEJoint'), contrastive=dict(type='BCEContrastive'))
    plain, normed = (TripartiteHead(4, D, projector_norm=n, **options) for n in (False, True))
    x = 50 + torch.randn(32, D)  # nearly parallel features
    flat, spread = plain.projector(x), normed.projector(x)
    assert torch.nn.functional.cosine_similarity(flat[:16], flat[16:]).mean() > 0.95
    assert torch.nn.functional.cosine_similarity(spread[:16], spread[16:]).mean().abs() < 0.3
    assert spread.mean(0).abs().max() < 1e-4
