"""The head: which losses, with which weights, of which classifier; the second stage."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import numpy as np
import oracles
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.losses.resampling import resample_classes
from bce3s.models import H2THead, TripartiteHead
from bce3s.models.share import Share
from bce3s.models.targets import Targets
from bce3s.randomness import Clock

K, B, D = 6, 4, 8
LABELS, PARTNERS, LAM = [1, 4, 1, 0], [3, 4, 5, 1], [1.0, 0.3, 0.6]
COUNTS = [400, 90, 30, 12, 5, 1]
BCE3S = dict(
    joint=dict(type='BCEJoint'),
    contrastive=dict(type='BCEContrastive', tau=0.5),
    uniformity=dict(type='BCEUniformity'),
)
CE_TSL = dict(
    joint=dict(type='CEJoint'),
    contrastive=dict(type='CEContrastive'),
    uniformity=dict(type='CEUniformity'),
)


CLASSIFIER = ('bias', 'normalize_weight', 'normalize_feature', 'scale', 'init', 'bias_mean')


def build(**kwargs):
    torch.manual_seed(0)
    classifier = {name: kwargs.pop(name) for name in CLASSIFIER if name in kwargs}
    classifier['type'] = 'LinearClassifier'
    head = TripartiteHead(K, D, **(BCE3S | kwargs), classifier=classifier).double()
    head.set_class_counts(COUNTS)
    return head


def mixed_targets():
    return Targets(
        torch.tensor(LABELS),
        ('origin', 'mixup', 'cutmix'),
        torch.tensor(LAM, dtype=torch.float64),
        torch.tensor(PARTNERS),
        torch.tensor(LABELS),
        Share((B,)),
        Clock(),
    )


def feats(rows, seed=1):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(rows, D, generator=gen, dtype=torch.float64)


def logits_of(head, x, normalized=True):
    """w_k . x + b_k, class by class; x is not normalised."""
    weight, bias = head.classifier.weight.detach().numpy(), head.classifier.bias
    rows = []
    for row in x.numpy():
        rows.append([])
        for k, w in enumerate(weight):
            length = math.sqrt(sum(v * v for v in w)) if normalized else 1.0
            offset = 0.0 if bias is None else bias[k].item()
            rows[-1].append(sum(a * b for a, b in zip(w, row, strict=True)) / length + offset)
    return np.array(rows)


def close(value, expected):
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('normalize', [True, False])
def test_scores(normalize, bias):
    head = build(normalize_weight=normalize, bias=bias)
    x = feats(5)
    close(head(x), logits_of(head, x, normalize))
    close(head(3 * x) - head(0 * x), 3 * (head(x) - head(0 * x)).detach())  # x keeps its length


@pytest.mark.parametrize('scale', [1.0, 0.25, 7])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('normalize_feature', [True, False])
@pytest.mark.parametrize('normalize', [True, False])
def test_scores_with_a_scale(normalize, normalize_feature, bias, scale):
    """gamma (w . x + b) loop by loop, and the same from ``embed`` and ``linear``."""
    options = dict(normalize_feature=normalize_feature, scale=scale)
    head, x = build(normalize_weight=normalize, bias=bias, **options), feats(5)
    lengths = [math.sqrt(sum(v * v for v in row)) if normalize_feature else 1.0 for row in x]
    shown = np.array([[v / n for v in row] for row, n in zip(x.tolist(), lengths, strict=True)])
    close(head(x), scale * logits_of(head, torch.tensor(shown), normalize))
    weight, b = head.classifier.linear()
    assert (weight.shape, b.shape) == ((K, D), (K,))
    close(head(x), (head.classifier.embed(x) @ weight.T + b).detach().numpy())
    close(b, np.zeros(K) if not bias else scale * head.classifier.bias.detach().numpy())
    if normalize_feature:
        close(head(3 * x), head(x).detach().numpy())
        assert head(0 * x).isfinite().all()


def test_the_initial_bias_is_an_option():
    bias = build(bias_mean=6.0, init='kaiming_uniform').classifier.linear()[1]
    assert -bias.mean().item() == pytest.approx(6, abs=0.4)


def test_the_contrastive_branch_sees_features_as_they_are():
    head, same = warm(build()), warm(build(normalize_feature=True))
    x, targets = feats(3 * B), mixed_targets()
    plain, normalized = head.loss(x, targets), same.loss(x, targets)
    assert plain['loss_contrastive'] == normalized['loss_contrastive']
    assert plain['loss_joint'] != normalized['loss_joint']


@pytest.mark.parametrize(
    ('config', 'row', 'uniformity', 'tau'),
    [
        (BCE3S, oracles.bce_row, oracles.uniformity_bce, 0.5),
        (CE_TSL, oracles.ce_row, oracles.uniformity_ce, 1.0),
    ],
)
def test_three_branches_and_their_weights(config, row, uniformity, tau):
    weights = dict(joint=0.5, contrastive=0.2, uniformity=3.0)
    head, x, targets = build(weights=weights, **config), feats(3 * B), mixed_targets()
    head.bank.update(head.projector(feats(B, seed=2)), torch.arange(B))
    before = head.bank.features.clone(), head.bank.filled.clone()
    losses = head.loss(x, targets)
    soft = oracles.soft_labels(LABELS, PARTNERS, LAM, K)
    projections = head.projector(x).detach().numpy().reshape(3, B, -1)
    bank = before[0].tolist(), before[1].tolist()
    assert list(losses) == ['loss_joint', 'loss_contrastive', 'loss_uniformity']
    joint = oracles.joint(row, logits_of(head, x).reshape(3, B, K), soft)
    close(losses['loss_joint'], 0.5 * joint)
    contrastive = oracles.contrastive(row, projections, *bank, soft, tau, [1, 2])
    close(losses['loss_contrastive'], 0.2 * contrastive)
    close(losses['loss_uniformity'], 3.0 * uniformity(head.classifier.weight.tolist()))
    # the origin view, un-normalised, fills the bank, after the loss
    written = oracles.bank_after(*(b.numpy() for b in before), projections[0], LABELS)
    np.testing.assert_allclose(head.bank.features, written[0], rtol=1e-12)
    assert head.bank.filled.tolist() == written[1].tolist()


def test_published_weights_are_the_default():
    x, targets = feats(3 * B), mixed_targets()
    ones = dict(joint=1.0, contrastive=1.0, uniformity=1.0)
    plain, default = (h.loss(x, targets) for h in map(warm, (build(weights=ones), build())))
    for name, weight in dict(joint=1.0, contrastive=0.1, uniformity=1.0).items():
        close(default[f'loss_{name}'], weight * plain[f'loss_{name}'].item())
    changed = warm(build(weights=dict(contrastive=1.0))).loss(x, targets)
    assert {k: v.item() for k, v in changed.items()} == {k: v.item() for k, v in plain.items()}


def warm(head):
    head.bank.update(head.projector(feats(B, seed=2)), torch.arange(B))
    return head


@pytest.mark.parametrize(
    'absent', [('contrastive',), ('uniformity',), ('contrastive', 'uniformity')]
)
def test_a_branch_that_is_none_is_no_loss_and_has_no_parameters(absent):
    head = build(**dict.fromkeys(absent))
    losses = head.loss(feats(3 * B), mixed_targets())
    names = ('joint', 'contrastive', 'uniformity')
    assert list(losses) == [f'loss_{name}' for name in names if name not in absent]
    assert hasattr(head, 'projector') == ('contrastive' not in absent)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())  # what DDP needs


def test_the_projector():
    """Linear d-d, ReLU, Linear d-D."""
    head, x = build(projection_dim=3), feats(B)
    first, second = head.projector[0], head.projector[2]
    hidden = np.maximum(
        x.numpy() @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0
    )
    assert hidden.shape == (B, D)
    close(
        head.projector(x), hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    )
    assert head.bank.features.shape == (K, 3)
    assert TripartiteHead(K, D, **BCE3S).bank.features.shape == (K, 128)


@pytest.mark.parametrize(
    ('finetune', 'row'),
    [
        (None, oracles.bce_row),
        (dict(type='BCEJoint', clamp=0.3), partial(oracles.bce_row, clamp=0.3)),
        (dict(type='CEJoint'), oracles.ce_row),
    ],
)
@pytest.mark.parametrize('beta', [0.9, 0.99999])
def test_second_stage_is_class_balanced(beta, finetune, row):
    head, x, targets = (
        build(beta=beta, finetune=finetune),
        feats(B),
        Targets.plain(torch.tensor(LABELS), Clock()),
    )
    head.finetune()
    losses = head.loss(x, targets)
    per_class = oracles.class_balanced(COUNTS, beta)
    soft = oracles.soft_labels(LABELS, None, [1.0], K)
    weights = [per_class[y] for y in LABELS]
    assert list(losses) == ['loss_joint']
    np.testing.assert_allclose(
        losses['loss_joint'].item(),
        oracles.joint(row, logits_of(head, x)[None], soft, weights=weights),
        rtol=1e-9,
    )
    assert not head.bank.filled.any()  # no bank in this stage


def test_rows_that_weigh_alike_need_no_counts():
    head, x = build(beta=None, finetune=dict(type='CEJoint')), feats(B)
    head.class_counts.zero_()
    head.finetune()
    loss = head.loss(x, Targets.plain(torch.tensor(LABELS), Clock()))['loss_joint']
    rows = [
        oracles.ce_row(z, t) for z, t in zip(logits_of(head, x), np.eye(K)[LABELS], strict=True)
    ]
    assert loss.item() == pytest.approx(np.mean(rows), rel=1e-9)


@pytest.mark.parametrize('rho', [0.0, 0.3, 1.0])
def test_h2t_puts_channels_of_partners_into_features(rho):
    """``int(rho d)`` of them, the same for all samples, drawn in each step; labels stay."""
    torch.manual_seed(0)
    head = H2THead(K, D, joint=dict(type='CEJoint'), beta=None, rho=rho).double()
    x, labels, drawn = feats(2 * B), torch.tensor(LABELS), set()
    for step in range(8):
        targets = Targets.mixed(
            labels, torch.tensor(PARTNERS), [1.0, 0.0], Clock(step=step), ('origin', 'partner')
        )
        fused, own = head.fused(x, targets)
        taken = [d for d in range(D) if not torch.equal(fused[:, d], x[:B, d])]
        assert len(taken) == int(rho * D)
        assert all(torch.equal(fused[:, d], x[B:, d]) for d in taken)
        assert (own.views, own.lam.tolist(), own.partners) == (('origin',), [1.0], None)
        drawn.add(tuple(taken))
        head.finetuning = True
        loss = head.loss(x, targets)['loss_joint'].item()
        soft = np.eye(K)[LABELS]
        rows = [oracles.ce_row(z, t) for z, t in zip(logits_of(head, fused), soft, strict=True)]
        assert loss == pytest.approx(np.mean(rows), rel=1e-9)
    assert (len(drawn) > 4) == (rho == 0.3)
    with pytest.raises(BCE3SError, match='finetune_mix='):
        head.loss(feats(B), Targets.plain(labels, Clock()))
    with pytest.raises(BCE3SError, match=r'rho must be in \[0, 1\], not 1.5'):
        H2THead(K, D, joint=dict(type='CEJoint'), rho=1.5)


def test_second_stage_keeps_resampling():
    head, x = build(joint=dict(type='BCEJoint', resample=0.7)), feats(B)
    head.finetune()
    labels, clock = torch.tensor(LABELS), Clock(step=3)
    chosen = resample_classes(labels, K, 0.7, clock.numpy('negatives')).nonzero().flatten()
    soft = oracles.soft_labels(LABELS, None, [1.0], K)
    weights = [oracles.class_balanced(COUNTS, head.beta)[y] for y in LABELS]
    expected = oracles.joint(
        oracles.bce_row, logits_of(head, x)[None], soft, chosen.tolist(), weights
    )
    loss = head.loss(x, Targets.plain(labels, clock))['loss_joint'].item()
    assert len(chosen) == 4
    assert loss == pytest.approx(expected, rel=1e-9)


# ------------------------------------------------------------------------------- separate decays

DECAY = dict(weight=0.3, feature=0.02, bias=0.5)


def decay_by_hand(head, x):
    """lambda_W/2 ||W||^2 + lambda_H/2 sum_i ||h_i||^2 + lambda_b/2 ||b||^2, number by number."""
    total = 0.0
    bias = [] if head.classifier.bias is None else head.classifier.bias.tolist()
    for name, numbers in (
        ('weight', head.classifier.weight.flatten().tolist()),
        ('feature', head.classifier.embed(x).flatten().tolist()),
        ('bias', bias),
    ):
        for value in numbers:
            total += head.decay.lambdas[name] / 2 * value**2
    return total


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(bias=False, decay=dict(weight=0.3, feature=0.02)),
        dict(normalize_weight=False, scale=3.0, bias_mean=2.0),
        dict(normalize_feature=True, scale=3.0),
        dict(decay=dict(feature=0.02)),
    ],
)
def test_decay_is_a_term_of_its_own(options):
    head, x, targets = warm(build(**dict(decay=DECAY) | options)), feats(3 * B), mixed_targets()
    without = warm(build(**options | dict(decay=None)))
    losses, plain = head.loss(x, targets), without.loss(x, targets)
    assert list(losses) == [*plain, 'loss_decay']
    close(losses['loss_decay'], decay_by_hand(head, x))
    assert all(torch.equal(losses[name], plain[name]) for name in plain)
    assert without.decay is None


def test_gradient_of_the_decay():
    """lambda_W W, lambda_H h, lambda_b b: h of one sample is not divided by the batch."""
    head, x = build(decay=DECAY), feats(3 * B).requires_grad_()
    head.loss(x, mixed_targets())['loss_decay'].backward()
    close(x.grad, 0.02 * x.detach().numpy())
    close(head.classifier.weight.grad, 0.3 * head.classifier.weight.detach().numpy())
    close(head.classifier.bias.grad, 0.5 * head.classifier.bias.detach().numpy())


@pytest.mark.parametrize('sizes', [(2, 2), (1, 2, 1)])
def test_gradient_of_the_decay_over_ranks(sizes):
    """The mean of the ranks' gradients, as DDP takes it, is that of the whole batch."""
    head, x = build(decay=DECAY, contrastive=None), feats(B)
    labels, mixer = torch.tensor(LABELS), torch.eye(D, dtype=torch.float64)
    mixer += 0.1 * feats(D, seed=5)

    def gradients(rows, share):
        parameter = mixer.clone().requires_grad_()  # a backbone of one matrix
        targets = Targets(labels, ('origin',), torch.ones(1), None, labels, share, Clock())
        targets = replace(targets, labels=share.take(labels))
        loss = head.loss(rows @ parameter, targets)['loss_decay']
        return torch.autograd.grad(loss, [parameter, *head.classifier.parameters()])

    whole = gradients(x, Share((B,)))
    shares = [Share(sizes, rank) for rank in range(len(sizes))]
    ranks = [gradients(share.take(x), share) for share in shares]
    for expected, *parts in zip(whole, *ranks, strict=True):
        torch.testing.assert_close(sum(parts) / len(parts), expected)


