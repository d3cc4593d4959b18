"""Every config is whole: it passes the strict key check, and its parts fit together."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torchvision import models

from bce3s.config import load_config
from bce3s.datasets.long_tailed import class_counts
from bce3s.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('bce3s', 'baselines', 'multilabel', 'rivals', 'icml', 'normalized')
LEAVES = sorted(path for name in FOLDERS for path in (ROOT / 'configs' / name).rglob('*.py'))
ICML = [path for path in LEAVES if 'icml' in path.parts]
BENCHMARKS = ('imagenet_lt', 'places_lt', 'inaturalist2018', 'voc_lt', 'coco_lt')
LISTS = [path for path in LEAVES if path.stem.startswith(BENCHMARKS)]


@cache
def config(path):
    return load_config(str(path), [])


def as_json(cfg):
    return json.dumps(cfg.to_dict(), sort_keys=True)


@cache
def backbone_of(text):
    with DefaultScope.overwrite_default_scope('bce3s'):
        return MODELS.build(json.loads(text))


@cache
def features_of(text, channels):
    """The channels of the last feature map of 32 x 32 images."""
    net = backbone_of(text)
    net.eval()
    with torch.no_grad():
        return net(torch.zeros(1, channels, 32, 32))[-1].shape[1]


@cache
def built(text):
    """Leaves that differ in data or schedule share it, and the backbone too with others."""
    cfg = json.loads(text)
    cfg['backbone'] = backbone_of(json.dumps(cfg['backbone'], sort_keys=True))
    with DefaultScope.overwrite_default_scope('bce3s'):
        return MODELS.build(cfg)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_config_is_whole(path):
    cfg = config(path)
    assert f'python tools/train.py {path.relative_to(ROOT)}' in path.read_text()
    model = built(as_json(cfg.model))
    num_classes, features = model.head.classifier.weight.shape
    assert model.head.num_classes == num_classes
    channels, neck = len(cfg.model.data_preprocessor.mean), cfg.model.get('neck') or {}
    of_backbone = features_of(as_json(cfg.model.backbone), channels)
    assert neck.get('in_channels', of_backbone) == of_backbone
    assert features == neck.get('out_channels', of_backbone)
    dataset = DATASETS.get(cfg.train_dataloader.dataset.type)
    paired = cfg.train_dataloader.batch_sampler.type == 'PairedBatchSampler'
    assert model.data_preprocessor.paired == paired
    train, val = (
        {k: v for k, v in loader.dataset.items() if k != 'split'}
        for loader in (cfg.train_dataloader, cfg.val_dataloader)
    )
    assert train == val  # so the evaluation set carries the training counts
    if 'imbalance_factor' in train:
        counts = class_counts(dataset.default_n_max, num_classes, train['imbalance_factor'])
        assert len(counts) == len(dataset.classes)
    elif hasattr(dataset, 'classes'):
        assert train['imbalance'] == 'none'
        assert num_classes == len(dataset.classes)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_the_options_in_its_docstring_are_options(path):
    for line in re.findall(r'--cfg-options (.*)', path.read_text()):
        load_config(str(path), re.findall(r'[\w.]+=[\w./]+', line))


@pytest.mark.parametrize('path', ICML, ids=lambda path: path.stem)
def test_settings_of_table_5(path):
    cfg = config(path)
    head, images = cfg.model.head, cfg.model.data_preprocessor
    optimizer, augment = dict(cfg.optim_wrapper.optimizer), images.get('augment', [])
    adam = 'adamw' in path.stem or 'imagenet' in path.stem
    assert (head.joint.type, head.classifier.normalize_weight, head.classifier.init) == (
        'BCEJoint',
        False,
        'kaiming_uniform',
    )
    assert cfg.train_dataloader.batch_sampler.type == 'GlobalBatchSampler'
    assert cfg.default_hooks.measures.type == 'FeatureMeasuresHook'
    schedule = cfg.default_hooks.schedule
    assert schedule.type == ('CosineLRHook' if adam else 'StepLRHook')
    assert optimizer['type'] == ('AdamW' if adam else 'SGD')
    assert ('momentum' in optimizer) == (not adam)
    if 'imagenet' in path.stem:
        assert cfg.train_cfg.max_epochs == 30
        return
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (100, 128)
    assert optimizer['lr'] == (0.001 if adam else 0.01)
    assert (images.mean, images.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    if path.parent.stem == 'nc':
        assert head.decay == dict(weight=5e-4, feature=5e-4, bias=5e-4)
        assert optimizer['weight_decay'] == 0
        assert list(augment) == []
    else:
        assert 'decay' not in head
        assert optimizer['weight_decay'] == (0.05 if adam else 5e-4)
        assert [op.type for op in augment] == ['BatchPadCrop', 'BatchFlip']
    mixed = dict(type='MixUpOrCutMix', mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8)
    assert images.get('batch_mix') == (mixed if 'da2' in path.stem else None)
    assert images.get('label_smoothing', 0) == (0.1 if 'da2' in path.stem else 0)


@pytest.mark.parametrize(
    'leaf', ['icml/nc/mnist_r18_sgd', 'icml/classification/cifar10_r18_sgd_da2']
)
def test_the_other_loss_and_the_sweeps_are_options(leaf):
    options = ['model.head.joint.type=CEJoint', 'model.head.classifier.bias_mean=10']
    options += ['train_dataloader.batch_size=16', 'optim_wrapper.optimizer.lr=1.25e-4']
    if 'nc' in leaf:
        options += ['model.head.decay.bias=0']
    cfg = load_config(str(ROOT / f'configs/{leaf}.py'), options)
    head = built(as_json(cfg.model)).head
    assert type(head.joint).__name__ == 'CEJoint'
    assert head.classifier.linear()[1].mean().item() == pytest.approx(-10, abs=0.05)
    if 'nc' in leaf:
        assert head.decay.lambdas == dict(weight=5e-4, feature=5e-4, bias=0)
    else:
        assert head.decay is None
    assert cfg.optim_wrapper.optimizer.lr == 1.25e-4


def test_published_values_stand_in_the_reproduction_config():
    """method.md's recipe, line by line, as the R34 config has it."""
    cfg = load_config(str(ROOT / 'configs/bce3s/cifar100lt_if100.py'), [])
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.finetune_epochs) == (330, 10)
    assert cfg.default_hooks.schedule.freeze_norm is False
    assert cfg.default_hooks.schedule.shift == 1
    assert dict(cfg.optim_wrapper.optimizer) == dict(
        type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-3, fused=True
    )
    assert cfg.train_dataloader.batch_size == 64
    assert cfg.train_dataloader.dataset.get('rule', 'first_n') == 'first_n'
    head = cfg.model.head
    assert head.joint.resample == 0.4
    assert head.contrastive.tau == 1.0
    assert dict(head.weights) == dict(joint=1.0, contrastive=0.1, uniformity=1.0)
    assert head.beta == 0.99999
    quirks = head.joint, head.contrastive, head.uniformity, cfg.model.data_preprocessor.mix[1]
    assert (quirks[0].soft_negatives, quirks[0].drop_positives, quirks[0].clamp) == (
        False,
        True,
        64.0,
    )
    assert (quirks[1].soft_negatives, quirks[1].start_epoch) == (False, 1)
    assert quirks[2].include_diagonal is True
    assert quirks[3].correct_lambda is False


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_only_the_published_recipe_trains_its_last_epoch_at_rate_0(path):
    """ResNet-34 on CIFAR-LT: BCE3S, its ablation, and its baselines."""
    of_bce3s = path.parts[-2] in ('bce3s', 'baselines', 'ablation')
    published = of_bce3s and path.stem.startswith('cifar')
    others = ('_r32', '_r32_validation', '_frozen')
    shift = config(path).default_hooks.schedule.get('shift', 0)
    assert shift == (1 if published and not path.stem.endswith(others) else 0)


