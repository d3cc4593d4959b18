"""Images in folders, a folder a class: ImageNet, or anybody's own, balanced or not.

Images are read, cropped and resized in the loader's worker processes, so that a batch of uint8
tensors of one size reaches the training device, where it is normalised.
"""

from __future__ import annotations

import os
from collections import Counter
from copy import copy
from pathlib import Path

import torch
from torch.utils.data import Dataset

from bce3s.datasets.decoding import read_centre, read_random_crop
from bce3s.errors import BCE3SError
from bce3s.randomness import derived_seed
from bce3s.registry import DATASETS

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class ImageFolder(Dataset):
    """``DATA_ROOT/train/CLASS/*.jpg`` and ``DATA_ROOT/val/CLASS/*.jpg``, as torchvision's.

    In training a random crop (8 to 100 % of the area, 3/4 to 4/3 in shape) is resized to ``size``
    and mirrored with probability 1/2; in the test the shorter side is resized to ``resize`` and the
    centre is cropped. What is random depends on the run's seed, the epoch and the image's index
    only, not on the number of workers; an image that a batch holds twice is cropped alike. Needs
    ``num_workers`` that end with the epoch (``persistent_workers=False``, the default). Which
    images are turned and how exact pixels are: :mod:`bce3s.datasets.decoding`.

    Args:
        data_root: the folder that holds both splits.
        split: ``train`` or ``test``.
        train_dir, test_dir: their names below ``data_root``.
        size: H = W of the images.
        resize: of the shorter side in the test, at least ``size``.

    Attributes:
        labels: (N,) int64, classes numbered in the order of their names, those of the training set.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` (images of each class in the
            TRAINING folder, on the test set too) and ``subset`` (``size``, the number of images).

    Raises:
        BCE3SError: a folder that is missing or has no class, a class without a training image, a
            class that only the test has, a ``resize`` below ``size``; on access an image that
            cannot be read (with its path).
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        train_dir: str = 'train',
        test_dir: str = 'val',
        size: int = 224,
        resize: int = 256,
    ) -> None:
        if split not in ('train', 'test'):
            raise BCE3SError(f"ImageFolder: split is {split!r}; use 'train' or 'test'")
        if not 1 <= size <= resize:
            raise BCE3SError(
                f'ImageFolder: size={size} must be at least 1 and at most resize={resize}.'
            )
        root = Path(data_root).expanduser()
        samples, classes = _training_set(root / train_dir)
        counts = Counter(label for _, label in samples)
        if split == 'test':
            samples = _test_set(root / test_dir, classes)
        self.paths = [path for path, _ in samples]
        self.labels = torch.tensor([label for _, label in samples])
        self.metainfo = dict(
            dataset='ImageFolder',
            split=split,
            classes=classes,
            class_counts=[counts[k] for k in range(len(classes))],
            subset=dict(size=len(samples)),
        )
        self.training, self.seed, self.epoch = split == 'train', 0, 0
        self.size, self.resize = size, resize

    def unaugmented(self) -> ImageFolder:
        """The same images, cropped as in the test."""
        plain = copy(self)
        plain.training = False
        return plain

    def set_epoch(self, seed: int, epoch: int) -> None:
        """What the random crops follow from; ``RunStateHook`` calls it before each epoch."""
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict:
        """inputs (3, size, size) uint8; labels and indices: 0-dim int64."""
        index = int(index)
        if self.training:
            seed = derived_seed(self.seed, 'image', self.epoch, index)
            inputs = read_random_crop(self.paths[index], self.size, seed)
        else:
            inputs = read_centre(self.paths[index], self.size, self.resize)
        samples = dict(labels=self.labels[index], indices=torch.tensor(index))
        return dict(inputs=inputs, data_samples=samples)


def _training_set(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """(path, label) of every image, and the names of the classes."""
    classes = _classes(folder)
    samples = []
    for label, name in enumerate(classes):
        images = _images(folder / name)
        if not images:
            raise BCE3SError(
                f'{folder / name} holds no image ({", ".join(EXTENSIONS)}): give class '
                f'{name!r} training images, or remove its folder.'
            )
        samples += [(path, label) for path in images]
    return samples, classes


def _test_set(folder: Path, classes: list[str]) -> list[tuple[str, int]]:
    """(path, label) of every image, labelled as in the training set; a class may be missing."""
    numbers = {name: label for label, name in enumerate(classes)}
    samples = []
    for name in _classes(folder):
        if name not in numbers:
            raise BCE3SError(
                f'{folder / name} is a class that the training set does not have: name the '
                'folders of both alike, or remove it.'
            )
        samples += [(path, numbers[name]) for path in _images(folder / name)]
    if not samples:
        raise BCE3SError(f'{folder} holds no image ({", ".join(EXTENSIONS)}).')
    return samples


def _classes(folder: Path) -> list[str]:
    """The names of the folders in ``folder``, sorted."""
    try:
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if not classes:
            raise FileNotFoundError('there is no folder in it')
    except OSError as error:
        raise BCE3SError(
            f'{folder} is not a folder of classes ({error}): expected {folder}/CLASS/IMAGE.jpg; '
            'name the folder above it, --cfg-options train_dataloader.dataset.data_root=DIR '
            'val_dataloader.dataset.data_root=DIR'
        ) from error
    return classes


def _images(folder: Path) -> list[str]:
    """The images in ``folder`` and below it, each folder's in the order of their names."""
    return [
        os.path.join(where, name)
        for where, _, names in sorted(os.walk(folder, followlinks=True))
        for name in sorted(names)
        if name.lower().endswith(EXTENSIONS)
    ]
