"""What ``tools/prepare_data.py`` does: lists and images of a benchmark in their places, everything
checked, and how often each class occurs; the same of somebody's own images.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bce3s.arguments import positive, run_tool
from bce3s.datasets.benchmarks import IN_MEMORY, ON_DISK, read_manifest
from bce3s.datasets.tables import OPTION
from bce3s.errors import BCE3SError
from bce3s.wording import counted

say = partial(print, flush=True)
Datasets = Callable[[str, str], Any]  # (split, how to check) -> data set

CONFIG = 'configs/bce3s/my_folder.py'
EXAMPLES = """examples:
  python tools/prepare_data.py places_lt --download-images
  python tools/prepare_data.py imagenet_lt --archives /downloads --lists-from /lists
  python tools/prepare_data.py cifar100_lt --imbalance-factor 50
  python tools/prepare_data.py folder data/mine            # data/mine/{train,val}/CLASS/*.jpg
  python tools/prepare_data.py list train.csv test.csv --data-root data/mine --columns file species
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='prepare_data.py',
        description='Puts the lists and images of a benchmark into their places, or says what to '
        'download and where to put it; checks every file; prints the class frequencies.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        'name',
        metavar='NAME',
        help=f'{", ".join(ON_DISK)}; {", ".join(IN_MEMORY)}; '
        "'folder' or 'list' for your own images",
    )
    p.add_argument(
        'paths', nargs='*', metavar='PATH', help='of folder: DIR; of list: TRAIN [[VAL] TEST]'
    )
    p.add_argument(
        '--data-root',
        type=Path,
        metavar='DIR',
        help='benchmarks go to DIR/NAME (data); of list: what its paths are relative to (the '
        'folder of TRAIN)',
    )
    p.add_argument('--lists-from', type=Path, metavar='DIR', help='has NAME.txt or NAME.txt.gz')
    p.add_argument(
        '--archives', type=Path, metavar='DIR', help='has the archives, or what was unpacked'
    )
    p.add_argument(
        '--download-images',
        action='store_true',
        help='fetch archives that have a public address and a checksum (up to 120 GB)',
    )
    p.add_argument(
        '--check',
        choices=('headers', 'pixels', 'files', 'none'),
        default='headers',
        help='of each image: its beginning and end (headers, the default), all of it (pixels), '
        'that it is there (files), or nothing',
    )
    p.add_argument('--imbalance-factor', type=positive(float), metavar='IF', help='of CIFAR etc.')
    p.add_argument(
        '--no-verify', action='store_true', help='accept copies of CIFAR etc. in another order'
    )
    p.add_argument(
        '--columns', nargs=2, metavar=('PATH', 'LABEL'), help="of list: a table's columns"
    )
    p.add_argument(
        '--inspect',
        action='store_true',
        help='of folder and list: decode every image, name duplicates, doubtful labels and others',
    )
    figure = p.add_mutually_exclusive_group()
    figure.add_argument(
        '--figure',
        type=Path,
        metavar='FILE.png',
        help='where the class frequencies are drawn (benchmarks: DIR/NAME/class_frequencies.png; '
        'your own: NAME_class_frequencies.png in the current folder)',
    )
    figure.add_argument('--no-figure', action='store_true', help='draw nothing')
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing or wrong."""
    p = parser()
    args = p.parse_args(argv)
    own = args.name in ('folder', 'list')
    if args.paths and not own:
        p.error(f'{args.name} takes no PATH')
    if args.columns and args.name != 'list':
        p.error('--columns is for list')
    if args.inspect and not own:
        p.error('--inspect is for folder and list')
    return run_tool(lambda: prepare(args), 'What is done stays; the same command goes on.')


def prepare(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong; what can be done is done before."""
    for folder in (args.lists_from, args.archives):
        if folder is not None and not folder.is_dir():
            raise BCE3SError(f'{folder} is no folder.')
    base = (args.data_root or Path('data')).expanduser()
    try:
        if args.name in ON_DISK:
            _benchmark(args, base)
        elif args.name in IN_MEMORY:
            figure = base / args.name / 'class_frequencies.png'
            _show(args, _in_memory(args, base), figure, ('train', 'test'))
        elif args.name in ('folder', 'list'):
            _own(args)
        else:
            known = ', '.join([*ON_DISK, *IN_MEMORY])
            raise BCE3SError(f"{args.name!r} is no data set: use {known}, 'folder' or 'list'.")
    except BCE3SError as error:  # options of the data sets have other names here
        text = str(error).replace(f"{OPTION}.columns=('PATHS','LABELS')", '--columns PATHS LABELS')
        hint = '. For this tool: --no-verify' if 'verify=False' in text else ''
        raise BCE3SError(text + hint) from error


