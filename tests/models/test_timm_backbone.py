"""Networks of timm as backbones: what they give, what of them is trained, whose weights fit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bce3s.engine.layer_rates import LayerwiseRates
from bce3s.errors import BCE3SError
from bce3s.models.backbones.light_tuning import merged
from bce3s.models.backbones.timm_backbone import PRETRAINED, TimmBackbone, facts_of_name

timm = pytest.importorskip('timm')
CNN, VIT = 'test_efficientnet', 'test_vit'


def backbone(name=VIT, **options):
    torch.manual_seed(0)
    size = dict(img_size=32) if name == VIT else {}
    return TimmBackbone(name, **size, **options)


@pytest.fixture
def file(tmp_path):
    """Of a whole network, with its classifier, as the Hub has it."""

    def write(name, suffix='safetensors'):
        torch.manual_seed(1)
        size = dict(img_size=32) if name == VIT else {}
        weights = timm.create_model(name, num_classes=7, **size).state_dict()
        path = tmp_path / f'{name}.{suffix}'
        save_file(weights, path) if suffix == 'safetensors' else torch.save(weights, path)
        return str(path), weights

    return write


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
@pytest.mark.parametrize('name', [CNN, VIT])
def test_its_features_are_timms(name, suffix, file):
    path, weights = file(name, suffix)
    net = backbone(name, weights=path)
    images = torch.randn(3, 3, 32, 32)
    size = dict(img_size=32) if name == VIT else {}
    theirs = timm.create_model(name, num_classes=7, **size).eval()
    theirs.load_state_dict(weights)
    net.init_weights()
    net.train()  # frozen: in training too
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        torch.testing.assert_close(net(images)[0], expected)
    assert net.out_features == expected.shape[1]
    assert net.frozen
    assert not any(value.requires_grad for value in net.parameters())


def test_images_are_resized_by_the_filter_that_timm_names():
    net, images = backbone(size=32), torch.randn(2, 3, 8, 8)
    expected = torch.nn.functional.interpolate(images, size=(32, 32), mode=net.interpolation)
    torch.testing.assert_close(net(images)[0], backbone()(expected)[0])


@pytest.mark.parametrize('train', [dict(lora=2), dict(adapter=3)])
def test_what_is_put_beside_begins_at_nothing_and_learns(train, file):
    path, _ = file(VIT)
    plain, net = backbone(weights=path), backbone(weights=path, train=train)
    plain.init_weights()
    net.init_weights()  # weights of the plain network find their places
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(net(images)[0], plain(images)[0])
    trained = [name for name, value in net.named_parameters() if value.requires_grad]
    assert trained
    assert all('lora_' in name or '.adapter.' in name for name in trained)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.5)
    for _ in range(3):
        optimizer.zero_grad()
        net(images)[0].square().mean().backward()
        optimizer.step()
    assert not torch.allclose(net(images)[0], plain(images)[0], rtol=1e-3)


def test_low_rank_updates_merge():
    net = backbone(train=dict(lora=2))
    for name, value in net.named_parameters():
        if 'lora_' in name:
            torch.nn.init.normal_(value, std=0.1)
    images = torch.randn(2, 3, 32, 32)
    whole = merged(copy.deepcopy(net.net))
    assert not any('lora_' in name for name in whole.state_dict())
    assert whole.state_dict().keys() == backbone().net.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(whole(images), net(images)[0])


def test_the_last_blocks_are_trained():
    net = backbone(train=dict(blocks=2))
    trained = {name.split('.')[2] for name, p in net.named_parameters() if p.requires_grad
               and name.startswith('net.blocks')}  # fmt: skip
    assert trained == {str(len(net.net.blocks) - 2), str(len(net.net.blocks) - 1)}
    cnn = backbone(CNN, train=dict(blocks=1)).train()
    assert not any(m.training for m in cnn.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert backbone(CNN, train='all').train().net.training


@pytest.mark.parametrize(('name', 'train'), [(CNN, 'all'), (VIT, 'all'), (VIT, dict(lora=2))])
def test_rates_fall_from_layer_to_layer(name, train):
    """The last layer has the share of the head's rate asked for, each below 3/4 of the next."""
    net = nn.ModuleDict(dict(backbone=backbone(name, train=train), head=nn.Linear(4, 2)))
    keys = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)), layer_decay=0.75)
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=2.0))
    optimizer = LayerwiseRates(wrapper, keys)(net).optimizer
    rates = {
        param: round(group['lr'], 9)
        for group in optimizer.param_groups
        for param in group['params']
    }
    assert {rates[param] for param in net.head.parameters()} == {2.0}
    named = {name: rates[p] for name, p in net.backbone.net.named_parameters() if p.requires_grad}
    groups = timm.models.group_parameters(net.backbone.net, net.backbone.net.group_matcher())
    layers = {name: layer for layer, names in groups.items() for name in names}
    last = max(layers.values())
    assert named == {n: round(0.2 * 0.75 ** (last - layers[n]), 9) for n in named}
    assert len({*named.values()}) > 1


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (
            dict(name='test_efficientnt'),
            "no network 'test_efficientnt'. Near are test_efficientnet",
        ),
        (dict(name='test_vit.nothing'), "no weights 'nothing' of test_vit; it has r160_in1k"),
        (dict(name=CNN, train=dict(lora=2)), 'no linear layers of attention'),
        (dict(name=CNN, train=dict(adapter=2)), 'no blocks with an MLP'),
        (dict(name=VIT, train=dict(lora=0)), 'a whole number from 1'),
        (dict(name=VIT, train=dict(lora=1000)), 'give a smaller rank'),
        (dict(name=VIT, train='some'), "give None, 'all', dict"),
        (dict(name=VIT, depht=3), 'cannot be built'),
    ],
)
def test_bad_options_are_sentences(options, sentence):
    with pytest.raises(BCE3SError, match=sentence.replace('(', r'\(')):
        TimmBackbone(**options)


