"""Several labels a picture, from the targets to the head's losses, against loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import oracles
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.models import ClassMemoryBank, Targets, TripartiteHead
from bce3s.models.health import contrastive_health
from bce3s.randomness import Clock

K, D, COUNTS = 4, 6, [9, 5, 2, 1]
LABELS = torch.tensor([[1, 0, 1, 0], [0, 1, -1, 0], [0, 0, 0, 0]], dtype=torch.int8)
PARTNERS = torch.tensor([[0, 1, 1, 0], [1, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.int8)
BCE3S = dict(
    joint=dict(type='BCEJoint'),
    contrastive=dict(type='BCEContrastive', tau=0.5),
    uniformity=dict(type='BCEUniformity'),
)
TARGETS = Targets.mixed(LABELS, PARTNERS, [1.0, 0.3], Clock())


def build(**kwargs):
    torch.manual_seed(0)
    kwargs = BCE3S | dict(projection_dim=5) | kwargs
    head = TripartiteHead(K, D, **kwargs).double()
    head.set_class_counts(COUNTS)
    return head


def feats(rows):
    gen = torch.Generator().manual_seed(1)
    return torch.randn(rows, D, generator=gen, dtype=torch.float64)


def test_mixed_targets():
    nan = math.nan
    expected = [
        [[1, 0, 1, 0], [0, 1, nan, 0], [0, 0, 0, 0]],
        [[0.3, 0.7, 1, 0], [0.7, nan, nan, 0], [0, 0, 0, 0.7]],
    ]
    soft = TARGETS.soft(K, torch.float64)
    np.testing.assert_allclose(soft.numpy(), expected, atol=1e-7)  # lam is float32
    smooth = replace(TARGETS, label_smoothing=0.2).soft(K, torch.float64)
    np.testing.assert_allclose(smooth.numpy(), 0.8 * np.array(expected) + 0.1, atol=1e-7)


def known(row, soft):
    """Indices of the labels that are known."""
    return [j for j in range(len(row)) if not math.isnan(soft[j])]


def test_losses_of_the_head_are_those_of_loops():
    head, x = build(weights=dict(joint=1, contrastive=1, uniformity=1)), feats(6)
    bank = np.array([[1.0, 0, 0, 0, 0], [0, 2, 0, 0, 1], [1, 1, 1, 0, 0], [0] * 5])
    head.bank.features.copy_(torch.tensor(bank))
    head.bank.filled[:3] = True
    soft = TARGETS.soft(K, torch.float64).tolist()
    logits = TARGETS.per_view(head(x)).tolist()
    z = TARGETS.per_view(head.projector(x)).tolist()
    joint = contrastive = 0.0
    for v in range(2):
        for i in range(3):
            j = known(logits[v][i], soft[v][i])
            joint += oracles.bce_row(logits[v][i], soft[v][i], j) / 6
            if v == 1:  # of the mixed view
                cosines = [oracles.cosine(z[v][i], m) / 0.5 for m in bank[:3]]
                seen = [k for k in j if k < 3]
                contrastive += oracles.bce_row(cosines, soft[v][i], seen) / 3
    losses = head.loss(x, TARGETS)
    assert losses['loss_joint'].item() == pytest.approx(joint, rel=1e-9)
    assert losses['loss_contrastive'].item() == pytest.approx(contrastive, rel=1e-9)
    weight = head.classifier.weight.detach().numpy()
    uniformity = oracles.uniformity_bce(weight)
    assert losses['loss_uniformity'].item() == pytest.approx(uniformity, rel=1e-9)
    assert head.bank.filled.tolist() == [True] * 3 + [False]


def test_the_second_stage_weighs_the_positive_terms():
    head, x = build(beta=0.9), feats(3)
    weights = oracles.class_balanced(COUNTS, 0.9)
    head.finetune()
    targets = Targets.plain(LABELS, Clock())
    total = 0.0
    for row, labels in zip(head(x).tolist(), LABELS.tolist(), strict=True):
        for score, y, w in zip(row, labels, weights, strict=True):
            if y >= 0:
                total += w * oracles.softplus(-score) if y else oracles.softplus(score)
    assert head.loss(x, targets)['loss_joint'].item() == pytest.approx(total / 3, rel=1e-6)


def test_reweighting_is_of_the_positives():
    head = build(reweight=dict(type='EffectiveNumberWeights', beta=0.9))
    second, x = build(beta=0.9), feats(6)
    second.finetune()
    value = second.loss(x, TARGETS)['loss_joint']
    torch.testing.assert_close(head.loss(x, TARGETS)['loss_joint'], value, rtol=1e-6, atol=0)
    head = build(joint=dict(type='FocalBCE'), reweight=dict(type='BatchBalancedWeights'))
    with pytest.raises(BCE3SError, match='FocalBCE has no weights of the positive terms'):
        head.loss(x, TARGETS)


@pytest.mark.parametrize('momentum', [0.0, 0.5])
def test_the_sample_with_the_fewest_labels_writes_the_bank(momentum):
    bank = ClassMemoryBank(K, D, momentum=momentum).double()
    features, filled = np.zeros((K, D)), np.zeros(K, dtype=bool)
    gen = torch.Generator().manual_seed(0)
    for _ in range(20):
        rows = torch.randn(5, D, generator=gen, dtype=torch.float64)
        labels = (torch.rand(5, K, generator=gen) < 0.3).char()
        bank.update(rows, labels)
        new, now = oracles.bank_after_several(features, filled, rows.numpy(), labels.tolist())
        old = np.where(filled[:, None], momentum * features + (1 - momentum) * new, new)
        features = np.where((labels == 1).any(0).numpy()[:, None], old, features)
        filled = now
        np.testing.assert_allclose(bank.features.numpy(), features, atol=1e-12)
        assert bank.filled.tolist() == filled.tolist()


def test_one_label_each_is_the_bank_of_integer_labels():
    one, several = ClassMemoryBank(K, D), ClassMemoryBank(K, D)
    rows, labels = torch.randn(9, D), torch.randint(3, (9,))
    one.update(rows, labels)
    several.update(rows, torch.nn.functional.one_hot(labels, K).char())
    assert torch.equal(one.features, several.features)
    assert torch.equal(one.filled, several.filled)


def test_all_labels_of_a_picture_are_its_own_for_the_branch_health():
    head, x = build(), feats(3).requires_grad_()
    z, memory = x[:, :5], torch.eye(4, 5, dtype=torch.float64)
    filled = torch.tensor([True, True, True, False])
    given = z, LABELS, (memory, filled), head.contrastive
    figures = contrastive_health(x, x.sum(), x.square().sum(), *given)
    cosines = torch.nn.functional.normalize(z, dim=1)[:, :3].detach()
    own, other = ((value == LABELS)[:, :3] for value in (1, 0))
    torch.testing.assert_close(figures['cos_own'], cosines[own].mean())
    torch.testing.assert_close(figures['cos_other'], cosines[other].mean())


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(joint=dict(type='CEJoint')), 'CEJoint is for pictures with one'),
        (dict(contrastive=dict(type='CEContrastive')), r'CEContrastive \(model.head.contrastive\)'),
        (dict(centers=dict(compactness=0.1)), r'CenterTerms \(model.head.centers\)'),
    ],
)
def test_parts_for_one_label_say_so(options, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        build(**options).loss(feats(6), TARGETS)
