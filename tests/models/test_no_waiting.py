"""In a training step the host never waits for a GPU."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from fake_gpu import fake_gpu, to_fake_gpu
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from real_data import ROOT
from torch import nn

from bce3s.config import load_config
from bce3s.models import classifier
from bce3s.randomness import Clock
from bce3s.registry import MODELS

CONFIGS = (
    'bce3s/cifar100lt_if100_r32.py',
    'bce3s/cifar100lt_if100.py',
    'bce3s/ablation/cifar100lt_if100_ce_tsl.py',
    'baselines/cifar100lt_if100_ce_r32.py',
    'icml/classification/cifar10_r18_sgd_da2.py',
    'rivals/glmc.py',
    'rivals/proco.py',
    'rivals/bcl.py',
    'rivals/ride.py',
    'rivals/ldam_drw.py',
    'rivals/nc_drw.py',
)
B = 4


def built(config):
    cfg = load_config(str(ROOT / 'configs' / config), [])
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = MODELS.build(cfg.model)
    model.head.set_class_counts([5] * model.head.num_classes)
    model.data_preprocessor.clock = Clock(epoch=9, epochs=10)
    return model.train()


def batch(model):
    rows = 2 * B if model.data_preprocessor.paired else B
    gen = torch.Generator().manual_seed(0)
    labels = torch.randint(model.head.num_classes, (rows,), generator=gen)
    images = torch.randint(256, (rows, 3, 32, 32), dtype=torch.uint8, generator=gen)
    return dict(inputs=images, data_samples=dict(labels=labels, indices=torch.arange(rows)))


@pytest.mark.parametrize('finetuning', [False, True])
@pytest.mark.parametrize('config', CONFIGS)
def test_augmentation_forward_pass_and_losses(config, finetuning):
    model = built(config)
    if finetuning:
        model.finetune_classifier()
    data = batch(model)
    with fake_gpu(), mock.patch.object(classifier, 'multiplies_bf16', return_value=True):
        to_fake_gpu(model)
        model.data_preprocessor._device = torch.device('cuda')
        losses = model(**model.data_preprocessor(data, training=True), mode='loss')
        total, values = model.parse_losses(losses)
        assert {value.device.type for value in (total, *values.values())} == {'cuda'}


def test_the_fake_gpu_notices_what_waits():
    with fake_gpu():
        x = torch.zeros(3, device='cuda')
        for wait in (x.sum().item, x.nonzero, lambda: x[x > 0], lambda: bool(x.any())):
            with pytest.raises(Exception, match=r'DataDependent|DynamicOutputShape|aten'):
                wait()
        with pytest.raises(Exception, match='pageable'):
            torch.ones(3).to('cuda', non_blocking=True)
        assert torch.ones(3).pin_memory().to('cuda').device.type == 'cuda'
        with pytest.raises(Exception, match='device'):
            x + torch.ones(3)
        assert (torch.ones(3) + 1).sum().item() == 6  # on the CPU nothing is fake
        assert isinstance(
            to_fake_gpu(nn.Linear(2, 3))(torch.zeros(1, 2, device='cuda')).shape[1], int
        )


@pytest.mark.gpu
@pytest.mark.parametrize('config', CONFIGS)
def test_a_whole_step_on_a_gpu(config):
    model = built(config).cuda()
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True))
    model.train_step(batch(model), optim)
    torch.cuda.set_sync_debug_mode('error')
    try:
        model.train_step(batch(model), optim)
    finally:
        torch.cuda.set_sync_debug_mode('default')
