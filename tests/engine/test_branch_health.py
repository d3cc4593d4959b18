"""The figures of the contrastive branch, and what a run says of a branch that gives nothing."""

import json

import numpy as np
import pytest
import torch
from mmengine.visualization import Visualizer
from trained_runs import ROOT, train

from bce3s.config import load_config
from bce3s.engine.branch_health import HEALTH
from bce3s.evaluation.branch_health import inert_from
from bce3s.losses import BCEContrastive
from bce3s.models import ClassMemoryBank, Targets, TripartiteHead
from bce3s.models.health import contrastive_health
from bce3s.randomness import Clock

K, B, D = 5, 4, 6


def batch(labels=(0, 2, 2, 4)):
    gen = torch.Generator().manual_seed(0)
    feats = torch.randn(B, D, generator=gen, dtype=torch.float64).requires_grad_()
    bank = ClassMemoryBank(K, D).double()
    seen = torch.tensor([0, 1, 2, 3])  # class 4 is not
    bank.update(torch.randn(4, D, generator=gen, dtype=torch.float64), seen)
    return feats, torch.tensor(labels), bank


def test_figures_by_hand():
    feats, labels, bank = batch()
    z = 2 * feats
    joint, contrastive = feats.square().sum(), (z**3).sum()
    found = contrastive_health(feats, joint, contrastive, z, labels, bank.rows(), BCEContrastive())
    mine, its = (torch.autograd.grad(v, feats)[0].norm() for v in (contrastive, joint))
    rows, memory = z.detach().numpy(), bank.features.numpy()

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    own = [cosine(z, memory[y]) for z, y in zip(rows, labels, strict=True) if y != 4]
    others = [
        cosine(z, memory[k]) for z, y in zip(rows, labels, strict=True) for k in range(4) if k != y
    ]
    unit = memory[:4] / np.linalg.norm(memory[:4], axis=1, keepdims=True)
    p = np.linalg.svd(unit)[1]
    p /= p.sum()
    wanted = dict(
        share=(mine / (mine + its)).item(),
        cos_own=np.mean(own),
        cos_other=np.mean(others),
        cos_std=np.std(own + others),
        rank=np.exp(-(p * np.log(p)).sum()),
        length=np.linalg.norm(rows, axis=1).mean(),
    )
    assert {k: v.item() for k, v in found.items()} == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(('entries', 'rank'), [(torch.eye(4, D), 4), (torch.ones(4, D), 1)])
def test_effective_rank_in_its_limits(entries, rank):
    feats, labels, bank = batch()
    bank.features[:4] = entries
    loss = feats.sum()
    found = contrastive_health(feats, loss, loss, feats, labels, bank.rows(), BCEContrastive())
    assert found['rank'].item() == pytest.approx(rank)
    assert found['share'].item() == pytest.approx(0.5)


def test_the_head_looks_where_somebody_watches():
    torch.manual_seed(0)
    head = TripartiteHead(K, D, dict(type='BCEJoint'), dict(type='BCEContrastive'))
    targets = Targets.plain(torch.tensor([0, 1, 2, 3]), Clock())
    feats = torch.randn(B, D, requires_grad=True)
    head.loss(feats, targets)
    assert head.health == {}
    head.watching = True
    losses = head.loss(feats, targets)
    grads = [
        torch.autograd.grad(losses[f'loss_{name}'], feats, retain_graph=True)[0].norm()
        for name in ('contrastive', 'joint')
    ]
    assert head.health['share'] == pytest.approx((grads[0] / sum(grads)).item())


def test_inert_from():
    def of(*shares):
        return inert_from([dict(epoch=i + 1, share=s) for i, s in enumerate(shares)])

    assert of() is None
    assert of(0.2, 0.005, 0.2) is None
    assert of(0.2, 0.005, 0.001) == 2
    assert of(0.0) == 1


def run(folder, contrastive, weight, **default_hooks):
    cfg = load_config(str(ROOT / 'configs/bce3s/digits.py'), [])
    cfg.train_cfg.finetune_epochs = 1
    cfg.model.head.contrastive = dict(type='BCEContrastive', **contrastive)
    cfg.model.head.weights.contrastive = weight
    cfg.default_hooks.update(default_hooks)
    train(cfg, folder, epochs=3)
    return torch.load(folder / 'epoch_3.pth', weights_only=True)


@pytest.mark.parametrize('bias', [0.0, 'balanced'])
def test_a_run_says_whether_the_branch_lives_and_does_not_change(
    tmp_path, bias, capfd, monkeypatch
):
    """As published, with a large weight, digits collapse in two epochs as 100 classes do."""
    shown = []
    monkeypatch.setattr(Visualizer, 'add_scalars', lambda _, row, **__: shown.append(row))
    monkeypatch.setattr('bce3s.engine.branch_health.PATIENCE', 1)
    state = run(tmp_path, dict(bias=bias), 10.0)
    output = ''.join(capfd.readouterr())
    history = state['message_hub']['runtime_info'][HEALTH]
    assert [row['epoch'] for row in history] == [1, 2]  # of the first stage
    assert json.loads((tmp_path / 'report.json').read_text())['contrastive'] == history
    inert = bias == 0.0
    assert output.count('Contrastive branch: inert from epoch 2') == inert  # once
    said = 'Contrastive branch: inert from epoch 2' if inert else 'Contrastive branch: alive'
    assert said in (tmp_path / 'report.md').read_text()
    assert sum('contrastive/share' in values for values in shown) == 2
    if inert:
        alone = run(tmp_path / 'alone', dict(bias=bias), 10.0, branches=None)['state_dict']
        assert all(torch.equal(value, alone[name]) for name, value in state['state_dict'].items())
