"""Images from files: what lists and folders of images share.

Images are read, cropped and resized in the loader's worker processes, so that a batch of uint8
tensors of one size reaches the training device, where it is normalised.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from os.path import normpath
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import Dataset

from bce3s.datasets.checks import (
    HOW,
    Problems,
    check_images,
    one_of,
    printable,
    same_content,
)
from bce3s.datasets.decoding import read_centre, read_random_crop
from bce3s.datasets.label_sets import Label
from bce3s.datasets.pixels import WHITE, Colours
from bce3s.datasets.vectors import HasVectors
from bce3s.errors import BCE3SError
from bce3s.randomness import derived_seed
from bce3s.samplers import Draws
from bce3s.wording import counted

SHOWN = 10  # warnings that are written out
_marks: dict[str, np.ndarray] = {}  # of the images that this process has checked, by their paths


@dataclass(frozen=True)
class Images:
    """The images of one split.

    Attributes:
        source: the list or folder that names them.
        paths, labels: of each image; a class, or marks of all classes.
        where: index -> ``list:line``, where a list names them.
    """

    source: str
    paths: list[str]
    labels: list[Label]
    where: Callable[[int], str] | None = None

    def place(self, index: int) -> tuple[str, str]:
        """What a message names, and how it goes on: ``list:line`` and the path, or the path."""
        path = self.paths[index]
        return (self.where(index), f'{path} ') if self.where else (path, '')

    @property
    def key(self) -> str:
        """Equal for the same paths."""
        return hashlib.sha1('\0'.join(self.paths).encode(errors='surrogateescape')).hexdigest()


class ImageFiles(HasVectors, Dataset):
    """Images of known paths and labels, decoded when they are asked for.

    In training a random crop (8 to 100 % of the area, 3/4 to 4/3 in shape) is resized to ``size``
    and mirrored with probability 1/2; in the test the shorter side is resized to ``resize`` and the
    centre is cropped. What is random is a function of the run's seed, the epoch and the draw's
    place in it, which the batch sampler hands over (:class:`~bce3s.samplers.Draws`): an
    image that is drawn twice gets two crops, the same ones with any number of workers (persistent
    or not) and processes. Without a batch sampler of this project crops come from torch's global
    generator. Which images are turned and how exact pixels are: :mod:`bce3s.datasets.decoding`.

    An image that cannot be read stops the run with its path. With ``unreadable='skip'`` a training
    image is replaced by the next one of its class that can be read, in the order of the list and
    from its end to its beginning, cropped by the same draw: a function of the files, the seed, the
    epoch and the place; where an image may have several labels, by that whose labels are most like
    its own, with these. In the evaluation it is left out of the figures (the item holds
    black pixels, and ``skipped`` tells the metric). ``SkippedImagesHook`` counts both and names the
    first. A disk that fails now and then makes such a run depend on when it does.

    Args:
        images: of this split.
        training: whether images are cropped at random.
        metainfo: see the subclasses.
        size: H = W of the images.
        resize: of the shorter side in the test, at least ``size``.
        random_crop: whether training images are cropped at random; False: as in the test, for
            images so small that the preprocessor's shifts and flips are enough.
        check: how closely the images are looked at before the first step: ``'none'``, ``'files'``,
            ``'headers'`` or ``'pixels'``, see :func:`~bce3s.datasets.checks.look_at`.
        unreadable: ``'stop'`` or ``'skip'``.
        duplicates: whether a test image that is also a training image under another name is an
            error (``'stop'``) or a warning (``'warn'``).
        bits: that images of more than 8 bits a value use, see
            :class:`~bce3s.datasets.pixels.Colours`; it becomes part of ``metainfo``, which
            checkpoints keep, so that a prediction treats an image as the training did.
        ground: R, G, B of what shows behind transparent parts.
        train: the training images, if none of ``images`` may be one of them.

    Attributes:
        paths: (N,) list.
        labels: (N,) int64; where an image may have several labels (N, K) int8, 1 if it has the
            class, 0 if not, -1 where that is not known, and ``metainfo['multilabel']`` is True.

    Raises:
        BCE3SError: an argument out of its range; all images that the check finds fault with, each
            with its path; on access an image that cannot be read, or with ``'skip'`` a class of
            which none can.
    """

    def __init__(
        self,
        images: Images,
        training: bool,
        metainfo: dict[str, Any],
        size: int = 224,
        resize: int = 256,
        random_crop: bool = True,
        check: str = 'none',
        unreadable: str = 'stop',
        duplicates: str = 'stop',
        bits: int | None = None,
        ground: Sequence[int] = WHITE,
        train: Images | None = None,
    ) -> None:
        name = type(self).__name__
        if not 1 <= size <= resize:
            raise BCE3SError(f'{name}: size={size} must be at least 1 and at most resize={resize}.')
        one_of(f'{name}: check', check, HOW)
        one_of(f'{name}: unreadable', unreadable, ('stop', 'skip'))
        one_of(f'{name}: duplicates', duplicates, ('stop', 'warn'))
        if bits is not None and not (isinstance(bits, int) and 8 <= bits <= 16):
            raise BCE3SError(f'{name}: bits is {bits!r}; give 8 to 16, or None to have them found.')
        if len(ground) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in ground):
            raise BCE3SError(f'{name}: ground is {ground!r}; give R, G, B from 0 to 255.')
        self.colours = Colours(bits, tuple(ground))
        self.paths, self.labels = images.paths, torch.tensor(images.labels)
        self.metainfo = metainfo if bits is None else metainfo | dict(bits=bits)
        if self.labels.ndim == 2:
            self.labels = self.labels.to(torch.int8)
            self.metainfo = self.metainfo | dict(multilabel=True)
        self.training, self.random_crop = training, random_crop
        self.size, self.resize, self.unreadable = size, resize, unreadable
        self._skipped = torch.zeros(len(self.paths), dtype=torch.bool)  # where there are vectors
        _check_split(images, train, check, duplicates, unreadable == 'skip')

    def unaugmented(self) -> ImageFiles:
        """The same images, cropped as in the test."""
        plain = copy(self)
        plain.training = False
        return plain

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict:
        """inputs (3, size, size) uint8; labels: one of ``labels``; indices: 0-dim int64; with
        ``'skip'`` also skipped: 0-dim bool.
        """
        if self.vectors is not None:
            batch = self._of_vectors([int(index)])
            samples = {key: value[0] for key, value in batch['data_samples'].items()}
            return dict(inputs=batch['inputs'][0], data_samples=samples)
        return self._item(int(index), int(torch.randint(1 << 62, ())) if self.training else 0)

    def __getitems__(self, indices: list[int]) -> list[dict] | dict:
        """The items of a batch, cropped at random as its :class:`Draws` say; the batch itself where
        it has vectors.
        """
        if self.vectors is not None:
            return self._of_vectors(indices)
        if not isinstance(indices, Draws):
            return [self[index] for index in indices]
        seed, epoch = indices.seed, indices.epoch
        seeds = [derived_seed(seed, 'image', epoch, place) for place in indices.places]
        return [self._item(*drawn) for drawn in zip(indices, seeds, strict=True)]

    # ----------------------------------------------------------------------------- to be embedded
    @property
    def pixel_settings(self) -> tuple:
        return 'file', self.size, self.resize, self.colours.bits, tuple(self.colours.ground)

    def content_keys(self) -> list[bytes]:
        return [_digest(path) for path in self.paths]

    def pixels(self, index: int, view: str) -> Tensor:
        path = self.paths[index]
        if view.startswith('crop'):
            seed = int.from_bytes(hashlib.sha256(view.encode() + _digest(path)).digest()[:7])
            return read_random_crop(path, self.size, seed, self.colours)
        image = read_centre(path, self.size, self.resize, self.colours)
        return image.flip(-1) if view == 'flip' else image

    def set_vectors(self, vectors: Tensor, failed: Mapping[int, str]) -> None:
        """In training the next one of its class stands in for an image that could not be read."""
        if failed and self.unreadable == 'stop':
            raise BCE3SError(next(iter(failed.values())))
        for index in failed:
            self._skipped[index] = True
            if self.training:
                others = (other for other in self._next_of_class(index) if other not in failed)
                if (other := next(others, None)) is None:
                    raise BCE3SError(self._none_of_class(index))
                vectors[index] = vectors[other]
                self.labels[index] = self.labels[other]
        self.vectors = vectors

    def _of_vectors(self, indices: Sequence[int]) -> dict:
        rows = torch.as_tensor(indices)
        samples = dict(labels=self.labels[rows], indices=rows)
        if self.unreadable == 'skip':
            samples['skipped'] = self._skipped[rows]
        return dict(inputs=self.vectors_of(indices), data_samples=samples)

    # --------------------------------------------------------------------------------- to be read
    def _item(self, index: int, seed: int) -> dict:
        skipped, used = False, index
        try:
            inputs = self._read(index, seed)
        except BCE3SError:
            if self.unreadable == 'stop':
                raise
            inputs, used = self._instead(index, seed)
            skipped = True
        samples = dict(labels=self.labels[used], indices=torch.tensor(index))
        if self.unreadable == 'skip':
            samples['skipped'] = torch.tensor(skipped)
        return dict(inputs=inputs, data_samples=samples)

    def _read(self, index: int, seed: int) -> Tensor:
        """An image, cropped at random by ``seed`` in training."""
        if not (self.training and self.random_crop):
            return read_centre(self.paths[index], self.size, self.resize, self.colours)
        return read_random_crop(self.paths[index], self.size, seed, self.colours)

    def _instead(self, drawn: int, seed: int) -> tuple[Tensor, int]:
        """An image, and which one's labels it has."""
        if not self.training:
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), drawn
        for index in self._next_of_class(drawn):
            try:
                return self._read(index, seed), index
            except BCE3SError:
                continue
        raise BCE3SError(self._none_of_class(drawn))

    def _none_of_class(self, drawn: int) -> str:
        if self.labels.ndim == 2:
            return f'No training image can be read, such as {printable(self.paths[drawn])}.'
        label = int(self.labels[drawn])
        return (
            f'No training image of class {label} ({self.metainfo["classes"][label]}) can be read, '
            f'neither {printable(self.paths[drawn])} nor another one: replace them.'
        )

    def _next_of_class(self, drawn: int) -> Iterator[int]:
        if self.labels.ndim == 2:
            unlike = (self.labels != self.labels[drawn]).sum(1)
            yield from (i for i in unlike.argsort(stable=True).tolist() if i != drawn)
            return
        alike = (self.labels == self.labels[drawn]).nonzero()[:, 0].tolist()
        at = alike.index(drawn)
        yield from alike[at + 1 :] + alike[:at]


