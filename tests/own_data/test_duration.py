"""What a training is said to take: by a clock that is told the time."""

import math
from itertools import count

import pytest
import torch
from mmengine.registry import init_default_scope
from picture_folders import put_coloured

from bce3s.config import load_config
from bce3s.own_data import duration
from bce3s.own_data.complete import complete
from bce3s.own_data.duration import Pace, estimate, measured
from bce3s.registry import MODELS


@pytest.fixture
def own(tmp_path, request):
    put_coloured(tmp_path / 'pictures', dict(a=40, b=20, c=10))
    config = load_config(f'configs/{request.param}.py', [])
    config.data_root, config.own_data.size = str(tmp_path / 'pictures'), 16
    config.own_data.epochs, config.own_data.batch_size = 20, 8
    init_default_scope('bce3s')
    return config, complete(config, tmp_path / 'run', write=False, say=str)


BOTH = pytest.mark.parametrize('own', ['bce3s/my_folder', 'baselines/my_folder_ce'], indirect=True)


@BOTH
@pytest.mark.parametrize('cuda', [False, True])
def test_the_estimate_is_the_sum_of_steps_and_validations(own, cuda, monkeypatch):
    cfg, found = own
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(duration, 'cores', lambda: 2)
    cfg.train_dataloader.num_workers = 4
    pace = Pace(read=0.25, first=3.0, second=1.0, test=0.5)
    two_stages = cfg.default_hooks.schedule.type == 'TwoStageHook'
    steps, drawn = math.ceil(len(found.splits['train']) / 8), 16 if two_stages else 8
    reading, images = drawn * 0.25 / (4 if cuda else 2), len(found.splits['val'])
    epochs = cfg.train_cfg.max_epochs
    first = 20 if two_stages else epochs
    expected = 0.0
    for epoch in range(1, epochs + 1):
        step = 3.0 if epoch <= first else 1.0
        expected += steps * (max(step, reading) if cuda else step + reading)
        if epoch % cfg.train_cfg.val_interval == 0:
            network, read = images / 8 * 0.5, images * 0.25 / (4 if cuda else 2)
            expected += max(network, read) if cuda else network + read
    assert estimate(cfg, found, pace) == pytest.approx(expected)


@BOTH
def test_steps_of_both_stages_are_timed(own):
    cfg, found = own
    model, ticks = MODELS.build(cfg.model), count()
    pace = measured(cfg, model, found, clock=lambda: float(next(ticks)))
    assert pace.read == pytest.approx(1 / len(found.splits['train']))
    assert pace.first == pace.second == pace.test == pytest.approx(1 / duration.STEPS)
    assert next(ticks) == 8
    assert model.finetuning
