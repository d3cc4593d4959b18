"""The data sets in memory as loaders of a training ask for them: a batch in one gather, and the
arguments that configs have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bce3s.datasets import in_memory
from bce3s.errors import BCE3SError


def passthrough(batch: Any) -> Any:
    """The collate function of data sets whose ``__getitems__`` returns the batch itself."""
    return batch


class WholeBatches:
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

    def __getitem__(self, index: int) -> dict:
        """inputs (C, H, W) uint8; labels and indices: 0-dim int64."""
        return self.__getitems__(index)

    def __getitems__(self, indices: Sequence[int] | int) -> dict:
        """inputs (B, C, H, W) uint8; labels, indices (B,) int64."""
        index = torch.as_tensor(indices)
        samples = dict(labels=self.labels[index], indices=index)
        return dict(inputs=self.images[index], data_samples=samples)


class Obtained(WholeBatches):
    """One whose files are below ``data_root``, or downloaded to it."""

    def __init__(
        self, split: str = 'train', data_root: str = 'data', download: bool = True, **options: Any
    ) -> None:
        super().__init__(split, root=data_root, download=download, **options)


class DigitsLT(WholeBatches, in_memory.DigitsLT):
    __doc__ = in_memory.DigitsLT.__doc__


class CIFAR10LT(Obtained, in_memory.CIFAR10LT):
    __doc__ = in_memory.CIFAR10LT.__doc__


class CIFAR100LT(Obtained, in_memory.CIFAR100LT):
    __doc__ = in_memory.CIFAR100LT.__doc__


class MNISTLT(Obtained, in_memory.MNISTLT):
    __doc__ = in_memory.MNISTLT.__doc__


class FashionMNISTLT(Obtained, in_memory.FashionMNISTLT):
    __doc__ = in_memory.FashionMNISTLT.__doc__
