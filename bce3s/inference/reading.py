"""Many pictures of any kind, in batches of what the network takes, in their order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bce3s.datasets.workers import worker_death
from bce3s.errors import BCE3SError
from bce3s.inference.inputs import InputSpec, to_uint8

Name = str | int  # a path, or the position among those that were given
Read = tuple[Name, Tensor | None, str | None]


@dataclass(frozen=True)
class Batch:
    """Some pictures.

    Attributes:
        names: of all of them.
        errors: why a picture cannot be used; None where it can.
        images: (G, C, H, W) uint8, those that can, in their order; None if there is none.
    """

    names: list[Name]
    errors: list[str | None]
    images: Tensor | None


def one_by_one(images: Any) -> Iterable[Any]:
    """The single pictures: of a list, a generator, an array (N, H, W, C) or (N, C, H, W), a tensor
    (N, C, H, W); or the one picture that ``images`` is.

    Raises:
        BCE3SError: it is none of these.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | Tensor):
        return _of_array(images)
    if isinstance(images, bytes | dict) or not isinstance(images, Iterable):
        raise BCE3SError(
            f'A value of type {type(images).__name__} holds no images: give a path, a picture, an '
            'array, or a list or generator of such.'
        )
    return images


def _of_array(images: np.ndarray | Tensor) -> Iterable[Any]:
    if images.ndim != 4:
        return [images]
    first, last = images.shape[1], images.shape[3]
    if isinstance(images, np.ndarray) and last not in (1, 3, 4) and first in (1, 3, 4):
        # channels first, which single arrays never have and tensors always
        return (torch.from_numpy(np.ascontiguousarray(image)) for image in images)
    return images


def batches(images: Any, spec: InputSpec, batch_size: int, workers: int = 0) -> Iterator[Batch]:
    """Reads pictures when they are asked for.

    Args:
        images: see :func:`one_by_one`.
        spec: what the network takes.
        batch_size: pictures a batch; the last may be smaller.
        workers: processes that read; of a list only, what a generator gives is read here.

    Raises:
        BCE3SError: as :func:`one_by_one`; or a process that reads died.
    """
    items = one_by_one(images)
    if workers == 0 or not isinstance(items, Sequence):
        numbered = enumerate(items)
        while chunk := list(islice(numbered, batch_size)):
            yield _stacked([_read(item, number, spec) for number, item in chunk])
        return
    loader = DataLoader(
        _Pictures(items, spec),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_stacked,
        generator=torch.Generator(),  # or the loop would draw from torch's global one
    )
    try:
        yield from loader
    except RuntimeError as error:
        if not worker_death(error):
            raise
        raise BCE3SError(
            'A process that reads images died, most often because the memory was full: use fewer '
            'workers or a smaller batch size.'
        ) from error


class _Pictures(Dataset):
    def __init__(self, items: Sequence[Any], spec: InputSpec) -> None:
        self.items, self.spec = items, spec

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Read:
        return _read(self.items[index], index, self.spec)


def _read(item: Any, number: int, spec: InputSpec) -> Read:
    name = os.fspath(item) if isinstance(item, str | os.PathLike) else number
    try:
        return name, to_uint8(item, spec), None
    except BCE3SError as error:
        return name, None, str(error) if isinstance(name, str) else f'Image {number}: {error}'


def _stacked(read: list[Read]) -> Batch:
    names, images, errors = (list(column) for column in zip(*read, strict=True))
    images = [image for image in images if image is not None]
    return Batch(names, errors, torch.stack(images) if images else None)
