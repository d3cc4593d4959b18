"""The rivals' losses against the loops of oracles.py, in float64: values, gradients, bad input."""

from __future__ import annotations

import copy
from functools import cache, partial

import oracles
import pytest
import torch
from torch import nn

from bce3s.datasets import DigitsLT
from bce3s.errors import BCE3SError
from bce3s.losses import (
    LDAM,
    BalancedBCE,
    BatchBalancedWeights,
    BCEJoint,
    CEJoint,
    CenterTerms,
    DotRegression,
    EffectiveNumberWeights,
    FocalBCE,
    FocalCE,
    LabelAwareSmoothingCE,
    LogitAdjustedCE,
    class_balanced_weights,
    label_aware_smoothing,
)
from bce3s.models import (
    ETFClassifier,
    LinearClassifier,
    RotatedETFClassifier,
    Targets,
    TripartiteHead,
)
from bce3s.randomness import Clock

COUNTS = [500, 120, 31, 9, 2]
K, B = len(COUNTS), 6
LABELS = [0, 4, 2, 0, 3, 4]
SOFT = oracles.soft_labels(LABELS, [1, 4, 0, 0, 2, 1], (0.3,), K)[0]
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)
CASES = {
    'balanced softmax': (LogitAdjustedCE, {}, oracles.logit_adjusted_row),
    'logit adjustment': (LogitAdjustedCE, dict(tau=1.7), oracles.logit_adjusted_row),
    'VS': (LogitAdjustedCE, dict(tau=0.75, gamma=0.3), oracles.logit_adjusted_row),
    'Bal-BCE': (BalancedBCE, {}, oracles.balanced_bce_row),
    'CB-BCE by column': (BalancedBCE, dict(tau=0, beta=0.99), oracles.balanced_bce_row),
    'both': (BalancedBCE, dict(tau=0.5, beta=0.9), oracles.balanced_bce_row),
    'LDAM': (LDAM, dict(max_margin=0.5, scale=30.0), oracles.ldam_row),
    'LDAM, small': (LDAM, dict(max_margin=0.3, scale=4.0), oracles.ldam_row),
    'label-aware': (LabelAwareSmoothingCE, dict(head=0.4, tail=0.1), oracles.label_aware_row),
    'focal': (FocalCE, dict(gamma=2.0), oracles.focal_ce_row),
    'focal, 1': (FocalCE, dict(gamma=1.0), oracles.focal_ce_row),
    'focal, root': (FocalCE, dict(gamma=0.5), oracles.focal_ce_row),
    'sigmoid focal': (FocalBCE, dict(gamma=1.5), oracles.focal_bce_row),
    'dot regression': (DotRegression, {}, oracles.dot_regression_row),
}
COUNTED = [name for name, (loss, *_) in CASES.items() if hasattr(loss, 'set_class_counts')]


def noise(*shape, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape, generator=gen, dtype=torch.float64)


def built(name):
    loss, options, row = CASES[name]
    if name not in COUNTED:
        return loss(**options), partial(row, **options)
    return loss(class_counts=COUNTS, **options), partial(row, counts=COUNTS, **options)


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('name', CASES)
def test_value_and_gradient(name, soft):
    loss, row = built(name)
    labels = torch.tensor(SOFT, dtype=torch.float64) if soft else torch.tensor(LABELS)
    given = SOFT if soft else oracles.soft_labels(LABELS, None, (1.0,), K)[0]
    weights = noise(B, seed=1).abs()

    def oracle(z):
        rows = [w * row(list(z), t=t) for w, z, t in zip(weights.tolist(), z, given, strict=True)]
        return sum(rows) / B

    z = noise(B, K).requires_grad_()
    value = loss(z, labels, weights)
    close(value.item(), oracle(z.detach().numpy()))
    (grad,) = torch.autograd.grad(value, z)
    expected = torch.from_numpy(oracles.gradient(oracle, z.detach().numpy()))
    torch.testing.assert_close(grad, expected, rtol=1e-6, atol=1e-7)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels, weights), (z,))


