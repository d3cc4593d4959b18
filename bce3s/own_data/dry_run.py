"""``tools/train.py CONFIG --dry-run``: what would be trained on what, and how long it takes;
nothing is written.

Own data are also inspected for what commonly is wrong with them (:mod:`bce3s.own_data.inspection`).
"""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from torch import OutOfMemoryError, nn

from bce3s.datasets.frequencies import images_of_classes, summary
from bce3s.datasets.in_memory import DownloadedLongTailed
from bce3s.engine.run_directory import thresholds_of
from bce3s.errors import BCE3SError
from bce3s.models.backbones.timm_backbone import PRETRAINED
from bce3s.own_data.duration import STEPS, estimate, in_words, measured, seconds_frozen
from bce3s.own_data.found import FoundImages
from bce3s.own_data.inspection import format_findings, inspect
from bce3s.registry import DATASETS, MODELS


def dry_run(cfg: Config, found: FoundImages | None) -> int:
    """Builds the model, shows settings and class counts, and inspects own data.

    Args:
        cfg: with its options and flags.
        found: own images, if ``cfg`` is of some.

    Returns:
        0.

    Raises:
        BCE3SError: whatever would have ended the run before its first step.
    """
    if found:
        labels = {split: [label for _, label in images] for split, images in found.splits.items()}
        names, counts = found.classes, found.counts('train')
    else:
        labels, names, counts = _of_loaders(cfg)
    model = MODELS.build(cfg.model)
    if getattr(model.backbone, 'weights', None) not in (None, PRETRAINED):  # a file: read it
        model.backbone.init_weights()
    print(f'\n{_settings(cfg, model)}', flush=True)
    if found:
        print(_time(cfg, model, found), flush=True)
    images = images_of_classes(counts, labels)
    images['train'] = images.get('train', counts)
    several = any(each and not isinstance(each[0], int) for each in labels.values())
    sizes = {split: len(each) for split, each in labels.items()} if several else None
    print(f'\n{summary(images, names, thresholds_of(cfg), sizes)}', flush=True)
    if found:
        print('\nLooking at every image ...', flush=True)
        print(format_findings(inspect(found)), flush=True)
    print('\nThis was a dry run: nothing was trained or written. Without --dry-run it begins.')
    return 0


def _of_loaders(cfg: Config) -> tuple[dict[str, list[int]], list[str], list[int]]:
    """split -> labels, names of the classes, training counts; the data sets are built for it, and
    those that would download what is missing say so instead.
    """
    sets: dict[str, Any] = {}
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None:
            kind = DATASETS.get(loader.dataset.type)
            fetches = isinstance(kind, type) and issubclass(kind, DownloadedLongTailed)
            offline = dict(download=False) if fetches else {}
            dataset = DATASETS.build({**loader.dataset, **offline})
            sets.setdefault(str(getattr(dataset, 'metainfo', {}).get('split', split)), dataset)
    if not sets or not all(hasattr(each, 'labels') for each in sets.values()):
        raise BCE3SError(
            f'--dry-run: the data sets of {cfg.filename} have no labels to be counted.'
        )
    train = sets.get('train', next(iter(sets.values())))
    counts = [int(n) for n in train.metainfo['class_counts']]
    names = [str(name) for name in train.metainfo.get('classes', range(len(counts)))]
    return {split: each.labels.tolist() for split, each in sets.items()}, names, counts


def _settings(cfg: Config, model: nn.Module) -> str:
    """The model, its parameters, the loaders and the schedule, as configured."""
    parameters = sum(p.numel() for p in model.parameters())
    backbone = cfg.model.backbone
    depth = f' of depth {backbone.depth}' if 'depth' in backbone else ''
    depth = f' {backbone.name}' if backbone.type == 'TimmBackbone' else depth
    batch, optimizer = cfg.train_dataloader.batch_size, cfg.optim_wrapper.optimizer
    schedule = cfg.default_hooks.get('schedule') or dict(type='a constant rate')
    return '\n'.join(
        [
            f'model      {backbone.type}{depth}, {parameters:,} parameters with the head',
            f'training   {cfg.train_cfg.max_epochs} epochs, batch {batch} a process, '
            f'{optimizer.type} at {optimizer.lr:g}; {schedule["type"]}',
            f'work dir   {cfg.work_dir}',
        ]
    )


def _time(cfg: Config, model: nn.Module, found: FoundImages) -> str:
    """How long the training takes on this machine, estimated from a few steps."""
    if getattr(model.backbone, 'frozen', False):
        seconds = in_words(seconds_frozen(cfg, model, found))
        return f'time       {seconds} here, if nothing else runs and no image was embedded before'
    try:
        pace = measured(cfg, model, found)
    except OutOfMemoryError:
        return 'time       the memory is full after a step: give a smaller own_data.batch_size=N'
    return (
        f'time       {in_words(estimate(cfg, found, pace))} here, if nothing else runs '
        f'({STEPS} steps were timed: {pace.first:.2g} s each)'
    )
