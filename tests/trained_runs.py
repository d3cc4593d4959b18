"""Runs of two epochs: on digits, and on a folder of pictures.

Each is trained once a session, whichever test and whichever process asks first; the others get a
copy of it.
"""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image

from bce3s.config import load_config
from bce3s.engine import checkpoint as _atomic_backend  # noqa: F401  (registers it)
from bce3s.engine.runner import QuietRunner

ROOT = Path(__file__).resolve().parents[1]
COUNTER = itertools.count()
COLOURS = dict(ant=(200, 60, 60), bee=(60, 200, 60), cat=(60, 60, 200))
TRAIN = dict(ant=9, bee=5, cat=2)
SIZE, RESIZE = 16, 20


def train(cfg, work_dir, epochs=2):
    """Trains a small network and leaves in ``work_dir`` what every run leaves there."""
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'small{next(COUNTER)}'
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.default_hooks.progress = cfg.default_hooks.measures = None
    cfg.default_hooks.checkpoint.interval = 1
    cfg.model.backbone.depth = 8
    QuietRunner.from_cfg(cfg).train()
    check_learning(work_dir)
    return Path(work_dir)


def check_learning(work_dir):
    """Of a run that has ended: its loss fell, its weights moved, and in every epoch they could."""
    path = max(Path(work_dir).glob('epoch_*.pth'), key=lambda path: int(path.stem[6:]))
    checkpoint = torch.load(path, weights_only=True)
    norms = {name for name in checkpoint['state_dict'] if name.endswith('running_mean')}
    for name in norms:  # of the weights that norms begin with
        assert (checkpoint['state_dict'][name.replace('running_mean', 'weight')] != 1).any(), name
    assert norms
    history = checkpoint['message_hub']['log_scalars']
    assert (history['train/lr']['log_history'] > 0).all()
    losses = history['train/loss_joint']['log_history']
    if len(losses) > 20:  # fewer say little
        assert losses[-len(losses) // 4 :].mean() < losses[: len(losses) // 4].mean()


def once(name: str, work_dir, make: Callable[[Path], object]) -> Path:
    """A copy at ``work_dir`` of the folder that ``make`` fills, once a session, for ``name``."""
    shared = Path(os.environ['BCE3S_TEST_RUNS']) / name.replace('/', '-')
    shared.parent.mkdir(exist_ok=True)
    with FileLock(f'{shared}.lock'):
        if not shared.with_suffix('.done').exists():
            make(shared)
            shared.with_suffix('.done').touch()
    shutil.copytree(shared, work_dir, dirs_exist_ok=True)
    for path in Path(work_dir).rglob('*'):
        if path.suffix in ('.py', '.json', '.md') or path.name == 'last_checkpoint':
            path.write_text(path.read_text().replace(str(shared), str(work_dir)))
    return Path(work_dir)


def digits_run(work_dir, config='baselines/digits_bce', epochs=2):
    def make(folder):
        train(load_config(str(ROOT / f'configs/{config}.py'), []), folder, epochs)

    return once(f'{config}-{epochs}', work_dir, make)


def folder_run(work_dir, root, epochs=2):
    """With CE, on the pictures of :func:`write_pictures`."""
    cfg = load_config(str(ROOT / 'configs/baselines/digits_ce.py'), [])
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'test')):
        loader.dataset = dict(
            type='ImageFolder', data_root=str(root), split=split, size=SIZE, resize=RESIZE
        )
        loader.collate_fn = dict(type='default_collate')
    cfg.train_dataloader.batch_size = 8
    cfg.model.backbone.in_channels, cfg.model.head.num_classes = 3, 3
    cfg.model.data_preprocessor.update(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    return train(cfg, work_dir, epochs)


def picture(name, rng, size=(30, 40)):
    pixels = np.array(COLOURS[name]) + rng.normal(0, 40, (*size, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_pictures(root):
    """``train`` and ``val`` of three classes; those of ``val`` of many kinds."""
    rng = np.random.default_rng(0)
    for split, counts in dict(train=TRAIN, val=dict.fromkeys(TRAIN, 4)).items():
        for name, number in counts.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                image = picture(name, rng, tuple(rng.integers(18, 60, 2)))
                _save(image, folder, i, split == 'val')
    return root


def _save(image, folder, i, varied):
    if not varied or i == 0:
        image.save(folder / f'{i}.png')
    elif i == 1:  # on its side
        exif = Image.Exif()
        exif[274] = 6
        image.save(folder / f'{i}.jpg', exif=exif)
    elif i == 2:
        image.convert('CMYK').save(folder / f'{i}.jpg')
    else:
        image.convert('LA').save(folder / f'{i}.png')


def set_rejection(work_dir, threshold=0.5, name='report.json', false=12.5, images=40, **changes):
    """Writes a rejection into the report of a run, with one threshold for all classes and the same
    as the uniform one; None: leaves none there; ``changes`` too.
    """
    path = Path(work_dir) / 'report.json'
    report = json.loads(path.read_text()) | changes
    before, classes = report.get('rejection') or {}, list(range(len(report['classes'])))
    shares = dict(all=false, many=false, medium=None, few=None, plain=false)
    effects = dict(
        false_rejection=shares,
        false_interval=[0.0, 100.0],
        at_threshold=shares,
        accuracy=dict(all=50.0, many=50.0, medium=None, few=None),
    )
    group = dict(
        classes=classes, threshold=threshold, images=images, rank=2, interval=[0.625, 13.125]
    )
    report['rejection'] = dict(
        thresholds=[threshold] * len(classes),
        rate=5.0,
        images=images,
        interval=dict(plain=[0.625, 13.125], all=[0.5, 14.0]),
        groups=[group],
        chosen_on='test',
        measured_on='test',
        cross_fitted=True,
        **effects,
        uniform=dict(threshold=threshold, uniform_accuracy=50.0, **effects),
        keep=before.get('keep'),
    )
    if threshold is None:
        del report['rejection']
    (Path(work_dir) / name).parent.mkdir(exist_ok=True)
    (Path(work_dir) / name).write_text(json.dumps(report))
