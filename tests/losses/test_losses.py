"""Every loss in float64 against the loops of oracles.py: values, gradients, options, edges."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import oracles
import pytest
import torch
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.losses import (
    BCEContrastive,
    BCEJoint,
    BCEUniformity,
    CEContrastive,
    CEJoint,
    CEUniformity,
    bce_uniformity,
    ce_uniformity,
    class_balanced_weights,
    multilabel_bce,
    resample_classes,
    soft_cross_entropy,
    uniformity,
)
from bce3s.models import ClassMemoryBank, Targets
from bce3s.models.branches import contrastive_loss, joint_loss
from bce3s.models.share import Share
from bce3s.randomness import Clock

K, B, D = 7, 5, 4
LABELS, PARTNERS, LAM = [2, 0, 2, 6, 3], [2, 1, 4, 0, 0], (1.0, 0.3, 0.55)
VIEWS = ('origin', 'mixup', 'cutmix')
SOFT = oracles.soft_labels(LABELS, PARTNERS, LAM, K)
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


def make_targets(labels=LABELS, partners=PARTNERS, lam=LAM, clock=Clock(), rows=None, sizes=None):  # noqa: B008
    """Of the whole batch, or of the rows of one rank of those that share it."""
    start, rank = 0, 0
    sizes = sizes or (len(labels),)
    if rows is not None:
        start, rank = sum(sizes[:rows]), rows
    own = slice(start, start + sizes[rank])
    return Targets(
        labels=torch.tensor(labels[own]),
        views=VIEWS[: len(lam)],
        lam=torch.tensor(lam, dtype=torch.float64),
        partners=None if partners is None else torch.tensor(partners[own]),
        all_labels=torch.tensor(labels),
        share=Share(sizes, rank),
        clock=clock,
    )


def joint(loss, z, targets, weights=None):
    """As the head takes it: logits (V * B, K) -> scalar."""
    soft = targets.soft(z.shape[-1], z.dtype)
    return joint_loss(loss, targets.per_view(z), soft, targets, weights)


def contrastive(loss, z, bank, targets):
    soft = targets.soft(len(bank.filled), z.dtype)
    return contrastive_loss(loss, targets.per_view(z), soft, bank.rows(), targets)


def noise(*shape, seed=0, scale=2.0):
    gen = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=gen, dtype=torch.float64)


def check(loss, oracle, x, gradcheck=True):
    """Value, gradient against differences of the oracle, and torch's own gradcheck."""
    x = x.clone().requires_grad_()
    value = loss(x)
    close(value, torch.tensor(oracle(x.detach().numpy()), dtype=torch.float64))
    (grad,) = torch.autograd.grad(value, x)
    expected = torch.from_numpy(oracles.gradient(oracle, x.detach().numpy()))
    torch.testing.assert_close(grad, expected, rtol=1e-6, atol=1e-7)
    if gradcheck:
        assert torch.autograd.gradcheck(loss, (x,))


def per_view(array, views=3):
    return array.reshape(views, -1, array.shape[-1])


# ---------------------------------------------------------------------------------------- joint


@pytest.mark.parametrize('clamp', [None, 1.5])
@pytest.mark.parametrize('soft_negatives', [True, False])
@pytest.mark.parametrize(
    ('resample', 'drop'), [(1.0, False), (0.75, False), (0.3, False), (0.3, True)]
)
def test_bce_joint(resample, drop, soft_negatives, clamp):
    clock = Clock(seed=3, step=11)
    loss = BCEJoint(resample, drop, soft_negatives, clamp)
    rng = clock.numpy('negatives')
    chosen = resample_classes(torch.tensor(LABELS), K, resample, rng, drop).nonzero().flatten()
    row = partial(oracles.bce_row, soft_negatives=soft_negatives, clamp=clamp)

    def oracle(z):
        return oracles.joint(row, per_view(z), SOFT, chosen.tolist())

    check(lambda z: joint(loss, z, make_targets(clock=clock)), oracle, noise(3 * B, K))


def test_ce_joint():
    check(
        lambda z: joint(CEJoint(), z, make_targets()),
        lambda z: oracles.joint(oracles.ce_row, per_view(z), SOFT),
        noise(3 * B, K),
    )