@pytest.mark.parametrize(
    ('loss', 'plain'),
    [
        (LogitAdjustedCE(tau=0, class_counts=COUNTS), CEJoint()),
        (LogitAdjustedCE(class_counts=[7] * K), CEJoint()),
        (LDAM(max_margin=1e-300, scale=1, class_counts=COUNTS), CEJoint()),
        (LabelAwareSmoothingCE(0, 0, class_counts=COUNTS), CEJoint()),
        (FocalCE(0), CEJoint()),
        (BalancedBCE(tau=0, class_counts=COUNTS), BCEJoint()),
        (FocalBCE(0), BCEJoint()),
    ],
)
def test_what_is_left_at_the_end_of_the_range(loss, plain):
    for labels in (torch.tensor(LABELS), torch.tensor(SOFT, dtype=torch.float64)):
        close(loss(noise(B, K), labels), plain(noise(B, K), labels))


@pytest.mark.parametrize('name', CASES)
def test_sure_logits_stay_finite(name):
    """Right and wrong by far, in float32: values and slopes."""
    loss, _ = built(name)
    z = torch.tensor([[200.0] + [-200.0] * (K - 1)] * B).requires_grad_()
    for labels in (torch.tensor(LABELS), torch.zeros(B, dtype=torch.long)):
        value = loss(z, labels)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


@pytest.mark.parametrize('name', COUNTED)
def test_counts_that_cannot_be(name):
    loss, options, _ = CASES[name]
    with pytest.raises(BCE3SError, match='class 2 has no training sample'):
        loss(class_counts=[3, 2, 0], **options)
    with pytest.raises(BCE3SError, match='needs the class counts of the training set'):
        loss(**options)(noise(B, K), torch.tensor(LABELS))
    with pytest.raises(BCE3SError, match='the counts of 3 classes, but the logits have 5'):
        loss(class_counts=[3, 2, 1], **options)(noise(B, K), torch.tensor(LABELS))


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda: LogitAdjustedCE(tau=-1.0), 'tau must be a number >= 0, not -1.0'),
        (lambda: LogitAdjustedCE(gamma=float('nan')), 'gamma must be a number >= 0, not nan'),
        (lambda: BalancedBCE(tau='one'), "tau must be a number >= 0, not 'one'"),
        (lambda: BalancedBCE(beta=1.0, class_counts=COUNTS), r'beta must be in \[0, 1\)'),
        (lambda: BalancedBCE(class_counts=[5]), 'a single class has no odds'),
        (lambda: LDAM(max_margin=0.0), 'max_margin must be a number > 0'),
        (lambda: LDAM(scale=-30), 'scale must be a number > 0'),
        (lambda: FocalCE(gamma=-1), 'FocalCE: gamma must be a number >= 0'),
        (lambda: FocalBCE(gamma=None), 'FocalBCE: gamma must be a number >= 0'),
        (lambda: LabelAwareSmoothingCE(head=0.1, tail=0.4), '0 <= tail <= head < 1'),
        (lambda: LabelAwareSmoothingCE(head=1.0), '0 <= tail <= head < 1'),
        (lambda: EffectiveNumberWeights(start=160), r'in \[0, 1\), not 160'),
        (lambda: EffectiveNumberWeights(mean_over='batch'), "is 'classes' or 'samples'"),
        (lambda: EffectiveNumberWeights(beta=1.0), r'beta must be in \[0, 1\)'),
        (lambda: EffectiveNumberWeights()(torch.tensor(LABELS), K, Clock()), 'needs the class co'),
        (lambda: EffectiveNumberWeights(class_counts=[5, 2])(LABELS, K, Clock()), 'of 2 classes'),
        (lambda: CenterTerms(K, 3, compactness=-1), 'compactness must be a number >= 0'),
        (lambda: CenterTerms(1, 3), 'a single class has no other'),
    ],
)
def test_refuses(make, said):
    with pytest.raises(BCE3SError, match=said):
        make()


def test_smoothing_of_equal_classes_is_that_of_the_head():
    assert label_aware_smoothing([4, 4], 0.4, 0.1).tolist() == [0.4, 0.4]


# ------------------------------------------------------------------------------ in the head


