#!/usr/bin/env python
"""Write data_lists/*.json: what each benchmark consists of, from the code and the published lists.

    python tools/write_manifests.py                  # write
    python tools/write_manifests.py --check          # exit 1 if a file is not what would be written
    python tools/write_manifests.py --lists DIR      # with the published `path label` lists in DIR

What comes from a list (its git blob id, images per class) is kept from the existing manifest where
DIR does not hold the list (NAME.txt or NAME.txt.gz); what nobody has verified is null.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bce3s.datasets import sources  # noqa: E402
from bce3s.datasets.long_tailed import class_counts, split_masks  # noqa: E402
from bce3s.errors import BCE3SError  # noqa: E402

LISTS_PAGE = 'https://github.com/facebookresearch/classifier-balancing'
PLACES = 'http://data.csail.mit.edu/places/places365/'
INATURALIST = 'https://ml-inat-competition-datasets.s3.amazonaws.com/2018/'

_SKLEARN = 'https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html'
_FACTORS = (10, 50, 100, 200)

# name -> class in bce3s.datasets.in_memory (by name: importing it takes seconds), (C, H, W), images
# before subsampling, imbalance factors, page
IN_MEMORY = {
    'digits_lt': ('DigitsLT', (1, 8, 8), (1297, 500), (1, 10, 20), _SKLEARN),
    'cifar10_lt': ('CIFAR10LT', (3, 32, 32), (50000, 10000), _FACTORS, sources.CIFAR_PAGE),
    'cifar100_lt': ('CIFAR100LT', (3, 32, 32), (50000, 10000), _FACTORS, sources.CIFAR_PAGE),
    'mnist_lt': ('MNISTLT', (1, 28, 28), (60000, 10000), _FACTORS, sources.MNIST.page),
    'fashion_mnist_lt': (
        'FashionMNISTLT',
        (1, 28, 28),
        (60000, 10000),
        _FACTORS,
        sources.FASHION_MNIST.page,
    ),
}


def _file(name: str, url: str | None, md5: str | None) -> dict:
    return dict(file=name, url=url, md5=md5)


# split -> list, images, git blob id where it is known without the list
FROM_LISTS = {
    'imagenet_lt': dict(
        num_classes=1000,
        splits=dict(
            train=('ImageNet_LT_train', 115846, 'a063f095fcd475db4cf8b0658c4b73955535bbf9'),
            val=('ImageNet_LT_val', 20000, None),
            test=('ImageNet_LT_test', 50000, None),
        ),
        most_and_least=(1280, 5),
        page='https://image-net.org/challenges/LSVRC/2012/2012-downloads.php',
        files=(
            _file('ILSVRC2012_img_train.tar', None, '1d675b47d978889d74fa0da5fadfb00e'),
            _file('ILSVRC2012_img_val.tar', None, '29b22e2961454d5413ddabcf34fc5622'),
        ),
    ),
    'inaturalist2018': dict(
        num_classes=8142,
        splits=dict(
            train=('iNaturalist18_train', 437513, '4accdb7584d2f0a5106c40a33ed6afa392189bcc'),
            val=('iNaturalist18_val', 24426, None),
        ),
        most_and_least=None,
        page='https://github.com/visipedia/inat_comp',
        files=(
            _file(
                'train_val2018.tar.gz',
                INATURALIST + 'train_val2018.tar.gz',
                'b1c6952ce38f31868cc50ea72d066cc3',
            ),
        ),
    ),
    'places_lt': dict(
        num_classes=365,
        splits=dict(
            train=('Places_LT_train', 62500, None),
            val=('Places_LT_val', 7300, None),
            test=('Places_LT_test', 36500, None),
        ),
        most_and_least=(4980, 5),
        page='http://places2.csail.mit.edu/',
        files=(
            _file(
                'train_256_places365standard.tar',
                PLACES + 'train_256_places365standard.tar',
                '53ca1c756c3d1e7809517cc47c5561c5',
            ),
            _file('val_256.tar', PLACES + 'val_256.tar', 'e27b17d8d44f4af9a78502beb927f808'),
        ),
    ),
}


def split_sizes(counts: Sequence[int]) -> dict[str, int]:
    """Number of Many, Medium and Few classes."""
    return {name: int(mask.sum()) for name, mask in split_masks(counts).items()}


def published_files(dataset: type) -> list[dict]:
    """File, addresses and MD5 of what is downloaded."""
    idx = getattr(dataset, 'source', None)
    if idx is not None:
        return [
            dict(file=f'{n}.gz', urls=[f'{m}{n}.gz' for m in idx.mirrors], md5=md5)
            for n, md5 in idx.md5.items()
        ]
    archives = getattr(dataset, 'archives', ())
    return [dict(file=a.name, urls=list(a.urls), md5=a.md5) for a in archives]


def in_memory_manifest(name: str) -> dict:
    """Facts of an in-memory benchmark and the class counts of its usual variants."""
    from bce3s.datasets import in_memory

    class_name, image, full, factors, page = IN_MEMORY[name]
    dataset = getattr(in_memory, class_name)
    variants = []
    for imbalance in ('exp', 'step'):
        for factor in factors:
            counts = class_counts(dataset.default_n_max, len(dataset.classes), factor, imbalance)
            variants.append(
                dict(imbalance=imbalance, imbalance_factor=factor, images=sum(counts))
                | dict(classes_of_split=split_sizes(counts), class_counts=counts)
            )
    return dict(
        benchmark=name,
        dataset=dataset.__name__,
        num_classes=len(dataset.classes),
        classes=list(dataset.classes),
        image=list(image),
        images_before_subsampling=dict(zip(('train', 'test'), full, strict=True)),
        n_max=dataset.default_n_max,
        source=dict(page=page, files=published_files(dataset)),
        variants=variants,
    )


def list_manifest(name: str, lists: Path | None, previous: dict | None) -> dict:
    """Facts of a benchmark defined by lists; see the module's docstring for ``previous``."""
    facts = FROM_LISTS[name]
    before = (previous or {}).get('splits', {})
    splits = {
        split: read_split(facts['num_classes'], *entry, lists) or unread(entry, before.get(split))
        for split, entry in facts['splits'].items()
    }
    counts = splits['train']['class_counts']
    return dict(
        benchmark=name,
        num_classes=facts['num_classes'],
        source=dict(page=facts['page'], files=list(facts['files']), lists=LISTS_PAGE),
        most_and_least=most_and_least(name, counts),
        classes_of_split=split_sizes(counts) if counts else None,
        splits=splits,
    )