def test_second_stage_has_no_decay_loss():
    head, plain, x = build(decay=DECAY), build(), feats(B)
    head.finetune(), plain.finetune()
    targets = Targets.plain(torch.tensor(LABELS), Clock())
    losses = head.loss(x, targets)
    assert list(losses) == ['loss_joint']
    assert torch.equal(losses['loss_joint'], plain.loss(x, targets)['loss_joint'])


def test_a_reloaded_head_gives_the_same_losses():
    head, fresh = warm(build()), build()
    torch.nn.init.normal_(fresh.classifier.weight)
    fresh.load_state_dict(head.state_dict())
    x, targets = feats(3 * B), mixed_targets()
    for a, b in zip(head.loss(x, targets).values(), fresh.loss(x, targets).values(), strict=True):
        assert torch.equal(a, b)


def test_refuses():
    with pytest.raises(BCE3SError, match='only joint, contrastive and uniformity exist'):
        build(weights=dict(joint=1.0, contrast=0.1))
    for decay in (dict(bias=-1.0), dict(feature=math.nan)):
        with pytest.raises(BCE3SError, match='must be a number >= 0'):
            build(decay=decay)
    with pytest.raises(BCE3SError, match='head has 6 classes, the training set 3'):
        build().set_class_counts([3, 2, 1])
    with pytest.raises(BCE3SError, match='class 2 has no training sample'):
        build().set_class_counts([3, 2, 0, 1, 1, 1])


@pytest.mark.parametrize('config', [BCE3S, CE_TSL])
def test_a_compiled_head_is_the_same(config):
    head = warm(build(**config))
    compiled = copy.deepcopy(head)
    x, targets = feats(3 * B), mixed_targets()
    loss = torch.compile(compiled.loss, backend='aot_eager')
    for h, losses in ((head, head.loss(x, targets)), (compiled, loss(x, targets))):
        sum(losses.values()).backward()
        assert torch.equal(h.bank.features, head.bank.features)
    for a, b in zip(head.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