@pytest.mark.parametrize(
    ('loss', 'row'), [(BCEJoint(), oracles.bce_row), (CEJoint(), oracles.ce_row)]
)
def test_joint_weighs_whole_rows(loss, row):
    weights = noise(B, seed=1).abs()
    targets = make_targets(partners=None, lam=(1.0,))
    soft = oracles.soft_labels(LABELS, None, (1.0,), K)
    check(
        lambda z: joint(loss, z, targets, weights),
        lambda z: oracles.joint(row, per_view(z, 1), soft, weights=weights.tolist()),
        noise(B, K),
    )


@pytest.mark.parametrize(
    ('loss', 'row'), [(CEJoint(), oracles.ce_row), (BCEJoint(), oracles.bce_row)]
)
def test_joint_with_smoothed_labels(loss, row):
    smooth = [[[0.8 * t + 0.2 / K for t in one] for one in view] for view in SOFT]
    logits = noise(3 * B, K)
    targets = replace(make_targets(), label_smoothing=0.2)
    close(
        joint(loss, logits, targets).item(), oracles.joint(row, per_view(logits).tolist(), smooth)
    )


def test_one_hot_targets_give_the_losses_of_torch():
    z, labels = noise(B, K), torch.tensor(LABELS)
    one_hot = F.one_hot(labels, K).double()
    expected = F.binary_cross_entropy_with_logits(z, one_hot, reduction='sum') / B
    for target in (labels, one_hot):  # integer or soft
        close(CEJoint()(z, target), F.cross_entropy(z, labels))
        for soft_negatives in (True, False):  # no label is soft: the options agree
            close(BCEJoint(soft_negatives=soft_negatives)(z, target), expected)


@pytest.mark.parametrize('loss', [BCEJoint(), BCEJoint(soft_negatives=False), CEJoint()])
def test_the_plain_call_is_what_the_head_takes(loss):
    z, targets, weights = noise(3 * B, K), make_targets(), noise(3, B, seed=1).abs()
    soft, views = targets.soft(K, z.dtype), targets.per_view(z)
    close(loss(views, soft), joint(loss, z, targets))
    close(loss(views.flatten(0, 1), soft.flatten(0, 1)), joint(loss, z, targets))
    close(loss(views, soft, weights), (loss.rows(views, soft) * weights).mean())


def test_the_plain_call_resamples_on_the_first_view():
    """int(7 * 0.75) = 5 classes, the batch has 4: seeded by torch, over all draws another set."""
    loss, soft = BCEJoint(0.75), make_targets().soft(K, torch.float64)
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        z = noise(3, B, K).requires_grad_()
        loss(z, soft).backward()
        counted = (z.grad != 0).all(1)
        assert counted[1:].all()
        assert counted[0].sum() == 5
        assert counted[0][LABELS].all()
        seen.add(tuple(counted[0].tolist()))
        torch.manual_seed(seed)
        again = noise(B, K).requires_grad_()
        loss(again, torch.tensor(LABELS)).backward()
        assert ((again.grad != 0).all(0) == counted[0]).all()
    assert len(seen) == 3


def test_options_of_the_public_implementation_differ_where_they_should():
    z, targets = noise(3 * B, K), make_targets()
    full = joint(BCEJoint(), z, targets)
    assert joint(BCEJoint(soft_negatives=False), z, targets) < full  # it leaves terms out
    close(joint(BCEJoint(clamp=64.0), z, targets), full)
    close(joint(BCEJoint(resample=1.0, drop_positives=True), z, targets), full)


