"""Images of classes that a model does not know, in the shape that it takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from torch.utils.data import Dataset

from bce3s.config import load_config, parse_value
from bce3s.datasets.fitted import check_channels, fitted
from bce3s.datasets.folders import look_below
from bce3s.datasets.image_files import ImageFiles, Images
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS

HELD_OUT = 'held-out'
NAMED = {
    'cifar10': 'CIFAR10LT',
    'cifar100': 'CIFAR100LT',
    'digits': 'DigitsLT',
    'fashion-mnist': 'FashionMNISTLT',
    'mnist': 'MNISTLT',
}


def unknown_options(texts: Sequence[str]) -> dict[str, Any]:
    """``--unknown-options``: each ``KEY=VALUE``, the value as in ``--cfg-options``.

    Raises:
        BCE3SError: there is no ``=``.
    """
    options = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not equals:
            raise BCE3SError(f'--unknown-options {text}: write KEY=VALUE.')
        options[key] = parse_value(value)
    return options


def unknown_config(spec: str, known: ConfigDict) -> ConfigDict:
    """The config of the data set that ``spec`` names.

    Args:
        spec: ``held-out``, the test images of the classes that ``keep_classes`` leaves out; one of
            ``NAMED``, its test set; or a config file, its test (or else validation) data set.
        known: config of the data set that the model is tested on.

    Raises:
        BCE3SError: no such data set, or no class is held out.
    """
    if spec == HELD_OUT:
        return _held_out(known)
    if spec in NAMED:
        # where its files are and whether to trust them is said for the known data already
        keys = () if spec == 'digits' else ('data_root', 'download', 'verify')
        same = {key: known[key] for key in keys if key in known}
        return ConfigDict(type=NAMED[spec], split='test', **same)
    if not spec.endswith('.py'):
        raise BCE3SError(
            f"--unknown {spec}: use '{HELD_OUT}', one of {', '.join(sorted(NAMED))}, a folder of "
            'images, or a config file.'
        )
    cfg = load_config(spec, [])
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if loader is None:
        raise BCE3SError(f'{spec} has neither test_dataloader nor val_dataloader.')
    return loader.dataset


def _held_out(known: ConfigDict) -> ConfigDict:
    kept = known.get('keep_classes')
    if not kept:
        raise BCE3SError(
            f'--unknown {HELD_OUT}: the config trains on every class. Train on some of them with '
            '--cfg-options train_dataloader.dataset.keep_classes=[...] '
            'val_dataloader.dataset.keep_classes=[...] model.head.num_classes=..., and give the '
            'same options here.'
        )
    every = range(len(DATASETS.get(known.type).classes))
    left = [k for k in every if k not in set(kept)]
    if not left:
        raise BCE3SError(f'--unknown {HELD_OUT}: keep_classes keeps every class, none is left out.')
    return ConfigDict({**known, 'keep_classes': left, 'split': 'test'})


def unknown_dataset(
    spec: str, known_config: ConfigDict, known: Dataset, options: Mapping[str, Any] | None = None
) -> Dataset:
    """The data set that ``spec`` names, a folder of images or as :func:`unknown_config` has it, in
    the shape of ``known``.

    Args:
        spec, known_config: see there.
        known: the data set that the model is tested on.
        options: further arguments of the data set.

    Raises:
        BCE3SError: as :func:`unknown_config`; an option that the data set does not take; or a class
            of it is one of ``known``.
    """
    if os.path.isdir(spec):
        return _fitted(_pictures(spec, known), known)
    config = ConfigDict({**unknown_config(spec, known_config), **(options or {})})
    try:
        dataset = DATASETS.build(config)
    except (BCE3SError, TypeError) as error:
        raise BCE3SError(
            f'--unknown {spec}: {error} (Arguments of this data set: --unknown-options, such as '
            'verify=False.)'
        ) from error
    classes = [str(name) for name in dataset.metainfo['classes']]
    shared = sorted({*classes} & {str(name) for name in known.metainfo['classes']})
    if shared:
        raise BCE3SError(
            f'--unknown {spec}: the model knows {len(shared)} of its {len(classes)} classes, such '
            f'as {shared[0]!r}. Use another data set, or {HELD_OUT}.'
        )
    return _fitted(dataset, known)


def _pictures(folder: str, known: Dataset) -> ImageFiles:
    """All images in a folder and below it; those that cannot be read are left out."""
    below = look_below(folder)
    if below.errors:
        raise below.errors[0]
    paths = [os.path.join(folder, name) for name in sorted(below.images)]
    if not paths:
        raise BCE3SError(f'--unknown {folder}: the folder holds no image.')
    side = max(known[0]['inputs'].shape[1:])
    sizes = (known.size, known.resize) if isinstance(known, ImageFiles) else (side, side)
    images = Images(folder, paths, [0] * len(paths))
    meta = dict(dataset=folder, split='unknown', classes=['unknown'], class_counts=[0])
    return ImageFiles(images, False, meta, *sizes, unreadable='skip')


def _fitted(dataset: Dataset, known: Dataset) -> Dataset:
    shape = tuple(known[0]['inputs'].shape)
    return dataset if tuple(dataset[0]['inputs'].shape) == shape else FittedImages(dataset, shape)


class FittedImages(Dataset):
    """The images of another data set with the channels and the size of the known ones, see
    :func:`~bce3s.datasets.fitted.fitted`.

    Args:
        dataset: with uint8 images (C, H, W) as ``inputs``.
        shape: (C, H, W) wanted.

    Raises:
        BCE3SError: channels other than 1 and 3 that do not agree.
    """

    def __init__(self, dataset: Dataset, shape: Sequence[int]) -> None:
        self.dataset, self.shape = dataset, tuple(shape)
        self.metainfo = dataset.metainfo
        check_channels(dataset[0]['inputs'].shape[0], shape[0])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        return {**sample, 'inputs': fitted(sample['inputs'][None], self.shape)[0]}


def display_name(spec: str, known_name: str) -> str:
    """How a table calls the data set: never a path outside the working directory."""
    if spec == HELD_OUT:
        return f'{known_name}, held-out classes'
    return Path(spec).stem
