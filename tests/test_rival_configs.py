"""Every config of configs/rivals: a step of training, and what all of them have in common."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from bce3s.config import load_config
from bce3s.datasets.long_tailed import class_counts
from bce3s.randomness import Clock
from bce3s.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
RIVALS = sorted((ROOT / 'configs' / 'rivals').glob('*.py'))
COUNTS = class_counts(500, 100, 100)
HARNESS = load_config(str(ROOT / 'configs/rivals/ce.py'), [])


@pytest.mark.parametrize('path', RIVALS, ids=lambda path: path.stem)
def test_it_trains(path):
    """Two steps, and one of the second stage where there is one: every parameter moves in them."""
    cfg = load_config(str(path), [])
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = MODELS.build(cfg.model)
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
    model.head.set_class_counts(COUNTS)
    model.train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    for step, epoch in enumerate((0, 199)):  # DRW weighs the classes in the second
        train_step(model, optim, Clock(0, epoch, step, 200))
    if cfg.train_cfg.get('finetune_epochs'):
        model.finetune_classifier(cfg.default_hooks.schedule.freeze_norm)
        train_step(model, optim, Clock(0, 200, 2, 200))
    for name, value in model.named_parameters():
        assert not torch.equal(value, before[name]), name


def train_step(model, optim, clock, size=8):
    rows = size * (1 + model.data_preprocessor.paired)
    gen = torch.Generator().manual_seed(clock.step)
    images = torch.randint(256, (rows, 3, 32, 32), generator=gen, dtype=torch.uint8)
    labels = torch.randint(100, (rows,), generator=gen)
    samples = dict(labels=labels, indices=torch.arange(rows))
    model.data_preprocessor.clock = clock
    log = model.train_step(dict(inputs=images, data_samples=samples), optim)
    assert log['loss'].isfinite()


@pytest.mark.parametrize('path', RIVALS, ids=lambda path: path.stem)
def test_it_keeps_to_the_harness(path):
    """Data, subset, batch, network, first-stage length: only the method may differ."""
    cfg = load_config(str(path), [])
    for at in ('dataset', 'batch_size'):
        assert cfg.train_dataloader[at] == HARNESS.train_dataloader[at]
    backbone = cfg.model.backbone
    if backbone.type == 'ExpertsCIFARResNet':
        assert (backbone.depth, backbone.experts) == (32, 3)
    else:
        assert backbone == HARNESS.model.backbone
    assert cfg.train_cfg.max_epochs - cfg.train_cfg.get('finetune_epochs', 0) == 200
    assert not cfg.model.flip_tta
    assert f'`{path.name}`' in (path.parent / 'README.md').read_text()


def test_the_options_in_the_list():
    """AutoAugment and Cutout; another factor; other data; the published network."""
    text = (ROOT / 'configs/rivals/README.md').read_text()
    (augment,) = re.findall(r'"(model\.data_preprocessor\.augment=\S+)"', text)
    cfg = load_config(str(ROOT / 'configs/rivals/bal_bce.py'), [augment])
    kinds = [each['type'] for each in cfg.model.data_preprocessor.augment]
    assert kinds == ['BatchPadCrop', 'BatchFlip', 'BatchAutoAugment', 'BatchCutout']
    others = [line.split() for line in re.findall(r'`((?:train_dataloader)[^`]+)`', text)]
    assert [len(options) for options in others] == [1, 3]
    for options in others:
        load_config(str(ROOT / 'configs/rivals/ce.py'), options)
    ((leaf, option),) = re.findall(r'train\.py (configs/bce3s/\S+) --cfg-options (\S+)', text)
    assert load_config(str(ROOT / leaf), [option]).model.head.joint.type == 'BalancedBCE'