def test_no_gradient_beyond_the_clamp():
    z = torch.tensor([[70.0, -70.0, 3.0]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    (clamped,) = torch.autograd.grad(multilabel_bce(z, t, clamp=64.0).sum(), z)
    (free,) = torch.autograd.grad(multilabel_bce(z, t).sum(), z)
    assert clamped[0, :2].tolist() == [0, 0]
    close(free[0, :2], torch.tensor([1.0, -1.0], dtype=torch.float64))
    close(clamped[0, 2], free[0, 2])


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('soft_negatives', [True, False])
def test_extreme_logits_stay_finite_and_exact(dtype, soft_negatives):
    z = torch.tensor([[1e4, -1e4, 1e4, -1e4]], dtype=dtype, requires_grad=True)
    t = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=dtype)
    loss = multilabel_bce(z, t, soft_negatives=soft_negatives)
    assert loss.item() == 2e4  # 0 + 1e4 + 1e4 + 0
    loss.sum().backward()
    assert z.grad.tolist() == [[0, -1, 1, 0]]
    cross = soft_cross_entropy(z, t / 2, torch.tensor([True, True, False, True]))
    assert cross.item() == 1e4
    assert torch.isfinite(torch.autograd.grad(cross.sum(), z)[0]).all()


@pytest.mark.parametrize('sizes', [(3, 2), (2, 2, 1)])
@pytest.mark.parametrize('loss', [BCEJoint(0.5), CEJoint(), BCEContrastive(), CEContrastive()])
def test_the_mean_over_ranks_is_the_loss_of_the_whole_batch(loss, sizes):
    """Uneven shares too; the negatives are those of the global batch on every rank."""
    clock = Clock(seed=5, step=2)
    x = noise(3, B, K)
    args, of_batch = (), joint
    if isinstance(loss, CEContrastive):
        args, of_batch = (filled_bank(dim=K),), contrastive
    whole = of_batch(loss, x.flatten(0, 1), *args, make_targets(clock=clock))
    parts = x.split(sizes, dim=1)
    ranks = [
        of_batch(loss, part.flatten(0, 1), *args, make_targets(clock=clock, rows=r, sizes=sizes))
        for r, part in enumerate(parts)
    ]
    close(torch.stack(ranks).mean(), whole)


# --------------------------------------------------------------------------------- contrastive


def filled_bank(filled=(True,) * K, dim=D, seed=7):
    bank = ClassMemoryBank(K, dim).double()
    bank.features.copy_(noise(K, dim, seed=seed))
    bank.filled.copy_(torch.tensor(filled))
    return bank


SOME = (True, False, True, False, True, True, False)  # neither 6 nor 3, which the batch has


@pytest.mark.parametrize('tau', [1.0, 0.1])
@pytest.mark.parametrize('views', [None, ('origin',), ('cutmix', 'origin')])
@pytest.mark.parametrize('filled', [(True,) * K, SOME])
@pytest.mark.parametrize('kind', ['bce', 'bce official', 'bce clamp', 'ce'])
def test_contrastive(kind, filled, views, tau):
    bank = filled_bank(filled)
    options = dict(
        bce={}, ce={}, **{'bce official': dict(soft_negatives=False), 'bce clamp': dict(clamp=0.5)}
    )[kind]
    row = partial(oracles.bce_row, **options) if kind != 'ce' else oracles.ce_row
    loss = (CEContrastive if kind == 'ce' else BCEContrastive)(tau, views, **options)
    chosen = [1, 2] if views is None else [VIEWS.index(name) for name in views]

    def oracle(z):
        m = bank.features.tolist()
        return oracles.contrastive(row, per_view(z), m, filled, SOFT, tau, chosen)

    x = noise(3 * B, D)
    check(lambda z: contrastive(loss, z, bank, make_targets()), oracle, x, gradcheck=views is None)


def test_contrastive_without_mixing_uses_the_origin():
    bank, targets = filled_bank(), make_targets(partners=None, lam=(1.0,))
    z, soft = noise(B, D), oracles.soft_labels(LABELS, None, (1.0,), K)
    expected = oracles.contrastive(
        oracles.bce_row, per_view(z.numpy(), 1), bank.features.tolist(), [True] * K, soft, 1.0, [0]
    )
    for value in (
        contrastive(BCEContrastive(), z, bank, targets),
        BCEContrastive()(z, torch.tensor(LABELS), bank),
        BCEContrastive()(z, torch.tensor(soft[0]), bank),
    ):
        assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('loss', [BCEContrastive(0.1), CEContrastive(0.1)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_an_empty_bank_is_exactly_zero_with_finite_gradients(loss, dtype):
    z = noise(3 * B, D).to(dtype).requires_grad_()
    value = contrastive(loss, z, ClassMemoryBank(K, D), make_targets())
    assert value.item() == 0
    (grad,) = torch.autograd.grad(value, z)
    assert torch.equal(grad, torch.zeros_like(z))


@pytest.mark.parametrize('loss', [BCEContrastive, CEContrastive])
def test_what_unseen_classes_hold_does_not_matter(loss):
    z, bank = noise(3 * B, D), filled_bank(SOME)
    before = contrastive(loss(), z, bank, make_targets())
    bank.features[~bank.filled] = 1e30
    close(contrastive(loss(), z, bank, make_targets()), before)


@pytest.mark.parametrize('loss', [BCEContrastive, CEContrastive])
def test_ce_and_bce_wait_for_the_start_epoch(loss):
    z, bank = noise(3 * B, D).requires_grad_(), filled_bank()
    start = loss(start_epoch=1)
    early = contrastive(start, z, bank, make_targets(clock=Clock(epoch=0)))
    assert early.item() == 0
    assert not torch.autograd.grad(early, z)[0].any()
    for epoch in (1, 2):
        targets = make_targets(clock=Clock(epoch=epoch))
        close(contrastive(start, z, bank, targets), contrastive(loss(), z, bank, targets))


def test_all_classes_filled_is_plain_cross_entropy_of_cosines():
    z, bank, labels = noise(B, D), filled_bank(), torch.tensor(LABELS)
    cosines = F.cosine_similarity(z[:, None], bank.features[None], dim=-1)
    close(
        CEContrastive(0.5)(z, labels, bank),
        F.cross_entropy(cosines / 0.5, labels),
    )


def test_contrastive_gradient_survives_the_write_of_the_bank():
    """The bank is written after the loss and before the backward pass."""
    z, bank, targets = noise(3 * B, D).requires_grad_(), filled_bank(SOME), make_targets()
    (expected,) = torch.autograd.grad(contrastive(BCEContrastive(), z, bank, targets), z)
    value = contrastive(BCEContrastive(), z, bank, targets)
    bank.update(targets.per_view(z)[0], targets.all_labels)
    close(torch.autograd.grad(value, z)[0], expected)


def test_contrastive_refuses():
    with pytest.raises(BCE3SError, match='tau must be a number > 0, not 0'):
        BCEContrastive(tau=0)
    with pytest.raises(BCE3SError, match="no view 'cutout' among"):
        contrastive(
            BCEContrastive(views=['cutout']), noise(3 * B, D), filled_bank(), make_targets()
        )


# --------------------------------------------------------------------------------- uniformity


@pytest.fixture(params=[2**22, 3 * K + 2, 1])
def block(request, monkeypatch):
    """All rows of cosines at once; three at a time, the last one alone; row by row."""
    monkeypatch.setattr(uniformity, 'BLOCK', request.param)


@pytest.mark.usefixtures('block')
@pytest.mark.parametrize('diagonal', [True, False])
def test_bce_uniformity(diagonal):
    oracle = partial(oracles.uniformity_bce, include_diagonal=diagonal)
    check(BCEUniformity(diagonal), oracle, noise(K, D))
    if not diagonal:
        check(bce_uniformity, oracle, noise(K, D))


@pytest.mark.usefixtures('block')
def test_ce_uniformity():
    check(CEUniformity(), oracles.uniformity_ce, noise(K, D))
    check(ce_uniformity, oracles.uniformity_ce, noise(K, D))


@pytest.mark.parametrize('loss', [BCEUniformity(True), CEUniformity()])
def test_uniformity_of_more_classes_than_a_block_holds(loss, monkeypatch):
    """In float32, against autograd of the formulas."""
    w = noise(300, 20).float().requires_grad_()
    unit = F.normalize(w, dim=1)
    cosines = unit @ unit.T
    if isinstance(loss, CEUniformity):
        plain = F.cross_entropy(cosines, torch.arange(300))
    else:
        signs = 1 - 2 * torch.eye(300)
        plain = F.softplus(signs * cosines).sum() / 300
    monkeypatch.setattr(uniformity, 'BLOCK', 7000)
    value = loss(w)
    close(value, plain, rtol=1e-6, atol=0)
    (ours,), (theirs,) = (torch.autograd.grad(v, w) for v in (value, plain))
    close(ours, theirs, rtol=1e-4, atol=1e-8)
    with torch.no_grad():
        assert loss(w) == value


def test_the_diagonal_is_a_constant():
    w = noise(K, D).requires_grad_()
    without, with_it = BCEUniformity()(w), BCEUniformity(include_diagonal=True)(w)
    close(with_it - without, torch.tensor(oracles.softplus(-1.0), dtype=torch.float64))
    close(torch.autograd.grad(with_it, w)[0], torch.autograd.grad(without, w)[0])


def test_the_simplex_has_the_lowest_uniformity():
    """Its closed form, (K - 1) softplus(-1 / (K - 1)), and no random weight is below it."""
    simplex = torch.eye(K, dtype=torch.float64) - 1 / K
    lowest = (K - 1) * oracles.softplus(-1 / (K - 1))
    assert BCEUniformity()(5 * simplex).item() == pytest.approx(lowest, rel=1e-12)
    assert all(BCEUniformity()(noise(K, K, seed=s)) > lowest for s in range(20))


def test_one_class_alone():
    w = noise(1, D).requires_grad_()
    for loss in (BCEUniformity(), CEUniformity()):
        value = loss(w)
        assert value.item() == pytest.approx(0, abs=1e-15)
        assert torch.isfinite(torch.autograd.grad(value, w)[0]).all()


# --------------------------------------------------------------------------------- resampling


def test_negatives_are_a_function_of_seed_and_step():
    z = noise(3 * B, K)

    def value(*moment):
        return joint(BCEJoint(0.75), z, make_targets(clock=Clock(*moment))).item()

    # 4 classes present, int(7 * 0.75) = 5 chosen: one of the 3 others, so 3 values
    assert len({value(0, 0, step) for step in range(20)}) == 3
    assert len({value(seed, 0, 0) for seed in range(20)}) == 3
    assert value(0, 9, 4) == value(0, 0, 4)


@pytest.mark.parametrize('loss', [BCEJoint(0.2), BCEJoint(0.2, drop_positives=True), CEJoint()])
def test_a_batch_of_one_class_alone(loss):
    z = noise(4, K).requires_grad_()
    value = joint(loss, z, Targets.plain(torch.tensor([5, 5, 5, 5]), Clock()))
    (grad,) = torch.autograd.grad(value, z)
    assert torch.isfinite(value)
    assert (grad[:, 5] < 0).all()
    if isinstance(loss, BCEJoint):  # int(7 * 0.2) = 1 class: the positive
        assert not grad[:, [0, 1, 2, 3, 4, 6]].any()


@pytest.mark.parametrize('r', [0, -0.1, 1.01, float('nan')])
def test_resampling_refuses(r):
    with pytest.raises(BCE3SError, match=r'ratio r of resampled classes must be in \(0, 1\]'):
        BCEJoint(resample=r)


# --------------------------------------------------------------------------------- class weights


@pytest.mark.parametrize('beta', [0.0, 0.5, 0.9999, 0.99999])
def test_class_balanced_weights(beta):
    counts = [500, 200, 31, 5, 1]
    weights = class_balanced_weights(torch.tensor(counts), beta)
    expected = torch.tensor(oracles.class_balanced(counts, beta), dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=0)
    assert weights.sum().item() == pytest.approx(5, rel=1e-12)


def test_class_balanced_weights_in_their_limits():
    counts = torch.tensor([500, 31, 1])
    assert class_balanced_weights(counts, 0.0).tolist() == [1, 1, 1]
    inverse = 1 / counts.double()
    limit = class_balanced_weights(counts, float(np.nextafter(1.0, 0.0)))
    torch.testing.assert_close(limit, inverse * 3 / inverse.sum(), rtol=1e-12, atol=0)


def test_class_balanced_weights_refuse():
    with pytest.raises(BCE3SError, match='class 1 has no training sample'):
        class_balanced_weights(torch.tensor([3, 0]), 0.9)
    for beta in (1.0, -0.1, float('nan')):
        with pytest.raises(BCE3SError, match='beta must be in'):
            class_balanced_weights(torch.tensor([3, 2]), beta)


@pytest.mark.parametrize('label', [-100, K])
def test_a_label_of_no_class_is_an_error_as_in_pytorch(label):
    with pytest.raises(RuntimeError, match='out of bounds'):
        BCEJoint()(torch.zeros(2, K), torch.tensor([0, label]))
