"""By which score predictions reject: chosen when a run ends; what it takes is kept with the run."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.feature_extraction import extract
from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection import Extremes, measure_rejection
from bce3s.evaluation.rejection_scores import (
    ENERGY,
    MAHALANOBIS,
    MAX_LOGIT,
    ClassDistances,
    Images,
    energy,
    held_out_gains,
    recommended,
)
from bce3s.files import reason, written_whole

FILE = 'rejection.npz'
WIDEST = 4096  # features, of which the class means and their precision are kept: 67 MB


def choose_score(
    model: nn.Module,
    train_set: Dataset,
    validation_set: Dataset,
    sigmoid: bool,
    limits: Thresholds,
    directory: Path,
    num_workers: int = 0,
) -> dict[str, Any]:
    """The ``rejection_score`` of ``report.json``; of the Mahalanobis distance means and precision
    are written to ``FILE``.

    Each image goes through the network once. Neighbours are compared but not taken: all training
    features would have to be kept.

    Args:
        model: trained. train_set, validation_set: what it was trained on, and not.
        sigmoid: whether its logits are made for sigmoids.
        limits: where Many ends and Few begins.
        directory: of the run.
        num_workers: processes that read images.

    Returns:
        ``compared``: of each score ``auroc``, ``gain`` and ``error``
        (:func:`~bce3s.evaluation.rejection_scores.held_out_gains`); empty where no class can be
        held out. ``score``: the one that is taken; where it is not the largest logit, what
        :func:`~bce3s.evaluation.rejection.measure_rejection` says of it.

    Raises:
        BCE3SError: features that are not finite, a data set that is empty, or a full disk.
    """
    train, validation = (
        Images(found.features, found.logits, found.labels)
        for found in (
            extract(model, one, num_workers=num_workers) for one in (train_set, validation_set)
        )
    )
    counts = [int(n) for n in validation_set.metainfo['class_counts']]
    gains = held_out_gains(train, validation, sigmoid, counts) or {}
    usable = (ENERGY, *([MAHALANOBIS] if train.features.shape[1] <= WIDEST else []))
    score = recommended({name: gain for name, gain in gains.items() if name in usable})
    found = {
        'score': score,
        'compared': {name: gain._asdict() for name, gain in gains.items()},
    }
    path = directory / FILE
    path.unlink(missing_ok=True)
    if score == MAX_LOGIT:
        return found
    if score == MAHALANOBIS:
        distances = _in_float32(ClassDistances.of(train.features, train.labels))
        _keep(path, distances, network_digest(model))
        values = distances.scores(validation.features)
    else:
        values = energy(validation.logits, sigmoid)
    extremes = Extremes.of(validation.logits, validation.labels)
    split = str(validation_set.metainfo.get('split', 'val'))
    measured = measure_rejection(
        replace(extremes, scores=values.astype(np.float32)), counts, limits, split
    )
    dropped = ('uniform', 'keep')  # they are of the logits
    return found | {key: v for key, v in (measured or {}).items() if key not in dropped}


def _in_float32(distances: ClassDistances) -> ClassDistances:
    return ClassDistances(*(values.float() for values in distances))


def _keep(path: Path, distances: ClassDistances, network: str) -> None:
    arrays = {name: values.numpy() for name, values in distances._asdict().items()}
    try:
        with written_whole(path) as file:
            np.savez(file, network=np.array(network), **arrays)
    except OSError as error:
        raise BCE3SError(f'{path} cannot be written ({reason(error)}).') from error


def kept_distances(directory: Path, model: nn.Module) -> ClassDistances | None:
    """Those of the run in ``directory``; None: not there, damaged, or of another network."""
    path = directory / FILE
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with np.load(path, allow_pickle=False) as file:
            if str(file['network']) != network_digest(model):
                return None
            found = (torch.from_numpy(file[name]) for name in ClassDistances._fields)
            return ClassDistances(*found)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def network_digest(model: nn.Module) -> str:
    """SHA-256 of the weights that features and logits follow from."""
    digest = hashlib.sha256()
    for part in (model.backbone, getattr(model, 'neck', None), model.head.classifier):
        for name, values in sorted(part.state_dict().items() if part is not None else ()):
            digest.update(name.encode())
            digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
