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
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bce3s.datasets.benchmarks import (  # noqa: E402
    IN_MEMORY,
    LISTS_PAGE,
    ON_DISK,
    Benchmark,
    PublishedList,
)
from bce3s.datasets.lists import git_blob_id, list_content  # noqa: E402
from bce3s.datasets.long_tailed import class_counts, split_masks  # noqa: E402
from bce3s.errors import BCE3SError  # noqa: E402


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

    facts = IN_MEMORY[name]
    dataset = getattr(in_memory, facts.dataset)
    variants = []
    for imbalance in ('exp', 'step'):
        for factor in facts.factors:
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
        image=list(facts.image),
        images_before_subsampling=dict(zip(('train', 'test'), facts.full, strict=True)),
        n_max=dataset.default_n_max,
        source=dict(page=facts.page, files=published_files(dataset)),
        variants=variants,
    )


def list_manifest(name: str, lists: Path | None, previous: dict | None) -> dict:
    """Facts of a benchmark defined by lists; see the module's docstring for ``previous``."""
    facts = ON_DISK[name]
    before = (previous or {}).get('splits', {})
    splits = {
        split: read_split(facts.num_classes, entry, lists) or unread(entry, before.get(split))
        for split, entry in facts.lists.items()
    }
    counts = splits['train']['class_counts']
    return dict(
        benchmark=name,
        num_classes=facts.num_classes,
        source=dict(page=facts.page, files=source_files(facts), lists=LISTS_PAGE),
        most_and_least=most_and_least(name, counts),
        classes_of_split=split_sizes(counts) if counts else None,
        splits=splits,
    )


def source_files(facts: Benchmark) -> list[dict]:
    """Archives of images, and of the annotations from which lists can be made."""
    made = [entry.annotations for entry in facts.lists.values() if entry.annotations]
    return [dict(file=a.file, url=a.url, md5=a.md5) for a in facts.archives] + [
        dict(file=a.archive, url=a.url, md5=a.md5) for a in made
    ]


def most_and_least(name: str, counts: Sequence[int] | None) -> list[int] | None:
    """Images of the most and of the least frequent class: published, confirmed by ``counts``."""
    published = ON_DISK[name].most_and_least
    found = (max(counts), min(counts)) if counts else published
    if published and found != published:
        raise BCE3SError(f'{name}: the train list has {found} images a class, not {published}')
    return list(found) if found else None


def unread(entry: PublishedList, before: dict | None) -> dict:
    """The split as the existing manifest has it, else what is known without its list."""
    known = dict(list=entry.file, images=entry.images, git_blob=entry.git_blob, class_counts=None)
    return (before or known) | dict(url=entry.url)


def read_split(num_classes: int, entry: PublishedList, lists: Path | None) -> dict | None:
    """Git blob id and class counts of a list in the folder ``lists``, if it is there.

    Raises:
        BCE3SError: the list is not the published one: its blob id or number of lines differs.
    """
    paths = [lists / entry.file, lists / f'{entry.file}.gz'] if lists else []
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        return None
    content = list_content(path)
    found = git_blob_id(content)
    if entry.git_blob and found != entry.git_blob:
        raise BCE3SError(f'{path}: git blob id {found}, the published list has {entry.git_blob}')
    counts = count_labels(content, num_classes, path)
    if sum(counts) != entry.images:
        raise BCE3SError(f'{path}: {sum(counts)} images, the published list has {entry.images}')
    # a balanced split needs one number
    per_class = counts[0] if len(set(counts)) == 1 else counts
    facts = dict(list=entry.file, images=entry.images, git_blob=found, class_counts=per_class)
    return facts | dict(url=entry.url)


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
    for name in ON_DISK:
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
