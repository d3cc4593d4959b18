"""The configs for images in files train and evaluate, shrunk by options, on a few generated images.

At full size they are built by ``test_configs.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bce3s.config import load_config
from bce3s.engine import checkpoint as _atomic_backend  # noqa: F401  (registers it)
from bce3s.engine.runner import QuietRunner

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ('imagenet_lt', 'places_lt', 'inaturalist2018', 'voc_lt', 'coco_lt')
LEAVES = sorted(
    path.relative_to(ROOT / 'configs').with_suffix('').as_posix()
    for folder in ('bce3s', 'baselines', 'multilabel')
    for path in (ROOT / 'configs' / folder).glob('*.py')
    if path.stem.startswith(BENCHMARKS)
)
FAST = (
    'bce3s/places_lt_vit_b16',
    'bce3s/places_lt_r152',
    'bce3s/inaturalist2018_r50_sampled',
    'baselines/inaturalist2018_ce_r50',
    'multilabel/voc_lt_r50',
)
TRAIN = [4, 3, 2, 1]  # images of each class; batches of 4, 4 and 2
TEST = [2, 2, 2, 2]
SMALL_VIT = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder of PNG files with lists named as those of all benchmarks."""
    root, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    for split, counts in dict(train=TRAIN, val=TEST, test=TEST).items():
        lines, table = [], ['path,labels\n']
        for label, number in enumerate(counts):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 256, (40, 48, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}.png')
                lines.append(f'{split}/{label}/{i}.png {label}\n')
                also = f';{(label + 1) % 4}' if split != 'train' else ''
                table.append(f'{split}/{label}/{i}.png,{label}{also}\n')
        for name in ('ImageNet_LT', 'Places_LT', 'iNaturalist18'):
            (root / f'{name}_{split}.txt').write_text(''.join(lines))
        for name in ('VOC_LT', 'COCO_LT'):
            (root / f'{name}_{split}.csv').write_text(''.join(table))
    return root


def small(leaf, images, work_dir):
    """The config with tiny images, four classes, four epochs and thin networks."""
    options = [f'model.head.num_classes={len(TRAIN)}', 'train_cfg.max_epochs=4']
    options += ['train_dataloader.batch_size=4', 'default_hooks.schedule.warmup_epochs=0']
    for loader in ('train_dataloader', 'val_dataloader'):
        options += [f'{loader}.num_workers=0', f'{loader}.pin_memory=False']
        options += [f'{loader}.dataset.{key}' for key in ('size=32', 'resize=36', 'manifest=None')]
        options += [f'{loader}.dataset.data_root={images}']
    if not leaf.startswith('baselines'):
        options += ['train_cfg.finetune_epochs=2']
    cfg = load_config(str(ROOT / f'configs/{leaf}.py'), options)
    backbone = cfg.model.backbone
    if backbone.type == 'VisionTransformer':
        backbone.update(arch=SMALL_VIT, img_size=32)
        cfg.model.head.in_channels = 32
    else:
        thin = dict(stem_channels=8, base_channels=8, init_cfg=None)
        backbone.update(thin, **(dict(groups=4) if 'groups' in backbone else dict(depth=18)))
        cfg.model.head.in_channels = 256 if 'groups' in backbone else 64
    cfg.work_dir, cfg.experiment_name = str(work_dir), leaf.replace('/', '_')
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.default_hooks.progress = None
    return cfg


@pytest.mark.parametrize(
    'leaf',
    [leaf if leaf in FAST else pytest.param(leaf, marks=pytest.mark.slow) for leaf in LEAVES],
)
def test_config_trains_and_evaluates(leaf, images, tmp_path):
    runner = QuietRunner.from_cfg(small(leaf, images, tmp_path))
    runner.model.init_weights()  # which happens once only
    begun = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    moved = {
        name
        for name, parameter in runner.model.named_parameters()
        if not torch.equal(parameter.detach(), begun[name])
    }
    assert {'head.classifier.weight', 'head.classifier.bias'} <= moved
    assert any(name.startswith('backbone') for name in moved)
    assert ('backbone.conv1.weight' in moved) == (
        runner.cfg.model.backbone.type != 'VisionTransformer' and 'r152' not in leaf
    )
    assert runner.model.finetuning == (not leaf.startswith('baselines'))
    assert runner.iter == 12
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['epoch'] == 4
    assert report['class_counts'] == TRAIN
    assert len(report['per_class']) == len(TRAIN)
    assert 0 <= report['all'] <= 100
