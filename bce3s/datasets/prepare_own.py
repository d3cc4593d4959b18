"""What ``tools/prepare_data.py folder`` and ``list`` make of somebody's own images."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError

Datasets = Callable[[str, str], Any]  # (split, how to check) -> data set
CONFIG = 'configs/bce3s/my_folder.py'


def own_data(args: argparse.Namespace) -> tuple[Datasets, Path, tuple[str, ...]]:
    """The data sets, the folder that paths are relative to, and the splits.

    Raises:
        BCE3SError: another number of paths than is needed.
    """
    if args.name == 'list':
        return _lists(args)
    if len(args.paths) != 1:
        raise BCE3SError('folder takes one DIR: python tools/prepare_data.py folder DIR')
    root = Path(args.paths[0]).expanduser()
    return _folder(root)


def image_lists(
    root: Path,
    lists: dict[str, str],
    manifest: str | None,
    columns: Sequence[str] | None = None,
) -> Datasets:
    """Data sets of lists, of a benchmark with a manifest or of one's own."""

    def datasets(split: str, check: str) -> Any:
        from bce3s.datasets.image_list import ImageList

        return ImageList(str(root), lists, split, manifest, check=check, columns=columns)

    return datasets


def _folder(root: Path) -> tuple[Datasets, Path, tuple[str, ...]]:
    """``root/train`` and ``root/val`` (or ``root/test``); or one split, its classes in ``root``."""
    train = 'train' if (root / 'train').is_dir() else '.'
    test = next((name for name in ('val', 'test') if (root / name).is_dir()), None)
    with_test = test is not None and train != '.'

    def datasets(split: str, check: str) -> Any:
        from bce3s.datasets.image_folder import ImageFolder

        return ImageFolder(str(root), split, train, test or 'val', check=check)

    return datasets, root, ('train', 'test') if with_test else ('train',)


def _lists(args: argparse.Namespace) -> tuple[Datasets, Path, tuple[str, ...]]:
    splits = {1: ('train',), 2: ('train', 'test'), 3: ('train', 'val', 'test')}.get(len(args.paths))
    if splits is None:
        raise BCE3SError('list takes TRAIN, TRAIN TEST or TRAIN VAL TEST')
    paths = [Path(path).expanduser().resolve() for path in args.paths]
    root = (args.data_root or paths[0].parent).expanduser()
    lists = dict(zip(splits, map(str, paths), strict=True))
    return image_lists(root, lists, None, args.columns), root, splits


def inspected(
    datasets: Datasets,
    root: Path,
    splits: Sequence[str],
    progress: Callable[[int, int], None],
) -> str:
    """What looks wrong with the images, see :mod:`bce3s.own_data.inspection`."""
    from bce3s.own_data.found import FoundImages
    from bce3s.own_data.inspection import format_findings, inspect

    built = {split: datasets(split, 'none') for split in splits}
    images = {
        split: list(zip(_relative(dataset.paths, root), dataset.labels.tolist(), strict=True))
        for split, dataset in built.items()
    }
    classes = [str(name) for name in built['train'].metainfo['classes']]
    return format_findings(inspect(FoundImages(root, classes, images), progress))


def _relative(paths: Sequence[str], root: Path) -> list[str]:
    """Relative to ``root`` where they lie below it."""
    normal, above = map(os.path.normpath, paths), os.path.join(os.path.normpath(root), '')
    return [path.removeprefix(above) for path in normal]


def training_command(args: argparse.Namespace, root: Path) -> str:
    """How to train on these images."""
    data_root = str(root) if args.name == 'folder' else _one_list(args, root)
    if data_root is None:
        return (
            f'Ready. {CONFIG} trains on lists called train.csv, val.csv and test.csv in one folder '
            'with the images, or on one list with a column "split".'
        )
    options = [f'data_root={data_root}']
    if args.columns:
        options.append(f'own_data.columns=({",".join(args.columns)})')
    return f'Ready. To train:\n  python tools/train.py {CONFIG} --cfg-options {shlex.join(options)}'


def _one_list(args: argparse.Namespace, root: Path) -> str | None:
    """What names these lists to the config: a folder that has them under their splits' names, or
    the only one.
    """
    paths = [Path(path).expanduser().resolve() for path in args.paths]
    if {path.parent for path in paths} != {root.resolve()}:
        return None
    names = [path.name.removesuffix('.gz').rpartition('.')[0] for path in paths]
    if names in (['train'], ['train', 'test'], ['train', 'val'], ['train', 'val', 'test']):
        return str(root)
    return args.paths[0] if len(paths) == 1 else None
