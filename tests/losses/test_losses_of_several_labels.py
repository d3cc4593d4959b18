"""Losses over several labels a picture, (B, K), against loops: values, gradients, refusals."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import oracles
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.losses import (
    AsymmetricBCE,
    BalancedBCE,
    BCEJoint,
    BCEUniformity,
    CEJoint,
    DistributionBalancedBCE,
    FocalBCE,
    resample_classes,
)

# none, one, several and all; -1 is unknown
LABELS = [[0, 0, 0, 0, 0], [0, 1, 0, 0, -1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1], [-1, 0, 1, -1, 0]]
FREQUENCIES = [2 / 4, 2 / 5, 3 / 5, 1 / 4, 2 / 4]
ASL = dict(positive_gamma=1.0, negative_gamma=4.0, margin=0.05)
DB = dict(alpha=0.1, beta=10.0, mu=0.3, scale=5.0, kappa=0.05, gamma=2.0)


def loss_and_row(name):
    """A loss and the loop of one row."""
    if name == 'BCE':
        return BCEJoint(), lambda z, t: oracles.bce_row(*known(z, t))
    if name == 'focal':
        return FocalBCE(2.0), lambda z, t: oracles.focal_bce_row(*known(z, t), 2.0)
    if name.startswith('ASL'):
        given = ASL if name == 'ASL' else dict(positive_gamma=0, negative_gamma=2, margin=0)
        return AsymmetricBCE(**given), partial(oracles.asymmetric_row, **given)
    given = DB if name == 'DB focal' else DB | dict(gamma=0)
    loss = DistributionBalancedBCE(**given)
    loss.set_several_labels(torch.tensor(LABELS))
    return loss, partial(oracles.distribution_balanced_row, frequencies=FREQUENCIES, **given)


def known(z, t):
    pairs = [(x, y) for x, y in zip(z, t, strict=True) if not math.isnan(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]


@pytest.mark.parametrize('mixed', [False, True])
@pytest.mark.parametrize('name', ['BCE', 'focal', 'ASL', 'ASL without margin', 'DB', 'DB focal'])
def test_values_and_gradients_are_those_of_the_loop(name, mixed):
    loss, row = loss_and_row(name)
    labels = torch.tensor(LABELS, dtype=torch.int8)
    soft = labels.double().masked_fill(labels < 0, math.nan)
    if mixed:
        soft = soft.flip(0).lerp(soft, 0.3)
    gen = torch.Generator().manual_seed(0)
    z = (2 * torch.randn(5, 5, generator=gen, dtype=torch.float64)).requires_grad_()

    def loop(logits):
        rows = zip(logits.tolist(), soft.tolist(), strict=True)
        return sum(row(*pair) for pair in rows) / len(logits)

    value = loss(z, soft if mixed else labels)
    value.backward()
    assert value.item() == pytest.approx(loop(z.detach().numpy()), rel=1e-9)
    expected = oracles.gradient(loop, z.detach().numpy())
    np.testing.assert_allclose(z.grad.numpy(), expected, rtol=1e-6, atol=1e-8)
    assert (z.grad[soft.isnan()] == 0).all()
    assert torch.autograd.gradcheck(lambda x: loss.rows(x, soft), z.detach().requires_grad_())


@pytest.mark.parametrize('name', ['BCE', 'focal', 'ASL', 'DB'])
def test_large_logits_stay_finite(name):
    loss, _ = loss_and_row(name)
    z = torch.tensor([[-200.0, 200.0, -90.0, 90.0, 0.0]], requires_grad=True)
    for labels in LABELS:
        value = loss(z, torch.tensor([labels], dtype=torch.int8))
        (gradient,) = torch.autograd.grad(value, z)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_positives_are_weighted_and_negatives_are_not():
    labels = torch.tensor(LABELS, dtype=torch.int8)
    t = labels.double().masked_fill(labels < 0, math.nan)
    z, weight = torch.randn(5, 5, dtype=torch.float64), torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0])
    rows = BCEJoint().rows(z, t, positive_weight=weight)
    for i, row in enumerate(rows.tolist()):
        terms = [
            (w * y * oracles.softplus(-x) + (1 - y) * oracles.softplus(x))
            for x, y, w in zip(z[i].tolist(), LABELS[i], weight.tolist(), strict=True)
            if y >= 0
        ]
        assert row == pytest.approx(sum(terms), rel=1e-9)


def test_uniformity_by_cooccurrence():
    labels = [[1, 1, 0], [1, 0, 0], [1, 1, -1], [0, 0, 1]]
    loss = BCEUniformity(cooccurrence=True)
    weight = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(BCE3SError, match='needs the training labels'):
        loss(weight)
    loss.set_several_labels(torch.tensor(labels))
    expected = oracles.cooccurrence_uniformity(weight.numpy(), labels)
    assert loss(weight).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(loss, weight.requires_grad_())
    loss.set_several_labels(torch.eye(3))  # never together: as without
    torch.testing.assert_close(loss(weight), BCEUniformity()(weight))


def test_resampling_keeps_the_positives_of_a_batch():
    labels = torch.tensor(LABELS[1:3] * 2, dtype=torch.int8)
    labels = torch.cat([labels, torch.zeros(4, 15, dtype=torch.int8)], 1)  # 4 of 20 classes
    rng = np.random.default_rng(0)
    drawn = torch.stack([resample_classes(labels, 20, 0.4, rng) for _ in range(300)])
    assert drawn[:, [0, 1, 2, 4]].all()
    assert (drawn.sum(1) == 8).all()
    others = drawn.double().mean(0)[[3, *range(5, 20)]]  # 4 of 16
    assert ((others - 0.25).abs() < 0.1).all()
    assert resample_classes(labels, 20, 0.1, rng).sum() == 4
    assert resample_classes(labels, 20, 0.1, rng, drop_positives=True).sum() == 2
    z = torch.randn(4, 20)
    assert BCEJoint(resample=0.4)(z, labels) < BCEJoint()(z, labels)


@pytest.mark.parametrize(
    ('loss', 'labels', 'sentence'),
    [
        (CEJoint(), torch.tensor(LABELS, dtype=torch.int8), 'CEJoint is for pictures with one'),
        (BalancedBCE(), torch.tensor(LABELS, dtype=torch.int8), 'BalancedBCE is for pictures'),
        (BCEJoint(), torch.tensor(LABELS), r'torch.int64 labels \(5,\), not \(5, 5\)'),
        (AsymmetricBCE(), torch.zeros(5, dtype=torch.int8), r'int8 labels \(5, 5\), not \(5,\)'),
        (DistributionBalancedBCE(), torch.zeros(5, dtype=torch.long), 'for pictures with several'),
    ],
)
def test_labels_that_a_loss_is_not_for(loss, labels, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        loss(torch.zeros(5, 5), labels)


def test_arguments_out_of_bounds():
    with pytest.raises(BCE3SError, match='margin must be a number >= 0 and below 1, not 1'):
        AsymmetricBCE(margin=1)
    with pytest.raises(BCE3SError, match='kappa must be a number >= 0, not -1'):
        DistributionBalancedBCE(kappa=-1)
    with pytest.raises(BCE3SError, match='scale must be a number > 0, not 0'):
        DistributionBalancedBCE(scale=0)
    loss = DistributionBalancedBCE()
    for labels, which in (([[1, 0], [1, 1]], 'every'), ([[0, 0], [0, 1]], 'no')):
        with pytest.raises(BCE3SError, match=f'{which} training picture has class 0'):
            loss.set_several_labels(torch.tensor(labels))
