"""The heads of rivals: what they compute against loops, that they learn, and that they go on."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import exact_runs
import numpy as np
import oracles
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bce3s.datasets import DigitsLT
from bce3s.errors import BCE3SError
from bce3s.losses import LDAM, CEJoint, EffectiveNumberWeights, InverseSoftmaxCE, LogitAdjustedCE
from bce3s.models import (
    BCLHead,
    ExpertsClassifier,
    ExpertsHead,
    GLMCHead,
    LinearClassifier,
    ProCoHead,
    Targets,
)
from bce3s.models.proco import ClassMeans
from bce3s.models.share import Share
from bce3s.randomness import Clock

K, B, D = 6, 4, 8
LABELS, PARTNERS = [1, 4, 1, 0], [3, 4, 5, 1]
COUNTS = [400, 90, 30, 12, 5, 1]
close = partial(np.testing.assert_allclose, rtol=1e-9)


def feats(rows, seed=1):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(rows, D, generator=gen, dtype=torch.float64)


def make_targets(views, lam, partners=None, clock=Clock(0, 3, 30, 10)):  # noqa: B008
    labels = torch.tensor(LABELS)
    partners = None if partners is None else torch.tensor(partners)
    lam = torch.tensor(lam, dtype=torch.float64)
    return Targets(labels, tuple(views), lam, partners, labels, Share((B,)), clock)


def build(kind, **options):
    torch.manual_seed(0)
    head = kind(K, D, **options).double()
    head.set_class_counts(COUNTS)
    return head


def numbers(tensor):
    return tensor.detach().numpy()


# ------------------------------------------------------------------------------- GLMC


def glmc_targets(**changes):
    return replace(make_targets(('mixup', 'cutmix'), (0.3, 0.6), PARTNERS), **changes)


@pytest.mark.parametrize('epoch', [0, 7])
def test_glmc(epoch):
    head = build(GLMCHead, joint=CEJoint(), p=0.7, gamma=3.0, projection_dim=5)
    x, targets = feats(2 * B), glmc_targets(clock=Clock(0, epoch, 1, 10))
    losses = head.loss(x, targets)
    assert list(losses) == ['loss_joint', 'loss_similarity']
    a, b = (numbers(c(x)).reshape(2, B, K) for c in (head.natural_classifier, head.classifier))
    soft = oracles.soft_labels(LABELS, PARTNERS, (0.3, 0.6), K)
    weights = oracles.power_weights(COUNTS, 0.7)
    close(numbers(losses['loss_joint']), oracles.glmc_joint(a, b, soft, weights, epoch, 10))
    z = head.projector(x)
    pairs = [numbers(rows).reshape(2, B, 5) for rows in (head.predictor(z), z)]
    close(numbers(losses['loss_similarity']), 3 * oracles.simsiam(*pairs))
    close(numbers(head(x)), b.reshape(2 * B, K))  # b predicts
    assert not torch.equal(head.natural_classifier.weight, head.classifier.weight)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())  # what DDP needs
    head.finetune()
    assert {n for n, p in head.named_parameters() if p.requires_grad} == {
        'classifier.weight',
        'classifier.bias',
    }
    assert list(head.loss(x[:B], make_targets(['origin'], [1.0]))) == ['loss_joint']


def test_glmc_says_what_it_misses():
    with pytest.raises(BCE3SError, match='compares two views'):
        build(GLMCHead, joint=CEJoint()).loss(feats(B), make_targets(['origin'], [1.0]))
    with pytest.raises(BCE3SError, match='needs its length'):
        build(GLMCHead, joint=CEJoint()).loss(feats(2 * B), glmc_targets(clock=Clock()))


# ------------------------------------------------------------------------------- ProCo


def simclr_targets(**changes):
    return replace(make_targets(('origin', 'first', 'second'), (1, 1, 1)), **changes)


def test_class_means_are_of_this_epoch_and_the_one_before():
    torch.manual_seed(0)
    means, epochs = ClassMeans(4, 3).double(), []
    gen = torch.Generator().manual_seed(1)
    for epoch, batches in enumerate([[[1, 0, 1]], [[2, 1], [0]], [[0, 1, 1]], [[0]]]):
        epochs.append([])
        for labels in batches:
            views = torch.randn(2, len(labels), 3, generator=gen, dtype=torch.float64)
            means.update(views, torch.tensor(labels), epoch)
            epochs[-1] += [
                (y, f) for view in views.tolist() for y, f in zip(labels, view, strict=True)
            ]
            again = ClassMeans(4, 3).double()
            again.load_state_dict(means.state_dict())
            means = again
            expected = oracles.class_means(epochs, 3, means.unseen.tolist())
            close(means().numpy(), expected)
    assert means.unseen.norm(dim=1).tolist() == pytest.approx([0.9] * 4)


def test_proco():
    head = build(ProCoHead, joint=CEJoint(), tau=0.5, weight=0.3, hidden=7, projection_dim=5)
    x, targets, bins = feats(3 * B), simclr_targets(clock=Clock(0, 0, 0, 10)), []
    for step in range(2):  # the statistics go on, BatchNorm sees the batch alone
        x = feats(3 * B, seed=step)
        losses = head.loss(x, targets)
        f = F.normalize(head.projector(x), dim=1).reshape(3, B, 5)
        bins += [(y, row) for v in (1, 2) for y, row in zip(LABELS, f[v].tolist(), strict=True)]
        means = oracles.class_means([bins], 5, head.means.unseen.tolist())
        g = [oracles.vmf_logits(f[v].tolist(), means, 0.5) for v in (1, 2)]
        soft = oracles.soft_labels(LABELS, None, (1, 1), K)
        z = numbers(head.classifier(x[:B]))[None]
        assert list(losses) == ['loss_joint', 'loss_contrastive']
        close(numbers(losses['loss_joint']), oracles.joint(oracles.ce_row, z, soft[:1]))
        expected = 0.3 * oracles.joint(oracles.ce_row, g, soft)
        close(numbers(losses['loss_contrastive']), expected, rtol=1e-6)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_bcl():
    head = build(BCLHead, joint=CEJoint(), tau=0.5, weights=dict(joint=2.0), projection_dim=5)
    x, targets = feats(3 * B), simclr_targets()
    losses = head.loss(x, targets)
    f = F.normalize(head.projector(x), dim=1).reshape(3, B, 5)[1:]
    prototypes = F.normalize(head.prototype_projector(head.classifier.weight), dim=1)
    keys = [*f[0].tolist(), *f[1].tolist(), *prototypes.tolist()]
    labels = [*LABELS, *LABELS, *range(K)]
    each = [oracles.balanced_contrastive(i, keys, labels, 0.5) for i in range(2 * B)]
    soft = oracles.soft_labels(LABELS, None, (1,), K)
    z = numbers(head.classifier(x[:B]))[None]
    assert list(losses) == ['loss_joint', 'loss_contrastive']
    close(numbers(losses['loss_joint']), 2 * oracles.joint(oracles.ce_row, z, soft))
    close(numbers(losses['loss_contrastive']), 0.35 * sum(each) / len(each))
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize('kind', [partial(k, joint=CEJoint()) for k in (ProCoHead, BCLHead)])
def test_what_compares_whole_batches_says_so(kind):
    with pytest.raises(BCE3SError, match='cannot go through the network in parts'):
        build(kind).loss(feats(3 * B), simclr_targets(part=(0, 2)))
    with pytest.raises(BCE3SError, match='needs 2 views'):
        build(kind).loss(feats(B), make_targets(['origin'], [1.0]))
    with pytest.raises(BCE3SError, match='tau must be a number > 0, not 0'):
        build(kind, tau=0)


# ------------------------------------------------------------------------------- experts


def experts_classifier(**options):
    torch.manual_seed(1)
    return ExpertsClassifier(D, K, experts=2, **options)


@pytest.mark.parametrize('normalized', [False, True])
@pytest.mark.parametrize('bias', [False, True])
def test_the_classifier_of_experts(normalized, bias):
    """Expert by expert a linear classifier of its part; their mean, as one linear map too."""
    options = dict(normalize_weight=normalized, normalize_feature=normalized, scale=3.0)
    classifier, x = experts_classifier(bias=bias, **options).double(), feats(5)
    each = classifier.each(x)
    for e in range(2):
        one = LinearClassifier(D // 2, K, bias=bias, **options).double()
        own = slice(e * D // 2, (e + 1) * D // 2)
        with torch.no_grad():
            one.weight.copy_(classifier.weight[:, own])
            if bias:
                one.bias.copy_(classifier.bias)
        close(numbers(each[e]), numbers(one(x[:, own])))
    close(numbers(classifier(x)), numbers(each.mean(0)))
    weight, b = classifier.linear()
    close(numbers(classifier.embed(x) @ weight.T + b), numbers(classifier(x)))
    weight, b = classifier.rows(torch.tensor([4, 1]))
    close(numbers(classifier.scores(x, weight, b)), numbers(classifier(x)[:, [4, 1]]))


def test_each_expert_starts_as_a_classifier_of_its_part():
    torch.manual_seed(0)
    weights = ExpertsClassifier(3 * 64, 100, normalize_weight=False).weight.std().item()
    assert weights == pytest.approx(1 / 8, rel=0.05)


def test_three_experts_with_three_losses():
    losses = [CEJoint(), LogitAdjustedCE(tau=1.0), InverseSoftmaxCE(tau=2.0)]
    classifier = ExpertsClassifier(12, K, scale=5.0)
    head = ExpertsHead(K, 12, joint=losses, classifier=classifier).double()
    head.set_class_counts(COUNTS)
    x = torch.randn(B, 12, dtype=torch.float64)
    value = head.loss(x, make_targets(['origin'], [1.0]))
    priors = np.array([1.0, *COUNTS])[1:] / sum(COUNTS)
    soft = oracles.soft_labels(LABELS, None, [1], K)[0]
    z = numbers(classifier.each(x))
    rows = (
        oracles.ce_row,
        lambda row, t: oracles.ce_row(list(row + np.log(priors)), t),
        lambda row, t: oracles.inverse_softmax_row(row, t, COUNTS, 2.0),
    )
    expected = sum(row(z[e][i], soft[i]) / B for e, row in enumerate(rows) for i in range(B))
    assert list(value) == ['loss_joint']
    close(numbers(value['loss_joint']), expected)
    close(numbers(head(x)), z.mean(0))  # what predicts


@pytest.mark.parametrize('epoch', [2, 8])
def test_diversity_and_late_weights(epoch):
    """RIDE: from 80 % of the run on the classes are weighted and have temperatures."""
    options = dict(scale=4.0)
    head = build(
        ExpertsHead,
        joint=LDAM(scale=4.0),
        weights=dict(joint=0.5, diversity=-0.2),
        spread=0.3,
        reweight=EffectiveNumberWeights(0.9, start=0.8),
        classifier=experts_classifier(**options),
    )
    x, targets = feats(B), make_targets(['origin'], [1.0], clock=Clock(0, epoch, 1, 10))
    losses = head.loss(x, targets)
    late = epoch == 8
    z = numbers(head.classifier.each(x))
    weights = oracles.class_balanced(COUNTS, 0.9) if late else [1] * K
    loss = LDAM(scale=4.0, class_counts=COUNTS)
    expected = 0.0
    for e in range(2):
        for i, y in enumerate(LABELS):
            row = loss(torch.tensor(z[e][i : i + 1]), torch.tensor([y])).item()
            expected += 0.5 * weights[y] * row / B
    close(numbers(losses['loss_joint']), expected)
    temperature = oracles.class_temperatures(COUNTS, 0.3) if late else [1.0] * K
    each = [oracles.expert_divergence(z[:, i].tolist(), temperature) for i in range(B)]
    close(numbers(losses['loss_diversity']), -0.2 * sum(each) / B, rtol=1e-6)


def test_experts_and_losses_that_do_not_fit():
    with pytest.raises(BCE3SError, match='3 experts cannot share 8 features'):
        ExpertsClassifier(D, K, experts=3)
    with pytest.raises(BCE3SError, match='0 experts'):
        ExpertsClassifier(D, K, experts=0)
    for joint in ([], [CEJoint()] * 3):
        with pytest.raises(BCE3SError, match='losses for 2 experts'):
            build(ExpertsHead, joint=joint, classifier=experts_classifier())
    options = dict(joint=CEJoint(), weights=dict(diverstiy=-0.2))
    with pytest.raises(BCE3SError, match='only joint and diversity'):
        build(ExpertsHead, classifier=experts_classifier(), **options)


# ------------------------------------------------------------------------------- learning

HEADS = {
    'GLMC': partial(GLMCHead, joint=CEJoint(), gamma=1.0),
    'ProCo': partial(ProCoHead, joint=LogitAdjustedCE(), projection_dim=16),
    'BCL': partial(BCLHead, joint=LogitAdjustedCE(), projection_dim=16),
    'SADE': partial(ExpertsHead, joint=[CEJoint(), LogitAdjustedCE(), InverseSoftmaxCE()]),
    'RIDE': partial(
        ExpertsHead,
        joint=LDAM(),
        weights=dict(diversity=-0.2),
        reweight=EffectiveNumberWeights(0.999, 0.8, 'samples'),
    ),
}


def shown(name, images, labels, clock):
    """Views of flat images with noise, mixed for GLMC, and their targets."""
    views = [images + 0.3 * torch.randn_like(images) for _ in range(3)]
    if name == 'GLMC':
        partner, lam = torch.randperm(len(images)), np.random.default_rng(clock.step).beta(1, 1)
        mixed = [lam * view + (1 - lam) * view[partner] for view in views[:2]]
        names = ('mixup', 'again')
        return mixed, Targets.mixed(labels, labels[partner], [lam, lam], clock, names)
    names = ('origin', 'first', 'second') if name in ('ProCo', 'BCL') else ('origin',)
    return views[: len(names)], Targets.mixed(labels, None, [1.0] * len(names), clock, names)


@pytest.mark.parametrize('name', HEADS)
def test_it_learns(name):
    """Digits, 331 in a long tail, by a small network in a second: 10 % by chance."""
    train, test = DigitsLT(imbalance_factor=50), DigitsLT(train=False)
    images, unseen = (data.images.flatten(1) / 127.5 - 1 for data in (train, test))
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 30)]
    net = nn.Sequential(*layers, nn.BatchNorm1d(30))
    head = HEADS[name](10, 30)
    head.set_class_counts(train.class_counts)
    epochs, step = 12, 0
    sgd = torch.optim.SGD([*net.parameters(), *head.parameters()], 0.1, 0.9, weight_decay=5e-4)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, epochs)
    for epoch in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            clock = Clock(0, epoch, step := step + 1, epochs)
            views, targets = shown(name, images[rows], train.targets[rows], clock)
            loss = sum(head.loss(net(torch.cat(views)), targets).values())
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        rate.step()
    with torch.no_grad():
        hits = head(net.eval()(unseen)).argmax(1) == test.targets
    assert hits.double().mean() > 0.6


# ------------------------------------------------------------------------------- resumed runs


@pytest.mark.parametrize('variant', exact_runs.RIVALS)
def test_what_was_saved_goes_on_as_if_it_had_not_stopped(variant):
    straight = exact_runs.make_model(variant)
    optim = exact_runs.optimizer(straight, variant)
    exact_runs.train(straight, variant, optim, range(1))
    resumed = exact_runs.make_model(variant)
    resumed.load_state_dict(straight.state_dict())
    again = exact_runs.optimizer(resumed, variant)
    again.load_state_dict(copy.deepcopy(optim.state_dict()))
    losses = [
        exact_runs.train(m, variant, o, range(1, 2))
        for m, o in ((straight, optim), (resumed, again))
    ]
    assert losses[0] == losses[1]
