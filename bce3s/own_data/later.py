"""Evaluation on labelled images that came after the training: ``tools/test.py --data``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from bce3s.config import apply_options
from bce3s.datasets.checks import agreed, check_images, same_content
from bce3s.datasets.image_files import ImageFiles, Images
from bce3s.datasets.label_sets import classes_of
from bce3s.datasets.lists import listed_at
from bce3s.engine.checkpoint import load_from_disk
from bce3s.errors import BCE3SError
from bce3s.own_data.complete import list_options
from bce3s.own_data.find import ListOptions, find
from bce3s.own_data.found import (
    FoundImages,
    not_measured,
    quoted,
    read_facts,
    read_written,
    tidy_name,
)
from bce3s.registry import DATASETS
from bce3s.wording import counted

KEPT = ('size', 'resize', 'bits', 'ground')  # of the data set that the model was evaluated on


@DATASETS.register_module()
class LaterImages(ImageFiles):
    """Labelled images of the classes that a model knows, whose training did not see them.

    Args:
        data: folder or list, understood as for a training (:func:`~bce3s.own_data.find.find`); of
            several splits ``test`` is taken, or else ``val``; there need be no training images.
        classes: (K,) names of the model's classes, by which those of the images are matched.
        class_counts: (K,) images of each class in the TRAINING, for Many, Medium and Few.
        trained_on: ``data_root`` and ``lists`` of the training images, so that a note can tell of
            those that are among these; None: they are not known.
        columns, images, suffix, leave_out, nested, multilabel, separator: see
            :class:`~bce3s.own_data.find.ListOptions`.
        check, unreadable, options: see :class:`ImageFiles`.

    Attributes:
        labels: (N,) int64, positions in ``classes``; or (N, K) int8, see :class:`ImageFiles`.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts``, ``subset`` (``size``) and
            ``notes``, sentences on what was found and left out.

    Raises:
        BCE3SError: as ``find``, but for a single class; none of the classes is one of the model's.
    """

    def __init__(
        self,
        data: str,
        classes: Sequence[str],
        class_counts: Sequence[int],
        trained_on: tuple[str, str] | None = None,
        columns: Sequence[str] | None = None,
        images: str | None = None,
        suffix: str | None = None,
        leave_out: Sequence[str] = (),
        nested: bool = False,
        multilabel: bool | None = None,
        separator: str | None = None,
        check: str = 'headers',
        unreadable: str = 'skip',
        **options: Any,
    ) -> None:
        columns = columns and tuple(columns)
        lists = ListOptions(columns, images, suffix, leave_out, nested, multilabel, separator)
        found = agreed(lambda: matched(find(data, lists, later=True), classes))
        entries = found.splits['test']
        paths = [os.path.join(found.root, path) for path, _ in entries]
        metainfo = dict(
            dataset=Path(data).expanduser().resolve().name,
            split='test',
            classes=found.classes,
            class_counts=list(class_counts),
            subset=dict(size=len(paths)),
            notes=[*found.notes, *_seen(paths, trained_on)],
        )
        labels = [label for _, label in entries]
        later = Images(str(found.root), paths, labels)
        super().__init__(later, False, metainfo, check=check, unreadable=unreadable, **options)


def _seen(paths: Sequence[str], trained_on: tuple[str, str] | None) -> list[str]:
    """A sentence where some of the images have the bytes of training images."""
    if trained_on is None or not os.path.isfile(os.path.join(trained_on[1], 'train.csv')):
        return []
    known = read_written(Path(trained_on[1]), 'train', read_facts(Path(trained_on[1])))
    train = [listed_at(trained_on[0], path) for path in known.paths]
    marks = [check_images(some, 'headers', lambda *_: None) for some in (paths, train)]
    seen = same_content(paths, marks[0], train, marks[1])
    if not seen:
        return []
    return [
        f'{counted(len(seen), "image")} of {len(paths):,} were trained on (equal files, for '
        f'instance {paths[seen[0][0]]}), so that the figures are better than those of new images.'
    ]


def matched(found: FoundImages, classes: Sequence[str]) -> FoundImages:
    """The images of the last split, as ``test``, with labels that are positions in ``classes``.

    Raises:
        BCE3SError: none of them has one of the ``classes``.
    """
    notes, split = list(found.notes), next(s for s in ('test', 'val', 'train') if s in found.splits)
    if len(found.splits) > 1:
        notes.append(f'Of the splits {", ".join(found.splits)} {split} is taken.')
    numbers = {tidy_name(name): label for label, name in enumerate(classes)}
    entries = found.splits[split]
    named = [(path, [found.classes[k] for k in classes_of(label)]) for path, label in entries]
    unknown = [name for _, names in named for name in names if name not in numbers]
    strange = quoted(list(dict.fromkeys(unknown)))
    if found.multilabel:
        at = [found.classes.index(n) if n in found.classes else None for n in numbers]
        images = [
            (path, tuple(found.unnamed if k is None else label[k] for k in at))
            for path, label in entries
        ]
    else:
        images = [(path, numbers[name]) for path, (name,) in named if name in numbers]
    if not numbers.keys() & {*found.classes}:
        raise BCE3SError(
            f'--data: none of the classes in {found.root} ({strange}) is one of the '
            f"model's ({quoted(list(classes))}): name them alike."
        )
    if unknown:
        notes.append(
            f'{counted(len(unknown), "label" if found.multilabel else "image")} of classes that '
            f'the model does not know ({strange}) will be left out.'
        )
    known = FoundImages(found.root, list(classes), {'test': images}, notes=notes)
    notes += not_measured(classes, known.counts('test'), 'an image')
    return known


def evaluate_on(
    cfg: Config, data: str, checkpoint: str | Path, options: Sequence[str] = ()
) -> None:
    """Makes labelled images the test split of ``cfg``, which the classes of the checkpoint have.

    Args:
        cfg: that of a run on image files.
        data: see :class:`LaterImages`.
        checkpoint: names the classes.
        options: ``own_data.KEY=VALUE``, how lists are read.

    Raises:
        BCE3SError: a run on other data, or a checkpoint that does not say what its classes are.
    """
    init_default_scope(cfg.get('default_scope', 'bce3s'))
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    before = loader.get('dataset') or {}
    kind: Any = before.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if kind is None or not issubclass(kind, ImageFiles):
        raise BCE3SError(
            '--data: the model was not trained on image files, so that nothing says how images are '
            'brought to its size: tools/predict.py takes any image.'
        )
    meta = load_from_disk(checkpoint).get('meta', {}).get('dataset_meta') or {}
    if not meta.get('classes') or not meta.get('class_counts'):
        raise BCE3SError(
            f'--data: {checkpoint} does not say which classes it knows: give one that a training '
            'run of this version wrote.'
        )
    kept = {key: before[key] for key in KEPT if key in before}
    if meta.get('bits') is not None:
        kept.setdefault('bits', meta['bits'])
    lists = Config(dict(own_data=dict(vars(ListOptions()), parents=None)))
    apply_options(lists, list(options))
    dataset = dict(
        type='LaterImages',
        data=data,
        classes=[str(name) for name in meta['classes']],
        class_counts=[int(n) for n in meta['class_counts']],
        trained_on=_training(cfg),
        **vars(replace(list_options(lists.own_data), multilabel=bool(meta.get('multilabel')))),
        **kept,
    )
    cfg.test_dataloader = {**loader, 'dataset': dataset}


def _training(cfg: Config) -> tuple[str, str] | None:
    """``data_root`` and ``lists`` of the training images of a run on own images."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    given = dataset.get('data_root'), dataset.get('lists')
    return given if all(isinstance(each, str) and each for each in given) else None
