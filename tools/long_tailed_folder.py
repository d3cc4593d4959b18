"""Writes a long-tailed folder of pictures from CIFAR-100: own images to try the commands on.

    python tools/long_tailed_folder.py --out pictures

``OUT/train/CLASS/NUMBER.png`` has from ``--most`` to ``--least`` images a class, falling
exponentially, and ``OUT/test/CLASS/NUMBER.png`` ``--test`` of each; ``--unknown`` is another
folder, for as many test images of classes that are not among them. Images are lossless, 32 x 32
pixels; classes are every fifth of CIFAR-100, unknown ones those that follow them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bce3s.arguments import run_tool
from bce3s.errors import BCE3SError

EVERY = 100  # classes of CIFAR-100


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', required=True, type=Path, help='a new folder')
    parser.add_argument('--unknown', type=Path, help='a new folder for images of other classes')
    parser.add_argument('--data-root', default='data', help='of CIFAR-100 (data)')
    parser.add_argument('--any-copy', action='store_true', help='without its MD5 looked at')
    parser.add_argument('--classes', type=int, default=20, help='at most 50 (20)')
    parser.add_argument('--most', type=int, default=400, help='images of the first class (400)')
    parser.add_argument('--least', type=int, default=4, help='images of the last class (4)')
    parser.add_argument('--test', type=int, default=50, help='test images a class (50)')
    args = parser.parse_args(argv)
    return run_tool(lambda: write_folders(args))


def write_folders(args: argparse.Namespace) -> None:
    """See the module's docstring."""
    from bce3s.datasets.long_tailed import class_counts

    if not 2 <= args.classes <= EVERY // 2:
        raise BCE3SError(f'--classes {args.classes}: give 2 to {EVERY // 2}.')
    if not 1 <= args.least <= args.most <= 500:
        raise BCE3SError('--least and --most: 1 <= least <= most <= 500, as CIFAR-100 has 500.')
    if not 1 <= args.test <= 100:
        raise BCE3SError(f'--test {args.test}: give 1 to 100, as CIFAR-100 has 100 a class.')
    for folder in filter(None, (args.out, args.unknown)):
        if folder.exists() and any(folder.iterdir()):
            raise BCE3SError(f'{folder} is not empty: give a new folder.')
    step = EVERY // args.classes
    known = list(range(0, step * args.classes, step))
    counts = class_counts(args.most, args.classes, args.most / args.least, 'exp')
    write_split(args, args.out / 'train', True, known, counts)
    write_split(args, args.out / 'test', False, known, [args.test] * args.classes)
    if args.unknown:
        unknown = [label + 1 for label in known]
        write_split(args, args.unknown, False, unknown, [args.test] * args.classes)


def write_split(
    args: argparse.Namespace, folder: Path, train: bool, classes: list[int], counts: list[int]
) -> None:
    """The first ``counts`` images of ``classes``, in file order."""
    from torchvision.io import write_png

    from bce3s.datasets.in_memory import CIFAR100LT

    data = CIFAR100LT(
        root=args.data_root,
        train=train,
        imbalance='none',
        imbalance_factor=None,
        keep_classes=classes,
        verify=not args.any_copy,
    )
    for label, (name, number) in enumerate(zip(data.classes, counts, strict=True)):
        (folder / name).mkdir(parents=True)
        for k, image in enumerate(data.images[data.labels == label][:number]):
            write_png(image, str(folder / name / f'{k:03}.png'))
    print(
        f'{folder}: {sum(counts):,} images of {len(counts)} classes, {counts[0]} to {counts[-1]}.'
    )


if __name__ == '__main__':
    sys.exit(main())