# ------------------------------------------------------------ the data sets
def _benchmark(args: argparse.Namespace, base: Path) -> None:
    from bce3s.datasets.benchmark_files import instructions, obtain_images, obtain_lists

    manifest, root = read_manifest(args.name), base / args.name
    folders = [root, *([args.archives] if args.archives else []), base]
    entries = obtain_lists(manifest, root, folders, say, args.lists_from)
    datasets = _image_lists(root, {s: e.source.name for s, e in entries.items()}, args.name)
    _show(args, datasets, root / 'class_frequencies.png', tuple(entries))

    paths = [path for listed in entries.values() for path in listed.paths]
    missing = obtain_images(manifest, root, paths, folders, say, _progress, args.download_images)
    problems = _check(args, datasets, tuple(entries)) if len(missing) < len(paths) else []
    if missing and args.check != 'none':
        problems.append(instructions(manifest, root, missing, len(paths), folders))
    _raise(problems)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal."""
    from rich.progress import Progress

    with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task(name)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_memory(args: argparse.Namespace, root: Path) -> Datasets:
    options = dict(imbalance_factor=args.imbalance_factor) if args.imbalance_factor else {}
    if args.name != 'digits_lt':
        options |= dict(root=root, download=True, verify=not args.no_verify)

    def datasets(split: str, _: str) -> Any:
        from bce3s.datasets import in_memory

        return getattr(in_memory, IN_MEMORY[args.name])(train=split == 'train', **options)

    return datasets


def _image_lists(
    root: Path,
    lists: dict[str, str],
    manifest: str | None = None,
    columns: Sequence[str] | None = None,
) -> Datasets:
    def datasets(split: str, check: str) -> Any:
        from bce3s.datasets.image_list import ImageList

        return ImageList(str(root), lists, split, manifest, check=check, columns=columns)

    return datasets


def _own(args: argparse.Namespace) -> None:
    """Images of one's own: shown, looked at if wanted, checked; what to do next."""
    datasets, root, splits = (_lists if args.name == 'list' else _folder)(args)
    figure = Path(f'{root.resolve().name or "images"}_class_frequencies.png')
    if len(_show(args, datasets, figure, splits)) < 2:
        raise BCE3SError('These are images of one class: to tell classes apart two are needed.')
    if args.inspect:
        say(f'{_inspected(datasets, root, splits)}\n')
    _raise(_check(args, datasets, splits))
    say(_training_command(args, root))


def _folder(args: argparse.Namespace) -> tuple[Datasets, Path, tuple[str, ...]]:
    """``DIR/train`` and ``DIR/val`` (or ``DIR/test``); or one split, its classes in ``DIR``."""
    if len(args.paths) != 1:
        raise BCE3SError('folder takes one DIR: python tools/prepare_data.py folder DIR')
    root = Path(args.paths[0]).expanduser()
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
    return _image_lists(root, lists, columns=args.columns), root, splits


# ------------------------------------------------------------ showing and checking
def _show(
    args: argparse.Namespace, datasets: Datasets, figure: Path, splits: Sequence[str]
) -> list[int]:
    """Prints the class frequencies and draws them into ``figure``, or where it is asked for.

    Returns:
        The training images of each class.
    """
    from bce3s.datasets.frequencies import draw_frequencies, images_of_classes, summary
    from bce3s.files import written_whole

    built = {split: datasets(split, 'none') for split in splits}
    facts = built['train'].metainfo
    images = images_of_classes(facts['class_counts'], {s: d.labels for s, d in built.items()})
    sizes = {s: len(d) for s, d in built.items()} if facts.get('multilabel') else None
    say(f'\n{args.name}: {summary(images, facts["classes"], sizes=sizes)}\n')
    if args.no_figure:
        return images['train']
    path = args.figure.expanduser() if args.figure else figure
    own = figure.name.removesuffix('_class_frequencies.png')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, shared=True) as file:
            title, noun = own if args.paths else args.name, 'label' if sizes else 'image'
            file.write(draw_frequencies(title, images, noun=noun))
    except OSError as error:
        raise BCE3SError(
            f'{path} cannot be written ({error}): use --figure FILE.png or --no-figure.'
        ) from error
    say(f'{path}: drawn')
    return images['train']


def _check(args: argparse.Namespace, datasets: Datasets, splits: Sequence[str]) -> list[str]:
    """What is wrong with the images of each split; the training set is looked at first."""
    problems = []
    for split in splits if args.check != 'none' else ():
        try:
            number = len(datasets(split, args.check))
            say(f'{split}: {counted(number, "image")} checked ({args.check})')
        except BCE3SError as error:
            problems.append(str(error))
    return problems


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise BCE3SError('\n'.join(problems))


def _inspected(datasets: Datasets, root: Path, splits: Sequence[str]) -> str:
    """What looks wrong with the images, see :mod:`bce3s.own_data.inspection`."""
    from bce3s.own_data.found import FoundImages
    from bce3s.own_data.inspection import format_findings, inspect

    built = {split: datasets(split, 'none') for split in splits}
    above = os.path.join(os.path.normpath(root), '')
    images = {
        split: [
            (
                os.path.normpath(path).removeprefix(above),
                tuple(label) if isinstance(label, list) else label,
            )
            for path, label in zip(dataset.paths, dataset.labels.tolist(), strict=True)
        ]
        for split, dataset in built.items()
    }
    classes = [str(name) for name in built['train'].metainfo['classes']]
    return format_findings(inspect(FoundImages(root, classes, images)))


def _training_command(args: argparse.Namespace, root: Path) -> str:
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
