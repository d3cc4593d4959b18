"""A config for somebody's own images is completed: data, splits, settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from bce3s.datasets.checks import bits_used
from bce3s.datasets.file_checks import check_how
from bce3s.errors import BCE3SError
from bce3s.own_data import written
from bce3s.own_data.described import described
from bce3s.own_data.found import FoundImages, find
from bce3s.own_data.listed import ListOptions
from bce3s.own_data.pretrained import init_cfg_of
from bce3s.own_data.settings import CHOICES, NETWORKS, Facts, Settings, choose
from bce3s.own_data.sound import sound
from bce3s.own_data.splits import hold_out

COMMAND = 'python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH'
KEYS = ('data_root', 'own_data')  # of the config, gone when it is complete
SAMPLED = 200  # images whose sides are looked at
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
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
    folder = Path(work_dir).expanduser().resolve() / written.FOLDER
    before = written.read(folder) if keep else None
    if before is None:
        if cfg.data_root in (None, ''):
            raise BCE3SError(f'data_root, the folder with your images, is not given: {COMMAND}')
        found, facts = _prepared(_path(cfg.data_root), options)
    else:
        found, facts = before
        if cfg.data_root is not None:
            _check_place(found, _path(cfg.data_root))
        _check_there(found)
    if Path(work_dir).resolve() == found.root:
        raise BCE3SError(
            f'{work_dir} holds the images: give another --work-dir, so that the figures of the run '
            'are not taken for images.'
        )
    rank = os.environ.get('RANK', '0')
    if write and before is None and os.environ.get('LOCAL_RANK', rank) == '0':
        written.write(folder, found, facts)
    init_cfg, network = init_cfg_of(options.get('pretrained'))
    fixed = {key: options.get(key) for key in CHOICES}
    fixed['network'] = fixed['network'] or network
    settings = choose(facts, fixed, init_cfg is not None)
    fill_in(cfg, found, facts, settings, folder)
    bits = _fill_colours(cfg, found, options.get('ground'))
    if init_cfg is not None:
        cfg.model.backbone.init_cfg = init_cfg
    for key in KEYS:
        cfg._cfg_dict.pop(key)
    if rank == '0':
        say(described(found, facts, settings, cfg))
        if bits is not None and bits < 16:
            say(
                f'  note: Images of 16 bits use {bits} of them: their values are divided by '
                f'{2 ** (bits - 8)}.'
            )
    return found


def _options(own_data: Any) -> dict[str, Any]:
    """``own_data`` of a config, where its kinds of values are right."""
    if not hasattr(own_data, 'keys'):
        raise BCE3SError(f'own_data={own_data!r}: give a dict, or own_data.KEY=VALUE.')
    columns = own_data.get('columns')
    named = isinstance(columns, list | tuple) and all(isinstance(c, str) for c in columns)
    if columns is not None and not (named and len(columns) == 2):
        raise BCE3SError(
            f'own_data.columns={columns!r}: give the names of two columns, PATHS,LABELS.'
        )
    left = own_data.get('leave_out') or ()
    left = [left] if isinstance(left, str) else left
    if not isinstance(left, list | tuple) or not set(left) <= {'val', 'test'}:
        raise BCE3SError(f'own_data.leave_out={left!r}: give val, test, or both: val,test.')
    return dict(own_data, leave_out=tuple(left))


def list_options(own_data: Any) -> ListOptions:
    """How lists are to be read, of ``own_data`` of a config."""
    options = _options(own_data)
    columns, images, suffix = (options.get(key) for key in ('columns', 'images', 'suffix'))
    return ListOptions(
        columns and tuple(columns),
        images and str(images),
        suffix and str(suffix),
        options['leave_out'],
    )


def _path(data_root: Any) -> str:
    """As it was written: an option with a comma has been taken for a list."""
    parts = data_root if isinstance(data_root, list | tuple) else [data_root]
    return ','.join(map(str, parts))


def _prepared(data_root: str, options: dict[str, Any]) -> tuple[FoundImages, Facts]:
    """Images that can be used, with a validation split; and the facts."""
    how = options.get('check', 'headers')
    check_how('own_data', how)
    found, marks = sound(find(data_root, list_options(options)), how)
    found.root = found.root.resolve()
    if not found.splits.get('val'):
        found = hold_out(
            found, marks['train'], options.get('val_fraction', 0.2), options.get('val_most', 50)
        )
    return found, facts_of(found)


def facts_of(found: FoundImages) -> Facts:
    """What the settings follow from; the sides of up to ``SAMPLED`` images are looked at."""
    import torch

    counts = found.counts('train')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return Facts(sum(counts), max(counts), len(counts), _median_side(found), device)


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


def _check_place(found: FoundImages, data_root: str) -> None:
    """``data_root`` must be the images' folder, a list in it, or a folder above it."""
    path = Path(data_root).expanduser().resolve()
    if path not in (found.root, *found.root.parents) and path.parent != found.root:
        raise BCE3SError(
            f'This run was begun with the images in {found.root}, not {data_root}: leave data_root '
            'out, or give another --work-dir.'
        )


def _check_there(found: FoundImages) -> None:
    """The images that a run was begun with must all be there when it goes on."""
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
    cfg: Config, found: FoundImages, facts: Facts, settings: Settings, folder: Path
) -> None:
    """Sets what ``settings`` decide; what a config has besides stays."""
    _fill_model(cfg.model, facts, settings)
    _fill_schedule(cfg, settings)
    world = max(1, int(os.environ.get('WORLD_SIZE') or 1))
    images = dict(
        type='OwnImages',
        data_root=str(found.root),
        lists=str(folder),
        size=settings.size,
        resize=settings.resize,
        random_crop=settings.random_crop,
    )
    workers = number_of_workers(facts.device)
    test_batch = SIZE_OF_TEST_BATCH['small' if settings.size <= 64 else 'large']
    if 'test' in found.splits:
        cfg.test_dataloader = cfg.val_dataloader.copy()
        cfg.test_evaluator, cfg.test_cfg = cfg.val_evaluator.copy(), dict()
    for split in ('train', 'val', 'test'):
        if (loader := cfg.get(f'{split}_dataloader')) is not None:
            loader.dataset = dict(images, split=split)
            loader.num_workers = workers
            loader.pin_memory = facts.device == 'cuda'
            loader.batch_size = -(-settings.batch_size // world) if split == 'train' else test_batch
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=settings.batch_size)


def _fill_colours(cfg: Config, found: FoundImages, ground: Any) -> int | None:
    """Makes part of the config how images become RGB, which follows from the training images; how
    many bits those of more than 8 bits use, or None.
    """
    bits = bits_used([os.path.join(found.root, path) for path, _ in found.splits['train']])
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if (loader := cfg.get(name)) is not None:
            loader.dataset.update({} if bits is None else dict(bits=bits))
            loader.dataset.update({} if ground is None else dict(ground=list(ground)))
    return bits


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
    epochs = settings.epochs
    hook = cfg.default_hooks.schedule
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
    from bce3s.processes import cores

    return min(8, cores() if device == 'cuda' else max(1, cores() // 2))