def head_of(joint, **options):
    torch.manual_seed(0)
    head = TripartiteHead(K, 4, joint, **options).double()
    head.set_class_counts(COUNTS)
    return head


def mixed(clock):
    """Two views, the second mixed."""
    labels, partners = torch.tensor(LABELS), torch.tensor([1, 4, 0, 0, 2, 1])
    return Targets.mixed(labels, partners, [1.0, 0.3], clock, ('origin', 'mixup'))


def test_the_head_tells_every_loss_the_counts_also_after_loading():
    for name in COUNTED:
        loss, options, _ = CASES[name]
        scaled = LinearClassifier(4, K, scale=options.get('scale', 1.0))
        head = head_of(loss(**options), classifier=scaled, finetune=loss(**options))
        fresh = TripartiteHead(K, 4, loss(**options), classifier=scaled).double()
        fresh.load_state_dict(head.state_dict())
        z = noise(B, K)
        for told in (head.joint, head.second_joint, fresh.joint):
            close(told(z, torch.tensor(LABELS)), built(name)[0](z, torch.tensor(LABELS)))


@pytest.mark.parametrize('joint', [CEJoint, BCEJoint, FocalCE])
@pytest.mark.parametrize('mean_over', ['classes', 'samples'])
def test_weights_of_the_classes_from_an_epoch_on(joint, mean_over):
    weights = oracles.class_balanced(COUNTS, 0.999)
    if mean_over == 'samples':
        mean = sum(n * w for n, w in zip(COUNTS, weights, strict=True)) / sum(COUNTS)
        weights = [w / mean for w in weights]
    reweight = EffectiveNumberWeights(0.999, 0.8, mean_over)
    head, x = head_of(joint(), reweight=reweight), noise(2 * B, 4, seed=2)
    z = head(x).unflatten(0, (2, B))
    for epoch in (0, 7, 8, 9):
        targets = mixed(Clock(0, epoch, 5, 10))
        soft = targets.soft(K, torch.float64)
        each = torch.tensor([[1.0] * K, weights][epoch >= 8], dtype=torch.float64)
        rows = head.joint.rows(z, soft) * (soft @ each)
        close(head.loss(x, targets)['loss_joint'], rows.mean())
    with pytest.raises(BCE3SError, match='give the clock its epochs'):
        head.loss(x, mixed(Clock(0, 9, 5)))


def test_weights_from_the_start_need_no_clock_and_sum_to_k():
    head, x = head_of(CEJoint(), reweight=EffectiveNumberWeights(0.999)), noise(B, 4)
    weights = class_balanced_weights(COUNTS, 0.999)[LABELS]
    value = head.loss(x, Targets.plain(torch.tensor(LABELS), Clock()))['loss_joint']
    close(value, CEJoint()(head(x), torch.tensor(LABELS), weights))


def test_weights_by_the_counts_of_the_batch():
    weights = torch.tensor(oracles.batch_balanced(LABELS, K), dtype=torch.float64)
    close(BatchBalancedWeights()(torch.tensor(LABELS), K, Clock()).double(), weights)
    classifier = ETFClassifier(4, K)
    head = head_of(DotRegression(), classifier=classifier, reweight=BatchBalancedWeights())
    x, labels = noise(B, 4), torch.tensor(LABELS)
    value = head.loss(x, Targets.plain(labels, Clock()))['loss_joint']
    own = torch.stack([classifier.weight[y] @ h / h.norm() for h, y in zip(x, labels, strict=True)])
    close(value, ((own - 1) ** 2 / 2 * weights[labels]).mean(), rtol=1e-6, atol=1e-7)


def test_scale_of_loss_and_classifier_agree():
    for loss, scale in ((LDAM(), 1.0), (DotRegression(), 30.0)):
        with pytest.raises(BCE3SError, match=f'but the classifier has scale {scale}'):
            head_of(loss, classifier=LinearClassifier(4, K, scale=scale))


