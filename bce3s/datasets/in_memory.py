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
from bce3s.datasets.long_tailed import check_labels, class_counts, select_subset
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
    """A long-tailed training set, or the whole (balanced) test set that belongs to it.

    Args:
        split: ``train`` (subsampled) or ``test`` (whole).
        imbalance_factor, imbalance, n_max: see :func:`~.long_tailed.class_counts`; ``n_max`` None
            is the data set's own.
        rule: ``first_n`` or ``ldam``, see :func:`~.long_tailed.select_subset`.

    Attributes:
        images: (N, C, H, W) uint8. In the training set ordered by class.
        labels: (N,) int64.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` (of the TRAINING set, on the
            test set too) and ``subset``: ``rule``, ``imbalance``, ``imbalance_factor``, ``n_max``
            of the training set, ``size`` and ``sha256`` (the bytes of ``images``, then of
            ``labels`` as little-endian int64) of this split.

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
    ) -> None:
        if split not in ('train', 'test'):
            raise BCE3SError(f"{type(self).__name__}: split is {split!r}; use 'train' or 'test'")
        n_max = self.default_n_max if n_max is None else n_max
        counts = class_counts(
            n_max, len(self.classes), imbalance_factor, imbalance, self.classes
        )  # before anything is read
        self.split = split
        images, labels, source = self.read()
        if split == 'train':
            kept = select_subset(labels, counts, rule, self.classes, source)
        else:
            check_labels(labels, len(counts), source)
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
                imbalance_factor=float(imbalance_factor),
                n_max=int(n_max),
                size=len(labels),
                sha256=_sha256(images, labels),
            ),
        )
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels)

    def read(self) -> Arrays:
        """All images and labels of ``self.split`` in file order."""
        raise NotImplementedError

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
    test_per_class = 50

    def __init__(self, split: str = 'train', imbalance_factor: float = 20, **options: Any) -> None:
        super().__init__(split, imbalance_factor, **options)

    def read(self) -> Arrays:
        images, labels = read_digits()
        # how many of its class come before it in the file
        rank = np.zeros(len(labels), np.int64)
        for k in range(len(self.classes)):
            rank[labels == k] = np.arange((labels == k).sum())
        mine = (rank < self.test_per_class) == (self.split == 'test')
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

    def read(self) -> Arrays:
        download.once_per_node(
            lambda: download.obtain_archive(
                self.archives, self.root, self.split, self.download, self.verify
            )
        )
        archive = download.require_archive(self.archives, self.root, self.split)
        parts = [self._read_file(archive, file) for file in getattr(archive, self.split)]
        if len(parts) == 1:  # concatenating would copy it
            return *parts[0], str(self.root / archive.folder / getattr(archive, self.split)[0].name)
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return images, labels, str(self.root / archive.folder)

    def _read_file(
        self, archive: sources.Archive, file: sources.Published
    ) -> tuple[np.ndarray, np.ndarray]:
        path = self.root / archive.folder / file.name
        if archive.label_bytes is None:
            return read_cifar_pickle(path, file.md5, self.verify)
        expected = self.file_size[self.split] if self.verify else None
        return read_cifar_binary(path, archive.label_bytes, expected)


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

    def read(self) -> Arrays:
        prefix = 'train' if self.split == 'train' else 't10k'
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
