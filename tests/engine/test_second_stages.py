"""Every second stage of configs/rivals from one checkpoint of a first stage, on digits: what it
trains, on which draws, and that a stop changes nothing.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from trained_runs import once

from bce3s.config import load_config
from bce3s.engine import checkpoint as _atomic_backend  # noqa: F401  (registers it)
from bce3s.engine.runner import QuietRunner

ROOT = Path(__file__).resolve().parents[2]
STEPS = 13  # of an epoch: 405 images in batches of 32
CLASSIFIER = {'head.classifier.weight', 'head.classifier.bias'}
SCALES = {'head.classifier.scales'}
ROWS = dict(  # what the second stage trains, and whether it draws class-balanced
    crt=(CLASSIFIER, True),
    lws=(SCALES, True),
    mislas=(CLASSIFIER | SCALES, True),
    los=(CLASSIFIER, False),
    weight_balancing=(CLASSIFIER, False),
    h2t=(CLASSIFIER, True),
)
COUNTER = itertools.count()


class Draws(Hook):
    """The labels that are drawn, and the rates of all groups."""

    def __init__(self):
        self.labels, self.rates = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.labels.append(data_batch['data_samples']['labels'])
        self.rates.append([group['lr'] for group in runner.optim_wrapper.optimizer.param_groups])


def on_digits(name, work_dir, first, second, change=None, **changes):
    """The config as it is, with digits in place of CIFAR-100-LT and a small network."""
    cfg = load_config(str(ROOT / f'configs/rivals/{name}.py'), [])
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'test')):
        loader.dataset = dict(type='DigitsLT', split=split, imbalance_factor=20)
    cfg.train_dataloader.batch_size = 32
    crop = [dict(type='BatchPadCrop', padding=1)]
    cfg.model.data_preprocessor.update(mean=(0.305,), std=(0.376,), augment=crop)
    cfg.model.backbone.update(depth=8, in_channels=1)
    cfg.model.head.num_classes = 10
    cfg.train_cfg.update(max_epochs=first + second, val_interval=1)
    if second:
        cfg.train_cfg.finetune_epochs = second
    cfg.default_hooks.schedule.warmup_epochs = 0
    cfg.default_hooks.progress = None
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1, interval_iters=5)
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'second{next(COUNTER)}'
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.update(changes)
    if change is not None:
        change(cfg)
    runner = QuietRunner.from_cfg(cfg)
    runner.register_hook(draws := Draws())
    runner.train()
    return draws


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.fixture(scope='module')
def stage_1(tmp_path_factory):
    """Of ``ce.py``, from which all rows begin."""
    folder = tmp_path_factory.mktemp('second') / 'ce'
    return once('rivals-stage-1', folder, lambda to: on_digits('ce', to, 2, 0)) / 'epoch_2.pth'


@pytest.mark.parametrize('name', ROWS)
def test_from_one_checkpoint_of_a_first_stage(name, stage_1, tmp_path):
    trained, balanced = ROWS[name]
    draws = on_digits(name, tmp_path / 'whole', 0, 1, load_from=str(stage_1))
    before, after = state(stage_1), state(tmp_path / 'whole' / 'epoch_1.pth')
    moved = {k for k in after if k not in before or not torch.equal(before[k], after[k])}
    norms = {k for k in after if k.rpartition('.')[2].startswith(('running', 'num_batches'))}
    assert moved == trained | (set(after) - set(before)) | norms
    assert set(after) - set(before) == (SCALES if name in ('lws', 'mislas') else set())
    own = torch.cat([labels[:32] if name == 'h2t' else labels for labels in draws.labels])
    share = torch.bincount(own, minlength=10)[0].item() / len(own)  # natural: 120 / 405
    assert share == pytest.approx(0.1 if balanced else 120 / 405, abs=0.06)
    assert len(draws.labels) == STEPS

    # stopped in the middle of the stage
    checkpoint = tmp_path / 'whole' / 'iter_5.pth'
    on_digits(name, tmp_path / 'resumed', 0, 1, resume=True, load_from=str(checkpoint))
    ends = [tmp_path / run / 'epoch_1.pth' for run in ('whole', 'resumed')]
    whole, resumed = (torch.load(path, weights_only=True) for path in ends)
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key
    for key, moments in whole['optimizer']['state'].items():
        same = resumed['optimizer']['state'][key]['momentum_buffer']
        assert torch.equal(moments['momentum_buffer'], same), key


def test_both_stages_in_one_run(tmp_path):
    draws = on_digits('mislas', tmp_path, 1, 1)
    one, two = state(tmp_path / 'epoch_1.pth'), state(tmp_path / 'epoch_2.pth')
    moved = {k for k in two if k.startswith('head') and not torch.equal(one[k], two[k])}
    assert moved == ROWS['mislas'][0]
    assert (one['head.classifier.scales'] == 1).all()
    assert (two['head.classifier.scales'] != 1).all()
    # the scales at five times the rate of the weights
    assert {rate for rates in draws.rates[STEPS:] for rate in rates} == {0.02, 0.1}
    natural, balanced = torch.cat(draws.labels[:STEPS]), torch.cat(draws.labels[STEPS:])
    assert ((natural == 0).sum(), (natural == 9).sum()) == (120, 6)
    assert (balanced == 0).sum() < 62
    assert (balanced == 9).sum() > 20
