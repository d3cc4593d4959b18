"""What a network says of images as arrays in one ``.npz``, for cleanlab, FiftyOne and the like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.files import reason, written_whole
from bce3s.inference.predictor import Predictor
from bce3s.own_data.found import tidy_name


class PredictionArrays:
    """Collects features and logits, and writes them; memory: 4 (K + d) bytes an image.

    Args:
        path: ends in ``.npz``; an older file is replaced in the end.

    Raises:
        BCE3SError: another ending.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix.lower() != '.npz':
            raise BCE3SError(f'{self.path} must end in .npz.')
        self.paths: list[str] = []
        self.features: list[Tensor] = []
        self.logits: list[Tensor] = []

    def add(self, names: Sequence[str | int], features: Tensor, logits: Tensor) -> None:
        """Those of a batch, (B, d) and (B, K)."""
        self.paths += map(str, names)
        self.features.append(features)
        self.logits.append(logits)

    def write(self, predictor: Predictor) -> Path:
        """Writes, without a pickle, and returns the path: ``paths`` (N,) of the images that were
        read; ``classes`` (K,) names; ``features`` (N, d), ``logits`` and ``probabilities`` (N, K)
        float32, of which each row sums to 1 (the softmax of the logits, or their sigmoids by their
        sum where the network was trained with BCE); ``labels`` (N,) int64, the class that the
        folder of an image is called by, -1 where it is called by none. Where an image may have
        several labels: ``probabilities`` are the sigmoids; ``labels`` (N, K) int8, 1 for the class
        that the folder is called by, -1 (unknown) for all others; ``thresholds`` (K,) of the
        logits; ``predicted`` (N, K) int8, 1 for the classes above theirs, else 0.

        Raises:
            BCE3SError: no image could be read, or the file cannot be written.
        """
        if not self.paths:
            raise BCE3SError(f'{self.path} is not written: no image can be read.')
        features, logits = (
            np.concatenate([part.numpy() for part in parts])
            for parts in (self.features, self.logits)
        )
        numbers = {tidy_name(name): k for k, name in enumerate(predictor.classes)}
        labels = np.array([numbers.get(_folder(path), -1) for path in self.paths], dtype=np.int64)
        if predictor.several:
            found = _several(predictor.threshold, logits, labels)
        else:
            found = dict(labels=labels, probabilities=_shares(predictor.score, logits))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(self.path) as file:
                np.savez(
                    file,
                    paths=np.array(self.paths),
                    classes=np.array(predictor.classes),
                    logits=logits,
                    features=features,
                    **found,
                )
        except OSError as error:
            raise BCE3SError(f'{self.path} cannot be written to ({reason(error)}).') from error
        return self.path


def _shares(score: str, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of the classes, of which an image has one."""
    if score == 'sigmoid':
        scores = _sigmoid(logits)
    else:
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def _several(
    threshold: float | Sequence[float], logits: NDArray[np.float32], folders: NDArray[np.int64]
) -> dict[str, NDArray]:
    """Where an image may have several."""
    labels = np.full(logits.shape, -1, dtype=np.int8)
    known = np.flatnonzero(folders >= 0)
    labels[known, folders[known]] = 1
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), logits.shape[1:])
    return dict(
        labels=labels,
        probabilities=_sigmoid(logits),
        thresholds=thresholds,
        predicted=(logits > thresholds).astype(np.int8),
    )


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.exp(-np.logaddexp(0, -logits))


def _folder(path: str) -> str | None:
    try:
        return tidy_name(Path(path).resolve().parent.name)
    except BCE3SError:  # no name of a class
        return None
