"""A config for somebody's own images is completed: data, splits, settings; and described."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from bce3s.datasets.checks import HOW, bits_used, one_of
from bce3s.errors import BCE3SError
from bce3s.own_data.find import ListOptions, find
from bce3s.own_data.found import (
    FOLDER,
    FoundImages,
    not_measured,
    quoted,
    read_splits,
    write_splits,
)
from bce3s.own_data.frozen import choose_frozen, fill_frozen
from bce3s.own_data.parents import FOLDERS, keep_parents
from bce3s.own_data.pretrained import init_cfg_of
from bce3s.own_data.settings import CHOICES, NETWORKS, Facts, Settings, choose
from bce3s.own_data.splits import hold_out, usable
from bce3s.processes import cores
from bce3s.wording import counted

COMMAND = 'python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH'
KEYS = ('data_root', 'own_data')  # of the config, gone when it is complete
SAMPLED = 200  # images whose sides are looked at
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
SEPARATORS = dict(semicolon=';', pipe='|', comma=',', space=' ')  # of labels in a cell, as words
SIZE_OF_TEST_BATCH = {'small': 256, 'large': 64}


def complete(
    cfg: Config,
    work_dir: str | Path,
    keep: bool = False,
    write: bool = True,
    say: Callable[[str], Any] = print,
) -> FoundImages:
    """Finds images and splits, writes them to ``WORK_DIR/data``, and fills in ``cfg``, which has no
    ``data_root`` and no ``own_data`` afterwards. Every process of a run comes to the same; the
    first one of each machine writes, for machines may share a disk or not, and the first speaks.

    Args:
        cfg: with ``data_root`` and ``own_data``.
        work_dir: of the run.
        keep: whether the run goes on, so that splits which were written down stay as they are.
        write: False: nothing is written (a dry run).
        say: prints the settings and what was noted.

    Raises:
        BCE3SError: no ``data_root``, nothing there that can be trained on, images of the written
            splits that have gone, or a work dir that cannot be written to.
    """
    options = _options(cfg.own_data)
    folder = Path(work_dir).expanduser().resolve() / FOLDER
    before = read_splits(folder) if keep else None
    if before is not None:
        found, facts = before
        _check_before(found, cfg.data_root)
    elif cfg.data_root in (None, ''):
        raise BCE3SError(f'data_root, the folder with your images, is not given: {COMMAND}')
    else:
        found, facts = _prepared(_path(cfg.data_root), options)
    if Path(work_dir).resolve() == found.root:
        raise BCE3SError(
            f'{work_dir} holds the images: give another --work-dir, so that the figures of the run '
            'are not taken for images.'
        )
    rank = os.environ.get('RANK', '0')
    if write and before is None and os.environ.get('LOCAL_RANK', rank) == '0':
        write_splits(folder, found, facts)
        keep_parents(work_dir, _path(cfg.data_root), found, options.get('parents'))
    init_cfg, network = init_cfg_of(options.get('pretrained'))
    fixed = {key: options.get(key) for key in CHOICES}
    if backbone := options.get('backbone'):
        settings, timms = choose_frozen(facts, fixed, backbone, options.get('train') is not None)
    else:
        fixed['network'] = fixed['network'] or network
        settings, timms = choose(facts, fixed, init_cfg is not None), None
    if found.multilabel:  # all labels are compared
        settings = replace(settings, resample=1.0)
    bits = bits_used([os.path.join(found.root, path) for path, _ in found.splits['train']])
    ground = options.get('ground')
    colours = ({} if bits is None else dict(bits=bits)) | (
        {} if ground is None else dict(ground=list(ground))
    )
    if timms:
        fill_frozen(cfg, timms, settings, facts, options)
    else:
        _fill_model(cfg.model, facts, settings)
    fill_in(cfg, found, facts, settings, folder, colours)
    if init_cfg is not None:
        cfg.model.backbone.init_cfg = init_cfg
    for key in KEYS:
        cfg._cfg_dict.pop(key)
    if rank == '0':
        say(described(found, facts, settings, cfg, bits))
    return found


def _options(own_data: Any) -> dict[str, Any]:
    """``own_data`` of a config, where its kinds of values are right."""
    if not hasattr(own_data, 'keys'):
        raise BCE3SError(f'own_data={own_data!r}: give a dict, or own_data.KEY=VALUE.')
    columns = own_data.get('columns')
    columns = [columns] if isinstance(columns, str) else columns
    named = isinstance(columns, list | tuple) and all(isinstance(c, str) for c in columns)
    if columns is not None and not (named and len(columns) in (1, 2)):
        raise BCE3SError(
            f'own_data.columns={columns!r}: give the names of two columns, PATHS,LABELS, or that '
            'of paths alone, where there is a column for each class.'
        )
    multilabel, separator = own_data.get('multilabel'), own_data.get('separator')
    if multilabel not in (None, True, False):
        raise BCE3SError(f'own_data.multilabel={multilabel!r}: give True or False.')
    if separator not in (None, *SEPARATORS):
        raise BCE3SError(f'own_data.separator={separator!r}: give {", ".join(SEPARATORS)}.')
    left = own_data.get('leave_out') or ()
    left = [left] if isinstance(left, str) else left
    if not isinstance(left, list | tuple) or not set(left) <= {'val', 'test'}:
        raise BCE3SError(f'own_data.leave_out={left!r}: give val, test, or both: val,test.')
    if (parents := own_data.get('parents')) not in (None, FOLDERS):
        raise BCE3SError(
            f'own_data.parents={parents!r}: give {FOLDERS}, where pictures lie in '
            'PARENT/CLASS/IMAGE, or leave it out.'
        )
    return dict(own_data, leave_out=tuple(left), columns=columns)


def list_options(own_data: Any) -> ListOptions:
    """How lists are to be read, of ``own_data`` of a config."""
    options = _options(own_data)
    columns, images, suffix = (options.get(key) for key in ('columns', 'images', 'suffix'))
    return ListOptions(
        columns and tuple(columns),
        images and str(images),
        suffix and str(suffix),
        options['leave_out'],
        options.get('parents') == FOLDERS,
        options.get('multilabel'),
        SEPARATORS.get(options.get('separator')),
    )


def _path(data_root: Any) -> str:
    """As it was written: an option with a comma has been taken for a list."""
    parts = data_root if isinstance(data_root, list | tuple) else [data_root]
    return ','.join(map(str, parts))


def _prepared(data_root: str, options: dict[str, Any]) -> tuple[FoundImages, Facts]:
    """Images that can be used, with a validation split; and the facts."""
    how = options.get('check', 'headers')
    one_of('own_data.check', how, HOW)
    found, marks = usable(find(data_root, list_options(options)), how)
    found.root = found.root.resolve()
    if not found.splits.get('val'):
        found = hold_out(
            found, marks['train'], options.get('val_fraction', 0.2), options.get('val_most', 50)
        )
    if found.multilabel:
        _check_marks(found)
    return found, facts_of(found)


def _check_marks(found: FoundImages) -> None:
    marks = [label for _, label in found.splits['train']]
    always = [name for k, name in enumerate(found.classes) if not any(row[k] == 0 for row in marks)]
    if always:
        raise BCE3SError(
            f'{found.root}: no training image is said to be without {quoted(always)}, so that '
            'nothing can be learnt of it: leave the label out, or add images without it.'
        )


def facts_of(found: FoundImages) -> Facts:
    """What the settings follow from; the sides of up to ``SAMPLED`` images are looked at."""
    import torch

    counts = found.counts('train')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    images = len(found.splits['train'])
    return Facts(images, max(counts), len(counts), _median_side(found), device)


def _median_side(found: FoundImages) -> int:
    """Median of the shorter sides, of images evenly spread over the training list."""
    from PIL import Image

    paths = [path for path, _ in found.splits['train']]
    sides = []
    for path in paths[:: max(1, -(-len(paths) // SAMPLED))]:
        try:
            with Image.open(found.root / path) as image:
                sides.append(min(image.size))
        except Exception:  # a damaged image can raise anything, and counts for nothing
            continue
    return sorted(sides)[len(sides) // 2] if sides else 224


def check_same_images(work_dir: str | Path, data_root: str) -> None:
    """
    Raises:
        BCE3SError: a run was begun with images of another folder, or some are gone.
    """
    before = read_splits(Path(work_dir).expanduser().resolve() / FOLDER)
    if before is not None:
        _check_before(before[0], data_root)


def _check_before(found: FoundImages, data_root: Any) -> None:
    """The images that a run was begun with must all be there when it goes on; ``data_root`` may be
    their folder, a list in it, or a folder above it.
    """
    path = Path(_path(data_root or found.root)).expanduser().resolve()
    if path not in (found.root, *found.root.parents) and path.parent != found.root:
        raise BCE3SError(
            f'This run was begun with the images in {found.root}, not {path}: leave data_root out, '
            'or give another --work-dir.'
        )
    images = [path for split in found.splits.values() for path, _ in split]
    gone = [path for path in images if not os.path.exists(found.root / path)]
    if gone:
        raise BCE3SError(
            f'{len(gone):,} of the {len(images):,} images that this run was begun with are gone '
            f'from {found.root}, for instance {gone[0]}: put them back, or begin a new run with '
            'another --work-dir.'
        )


# ---------------------------------------------------------------------------------------- filling
def fill_in(
    cfg: Config,
    found: FoundImages,
    facts: Facts,
    settings: Settings,
    folder: Path,
    colours: dict[str, Any],
) -> None:
    """Sets what ``settings`` decide of loaders and schedule; what a config has besides stays.
    ``colours``: how images become RGB, which follows from the training images, as arguments of the
    data sets.
    """
    _fill_schedule(cfg, settings)
    world = max(1, int(os.environ.get('WORLD_SIZE') or 1))
    images = dict(
        type='OwnImages',
        data_root=str(found.root),
        lists=str(folder),
        size=settings.size,
        resize=settings.resize,
        random_crop=settings.random_crop,
        **colours,
    )
    frozen = any(hook.type == 'FrozenFeaturesHook' for hook in cfg.get('custom_hooks') or ())
    test_batch = SIZE_OF_TEST_BATCH['small' if settings.size <= 64 else 'large']
    if 'test' in found.splits:
        cfg.test_dataloader = cfg.val_dataloader.copy()
        cfg.test_evaluator, cfg.test_cfg = cfg.val_evaluator.copy(), dict()
    for split in ('train', 'val', 'test'):
        if (loader := cfg.get(f'{split}_dataloader')) is not None:
            loader.dataset = dict(images, split=split)
            loader.num_workers = 0 if frozen else number_of_workers(facts.device)
            loader.pin_memory = facts.device == 'cuda'
            loader.batch_size = -(-settings.batch_size // world) if split == 'train' else test_batch
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=settings.batch_size)


def _fill_model(model: Any, facts: Facts, settings: Settings) -> None:
    backbone, features = NETWORKS[settings.network]
    model.backbone = dict(backbone)
    model.data_preprocessor.update(mean=MEAN, std=STD, augment=settings.augment)
    model.head.update(num_classes=facts.classes, in_channels=features)
    if 'beta' in model.head:
        model.head.beta = settings.beta
    if 'resample' in model.head.joint:
        model.head.joint.resample = settings.resample


def _fill_schedule(cfg: Config, settings: Settings) -> None:
    epochs, hook = settings.epochs, cfg.default_hooks.schedule
    hook.warmup_epochs = min(round(0.05 * settings.epochs), settings.epochs - 1)
    if hook.type == 'TwoStageHook':
        hook.lr = settings.finetune_lr
        cfg.train_cfg.finetune_epochs = settings.finetune_epochs
        epochs += settings.finetune_epochs
    cfg.train_cfg.max_epochs = epochs
    cfg.train_cfg.val_interval = max(1, epochs // 10)
    cfg.optim_wrapper.optimizer.lr = settings.lr


def number_of_workers(device: str) -> int:
    """Processes that read images: as many as there are CPUs, 8 at most; half of them where the
    training itself needs the CPUs.
    """
    return min(8, cores() if device == 'cuda' else max(1, cores() // 2))


# ------------------------------------------------------------------------------------------- text
def described(
    found: FoundImages, facts: Facts, settings: Settings, cfg: Config, bits: int | None = None
) -> str:
    """What was found and chosen, in one block of text; ``bits``: that 16-bit images use."""
    sums = {split: len(images) for split, images in found.splits.items()}
    parts = ', '.join(f'{split} {number:,}' for split, number in sums.items())
    made = ' (held out of the training images)' if 'val' in found.made else ''
    both = '' if not cfg.train_cfg.get('finetune_epochs') else f' + {settings.finetune_epochs}'
    second = f', second stage {settings.finetune_lr:g}' if both else ''
    steps = -(-facts.images // settings.batch_size)
    device = 'a GPU' if facts.device == 'cuda' else 'no GPU'
    augment = ', '.join(op['type'].removeprefix('Batch') for op in settings.augment) or 'none'
    way, more = 'from scratch', 'own_data.network=NAME '
    if cfg.model.backbone.get('init_cfg'):
        way = 'from pretrained weights'
    if (network := cfg.model.backbone).type == 'TimmBackbone':
        trained = network.get('train')
        way = 'frozen: each image is embedded once' if trained is None else f'trained: {trained}'
        more = 'own_data.backbone=NAME '
    return '\n'.join(
        [
            f'{found.root}: {counted(facts.classes, "class")}, '
            f'{counted(sum(sums.values()), "image")}, {facts.side} pixels a side (median); '
            f'{parts}{made}',
            f'  network    {settings.network} at {settings.size} x {settings.size} ({device}), '
            f'{way}',
            f'  batch      {settings.batch_size}, {counted(steps, "step")} an epoch',
            f'  epochs     {settings.epochs}{both}, {counted(steps * settings.epochs, "step")} in '
            'the first stage',
            f'  rate       {settings.lr:g}{second}; resample {settings.resample:g}, beta '
            f'{settings.beta:g}',
            f'  augment    {augment}',
            f'  change with --cfg-options own_data.epochs=N own_data.size=PIXELS {more}'
            'own_data.batch_size=N',
            *(f'  note: {note}' for note in _notes(found, bits)),
        ]
    )


def _notes(found: FoundImages, bits: int | None) -> list[str]:
    """What was noted, and classes that are too rare to be measured."""
    train = found.counts('train')
    few = [name for name, n in zip(found.classes, train, strict=True) if n < 4]
    notes = [
        *found.notes,
        *not_measured(found.classes, found.counts('val'), 'a validation image'),
    ]
    if few:
        notes.append(f'With 3 training images or fewer: {quoted(few)}.')
    if bits is not None and bits < 16:
        notes.append(
            f'Images of 16 bits use {bits} of them: their values are divided by {2 ** (bits - 8)}.'
        )
    return notes
