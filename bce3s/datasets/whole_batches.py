"""The data sets in memory as loaders of a training ask for them: a batch in one gather, and the
arguments that configs have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from bce3s.datasets import in_memory
from bce3s.datasets.vectors import HasVectors
from bce3s.errors import BCE3SError


def passthrough(batch: Any) -> Any:
    """The collate function of data sets whose ``__getitems__`` returns the batch itself."""
    return batch


def collated(batch: Any) -> Any:
    """The collate function of data sets whose ``__getitems__`` returns a batch at times, and at
    others its samples.
    """
    return default_collate(batch) if isinstance(batch, list) else batch


class WholeBatches(HasVectors):
    """A data set in memory whose batch is one gather.

    Args:
        split: ``train``, ``test``, or ``val``: what ``val_per_class`` holds out.
        options: of the plain class.
    """

    def __init__(self, split: str = 'train', **options: Any) -> None:
        if split not in ('train', 'val', 'test'):
            name = type(self).__name__
            raise BCE3SError(f"{name}: split is {split!r}; use 'train', 'val' or 'test'")
        super().__init__(train=split != 'test', validation=split == 'val', **options)
        self.training = split == 'train'

    def unaugmented(self) -> WholeBatches:
        """The same images, of which nothing is drawn."""
        plain = copy(self)
        plain.training = False
        return plain

    def __getitem__(self, index: int) -> dict:
        """inputs (C, H, W) uint8, or (d,) where it has vectors; labels and indices: 0-dim int64;
        of several labels a picture (K,) int8.
        """
        return self.__getitems__(index)

    def __getitems__(self, indices: Sequence[int] | int) -> dict:
        """inputs (B, C, H, W) uint8, or (B, d) where it has vectors; labels, indices (B,) int64; of
        several labels a picture (B, K) int8.
        """
        index = torch.as_tensor(indices)
        samples = dict(labels=self.labels[index], indices=index)
        inputs = self.images[index] if self.vectors is None else self.vectors_of(indices)
        return dict(inputs=inputs, data_samples=samples)

    # ----------------------------------------------------------------------------- to be embedded
    pixel_settings = ('in memory',)

    def content_keys(self) -> list[bytes]:
        shape = repr(tuple(self.images.shape[1:])).encode()
        return [hashlib.sha256(shape + image.tobytes()).digest() for image in self.images.numpy()]

    def pixels(self, index: int, view: str) -> Tensor:
        if view.startswith('crop'):
            raise BCE3SError(
                f'{type(self).__name__} has no view {view!r}: of a data set in memory there are '
                "'origin' and 'flip'."
            )
        image = self.images[index]
        return image.flip(-1) if view == 'flip' else image


class Obtained(WholeBatches):
    """One whose files are below ``data_root``, or downloaded to it."""

    def __init__(
        self, split: str = 'train', data_root: str = 'data', download: bool = True, **options: Any
    ) -> None:
        super().__init__(split, root=data_root, download=download, **options)


class DigitsLT(WholeBatches, in_memory.DigitsLT):
    __doc__ = in_memory.DigitsLT.__doc__


class DigitsCanvasLT(WholeBatches, in_memory.DigitsCanvasLT):
    __doc__ = in_memory.DigitsCanvasLT.__doc__


class CIFAR10LT(Obtained, in_memory.CIFAR10LT):
    __doc__ = in_memory.CIFAR10LT.__doc__


class CIFAR100LT(Obtained, in_memory.CIFAR100LT):
    __doc__ = in_memory.CIFAR100LT.__doc__


class MNISTLT(Obtained, in_memory.MNISTLT):
    __doc__ = in_memory.MNISTLT.__doc__


class FashionMNISTLT(Obtained, in_memory.FashionMNISTLT):
    __doc__ = in_memory.FashionMNISTLT.__doc__