def most_and_least(name: str, counts: Sequence[int] | None) -> list[int] | None:
    """Images of the most and of the least frequent class: published, confirmed by ``counts``."""
    published = FROM_LISTS[name]['most_and_least']
    found = (max(counts), min(counts)) if counts else published
    if published and found != published:
        raise BCE3SError(f'{name}: the train list has {found} images a class, not {published}')
    return list(found) if found else None


def unread(entry: tuple, before: dict | None) -> dict:
    """The split as the existing manifest has it, else what is known without its list."""
    name, images, blob = entry
    return before or dict(list=f'{name}.txt', images=images, git_blob=blob, class_counts=None)


def read_split(
    num_classes: int, name: str, images: int, blob: str | None, lists: Path | None
) -> dict | None:
    """Git blob id and class counts of the list ``name`` in the folder ``lists``, if it is there.

    Raises:
        BCE3SError: the list is not the published one: its blob id or number of lines differs.
    """
    paths = [lists / f'{name}.txt', lists / f'{name}.txt.gz'] if lists else []
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        return None
    content = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
    found = git_blob(content)
    if blob and found != blob:
        raise BCE3SError(f'{path}: git blob id {found}, the published list has {blob}')
    counts = count_labels(content, num_classes, path)
    if sum(counts) != images:
        raise BCE3SError(f'{path}: {sum(counts)} images, the published list has {images}')
    # a balanced split needs one number
    per_class = counts[0] if len(set(counts)) == 1 else counts
    return dict(list=f'{name}.txt', images=images, git_blob=found, class_counts=per_class)


def git_blob(content: bytes) -> str:
    """What ``git hash-object`` prints for a file with this content."""
    return hashlib.sha1(b'blob %d\0' % len(content) + content, usedforsecurity=False).hexdigest()


def count_labels(content: bytes, num_classes: int, path: Path) -> list[int]:
    """Lines of each label of a ``path label`` list."""
    counts = [0] * num_classes
    for number, line in enumerate(content.decode().splitlines(), 1):
        label = line.rpartition(' ')[2]
        if not label.isdecimal() or int(label) >= num_classes:
            raise BCE3SError(
                f'{path}, line {number}: {line!r} has no label in 0..{num_classes - 1}'
            )
        counts[int(label)] += 1
    return counts


def to_json(manifest: dict) -> str:
    """Indented JSON; a list or object that holds no other stands on one line."""

    def one_line(match: re.Match) -> str:
        return match[0][0] + ' '.join(match[0][1:-1].split()) + match[0][-1]

    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    return re.sub(r'\[[^][{}]*\]|\{[^][{}]*\}', one_line, text) + '\n'


def manifests(folder: Path, lists: Path | None = None) -> dict[str, str]:
    """File name -> content of every manifest; ``folder`` holds the existing ones."""
    texts = {f'{name}.json': to_json(in_memory_manifest(name)) for name in IN_MEMORY}
    for name in FROM_LISTS:
        path = folder / f'{name}.json'
        previous = json.loads(path.read_text()) if path.is_file() else None
        texts[path.name] = to_json(list_manifest(name, lists, previous))
    return texts


def main(argv: Sequence[str] | None = None) -> int:
    """Writes or checks; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--lists', type=Path, help='folder of the published lists')
    parser.add_argument('--out', type=Path, default=ROOT / 'data_lists', help='default: data_lists')
    parser.add_argument('--check', action='store_true', help='compare, write nothing')
    args = parser.parse_args(argv)
    try:
        texts = manifests(args.out, args.lists)
    except BCE3SError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [
        name
        for name, text in texts.items()
        if not (args.out / name).is_file() or (args.out / name).read_text() != text
    ]
    if not args.check:
        args.out.mkdir(exist_ok=True)
        for name in stale:
            (args.out / name).write_text(texts[name])
    for name in stale:
        print(f'{args.out / name}: {"not up to date" if args.check else "written"}')
    return int(args.check and bool(stale))


if __name__ == '__main__':
    sys.exit(main())
