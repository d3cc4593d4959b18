"""Pictures of any kind become what the network sees, as the evaluation of its training does it;
many of them in batches, in their order."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bce3s.datasets.decoding import centre
from bce3s.datasets.fitted import fitted
from bce3s.datasets.image_files import ImageFiles
from bce3s.datasets.in_memory import CIFAR10LT, MNISTLT, DigitsCanvasLT, DigitsLT
from bce3s.datasets.pixels import WHITE, Colours, on_ground, pixels_of_file, pixels_of_picture
from bce3s.datasets.workers import worker_death
from bce3s.engine.run_directory import LOADERS, RunDirectory
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS

CENTRE, FIT = 'centre', 'fit'
SHAPES = {  # also of their subclasses, unless these stand before
    CIFAR10LT: (3, 32, 32),
    DigitsCanvasLT: (1, 16, 16),
    DigitsLT: (1, 8, 8),
    MNISTLT: (1, 28, 28),
}


@dataclass(frozen=True)
class InputSpec:
    """What the network takes, and how a picture is brought to it.

    Attributes:
        channels, height, width: of its uint8 images (C, H, W).
        resize: of the shorter side, before the centre is cropped; None with ``'fit'``.
        kind: ``'centre'``, of a run on image files: the shorter side is resized, the centre
            cropped, see :func:`~bce3s.datasets.decoding.read_centre`; ``'fit'``, of a run on a
            data set in memory: the whole picture is resized, whatever its proportions, and made
            grey or coloured, see :func:`~bce3s.datasets.fitted.fitted`.
        bits, ground: how it becomes RGB, see :class:`~bce3s.datasets.pixels.Colours`.
    """

    channels: int
    height: int
    width: int
    resize: int | None
    kind: str
    bits: int | None = None
    ground: tuple[int, int, int] = WHITE

    @classmethod
    def of(cls, run: RunDirectory, meta: dict[str, Any] | None = None) -> InputSpec:
        """That of a run's evaluation, by its config alone, but for the bits of its images, which
        ``meta``, that of the checkpoint, may know; the data of a data set that is not one of ours
        must be there, for their first image to be looked at.

        Raises:
            BCE3SError: no loader in the config, an unknown data set, or one of another kind whose
                data are gone.
        """
        if 'input' in run.config:  # of a published model
            return cls(**dict(run.config.input, ground=tuple(run.config.input.ground)))
        split = next((s for s in ('val', 'test', 'train') if s in run.splits), None)
        if split is None:
            raise BCE3SError(
                f'The config of {run.folder} has no loader: what its network takes is unknown.'
            )
        init_default_scope(run.config.get('default_scope', 'bce3s'))
        config = run.config[LOADERS[split]].dataset
        kind = DATASETS.get(config.type) if isinstance(config.type, str) else config.type
        if kind is None:
            raise BCE3SError(f'The config of {run.folder} has an unknown data set, {config.type}.')
        if issubclass(kind, ImageFiles):
            names = ('size', 'resize', 'bits', 'ground')
            size, resize, bits, ground = (_argument(config, name) for name in names)
            if bits is None:
                bits = ((meta or {}).get('dataset_meta') or {}).get('bits')
            return cls(3, int(size), int(size), int(resize), CENTRE, bits, tuple(ground))
        known = next((shape for base, shape in SHAPES.items() if issubclass(kind, base)), None)
        shape = known or tuple(run.dataset(split)[0]['inputs'].shape)
        return cls(*shape, None, FIT)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def colours(self) -> Colours:
        """How an image becomes RGB."""
        return Colours(self.bits, self.ground)


def _argument(config: ConfigDict, name: str) -> Any:
    """What the config says, or else the constructor."""
    return config.get(name, inspect.signature(ImageFiles).parameters[name].default)


def to_uint8(image: Any, spec: InputSpec) -> Tensor:
    """A picture as the network takes it.

    Files are read, pictures and arrays treated, as the evaluation does: upright by their EXIF
    orientation, transparent parts before the ground, resized (and cropped) as ``spec`` says. A
    tensor of the network's own shape is taken as it is.

    Args:
        image: a path; a PIL image; a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); a uint8
            tensor (C, H, W) of 1, 3 or 4 channels.
        spec: see :class:`InputSpec`.

    Returns:
        (C, H, W) uint8, on the CPU.

    Raises:
        BCE3SError: a file that cannot be read as an image, or none of the above.
    """
    if isinstance(image, str | os.PathLike):
        path, side = str(Path(image).expanduser()), spec.resize or max(spec.height, spec.width)
        return _prepared(pixels_of_file(path, spec.colours, side), spec)
    if isinstance(image, Tensor):
        if image.dtype == torch.uint8 and tuple(image.shape) == spec.shape:
            return image.cpu()
        image = image.permute(1, 2, 0) if image.dim() == 3 else image[None, None]
        return _prepared(_pixels_of_array(image.cpu().numpy(), spec), spec)
    if isinstance(image, Image.Image):
        return _prepared(pixels_of_picture(image, spec.colours), spec)
    return _prepared(_pixels_of_array(image, spec), spec)


def _prepared(pixels: np.ndarray, spec: InputSpec) -> Tensor:
    """(H, W, 1 or 3) -> (C, H, W)."""
    if spec.kind == CENTRE:
        return centre(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), spec.height, spec.resize)
    return fitted(_channels_first(pixels)[None], spec.shape)[0]


def _pixels_of_array(image: Any, spec: InputSpec) -> np.ndarray:
    """(H, W, 1 or 3), opaque."""
    if not isinstance(image, np.ndarray):
        raise BCE3SError(
            f'A value of type {type(image).__name__} is no image: give a path, a PIL image, a '
            'uint8 array (H, W, C) or a uint8 tensor (C, H, W).'
        )
    if image.dtype != np.uint8:
        raise BCE3SError(
            f'An image of {image.dtype} has no fixed range: give uint8, 0 to 255 (of values from 0 '
            'to 1: multiply by 255 and round).'
        )
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise BCE3SError(
            f'An image of the shape {image.shape} (H, W, C) is none: give 1, 3 or 4 channels.'
        )
    if pixels.shape[2] == 4:
        return np.array(on_ground(Image.fromarray(pixels), spec.ground))
    return pixels


def _channels_first(pixels: np.ndarray) -> Tensor:
    """(H, W, C) -> (C, H, W)."""
    pixels = pixels if pixels.flags.writeable else pixels.copy()  # torch warns of the others
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


# ----------------------------------------------------------------------------------------- batches
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
