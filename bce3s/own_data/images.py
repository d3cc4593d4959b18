"""The data set of a run on somebody's own images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from torch import Tensor

from bce3s.datasets.decoding import read_centre
from bce3s.datasets.file_checks import check_how
from bce3s.datasets.image_files import ImageFiles, Images, check_split
from bce3s.datasets.lists import ImageEntries, read_list
from bce3s.errors import BCE3SError
from bce3s.own_data.written import read_facts
from bce3s.registry import DATASETS


@DATASETS.register_module()
class OwnImages(ImageFiles):
    """Images of the lists that a run wrote down, see :mod:`bce3s.own_data.written`.

    What ``unreadable`` does, and how images are cropped: :class:`ImageFiles`.

    Args:
        data_root: the folder that paths in the lists are relative to.
        lists: the folder of ``train.csv``, ``val.csv``, ``test.csv`` and ``data.json``.
        split: ``train``, ``val`` or ``test``.
        size: H = W of the images.
        resize: of the shorter side in the test, at least ``size``.
        random_crop: whether training images are cropped at random; False: as in the test, for
            images so small that the preprocessor's shifts and flips are enough.
        check: how closely the images are looked at, see
            :func:`~bce3s.datasets.file_checks.look_at`.
        unreadable: ``'stop'`` or ``'skip'``.

    Attributes:
        labels: (N,) int64.
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
        size: int = 224,
        resize: int = 256,
        random_crop: bool = True,
        check: str = 'files',
        unreadable: str = 'skip',
    ) -> None:
        check_how('OwnImages', check)
        if not data_root or not lists:
            raise BCE3SError(
                'OwnImages has no data_root: python tools/train.py configs/bce3s/my_folder.py '
                '--cfg-options data_root=PATH fills it in.'
            )
        root, folder = Path(data_root).expanduser(), Path(lists).expanduser()
        facts = read_facts(folder)
        classes = facts['classes']
        train = own = read_list(folder / 'train.csv', classes)
        if split != 'train':
            own = read_list(folder / f'{split}.csv', classes)
        metainfo = dict(
            dataset=root.name,
            split=split,
            classes=classes,
            class_counts=np.bincount(train.labels, minlength=len(classes)).tolist(),
            subset=dict(size=len(own.paths), list=own.source.name, sha256=own.sha256),
            notes=[*facts['notes'], *(f'{name}: held out of train.' for name in facts['made'])],
        )
        images = _images(own, root)
        super().__init__(images, split == 'train', metainfo, size, resize, unreadable)
        self.random_crop = random_crop
        check_split(images, None, check, 'warn', str(root), unreadable == 'skip')

    def _read(self, index: int, seed: int) -> Tensor:
        if self.training and not self.random_crop:
            return read_centre(self.paths[index], self.size, self.resize)
        return super()._read(index, seed)


def _images(entries: ImageEntries, root: Path) -> Images:
    paths = [os.path.join(root, path) for path in entries.paths]
    return Images(str(entries.source), paths, entries.labels, lambda i: (paths[i], ''))
