"""Whole runs with sampled classes: stopped and resumed, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper

from bce3s.config import load_config
from bce3s.engine import checkpoint as _atomic_backend  # noqa: F401  (registers it)
from bce3s.engine.lazy_sgd import LazySGD, check_sampling
from bce3s.engine.runner import QuietRunner
from bce3s.errors import BCE3SError
from bce3s.models import SampledTripartiteHead, TripartiteHead

ROOT = Path(__file__).resolve().parents[2]


def run(work_dir, resume_from=None):
    """Two epochs of BCE3S and two of the classifier alone, on digits; 8 labels and partners at
    most, so that of 10 classes some are left out.
    """
    cfg = load_config(str(ROOT / 'configs/bce3s/digits.py'), [])
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'lazy_sgd_{work_dir.name}'
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.default_hooks.progress = None
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    cfg.train_cfg.update(max_epochs=4, val_interval=4)
    cfg.train_cfg.finetune_epochs = 2
    cfg.model.backbone.depth = 8
    cfg.model.head.update(type='SampledTripartiteHead', sample_rate=0.8)
    cfg.model.head.contrastive = dict(type='BCEContrastive')
    cfg.model.head.classifier.type = 'SampledClassifier'
    cfg.model.head.joint.resample = 1.0
    cfg.optim_wrapper.optimizer.type = 'LazySGD'
    cfg.train_dataloader.batch_size = 4
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.n_max = 20
    if resume_from:
        cfg.resume, cfg.load_from = True, str(resume_from)
    runner = QuietRunner.from_cfg(cfg)
    runner.train()
    return torch.load(work_dir / 'epoch_4.pth', weights_only=True)


def test_a_resumed_run_equals_one_never_stopped(tmp_path):
    whole = run(tmp_path / 'whole')
    for epoch in (1, 3):
        resumed = run(tmp_path / f'from{epoch}', tmp_path / f'whole/epoch_{epoch}.pth')
        for name, value in whole['state_dict'].items():
            assert torch.equal(value, resumed['state_dict'][name]), name
        momenta = [c['optimizer']['state'] for c in (whole, resumed)]
        assert momenta[0].keys() == momenta[1].keys()
        for key, state in momenta[0].items():
            assert torch.equal(state['momentum_buffer'], momenta[1][key]['momentum_buffer'])


def test_what_cannot_train_a_head_that_samples():
    sampled = SampledTripartiteHead(
        40, 5, dict(type='BCEJoint'), classifier=dict(type='SampledClassifier'), sample_rate=0.5
    )
    dense = TripartiteHead(40, 5, dict(type='BCEJoint'))

    def check(head, optimizer, **options):
        check_sampling(head, OptimWrapper(optimizer(head.parameters(), lr=0.1), **options))

    check(sampled, LazySGD, clip_grad=dict(max_norm=1.0))
    by_value = dict(type='value', clip_value=1.0)
    with pytest.raises(BCE3SError, match='cannot clip by value'):
        check(sampled, LazySGD, clip_grad=dict(by_value))
    for other in (torch.optim.SGD, torch.optim.AdamW):
        with pytest.raises(BCE3SError, match=f"{other.__name__} is .*optimizer.type='LazySGD'"):
            check(sampled, other)
        check(dense, other, clip_grad=dict(by_value))
    wrapper = OptimWrapper(LazySGD(sampled.parameters(), lr=0.1))
    with pytest.raises(BCE3SError, match='EMAHook averages every row'):
        check_sampling(sampled, wrapper, [EMAHook()])
    check_sampling(dense, wrapper, [EMAHook()])
