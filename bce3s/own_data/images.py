"""The data set of a run on somebody's own images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bce3s.datasets.checks import bits_used
from bce3s.datasets.image_files import ImageFiles, Images
from bce3s.datasets.label_sets import positives
from bce3s.errors import BCE3SError
from bce3s.own_data.found import not_measured, read_facts, read_written
from bce3s.registry import DATASETS


@DATASETS.register_module()
class OwnImages(ImageFiles):
    """Images of the lists that a run wrote down, see :func:`bce3s.own_data.found.write_splits`.

    Args:
        data_root: the folder that paths in the lists are relative to.
        lists: the folder of ``train.csv``, ``val.csv``, ``test.csv`` and ``data.json``.
        split: ``train``, ``val`` or ``test``.
        check, unreadable, options: see :class:`ImageFiles`.
        bits: None: as many as the largest value in the training images needs.

    Attributes:
        labels: (N,) int64, or (N, K) int8, see :class:`ImageFiles`.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` (images of each class in
            TRAINING, for every split), ``subset`` (``size``; of the list ``list``, ``sha256``) and
            ``notes``, sentences on what was found and left out.

    Raises:
        BCE3SError: lists that are missing or damaged; none of the images is there.
    """

    def __init__(
        self,
        data_root: str,
        lists: str,
        split: str = 'train',
        check: str = 'files',
        unreadable: str = 'skip',
        bits: int | None = None,
        **options: Any,
    ) -> None:
        if not data_root or not lists:
            raise BCE3SError(
                'OwnImages has no data_root: python tools/train.py configs/bce3s/my_folder.py '
                '--cfg-options data_root=PATH fills it in.'
            )
        root, folder = Path(data_root).expanduser(), Path(lists).expanduser()
        facts = read_facts(folder)
        classes = facts['classes']
        train = own = read_written(folder, 'train', facts)
        unseen: list[str] = []
        if split != 'train':
            own = read_written(folder, split, facts)
            what = 'a validation image' if split == 'val' else f'a {split} image'
            unseen = not_measured(classes, positives(own.labels, len(classes)), what)
        metainfo = dict(
            dataset=root.name,
            split=split,
            classes=classes,
            class_counts=positives(train.labels, len(classes)),
            subset=dict(size=len(own.paths), list=own.source.name, sha256=own.sha256),
            notes=[
                *facts['notes'],
                *(f'{name}: held out of train.' for name in facts['made']),
                *unseen,
            ],
        )
        if bits is None:
            bits = bits_used([os.path.join(root, path) for path in train.paths])
        paths = [os.path.join(root, path) for path in own.paths]
        images = Images(str(own.source), paths, own.labels)
        options |= dict(check=check, unreadable=unreadable, bits=bits)
        super().__init__(images, split == 'train', metainfo, **options)
