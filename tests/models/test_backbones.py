"""The CIFAR ResNets: published sizes, shapes, shortcut; and mmpretrain's and timm's by config."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope

from bce3s.errors import BCE3SError
from bce3s.models.backbones.cifar_resnet import CIFARBlock, CIFARResNet, ExpertsCIFARResNet
from bce3s.randomness import Clock
from bce3s.registry import MODELS


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(('depth', 'millions'), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_parameters_of_the_paper(depth, millions):
    """He et al. (CVPR 2016), Table 6, with the ten-class classifier (650 parameters)."""
    net = CIFARResNet(depth)
    assert round((parameters(net) + 650) / 1e6, 2) == millions
    weighty = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(weighty) == depth - 1  # and the classifier: shortcuts have no parameters


def test_parameters_of_the_wide_one():
    net = CIFARResNet(32, width=4)
    assert round(parameters(net) / 1e6, 1) == 7.4
    assert net.out_channels == 256


@pytest.mark.parametrize('size', [(32, 32), (28, 28), (8, 8), (9, 12)])
@pytest.mark.parametrize(
    ('depth', 'width', 'channels'), [(20, 1, 3), (20, 2, 1), (8, 0.5, 3), (14, 0.25, 1)]
)
def test_shapes(size, depth, width, channels):
    net = CIFARResNet(depth, width, channels)
    (out,) = net(torch.randn(2, channels, *size))
    assert net.out_channels == 64 * width
    assert len(net.blocks) == (depth - 2) // 2
    assert out.shape == (2, 64 * width, -(-size[0] // 4), -(-size[1] // 4))


def test_the_shortcut_strides_and_pads_with_zeros():
    block = CIFARBlock(4, 8, 2)
    torch.nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    x = torch.randn(2, 4, 6, 6)
    out = block(x.clone())
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2].relu())
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_input_is_left_as_it_was():
    x = torch.randn(2, 3, 8, 8)
    before = x.clone()
    CIFARResNet(20)(x)
    assert torch.equal(x, before)


def test_depths_that_do_not_exist():
    with pytest.raises(BCE3SError, match='depth must be 8, 14, 20, 32, 44 or 56, not 18'):
        CIFARResNet(18)


@pytest.mark.parametrize('width', [0, 0.3, 1 / 32])
def test_widths_that_do_not_exist(width):
    with pytest.raises(BCE3SError, match='use a multiple of 1/16'):
        CIFARResNet(8, width=width)


def by_config(backbone, in_channels):
    config = dict(
        type='LongTailedClassifier',
        flip_tta=True,
        data_preprocessor=dict(
            type='LongTailedPreprocessor',
            mean=(0.5,) * 3,
            std=(0.2,) * 3,
            mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')],
        ),
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='TripartiteHead',
            num_classes=5,
            in_channels=in_channels,
            joint=dict(type='BCEJoint', resample=0.4),
            contrastive=dict(type='BCEContrastive'),
            uniformity=dict(type='BCEUniformity'),
        ),
    )
    with DefaultScope.overwrite_default_scope('bce3s'):
        return MODELS.build(config)


@pytest.mark.parametrize(
    ('backbone', 'channels', 'millions'),
    [
        (dict(type='CIFARResNet', depth=20), 64, 0.27),
        (dict(type='ResNet_CIFAR', depth=34), 512, 21.28),  # 3 x 3 stem of stride 1, no max-pool
        (dict(type='ResNet', depth=50), 2048, 23.51),
        (dict(type='ResNeXt', depth=50, groups=32, width_per_group=4), 2048, 22.98),
        (dict(type='TIMMBackbone', model_name='resnet18', pretrained=False), 512, 11.18),
    ],
    ids=lambda x: x['type'] if isinstance(x, dict) else '',
)
def test_backbones_by_config(backbone, channels, millions):
    torch.manual_seed(0)
    model = by_config(backbone, channels)
    assert round(parameters(model.backbone) / 1e6, 2) == millions
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    samples = dict(labels=torch.tensor([0, 1, 4, 2]), indices=torch.arange(4))
    batch = dict(inputs=images, data_samples=samples)
    model.data_preprocessor.clock = Clock(1, 0, 0)
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.backbone.training
    model.eval()
    with torch.no_grad():
        out = model.val_step(batch)
    assert [row['index'] for row in out] == [0, 1, 2, 3]
    assert out[0]['scores'].shape == (5,)


def test_the_stem_of_the_published_net():
    model = by_config(dict(type='ResNet_CIFAR', depth=34), 512)
    stem = model.backbone.conv1
    assert (stem.kernel_size, stem.stride) == ((3, 3), (1, 1))
    with torch.no_grad():
        feature_map = model.backbone(torch.randn(1, 3, 32, 32))[-1]
    assert feature_map.shape == (1, 512, 4, 4)  # 32 / 8: the stem keeps the size


@pytest.mark.parametrize('width', [0.75, 1])
def test_experts_share_the_first_stage_and_nothing_else(width):
    """RIDE's 24 and 48 channels an expert, or 32 and 64; features side by side."""
    torch.manual_seed(0)
    net, channels = ExpertsCIFARResNet(20, expert_width=width).eval(), int(64 * width)
    (out,) = net(torch.randn(2, 3, 8, 8))
    assert (net.out_channels, out.shape) == (3 * channels, (2, 3 * channels, 2, 2))
    assert len(net.blocks) == 3
    for e, part in enumerate(out.split(channels, 1)):
        net.zero_grad()
        part.sum().backward(retain_graph=True)
        assert net.stem.weight.grad.any()
        moved = [
            any(p.grad is not None and p.grad.any() for p in x.parameters()) for x in net.experts
        ]
        assert moved == [e == i for i in range(3)]
    assert not torch.equal(out[:, :channels], out[:, channels : 2 * channels])
    one = ExpertsCIFARResNet(20, experts=1, expert_width=1)
    assert parameters(one) == parameters(CIFARResNet(20))


@pytest.mark.parametrize(
    'options',
    [dict(experts=0), dict(experts=1.5), dict(expert_width=0.25), dict(expert_width=0.77)],
)
def test_experts_that_cannot_be(options):
    with pytest.raises(BCE3SError, match=r'experts|expert_width'):
        ExpertsCIFARResNet(20, **options)
