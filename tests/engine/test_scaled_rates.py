"""Learning rates that follow the batch size, in whole runs on digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from bce3s.config import load_config
from bce3s.engine import checkpoint as _atomic_backend  # noqa: F401  (registers it)
from bce3s.engine.runner import QuietRunner


class Rates(Hook):
    """Notes the rates of all groups in every step."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append([g['lr'] for g in runner.optim_wrapper.optimizer.param_groups])


def real_rates(work_dir, scale, resume_from=None, batch=64):
    """(steps, groups) of two epochs and two of the classifier alone; 120 digits."""
    cfg = load_config(str(Path(__file__).parents[2] / 'configs/bce3s/digits.py'), [])
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'rates_{work_dir.name}'
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.default_hooks.progress = None
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    cfg.train_cfg.update(max_epochs=4, val_interval=4)
    cfg.default_hooks.schedule = dict(type='TwoStageHook', lr=0.02, shift=0.0)
    cfg.train_cfg.finetune_epochs = 2
    cfg.model.backbone.depth = 8
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={'head.classifier': dict(lr_mult=2.0)})
    cfg.train_dataloader.batch_size = batch
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.n_max = 20
    cfg.auto_scale_lr = dict(enable=scale, base_batch_size=256)
    if resume_from:
        cfg.resume, cfg.load_from = True, str(resume_from)
    runner, rates = QuietRunner.from_cfg(cfg), Rates()
    runner.register_hook(rates)
    runner.train()
    return torch.tensor(rates.seen, dtype=torch.float64)


def test_both_stages_follow_the_batch_size_once_also_when_resumed(tmp_path):
    """Base 256, global batch 64: a quarter of every group's rate."""
    plain, scaled = real_rates(tmp_path / 'plain', False), real_rates(tmp_path / 'scaled', True)
    said = 'A step takes 64 images; the learning rate is meant for 256: give --auto-scale-lr'
    for name, told in (('plain', True), ('scaled', False)):
        (log,) = (tmp_path / name).glob('*/*.log')
        assert (said in log.read_text()) == told
    assert len(plain[0].unique()) == 2  # groups of two rates
    assert plain[0].min() == 0.05
    # of the second stage, after half its cosine; the classifier has twice the rate in both
    assert plain[-1].unique().tolist() == [0.01, 0.02]
    torch.testing.assert_close(scaled, plain / 4)
    per_epoch = len(plain) // 4
    for epoch in (1, 3):  # in the first stage, and in the second
        checkpoint = tmp_path / f'scaled/epoch_{epoch}.pth'
        resumed = real_rates(tmp_path / f'from{epoch}', True, checkpoint)
        torch.testing.assert_close(resumed, scaled[epoch * per_epoch :])
    # Resumed with half the batch, at the end of an epoch: half the rate.
    halved = real_rates(tmp_path / 'halved', True, tmp_path / 'scaled/epoch_1.pth', batch=32)
    assert halved[0].tolist() == pytest.approx((scaled[per_epoch] / 2).tolist())
    assert halved[-1].tolist() == pytest.approx((scaled[-1] / 2).tolist())
