"""Images that a list names: ImageNet-LT, Places-LT, iNaturalist 2018, or anybody's own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from bce3s.datasets.checks import Problems, agreed, bits_used
from bce3s.datasets.file_checks import check_how
from bce3s.datasets.image_files import ImageFiles, Images, check_split, ranges
from bce3s.datasets.image_folder import check_duplicates
from bce3s.datasets.lists import ImageEntries, listed_at, read_list
from bce3s.datasets.manifests import Manifest, read_manifest
from bce3s.datasets.pixels import WHITE
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS
from bce3s.wording import counted

SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class ImageList(ImageFiles):
    """Images of ``path label`` lists or of tables (``.csv``, ``.tsv``), see
    :func:`~bce3s.datasets.lists.read_list`.

    How images are cropped, and what ``unreadable`` does: :class:`ImageFiles`.

    Args:
        data_root: the folder that paths in the lists are relative to, absolute ones excepted.
        lists: split -> list, relative to ``data_root``; ``NAME.gz`` is taken where NAME is not
            there. ``train`` is needed for every split: class counts come from it.
        split: ``train``, ``val`` or ``test``; images of the first are cropped at random.
        manifest: the benchmark whose lists these must be, a name in ``data_lists/`` or the path of
            a manifest: git blob id, number of images and class counts are compared before anything
            else. None: lists of one's own.
        size: H = W of the images.
        resize: of the shorter side in the test, at least ``size``.
        check: how closely the images are looked at before the first step: ``'none'``, ``'files'``,
            ``'headers'`` or ``'pixels'``, see :func:`~bce3s.datasets.file_checks.look_at`.
        unreadable: ``'stop'`` or ``'skip'``.
        bits: that images of more than 8 bits a value use, of which the upper 8 are kept; None: as
            many as the largest value in the training images needs.
        ground: R, G, B of what shows behind transparent parts.
        duplicates: whether a test image that is also a training image under another name is an
            error (``'stop'``) or a warning (``'warn'``); None: an error, but with a ``manifest``,
            whose images are as published, a warning.
        columns: names of a table's columns of paths and of labels.

    Attributes:
        labels: (N,) int64.
        metainfo: ``dataset`` (the benchmark), ``split``, ``classes`` (their names in the table;
            else the folders of the training images, if each class has one of its own; else
            numbers), ``class_counts`` (images of each class in the TRAINING list, for every split)
            and ``subset`` (``size``; of the list ``list``, ``git_blob``, ``sha256``).

    Raises:
        BCE3SError: a list that cannot be read or has bad lines; all of them at once: labels that
            the training list lacks below its largest, labels of another split outside it,
            differences from the manifest; then all images that the check finds fault with or that
            are also in the training list, with list and line; on access an image that cannot be
            read.
    """

    def __init__(
        self,
        data_root: str,
        lists: dict[str, str],
        split: str = 'train',
        manifest: str | None = None,
        size: int = 224,
        resize: int = 256,
        check: str = 'headers',
        unreadable: str = 'stop',
        duplicates: str | None = None,
        columns: Sequence[str] | None = None,
        bits: int | None = None,
        ground: Sequence[int] = WHITE,
    ) -> None:
        _check_arguments(lists, split)
        check_how('ImageList', check)
        duplicates = duplicates or ('warn' if manifest else 'stop')
        check_duplicates('ImageList', duplicates)
        root = Path(data_root).expanduser()
        train, own, facts = agreed(lambda: _read(root, lists, split, manifest, columns))
        counts = np.bincount(train.labels).tolist()  # no class is missing
        metainfo = dict(
            dataset=facts.benchmark if facts else 'ImageList',
            split=split,
            classes=train.classes or _folders_of_classes(train, len(counts)),
            class_counts=counts,
            subset=dict(
                size=len(own.paths),
                list=own.source.name,
                git_blob=own.git_blob,
                sha256=own.sha256,
            ),
        )
        images = _images(own, root)
        bits = bits_used(_images(train, root).paths) if bits is None else bits
        colours = dict(bits=bits, ground=ground)
        super().__init__(images, split == 'train', metainfo, size, resize, unreadable, **colours)
        others = None if split == 'train' else _images(train, root)
        check_split(images, others, check, duplicates, str(root), unreadable == 'skip')


def _check_arguments(lists: dict[str, str], split: str) -> None:
    if split not in SPLITS:
        raise BCE3SError(f'ImageList: split is {split!r}; use one of {", ".join(SPLITS)}.')
    if not isinstance(lists, dict) or not {'train', split} <= lists.keys() <= set(SPLITS):
        raise BCE3SError(
            f"ImageList: lists is {lists!r}; give dict(train='TRAIN.txt', {split}=...), of the "
            f'splits {", ".join(SPLITS)}.'
        )


def _read(
    root: Path,
    lists: dict[str, str],
    split: str,
    manifest: str | None,
    columns: Sequence[str] | None,
) -> tuple[ImageEntries, ImageEntries, Manifest | None]:
    """The training list, the split's, and the manifest, after everything that lists alone tell."""
    facts = read_manifest(manifest) if manifest else None
    train = own = read_list(_found(root, lists['train'], facts), None, columns)
    if split != 'train':
        own = read_list(_found(root, lists[split], facts), train.classes, columns)
    problems = Problems()
    for name, entries in {'train': train, split: own}.items():
        if facts:
            _compare(entries, name, facts, problems)
    if not problems:  # else the published list would be blamed
        _check_labels(train, own, facts.num_classes if facts else 1, problems)
    problems.raise_all('The lists cannot be used: correct them')
    return train, own, facts


