"""A run on pictures with several labels, as a user starts it: both stages, losses, bank, report."""

from __future__ import annotations

import json
import math

import pytest
import torch
from trained_runs import ROOT

from bce3s.config import load_config
from bce3s.engine.runner import QuietRunner
from bce3s.errors import BCE3SError


def short(name, work_dir, epochs=1):
    cfg = load_config(str(ROOT / f'configs/multilabel/{name}.py'), [])
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.update(n_max=60, imbalance_factor=10)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{name} {work_dir.name}'
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.default_hooks.progress = None
    return cfg


def test_two_stages(tmp_path):
    cfg = short('digits', tmp_path, epochs=2)
    cfg.train_cfg.finetune_epochs = 1
    cfg.model.head.uniformity.cooccurrence = True
    runner = QuietRunner.from_cfg(cfg)
    runner.train()
    head, labels = runner.model.head, runner.train_dataloader.dataset.labels.double()
    together = labels.T @ labels
    assert head.class_counts.tolist() == labels.sum(0).tolist()
    n = together.diagonal()
    expected = (1 - together / torch.outer(n, n).sqrt()).fill_diagonal_(0)
    torch.testing.assert_close(head.uniformity.pair_weights, expected)
    assert head.bank.filled.all()
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['split'] == 'val'
    assert 0 < report['all'] <= 100
    assert all(math.isfinite(t) for t in report['decisions']['thresholds'])
    (figures,) = report['contrastive']
    assert figures['share'] > 0


def test_the_rival_that_asks_for_the_labels_is_told(tmp_path):
    runner = QuietRunner.from_cfg(short('digits_db', tmp_path))
    runner.train()
    frequencies = runner.train_dataloader.dataset.labels.double().mean(0)
    torch.testing.assert_close(runner.model.head.joint.frequencies, frequencies)


def test_a_class_that_every_picture_has(tmp_path):
    runner = QuietRunner.from_cfg(short('digits_bce', tmp_path))
    runner.train_loop.dataloader.dataset.labels[:, 3] = 1
    with pytest.raises(BCE3SError, match='The training set has no picture without class 3'):
        runner.train()
