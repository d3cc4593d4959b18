"""Images that a list names: ImageNet-LT, Places-LT, iNaturalist 2018, or anybody's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bce3s.datasets.benchmarks import Manifest, read_manifest
from bce3s.datasets.checks import Problems, agreed, bits_used, one_of
from bce3s.datasets.image_files import ImageFiles, Images
from bce3s.datasets.label_sets import positives
from bce3s.datasets.lists import ImageEntries, folders_of_classes, listed_at, read_list
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS
from bce3s.wording import counted

SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class ImageList(ImageFiles):
    """Images of ``path label`` lists or of tables (``.csv``, ``.tsv``), see
    :func:`~bce3s.datasets.lists.read_list`.

    Args:
        data_root: the folder that paths in the lists are relative to, absolute ones excepted.
        lists: split -> list, relative to ``data_root``; ``NAME.gz`` is taken where NAME is not
            there. ``train`` is needed for every split: class counts come from it.
        split: ``train``, ``val`` or ``test``; images of the first are cropped at random.
        manifest: the benchmark whose lists these must be, a name in ``data_lists/`` or the path of
            a manifest: the git blob id and the number of images are compared before anything else.
            None: lists of one's own.
        duplicates: see :class:`ImageFiles`; None: an error, but with a ``manifest``, whose images
            are as published, a warning.
        columns: names of a table's columns of paths and of labels, or of paths alone.
        multilabel: whether images may have several labels, or none; None: if not each of the
            training images has one, see :mod:`~bce3s.datasets.label_sets`.
        separator: of several labels in a cell; None: looked for.
        bits: see :class:`ImageFiles`; None: as many as the largest value in the training images
            needs.
        options: of :class:`ImageFiles`.

    Attributes:
        labels: (N,) int64, or (N, K) int8, see :class:`ImageFiles`.
        metainfo: ``dataset`` (the benchmark), ``split``, ``classes`` (their names in the table;
            else the folders of the training images, if each class has one of its own; else
            numbers), ``class_counts`` (images of each class in the TRAINING list, for every split)
            and ``subset`` (``size``; of the list ``list``, ``git_blob``, ``sha256``).

    Raises:
        BCE3SError: a list that cannot be read or has bad lines; all of them at once: labels that
            the training list lacks below its largest, labels of another split outside it,
            differences from the manifest; then as :class:`ImageFiles`, with list and line.
    """

    def __init__(
        self,
        data_root: str,
        lists: dict[str, str],
        split: str = 'train',
        manifest: str | None = None,
        check: str = 'headers',
        duplicates: str | None = None,
        columns: Sequence[str] | None = None,
        multilabel: bool | None = None,
        separator: str | None = None,
        bits: int | None = None,
        **options: Any,
    ) -> None:
        one_of('ImageList: split', split, SPLITS)
        if not isinstance(lists, dict) or not {'train', split} <= lists.keys() <= set(SPLITS):
            raise BCE3SError(
                f"ImageList: lists is {lists!r}; give dict(train='TRAIN.txt', {split}=...), of the "
                f'splits {", ".join(SPLITS)}.'
            )
        root = Path(data_root).expanduser()
        how = dict(columns=columns, multilabel=multilabel, separator=separator)
        train, own, facts = agreed(lambda: _read(root, lists, split, manifest, how))
        counts = positives(train.labels, train.size)  # no class is missing
        metainfo = dict(
            dataset=facts.benchmark if facts else 'ImageList',
            split=split,
            classes=train.classes
            or folders_of_classes(train, len(counts))
            or [*map(str, range(len(counts)))],
            class_counts=counts,
            subset=dict(
                size=len(own.paths),
                list=own.source.name,
                git_blob=own.git_blob,
                sha256=own.sha256,
            ),
        )
        all_train = images_of(train, root)
        options |= dict(
            check=check,
            bits=bits_used(all_train.paths) if bits is None else bits,
            duplicates=duplicates or ('warn' if manifest else 'stop'),
            train=None if split == 'train' else all_train,
        )
        super().__init__(images_of(own, root), split == 'train', metainfo, **options)


def images_of(entries: ImageEntries, root: Path) -> Images:
    """Those that a list names; messages have its line."""
    paths = [listed_at(root, path) for path in entries.paths]
    source = str(entries.source)
    return Images(source, paths, entries.labels, lambda i: f'{source}:{entries.lines[i]}')


def _read(
    root: Path,
    lists: dict[str, str],
    split: str,
    manifest: str | None,
    how: dict[str, Any],
) -> tuple[ImageEntries, ImageEntries, Manifest | None]:
    """The training list, the split's, and the manifest, after everything that lists alone tell;
    ``how`` lists are read.
    """
    facts = read_manifest(manifest) if manifest else None
    train = own = read_list(_found(root, lists['train'], facts), **how)
    if split != 'train':
        how |= dict(multilabel=train.multilabel, separator=how['separator'] or train.separator)
        own = read_list(_found(root, lists[split], facts), train.classes, **how)
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
    published = facts.splits.get(split)
    if published is None:
        problems.add(facts.path, f'has no split {split!r}, only {", ".join(facts.splits)}')
    elif published.git_blob not in (None, entries.git_blob):
        problems.add(
            entries.source,
            f'is not the published list: its git blob id is {entries.git_blob}, {facts.path.name} '
            f'has {published.git_blob}; fetch it again, or set manifest=None for your own',
        )
    elif published.images not in (None, len(entries.paths)):
        problems.add(
            entries.source,
            f'names {counted(len(entries.paths), "image")}, the published one {published.images}',
        )


def _check_labels(train: ImageEntries, own: ImageEntries, least: int, problems: Problems) -> None:
    """Notes classes without a training image, of ``least`` or more, and unknown ones."""
    size = max(least, train.size)
    absent = [k for k, n in enumerate(positives(train.labels, size)) if not n]
    if absent:
        names = train.classes[:size] if train.multilabel else range(size)
        named = ', '.join(str(names[k]) for k in absent[:10] if k < len(names))
        problems.add(
            train.source,
            f'{counted(len(absent), "class")} without a training image '
            f'({named}{", ..." if len(absent) > 10 else ""}): '
            f'{"remove them" if train.multilabel else "labels must be 0..K-1 without gap"}',
        )
    elif own is not train and not train.multilabel:
        for label, line in zip(own.labels, own.lines, strict=True):
            if label >= size:
                problems.add(
                    f'{own.source}:{line}',
                    f'the label {label} is outside 0..{size - 1}, the classes of the training set',
                )