def _found(root: Path, name: str, facts: Manifest | None) -> Path:
    """The list, or its packed form."""
    path = root / Path(name).expanduser()
    packed = path.with_name(f'{path.name}.gz')
    if not path.exists() and packed.exists():
        return packed
    if not path.exists() and facts:
        raise BCE3SError(
            f'The list {path} is not there: python tools/prepare_data.py {facts.benchmark} fetches '
            'it, or says where it comes from.'
        )
    return path


def _compare(entries: ImageEntries, split: str, facts: Manifest, problems: Problems) -> None:
    """Notes where a list is not the published one."""
    source, published = entries.source, facts.splits.get(split)
    if published is None:
        problems.add(facts.path, f'has no split {split!r}, only {", ".join(facts.splits)}')
        return
    if published.git_blob not in (None, entries.git_blob):
        problems.add(
            source,
            f'is not the published list: its git blob id is {entries.git_blob}, {facts.path.name} '
            f'has {published.git_blob}; fetch it again, or set manifest=None for your own',
        )
    if published.images != len(entries.paths):
        problems.add(
            source,
            f'names {counted(len(entries.paths), "image")}, the published one {published.images}',
        )
    outside = sorted({k for k in entries.labels if k >= facts.num_classes})
    for first, last in ranges(outside):
        problems.add(source, f'has {_classes(first, last)}; {facts.num_classes} are published')
    counts = facts.counts(split)
    if counts and not outside:
        found = np.bincount(entries.labels, minlength=len(counts))
        for k in (found != counts).nonzero()[0].tolist():
            problems.add(
                source,
                f'names {counted(found[k], "image")} of class {k}, published are {counts[k]}',
            )


def _check_labels(train: ImageEntries, own: ImageEntries, least: int, problems: Problems) -> None:
    """Notes classes without a training image, of ``least`` or more, and unknown ones."""
    known = set(train.labels)
    size = max(least, max(known) + 1)
    bounds = [-1, *sorted(known), size]
    absent = [(a + 1, b - 1) for a, b in pairwise(bounds) if b - a > 1]
    for first, last in absent:
        problems.add(
            train.source,
            f'{_classes(first, last)} without a training image: labels must be 0..K-1 without gap',
        )
    if own is not train and not absent:
        for label, line in zip(own.labels, own.lines, strict=True):
            if label >= size:
                problems.add(
                    f'{own.source}:{line}',
                    f'the label {label} is outside 0..{size - 1}, the classes of the training set',
                )


def _classes(first: int, last: int) -> str:
    return f'class {first}' if first == last else f'classes {first} to {last}'


def _images(entries: ImageEntries, root: Path) -> Images:
    paths = [listed_at(root, path) for path in entries.paths]

    def where(index: int) -> tuple[str, str]:
        return f'{entries.source}:{entries.lines[index]}', f'{paths[index]} '

    return Images(str(entries.source), paths, entries.labels, where)


def _folders_of_classes(train: ImageEntries, size: int) -> list[str]:
    """Names of the folders of the training images, where each class has one of its own."""
    names: dict[int, str] = {}
    for path, label in zip(train.paths, train.labels, strict=True):
        name = PurePosixPath(path).parent.name
        if names.setdefault(label, name) != name:
            break
    else:
        if len(set(names.values())) == size and all(names.values()):
            return [names[k] for k in range(size)]
    return [str(k) for k in range(size)]
