"""What a run's network says of its images: computed once, kept in the run's folder."""

from __future__ import annotations

import json
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from bce3s.engine.feature_extraction import extract
from bce3s.engine.run_directory import LOADERS, RunDirectory
from bce3s.errors import BCE3SError
from bce3s.files import reason, written_whole

FOLDER = 'outputs'
ARRAYS = ('features', 'logits', 'labels', 'weight', 'bias')


@dataclass(frozen=True)
class Outputs:
    """Of one split, in the order of its data set, without images that cannot be read.

    Attributes:
        features: (N, d) float32 of the backbone.
        logits: (N, K) float32.
        labels: (N,) int64.
        weight, bias: (K, d) and (K,) of ``logits = embed(features) @ weight.T + bias``, normalised
            and scaled as the classifier multiplies them.
        split: what the data set calls itself: ``train``, ``val`` or ``test``.
        classes: K names. class_counts: (K,) TRAINING images.
        images: (N,) paths, of images in files all of which can be read; else None.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    split: str
    classes: list[str]
    class_counts: list[int]
    images: list[str] | None = None


def run_outputs(run: RunDirectory, split: str, batch_size: int = 500) -> Outputs:
    """Outputs of the images of the loader of ``split``; read from ``FOLDER/<split>.npz`` where that
    is of the same checkpoint, else computed (each image goes through the network once, without
    augmentation) and written there. Where the folder cannot be written to, the log says so: they
    are computed anew each time.

    Raises:
        BCE3SError: no such loader, data that are gone, a checkpoint that does not fit, a model
            without a linear classifier.
    """
    path = run.folder / FOLDER / f'{split}.npz'
    state = run.checkpoint.stat()
    key = [run.checkpoint.name, state.st_size, state.st_mtime_ns]
    outputs = _read(path, key)
    if outputs is None:
        outputs = _compute(run, split, batch_size)
        _write(path, key, outputs)
    return outputs


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
    paths = list(map(str, getattr(dataset, 'paths', ())))
    return Outputs(
        *(value.numpy() for value in (found.features, found.logits, found.labels)),
        weight=weight,
        bias=-bias,  # `linear` has the sign of z = W h - b
        split=str(meta.get('split', split)),
        classes=[str(name) for name in meta.get('classes', range(len(counts)))],
        class_counts=counts,
        images=paths if len(paths) == len(found.labels) else None,
    )


def _read(path: Path, key: list) -> Outputs | None:
    """None: not there, damaged, or of another checkpoint."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with np.load(path, allow_pickle=False) as file:
            facts: dict[str, Any] = json.loads(str(file['facts']))
            if facts.pop('checkpoint') != key:
                return None
            return _fitting(Outputs(**{name: file[name] for name in ARRAYS}, **facts))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _fitting(outputs: Outputs) -> Outputs:
    """The outputs, whose shapes and types agree.

    Raises:
        ValueError: they do not.
    """
    n, k, d = len(outputs.labels), len(outputs.class_counts), outputs.features.shape[-1]
    shapes = dict(features=(n, d), logits=(n, k), labels=(n,), weight=(k, d), bias=(k,))
    for name, shape in shapes.items():
        array = getattr(outputs, name)
        if array.shape != shape or array.dtype != (np.int64 if name == 'labels' else np.float32):
            raise ValueError(f'{name}: {array.dtype} {array.shape}')
    if len(outputs.classes) != k or (
        n and not 0 <= outputs.labels.min() <= outputs.labels.max() < k
    ):
        raise ValueError('classes')
    if outputs.images is not None and len(outputs.images) != n:
        raise ValueError('images')
    return outputs


def _write(path: Path, key: list, outputs: Outputs) -> None:
    arrays = {name: getattr(outputs, name) for name in ARRAYS}
    facts = dict(
        checkpoint=key,
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
