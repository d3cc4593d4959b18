"""What ``tools/prepare_data.py`` does: lists and images of a benchmark in their places, everything
checked, and how often each class occurs.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bce3s.arguments import positive, run_tool
from bce3s.datasets.prepare_own import Datasets, image_lists, inspected, own_data, training_command
from bce3s.datasets.tables import OPTION
from bce3s.errors import BCE3SError
from bce3s.wording import counted

CHECKS = ('headers', 'pixels', 'files', 'none')
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
        help='imagenet_lt, places_lt, inaturalist2018; digits_lt, cifar10_lt, cifar100_lt, '
        "mnist_lt, fashion_mnist_lt; 'folder' or 'list' for your own images",
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
        choices=CHECKS,
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
    if args.paths and args.name not in ('folder', 'list'):
        p.error(f'{args.name} takes no PATH')
    if args.columns and args.name != 'list':
        p.error('--columns is for list')
    if args.inspect and args.name not in ('folder', 'list'):
        p.error('--inspect is for folder and list')
    return run_tool(lambda: prepare(args), 'What is done stays; the same command goes on.')


def prepare(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong; what can be done is done before."""
    from bce3s.datasets.benchmarks import IN_MEMORY, ON_DISK

    for folder in (args.lists_from, args.archives):
        if folder is not None and not folder.is_dir():
            raise BCE3SError(f'{folder} is no folder.')
    if args.name in ON_DISK:
        _benchmark(args)
    elif args.name in IN_MEMORY:
        root = (args.data_root or Path('data')).expanduser()
        try:
            figure = root / args.name / 'class_frequencies.png'
            _show(args, _in_memory(args, root), figure, ('train', 'test'))
        except BCE3SError as error:
            if 'verify=False' in str(error):
                raise BCE3SError(f'{error}. For this tool: --no-verify') from error
            raise
    elif args.name in ('folder', 'list'):
        try:
            _own(args)
        except BCE3SError as error:  # the option of the data set has another name here
            raise type(error)(str(error).replace(OPTION, '--columns PATHS LABELS')) from error
    else:
        known = ', '.join([*ON_DISK, *IN_MEMORY])
        raise BCE3SError(f"{args.name!r} is no data set: use {known}, 'folder' or 'list'.")


# ------------------------------------------------------------ benchmarks on disk
def _benchmark(args: argparse.Namespace) -> None:
    from bce3s.datasets.benchmarks import ON_DISK, read_manifest
    from bce3s.datasets.image_sources import instructions, obtain_images
    from bce3s.datasets.list_sources import obtain_lists

    benchmark, manifest = ON_DISK[args.name], read_manifest(args.name)
    base = (args.data_root or Path('data')).expanduser()
    root = base / args.name
    folders = [root, *([args.archives] if args.archives else []), base]
    entries = obtain_lists(benchmark, manifest, root, folders, say, args.lists_from)
    datasets = image_lists(root, {s: e.source.name for s, e in entries.items()}, args.name)
    _show(args, datasets, root / 'class_frequencies.png', tuple(entries))

    paths = [path for listed in entries.values() for path in listed.paths]
    missing = obtain_images(benchmark, root, paths, folders, say, Progress, args.download_images)
    problems = []
    if len(missing) < len(paths):
        problems = _check(args, datasets, tuple(entries))
    if missing and args.check != 'none':
        problems.append(instructions(benchmark, root, missing, len(paths), folders))
    _raise(problems)


# ------------------------------------------------------------ other data
def _in_memory(args: argparse.Namespace, root: Path) -> Datasets:
    from bce3s.datasets.benchmarks import IN_MEMORY

    options = dict(imbalance_factor=args.imbalance_factor) if args.imbalance_factor else {}

    def datasets(split: str, _: str) -> Any:
        from bce3s.datasets import in_memory

        dataset = getattr(in_memory, IN_MEMORY[args.name].dataset)
        if issubclass(dataset, in_memory.DownloadedLongTailed):
            options.update(data_root=str(root), verify=not args.no_verify)
        return dataset(split, **options)

    return datasets


# ------------------------------------------------------------ showing and checking
def _own(args: argparse.Namespace) -> None:
    """Images of one's own: shown, looked at if wanted, checked; what to do next."""
    datasets, root, splits = own_data(args)
    figure = Path(f'{root.resolve().name or "images"}_class_frequencies.png')
    if len(_show(args, datasets, figure, splits)) < 2:
        raise BCE3SError('These are images of one class: to tell classes apart two are needed.')
    if args.inspect:
        say(f'{inspected(datasets, root, splits, Progress("looking at the images"))}\n')
    _raise(_check(args, datasets, splits))
    say(training_command(args, root))


def _show(
    args: argparse.Namespace, datasets: Datasets, figure: Path, splits: Sequence[str]
) -> list[int]:
    """Prints the class frequencies and draws them into ``figure``, or where it is asked for.

    Returns:
        The training images of each class.
    """
    from bce3s.datasets.frequencies import images_of_classes, summary

    built = {split: datasets(split, 'none') for split in splits}
    facts = built['train'].metainfo
    images = images_of_classes(facts['class_counts'], {s: d.labels for s, d in built.items()})
    say(f'\n{args.name}: {summary(images, facts["classes"])}\n')
    if args.no_figure:
        return images['train']
    from bce3s.datasets.frequency_figure import draw_frequencies
    from bce3s.files import written_whole

    path = args.figure.expanduser() if args.figure else figure
    title = args.name
    if args.name in ('folder', 'list'):
        title = figure.name.removesuffix('_class_frequencies.png')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, shared=True) as file:
            file.write(draw_frequencies(title, images))
    except OSError as error:
        raise BCE3SError(
            f'{path} cannot be written ({error}): use --figure FILE.png or --no-figure.'
        ) from error
    say(f'{path}: drawn')
    return images['train']


def _check(args: argparse.Namespace, datasets: Datasets, splits: Sequence[str]) -> list[str]:
    """What is wrong with the images of each split; the training set is looked at first."""
    if args.check == 'none':
        return []
    problems = []
    for split in splits:
        try:
            number = len(datasets(split, args.check))
            say(f'{split}: {counted(number, "image")} checked ({args.check})')
        except BCE3SError as error:
            problems.append(str(error))
    return problems


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise BCE3SError('\n'.join(problems))


def say(text: str) -> None:
    print(text, flush=True)


class Progress:
    """How far a file is read: one line on a terminal, else a line every half minute.

    >>> progress = Progress('a.tar')
    >>> progress(1, 2)
    """

    def __init__(self, name: str) -> None:
        self.name, self.live = name, sys.stderr.isatty()
        self.begin = self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.shown < (0.5 if self.live else 30):
            return
        self.shown = now
        left = (now - self.begin) * (total - done) / max(done, 1)
        text = f'{self.name}: {100 * done / max(total, 1):.0f} %, about {left / 60:.0f} min left'
        print(text, end='\x1b[K\r' if self.live else '\n', file=sys.stderr, flush=True)
