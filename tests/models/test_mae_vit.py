"""A ViT that starts from a file of a masked autoencoder, against timm's ViT of the same weights."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from bce3s.config import load_config
from bce3s.errors import BCE3SError
from bce3s.models.backbones.mae_vit import MAEVisionTransformer
from bce3s.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=64)


def theirs(size=32):
    """timm's, whose names MAE's files have, with weights that are not the initial ones."""
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    net = timm.models.VisionTransformer(
        img_size=size, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0,
        global_pool='avg',
    )  # fmt: skip
    for value in net.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return net.eval()


def save(path, weights, key='model', prefix=''):
    weights = {f'{prefix}{name}': value for name, value in weights.items()}
    rest = dict(mask_token=torch.zeros(1), decoder_embed=torch.zeros(2))
    torch.save({key: weights | rest, 'args': argparse.Namespace(lr=1.0)}, path)
    return str(path)


def ours(path, size=32, **options):
    net = MAEVisionTransformer(
        arch=ARCH, img_size=size, patch_size=8, out_type='avg_featmap', final_norm=False,
        init_cfg=path and dict(type='Pretrained', checkpoint=path), **options,
    )  # fmt: skip
    net.init_weights()
    net.eval()
    return net


def test_it_computes_what_timms_does(tmp_path):
    net = theirs()
    encoder = {k: v for k, v in net.state_dict().items() if not k.startswith('fc_norm')}
    mine = ours(save(tmp_path / 'mae.pth', encoder))
    assert (mine.ln2.weight == 1).all()  # new
    mine.ln2.load_state_dict(net.fc_norm.state_dict())
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(mine(images)[0], net(images), rtol=1e-4, atol=1e-4)


def test_files_by_mmpretrains_names_and_of_another_resolution(tmp_path):
    net = ours(None)
    with torch.no_grad():
        for value in net.parameters():
            value.normal_()
    path = save(tmp_path / 'mm.pth', net.state_dict(), 'state_dict', 'backbone.')
    again, larger = ours(path), ours(path, size=64)
    for name, value in net.state_dict().items():
        if not name.startswith('ln2.'):
            assert torch.equal(again.state_dict()[name], value), name
    assert torch.equal(larger.layers[1].attn.qkv.weight, net.layers[1].attn.qkv.weight)
    assert larger.pos_embed.shape == (1, 65, 16)
    assert torch.equal(larger.pos_embed[:, 0], net.pos_embed[:, 0])


def test_files_that_do_not_do(tmp_path):
    weights = theirs().state_dict()
    with pytest.raises(BCE3SError, match='cannot be read'):
        ours(str(tmp_path / 'none.pth'))
    part = {k: v for k, v in weights.items() if 'blocks.1.attn.qkv' not in k}
    with pytest.raises(BCE3SError, match=r'layers\.1\.attn\.qkv\.weight is not there'):
        ours(save(tmp_path / 'part.pth', part))
    with pytest.raises(BCE3SError, match=r'is of shape \(16, 3, 8, 8\)'):
        ours(save(tmp_path / 'grey.pth', weights), in_channels=1)


def test_livt_lowers_the_rate_layer_by_layer_and_decays_matrices_only():
    """By shape: 12 layers, the last of them at 0.65 times the rate of the head's."""
    cfg = load_config(str(ROOT / 'configs/rivals/livt/imagenet_lt_vit_b16.py'), [])
    assert cfg.model.head.joint.type == 'BalancedBCE'
    assert cfg.model.data_preprocessor.label_smoothing == 0.1
    cfg.model.backbone.update(arch=dict(ARCH, num_layers=12), img_size=32)
    cfg.model.head.update(in_channels=16, num_classes=5)
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    rates = {g['param_name']: (g['lr'], g['weight_decay']) for g in groups}
    assert rates['head.classifier.weight'] == (1e-3, 0.05)
    assert rates['head.classifier.bias'] == (1e-3, 0)
    assert rates['backbone.ln2.weight'] == (1e-3, 0)
    for i in (0, 11):
        rate, decay = rates[f'backbone.layers.{i}.attn.qkv.weight']
        assert (rate, decay) == (pytest.approx(1e-3 * 0.65 ** (12 - i)), 0.05)
    rate = pytest.approx(1e-3 * 0.65**13)
    assert rates['backbone.pos_embed'] == rates['backbone.cls_token'] == (rate, 0)