def test_tokens_and_other_sizes_are_refused():
    with pytest.raises(BCE3SError, match='not one vector an image'):
        backbone(global_pool='')(torch.zeros(1, 3, 32, 32))
    with pytest.raises(BCE3SError, match='does not take images of'):
        TimmBackbone('vit_tiny_patch16_224', img_size=32)(torch.zeros(1, 3, 16, 16))


def test_weights_of_another_network_are_refused(file, tmp_path, monkeypatch):
    path, _ = file('test_resnet')
    for name in (CNN, VIT):
        with pytest.raises(BCE3SError, match=f'are not the weights of {name}'):
            backbone(name, weights=path).init_weights()
    torch.save({'w': torch.zeros(1)}, tmp_path / 'w.pth')
    with pytest.raises(BCE3SError, match='is missing'):
        backbone(weights=str(tmp_path / 'w.pth')).init_weights()
    (tmp_path / 'cut.safetensors').write_bytes(Path(path).read_bytes()[:999])
    with pytest.raises(BCE3SError, match=r'cannot be read \(SafetensorError'):
        backbone(weights=str(tmp_path / 'cut.safetensors')).init_weights()
    with pytest.raises(
        BCE3SError, match=r'no such file.*fetch model\.safetensors of timm/test_vit'
    ):
        backbone(weights='nowhere').init_weights()

    def offline(*_, **__):
        raise OSError('no network')

    net = backbone(weights=PRETRAINED)
    monkeypatch.setattr(timm, 'create_model', offline)
    with pytest.raises(BCE3SError, match=r'could not be fetched \(OSError\).*--weights FILE'):
        net.init_weights()


def test_what_is_known_before_a_network_is_built():
    vit, cnn = facts_of_name(VIT, 64), facts_of_name(CNN)
    assert vit['options'] == dict(img_size=64)
    assert (vit['features'], vit['fixed'], cnn['features'], cnn['fixed']) == (64, True, 256, False)
    assert (vit['size'], cnn['size'], cnn['options']) == (64, 160, {})
    with torch.no_grad():
        net = TimmBackbone(VIT, **vit['options'])
        assert net(torch.zeros(1, 3, 64, 64))[0].shape == (1, 64)
