"""Small data sets as ONE uint8 tensor: a batch is one gather, and no worker process is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bce3s.datasets import download, sources
from bce3s.datasets.long_tailed import (
    check_keep_classes,
    check_labels,
    check_number,
    class_counts,
    new_labels,
    select_subset,
)
from bce3s.datasets.readers import (
    read_cifar_binary,
    read_cifar_pickle,
    read_digits,
    read_idx,
    require_pair,
)
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS, FUNCTIONS

Arrays = tuple[np.ndarray, np.ndarray, str]  # images (N, C, H, W), labels (N,), where they are from


@FUNCTIONS.register_module()
def passthrough(batch: Any) -> Any:
    """The collate function of data sets whose ``__getitems__`` returns the batch itself."""
    return batch


class InMemoryLongTailed(Dataset):
    """A training set, long-tailed or whole, or the test set that belongs to it.

    Args:
        split: ``train`` (subsampled) or ``test``.
        imbalance_factor, imbalance, n_max: see :func:`~.long_tailed.class_counts`; ``n_max`` None
            is the data set's own. ``imbalance='none'`` keeps every image; then it must be None.
        rule: ``first_n`` or ``ldam``, see :func:`~.long_tailed.select_subset`.
        keep_classes: indices of the classes to keep, in the order of their new labels 0, 1, ...;
            None keeps all. The number of classes of the model's head must follow.
        test_per_class: keep the first so many test images of each class; None keeps all.

    Attributes:
        images: (N, C, H, W) uint8. In the training set ordered by class.
        labels: (N,) int64.
        classes: names of the classes kept.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` (of the TRAINING set, on the
            test set too) and ``subset``: ``rule``, ``imbalance``, ``imbalance_factor``, ``n_max``
            of the training set (the last two None for ``none``), ``keep_classes``,
            ``test_per_class``, ``size`` and ``sha256`` (the bytes of ``images``, then of ``labels``
            as little-endian int64) of this split.

    Raises:
        BCE3SError: an argument out of its range, a class with too few images, a file that is
            missing, damaged or of another data set.
    """

    classes: tuple[str, ...]
    default_n_max: int

    def __init__(
        self,
        split: str = 'train',
        imbalance_factor: float = 100,
        imbalance: str = 'exp',
        rule: str = 'first_n',
        n_max: int | None = None,
        keep_classes: Sequence[int] | None = None,
        test_per_class: int | None = None,
    ) -> None:
        if split not in ('train', 'test'):
            raise BCE3SError(f"{type(self).__name__}: split is {split!r}; use 'train' or 'test'")
        self.split, self._kept = split, keep_classes
        if keep_classes is not None:
            check_keep_classes(keep_classes, len(self.classes))
            self.classes = tuple(self.classes[k] for k in keep_classes)
        if test_per_class is not None:
            check_number('test_per_class', test_per_class)
        counts = self._profile(imbalance, imbalance_factor, n_max)  # before anything is read
        images, labels, source = self._read(split)
        if imbalance == 'none':
            whole = labels if split == 'train' else self._read('train')[1]
            counts = np.bincount(whole, minlength=len(self.classes)).tolist()
        if split == 'train':
            kept = select_subset(labels, counts, rule, self.classes, source)
        elif test_per_class is not None:
            few = [test_per_class] * len(counts)
            kept = np.sort(select_subset(labels, few, 'first_n', self.classes, source))
        else:
            kept = np.arange(len(labels))
        images, labels = images[kept], labels[kept].astype('<i8')
        self.metainfo = dict(
            dataset=type(self).__name__,
            split=split,
            classes=list(self.classes),
            class_counts=counts,
            subset=dict(
                rule=rule,
                imbalance=imbalance,
                imbalance_factor=None if imbalance == 'none' else float(imbalance_factor),
                n_max=None if imbalance == 'none' else int(n_max or self.default_n_max),
                keep_classes=None if keep_classes is None else [int(k) for k in keep_classes],
                test_per_class=test_per_class,
                size=len(labels),
                sha256=_sha256(images, labels),
            ),
        )
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels)

    def read(self, split: str) -> Arrays:
        """All images and labels of ``split`` in file order, of all classes."""
        raise NotImplementedError

    def _read(self, split: str) -> Arrays:
        """:meth:`read`, of the classes kept, with their new labels."""
        images, labels, source = self.read(split)
        every = len(type(self).classes)
        check_labels(labels, every, source)
        if self._kept is not None:
            labels = new_labels(labels, self._kept, every)
            images, labels = images[labels >= 0], labels[labels >= 0]
        return images, labels, source

    def _profile(self, imbalance: str, factor: float, n_max: int | None) -> list[int] | None:
        """The class counts that the arguments ask for; None: those of the files."""
        if imbalance != 'none':
            n_max = self.default_n_max if n_max is None else n_max
            return class_counts(n_max, len(self.classes), factor, imbalance, self.classes)
        if n_max is not None:
            raise BCE3SError(
                f"imbalance='none' keeps every image, but n_max is {n_max}: for {n_max} images of "
                "each class use imbalance='exp', imbalance_factor=1"
            )
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        """inputs (C, H, W) uint8; labels and indices: 0-dim int64."""
        return self._take(torch.tensor(index))

    def __getitems__(self, indices: Sequence[int]) -> dict:
        """The batch in one gather: inputs (B, C, H, W) uint8; labels, indices (B,) int64."""
        return self._take(torch.as_tensor(indices))

    def _take(self, index: torch.Tensor) -> dict:
        return dict(
            inputs=self.images[index],
            data_samples=dict(labels=self.labels[index], indices=index),
        )


def _sha256(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(labels.tobytes())
    return digest.hexdigest()


@DATASETS.register_module()
class DigitsLT(InMemoryLongTailed):
    """scikit-learn's handwritten digits (UCI optdigits test part): 1,797 real images, 8 x 8, grey.

    Needs no download. Values 0..16 become uint8 ``round(v * 255 / 16)``. The first 50 images of
    each class in file order are the test set (500); the rest, at most 120 of a class, train.
    Arguments: see :class:`InMemoryLongTailed`.
    """

    classes = sources.DIGIT_CLASSES
    default_n_max = 120
    held_out = 50  # of each class, for the test set

    def __init__(self, split: str = 'train', imbalance_factor: float = 20, **options: Any) -> None:
        super().__init__(split, imbalance_factor, **options)

    def read(self, split: str) -> Arrays:
        images, labels = read_digits()
        # how many of its class come before it in the file
        rank = np.zeros(len(labels), np.int64)
        for k in range(10):
            rank[labels == k] = np.arange((labels == k).sum())
        mine = (rank < self.held_out) == (split == 'test')
        return images[mine], labels[mine], "scikit-learn's digits"


class DownloadedLongTailed(InMemoryLongTailed):
    """A data set whose files are found below ``data_root`` or downloaded to it.

    Args:
        data_root: the folder of the data sets, absolute or relative to the working directory.
        download: fetch what is missing; in several processes, one of each node does.
        verify: insist on the published checksums (and, of files without one, on the published
            number of images); ``False`` accepts other copies, such as one in another order.
        The others: see :class:`InMemoryLongTailed`.
    """

    def __init__(
        self,
        *args: Any,
        data_root: str = 'data',
        download: bool = True,
        verify: bool = True,
        **options: Any,
    ) -> None:
        self.root = Path(data_root).expanduser()
        self.download = download
        self.verify = verify
        super().__init__(*args, **options)


@DATASETS.register_module()
class CIFAR10LT(DownloadedLongTailed):
    """Long-tailed CIFAR-10, 3 x 32 x 32: 5,000 images of class 0 at most, 10,000 test images.

    Read from the binary or the Python layout; both have the images in the same order.
    """

    classes = sources.CIFAR10_CLASSES
    default_n_max = 5000
    archives = sources.CIFAR10
    file_size = {'train': 10000, 'test': 10000}  # images in each file

    def read(self, split: str) -> Arrays:
        download.once_per_node(
            lambda: download.obtain_archive(
                self.archives, self.root, split, self.download, self.verify
            )
        )
        archive = download.require_archive(self.archives, self.root, split)
        folder, files = self.root / archive.folder, getattr(archive, split)
        records = self.file_size[split] if self.verify else None
        parts = [self._read_file(archive.label_bytes, folder, file, records) for file in files]
        if len(parts) == 1:  # concatenating would copy it
            return *parts[0], str(folder / files[0].name)
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return images, labels, str(folder)

    def _read_file(
        self, label_bytes: int | None, folder: Path, file: sources.Published, records: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if label_bytes is None:
            return read_cifar_pickle(folder / file.name, file.md5, self.verify)
        return read_cifar_binary(folder / file.name, label_bytes, records)


@DATASETS.register_module()
class CIFAR100LT(CIFAR10LT):
    """Long-tailed CIFAR-100 (fine labels): 500 images of class 0 at most, 10,000 test images."""

    classes = sources.CIFAR100_CLASSES
    default_n_max = 500
    archives = sources.CIFAR100
    file_size = {'train': 50000, 'test': 10000}


@DATASETS.register_module()
class MNISTLT(DownloadedLongTailed):
    """Long-tailed MNIST, 1 x 28 x 28: 5,000 images of class 0 at most (the smallest of the ten
    classes has 5,421, so a round number below it serves every class), 10,000 test images.
    """

    classes = sources.DIGIT_CLASSES
    default_n_max = 5000
    source = sources.MNIST

    def read(self, split: str) -> Arrays:
        prefix = 'train' if split == 'train' else 't10k'
        names = [f'{prefix}-images-idx3-ubyte', f'{prefix}-labels-idx1-ubyte']
        download.once_per_node(
            lambda: download.obtain_idx(self.source, self.root, names, self.download)
        )
        paths = [download.require_idx(self.source, self.root, name) for name in names]
        images, labels = (
            read_idx(path, self.source.md5[name], self.source.unpacked.get(name), self.verify)
            for path, name in zip(paths, names, strict=True)
        )
        require_pair(paths, images, labels)
        return images[:, None], labels.astype(np.int64), str(paths[1])


@DATASETS.register_module()
class FashionMNISTLT(MNISTLT):
    """Long-tailed Fashion-MNIST, 1 x 28 x 28: 6,000 images of class 0 at most, 10,000 test."""

    classes = sources.FASHION_MNIST_CLASSES
    default_n_max = 6000
    source = sources.FASHION_MNIST