@pytest.mark.parametrize(('compactness', 'separation'), [(0.01, 0.1), (2.0, 0.0), (0.0, 1.0)])
def test_center_terms(compactness, separation):
    torch.manual_seed(0)
    terms = CenterTerms(K, 3, compactness, separation).double()
    x, labels = noise(B, 3), torch.tensor(LABELS)
    centers = terms.centers.detach().numpy()

    def of_features(h):
        return oracles.center_terms(h, LABELS, centers, compactness, separation)

    def of_centers(c):
        return oracles.center_terms(x.numpy(), LABELS, c, compactness, separation)

    h = x.clone().requires_grad_()
    value = terms(h, labels)
    close(value.item(), of_features(x.numpy()))
    grads = torch.autograd.grad(value, (h, terms.centers), materialize_grads=True)
    for grad, function, at in zip(
        grads, (of_features, of_centers), (x.numpy(), centers), strict=True
    ):
        expected = torch.from_numpy(oracles.gradient(function, at))
        torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-6)


def test_center_terms_in_the_head():
    head = head_of(CEJoint(), centers=dict(compactness=0.5))
    x, targets = noise(2 * B, 4), mixed(Clock())
    value = head.loss(x, targets)['loss_centers']
    close(value, head.centers(x[:B], torch.tensor(LABELS)))


# ------------------------------------------------------------------------------ learning

COSINE = dict(bias=False, normalize_feature=True, scale=30.0)
DRW = dict(reweight=EffectiveNumberWeights(0.999, 0.8, 'samples'))
METHODS = {
    'BCE': (BCEJoint(), None, {}),
    'Bal-BCE': (BalancedBCE(), None, {}),
    'CB-BCE by column': (BalancedBCE(0, beta=0.999), None, {}),
    'CE': (CEJoint(), None, {}),
    'balanced softmax': (LogitAdjustedCE(), None, {}),
    'VS': (LogitAdjustedCE(0.75, 0.05), None, {}),
    'focal': (FocalCE(1.0), None, {}),
    'sigmoid focal': (FocalBCE(2.0), None, {}),
    'CB-CE': (CEJoint(), None, dict(reweight=EffectiveNumberWeights(0.999))),
    'LDAM-DRW': (LDAM(), LinearClassifier(32, 10, **COSINE), DRW),
    'label-aware': (LabelAwareSmoothingCE(), None, {}),
    'ETF, DR': (DotRegression(), ETFClassifier(32, 10), dict(reweight=BatchBalancedWeights())),
    'RBL': (CEJoint(), RotatedETFClassifier(32, 10), {}),
    'NC-DRW': (CEJoint(), None, DRW | dict(centers={})),
}


@cache
def accuracies(name, epochs=12):
    """Percent on all digits, and on the four rarest, of a small net on 331 of them."""
    joint, classifier, options = METHODS[name]
    train, test = DigitsLT(imbalance_factor=50), DigitsLT(train=False)
    images, unseen = (data.images.flatten(1) / 127.5 - 1 for data in (train, test))
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)]
    net = nn.Sequential(*layers, nn.BatchNorm1d(32))
    classifier = copy.deepcopy(classifier) or LinearClassifier(32, 10, normalize_weight=False)
    head = TripartiteHead(10, 32, joint, classifier=classifier, **options)
    head.set_class_counts(train.class_counts)
    sgd = torch.optim.SGD([*net.parameters(), *head.parameters()], 0.1, 0.9, weight_decay=5e-4)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, epochs)
    for epoch in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            targets = Targets.plain(train.targets[rows], Clock(0, epoch, 0, epochs))
            loss = sum(head.loss(net(images[rows]), targets).values())
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        rate.step()
    with torch.no_grad():
        hits = (head(net.eval()(unseen)).argmax(1) == test.targets).double()
    return 100 * hits.mean().item(), 100 * hits[test.targets > 5].mean().item()


@pytest.mark.parametrize('name', METHODS)
def test_it_learns(name):
    assert accuracies(name)[0] > 55  # 10 by chance


@pytest.mark.parametrize(
    ('name', 'plain'),
    [('Bal-BCE', 'BCE'), ('balanced softmax', 'CE'), ('CB-CE', 'CE'), ('LDAM-DRW', 'CE')],
)
def test_it_finds_more_of_the_rare_classes(name, plain):
    assert accuracies(name)[1] > accuracies(plain)[1] + 5