def _digest(path: str) -> bytes:
    """Of a file's bytes; where it cannot be read, of its path."""
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').digest()
    except OSError:
        return hashlib.sha256(b'not read ' + os.fsencode(path)).digest()


# --------------------------------------------------------------------------- before the first step
def _check_split(
    images: Images, train: Images | None, how: str, duplicates: str, skip: bool
) -> None:
    """Checks every image of a split, and that none of them is a training image too; collective.

    The same path is found always, the same content under another name where this process has
    checked the training images before: a Runner builds the training set first. With ``skip``
    images that cannot be read are a warning.

    Raises:
        BCE3SError: everything that was found.
    """
    problems, missing = Problems(), 0

    def report(index: int, what: str) -> None:
        nonlocal missing
        missing += what == 'is missing'
        where, subject = images.place(index)
        problems.add(where, f'{subject}{what}', what)

    marks = check_images(images.paths, how, report, images.source)
    if missing and missing == len(images.paths):
        raise BCE3SError(
            printable(
                f'None of the {counted(missing, "image")} of {images.source} was found, for '
                f'instance {images.paths[0]}: put them there, or name the folder that holds them, '
                'data_root.'
            )
        )
    if skip and problems:
        warn(
            f'{counted(len(problems), "image")} of {images.source} cannot be read and will be '
            'skipped',
            problems,
        )
        problems = Problems()
    if train is not None:
        _check_overlap(images, marks, train, duplicates, problems)
    problems.raise_all(f'Images of {images.source} cannot be used: mend, replace or remove them')
    if how == 'none':  # of which nothing is known now, but perhaps from before
        return
    if len(_marks) > 3:
        _marks.pop(next(iter(_marks)))
    _marks[images.key] = marks


