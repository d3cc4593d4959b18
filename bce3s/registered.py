"""The names that configs know the plain classes of this package by: the very classes that a loop
without MMEngine imports. To the data sets in memory it adds what its loaders ask for: a batch in
one gather, and the arguments that configs have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bce3s import augmentation, losses, models, samplers
from bce3s.datasets import in_memory
from bce3s.errors import BCE3SError
from bce3s.registry import (
    BATCH_AUGMENTS,
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    MODELS,
    TRANSFORMS,
)

PLAIN = {
    DATA_SAMPLERS: (
        samplers.NaturalSampler,
        samplers.PowerSampler,
        samplers.ProgressiveSampler,
        samplers.EffectiveNumberSampler,
        samplers.GlobalBatchSampler,
        samplers.PairedBatchSampler,
    ),
    TRANSFORMS: (
        augmentation.BatchAutoAugment,
        augmentation.BatchColorJitter,
        augmentation.BatchCutout,
        augmentation.BatchFlip,
        augmentation.BatchGrayscale,
        augmentation.BatchPadCrop,
        augmentation.BatchRandAugment,
    ),
    BATCH_AUGMENTS: (
        augmentation.MixUpOrCutMix,
        augmentation.PairedCutMix,
        augmentation.PairedMixUp,
    ),
    MODELS: (
        losses.BCEContrastive,
        losses.BCEJoint,
        losses.BCEUniformity,
        losses.CEContrastive,
        losses.CEJoint,
        losses.CEUniformity,
        models.LinearClassifier,
        models.SampledClassifier,
        models.SampledTripartiteHead,
        models.TripartiteHead,
    ),
}

for registry, classes in PLAIN.items():
    for each in classes:
        registry.register_module(module=each)


@FUNCTIONS.register_module()
def passthrough(batch: Any) -> Any:
    """The collate function of data sets whose ``__getitems__`` returns the batch itself."""
    return batch


class WholeBatches:
    """A data set in memory whose batch is one gather.

    Args:
        split: ``train`` or ``test``.
        options: of the plain class.
    """

    def __init__(self, split: str = 'train', **options: Any) -> None:
        if split not in ('train', 'test'):
            raise BCE3SError(f"{type(self).__name__}: split is {split!r}; use 'train' or 'test'")
        super().__init__(train=split == 'train', **options)

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


@DATASETS.register_module()
class DigitsLT(WholeBatches, in_memory.DigitsLT):
    __doc__ = in_memory.DigitsLT.__doc__


@DATASETS.register_module()
class CIFAR10LT(Obtained, in_memory.CIFAR10LT):
    __doc__ = in_memory.CIFAR10LT.__doc__


@DATASETS.register_module()
class CIFAR100LT(Obtained, in_memory.CIFAR100LT):
    __doc__ = in_memory.CIFAR100LT.__doc__


@DATASETS.register_module()
class MNISTLT(Obtained, in_memory.MNISTLT):
    __doc__ = in_memory.MNISTLT.__doc__


@DATASETS.register_module()
class FashionMNISTLT(Obtained, in_memory.FashionMNISTLT):
    __doc__ = in_memory.FashionMNISTLT.__doc__