@pytest.mark.parametrize(
    'leaf', ['icml/imagenet_r50', 'bce3s/places_lt_r152', 'multilabel/voc_lt_r50']
)
def test_pretrained_weights_fit_the_backbone(leaf):
    """torchvision's names and shapes, but for the classifier; nothing is downloaded."""
    backbone = config(ROOT / f'configs/{leaf}.py').model.backbone
    depth = leaf.split('_r')[1]
    assert backbone.init_cfg.checkpoint == f'torchvision://resnet{depth}'
    with torch.device('meta'):
        theirs = getattr(models, f'resnet{depth}')().state_dict()
    shapes = {name: value.shape for name, value in theirs.items() if not name.startswith('fc.')}
    ours = backbone_of(as_json(backbone)).state_dict()
    assert {name: value.shape for name, value in ours.items()} == shapes


@pytest.mark.parametrize('path', LISTS, ids=lambda path: path.stem)
def test_data_and_batches_of_lists_of_images(path):
    """Names of lists and number of classes as in the manifest; rates for a stated batch."""
    cfg, name = config(path), path.stem
    data, test = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    manifest = json.loads((ROOT / f'data_lists/{data.manifest}.json').read_text())
    assert name.startswith(data.manifest)
    assert data.data_root == f'data/{manifest["benchmark"]}'
    assert dict(data.lists) == {split: s['list'] for split, s in manifest['splits'].items()}
    assert (data.split, test.split) == ('train', 'test' if 'test' in data.lists else 'val')
    assert cfg.model.head.num_classes == manifest['num_classes']
    several = 'multilabel' in path.parts
    assert data.get('multilabel', False) == several
    batch = 32 if several else 128 if 'r152' in name else 256
    assert dict(cfg.auto_scale_lr) == dict(enable=False, base_batch_size=batch)
    assert cfg.train_dataloader.batch_size == batch
    first = cfg.train_cfg.max_epochs - cfg.train_cfg.get('finetune_epochs', 0)
    assert first == (30 if 'r152' in name or several else 100 if 'vit' in name else 90)
    warmup = cfg.default_hooks.schedule.get('warmup_epochs', 0)
    assert warmup == (3 if several else 5 if 'vit' in name or 'r152' in name else 0)
    colours = (0.466, 0.471, 0.380) if 'inat' in name else (0.485, 0.456, 0.406)
    assert cfg.model.data_preprocessor.mean == colours


def test_what_shapes_the_training_set_is_said_once():
    """The evaluation set follows in data root, imbalance and classes, unless it says otherwise."""
    leaf = str(ROOT / 'configs/bce3s/cifar100lt_if100.py')
    train = 'train_dataloader.dataset.'
    options = [f'{train}imbalance_factor=20', f'{train}data_root=elsewhere', f'{train}rule=ldam']
    test = load_config(leaf, options).val_dataloader.dataset
    assert (test.imbalance_factor, test.data_root, test.rule) == (20, 'elsewhere', 'ldam')
    assert test.split == 'test'
    other = load_config(leaf, [*options, 'val_dataloader.dataset.data_root=here'])
    assert other.val_dataloader.dataset.data_root == 'here'
    unlike = load_config(leaf, [*options, 'val_dataloader.dataset.type=CIFAR10LT'])
    assert set(unlike.val_dataloader.dataset) == {'type', 'split'}