def _check_overlap(
    images: Images, marks: np.ndarray, train: Images, duplicates: str, problems: Problems
) -> None:
    known = {path: j for j, path in enumerate(map(normpath, train.paths))}
    shared = {i for i, path in enumerate(map(normpath, images.paths)) if path in known}
    for i in sorted(shared):
        where, subject = images.place(i)
        problems.add(where, f'{subject}is a training image too', 'is a training image too')
    train_marks = _marks.get(train.key)
    if train_marks is None:
        return
    copies = Problems() if duplicates == 'warn' else problems
    for i, j in same_content(images.paths, marks, train.paths, train_marks):
        if i not in shared:
            where, subject = images.place(i)
            copies.add(
                where,
                f'{subject}has the content of the training image {train.paths[j]}',
                'has the content of a training image',
            )
    if duplicates == 'warn' and copies:
        warn(
            f'Training images too, under other names: {counted(len(copies), "image")} of '
            f'{images.source}',
            copies,
        )


def warn(headline: str, problems: Problems | Sequence[str]) -> None:
    """A warning in the log, with the first ``SHOWN`` of ``problems``."""
    if isinstance(problems, Problems):
        problems = [f'{where}: {what}' for where, what in problems.found]
    more = [f'and {len(problems) - SHOWN:,} more'] if len(problems) > SHOWN else []
    text = '\n  '.join([f'{headline}:', *problems[:SHOWN], *more])
    print_log(printable(text), logger='current', level=30)
