"""What a run's network says of its images: computed once, kept in the run's folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch.utils.data import Dataset

import bce3s
from bce3s.datasets.checks import file_digest, in_threads
from bce3s.datasets.image_files import ImageFiles
from bce3s.datasets.in_memory import DownloadedLongTailed
from bce3s.datasets.pixels import pixels_of_file
from bce3s.engine.feature_extraction import extract
from bce3s.engine.run_directory import LOADERS, RunDirectory
from bce3s.errors import BCE3SError
from bce3s.files import reason, written_whole
from bce3s.registry import DATASETS

FOLDER = 'outputs'
ARRAYS = ('features', 'logits', 'labels', 'weight', 'bias')


@dataclass(frozen=True)
class Outputs:
    """Of one split, in the order of its data set, without images that cannot be read.

    Attributes:
        features: (N, d) float32 of the backbone.
        logits: (N, K) float32.
        labels: (N,) int64, or (N, K) int8 of several labels: 1, 0 and -1 (unknown).
        weight, bias: (K, d) and (K,) of ``logits = embed(features) @ weight.T + bias``, normalised
            and scaled as the classifier multiplies them.
        split: what the data set calls itself: ``train``, ``val`` or ``test``.
        classes: K names. class_counts: (K,) TRAINING images.
        images: (N,) paths, of images in files; else None.
        note: where the data cannot be read any more and these were kept, a sentence; else empty.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.int8]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    split: str
    classes: list[str]
    class_counts: list[int]
    images: list[str] | None = None
    note: str = ''


def run_outputs(run: RunDirectory, split: str, batch_size: int = 500) -> Outputs:
    """Outputs of the images of the loader of ``split``; read from ``FOLDER/<split>.npz`` where that
    is of the same checkpoint, settings of network and data, labels and images, else computed (each
    image goes through the network once, without augmentation) and written there. Where the data
    cannot be read any more the kept ones are taken, with a ``note``. Where the folder cannot be
    written to, the log says so: they are computed anew each time.

    Raises:
        BCE3SError: no such loader, data that are gone, a checkpoint that does not fit, a model
            without a linear classifier.
    """
    path = run.folder / FOLDER / f'{split}.npz'
    key = _network(run, split)
    try:
        key['data'] = _data(listed(run, split))
    except BCE3SError as error:
        if kept := _read(path, key):
            note = f'these are the outputs kept in {path}, for the data cannot be read now: {error}'
            return replace(kept, note=note)
        key['data'] = None
    outputs = _read(path, key)
    if outputs is None:
        outputs = _compute(run, split, batch_size)
        _write(path, key, outputs)
    return outputs


# ------------------------------------------------------------ what the outputs follow from
def _network(run: RunDirectory, split: str) -> dict[str, Any]:
    """All but the data: the version of this package, the weights, and the settings."""
    settings = [run.config.get('model'), run.config.get(LOADERS[split], {}).get('dataset')]
    text = json.dumps(settings, sort_keys=True, default=str)
    return dict(
        version=bce3s.__version__,
        checkpoint=file_digest(run.checkpoint),
        settings=hashlib.sha256(text.encode()).hexdigest(),
    )


def listed(run: RunDirectory, split: str) -> Dataset:
    """The data set as it is now; no image in a file is opened, nothing is downloaded.

    Raises:
        BCE3SError: it is not there, or cannot be used.
    """
    loader, options = run.config.get(LOADERS[split]), {}
    kind = DATASETS.get(loader.dataset.type) if loader else None
    if isinstance(kind, type) and issubclass(kind, ImageFiles):
        options = dict(check='none')
    elif isinstance(kind, type) and issubclass(kind, DownloadedLongTailed):
        options = dict(download=False)
    return run.dataset(split, **options)


def _data(dataset: Dataset) -> str | None:
    """Digest of labels, names, counts and images: of pixels in memory, or of the paths, sizes and
    times of change of files; None: of other data, which nothing can be said of.

    Raises:
        BCE3SError: none of the files is there.
    """
    if not (hasattr(dataset, 'images') or hasattr(dataset, 'paths')):
        return None
    meta = dataset.metainfo
    facts = [meta.get(key) for key in ('split', 'classes', 'class_counts')]
    digest = hashlib.sha256(json.dumps(facts, default=str).encode())
    digest.update(np.ascontiguousarray(dataset.labels))
    if hasattr(dataset, 'paths'):
        if dataset.paths and not any(map(os.path.exists, dataset.paths)):
            raise BCE3SError(f'none of the images is there, for instance {dataset.paths[0]}.')
        for path in dataset.paths:
            found = os.stat(path) if os.path.exists(path) else None
            state = found and (found.st_size, found.st_mtime_ns)
            digest.update(f'{path}\0{state}\0'.encode(errors='surrogateescape'))
    else:
        digest.update(np.ascontiguousarray(dataset.images))
    return digest.hexdigest()


def _compute(run: RunDirectory, split: str, batch_size: int) -> Outputs:
    model, _ = run.model()
    classifier = getattr(model.head, 'classifier', None)
    if not hasattr(classifier, 'linear'):
        raise BCE3SError(
            f'The model of {run.folder} has no head with a linear classifier, such as '
            'TripartiteHead.'
        )
    dataset = run.dataset(split)
    workers = run.config[LOADERS[split]].get('num_workers') or 0
    found = extract(model, dataset, batch_size, workers)
    weight, bias = (value.detach().cpu().numpy() for value in classifier.linear())
    meta = dataset.metainfo
    counts = [int(n) for n in meta['class_counts']]
    return Outputs(
        *(value.numpy() for value in (found.features, found.logits, found.labels)),
        weight=weight,
        bias=bias,
        split=str(meta.get('split', split)),
        classes=[str(name) for name in meta.get('classes', range(len(counts)))],
        class_counts=counts,
        images=image_paths(dataset, len(found.labels)),
    )


def image_paths(dataset: Dataset, number: int) -> list[str] | None:
    """The files of ``number`` outputs of a data set, those of images that cannot be read left out;
    None: its images are in no files, or others can be read now than could then.
    """
    paths = list(map(str, getattr(dataset, 'paths', ())))
    if len(paths) > number:
        readable = in_threads(_readable, paths, 'looking for images that cannot be read')
        paths = [path for path, whole in zip(paths, readable, strict=True) if whole]
    return paths if paths and len(paths) == number else None


def _readable(path: str) -> bool:
    try:
        pixels_of_file(path, side=1)
    except BCE3SError:
        return False
    return True


def _read(path: Path, key: dict[str, Any]) -> Outputs | None:
    """None: not there, damaged, or of another key, as far as that is known."""
    if key.get('data', '') is None:
        return None
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with np.load(path, allow_pickle=False) as file:
            facts: dict[str, Any] = json.loads(str(file['facts']))
            found = facts.pop('key')
            if any(found[name] != value for name, value in key.items()):
                return None
            return Outputs(**{name: file[name] for name in ARRAYS}, **facts)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, key: dict[str, Any], outputs: Outputs) -> None:
    arrays = {name: getattr(outputs, name) for name in ARRAYS}
    facts = dict(
        key=key,
        split=outputs.split,
        classes=outputs.classes,
        class_counts=outputs.class_counts,
        images=outputs.images,
    )
    try:
        path.parent.mkdir(exist_ok=True)
        with written_whole(path, shared=True) as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
    except OSError as error:
        print_log(f'{path} cannot be kept ({reason(error)}).', 'current', logging.WARNING)
