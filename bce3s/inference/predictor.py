"""The classes of images, or "none of these", by the network of a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bce3s.datasets.long_tailed import split_of
from bce3s.datasets.parents import FILE as PARENTS
from bce3s.datasets.parents import read_parents
from bce3s.engine.rejection_score import FILE, kept_distances
from bce3s.engine.run_directory import RunDirectory, thresholds_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.hierarchy import roll_up
from bce3s.evaluation.rejection_scores import MAHALANOBIS, MAX_LOGIT, ClassDistances, energy
from bce3s.inference.class_facts import class_facts, several_labels
from bce3s.inference.inputs import Batch, InputSpec, Name, batches
from bce3s.inference.labels import LabelPrediction, label_rows, label_thresholds
from bce3s.inference.parents import parent_thresholds
from bce3s.inference.threshold import AUTO, Rejection, ThresholdWarning, chosen_threshold


@dataclass(frozen=True)
class Prediction:
    """What is said of one image.

    Attributes:
        image: its path, or its position among the images given.
        label: the name of its class; of the class's parent, where only that is sure; None: it is
            none of them, or it could not be read.
        known: whether it is one of the classes.
        best: the most likely class, known or not.
        score: of ``best``, in [0, 1]: the sigmoid of its logit where the network was trained with
            BCE, its softmax where it was trained with CE.
        logit: of ``best``.
        split: ``many``, ``medium`` or ``few``, by the training images of ``best``.
        top: the most likely classes with their scores, ``best`` first.
        compared: what is compared with the threshold, higher meaning known: the logit, or the
            score that the run chose, :attr:`Predictor.rejection` says which; that of the parent
            where this is the label, see :mod:`bce3s.evaluation.hierarchy`.
        threshold: of ``best``, which it must exceed for the image to be known; None: it is.
        error: why the image could not be read; then all of the above but ``image`` is empty.
    """

    image: Name
    label: str | None = None
    known: bool = False
    best: str | None = None
    score: float | None = None
    logit: float | None = None
    split: str | None = None
    top: tuple[tuple[str, float], ...] = ()
    compared: float | None = None
    threshold: float | None = None
    error: str | None = None

    @property
    def broad(self) -> bool:
        """Whether the label is that of a parent, for none of the classes is sure."""
        return self.known and self.label != self.best


class Predictor:
    """Says of each image which class it has, or that it has none of them; or which classes, where
    an image may have several.

    An image is none of these iff its score is at most the threshold of its best class. By default
    these are the ones of the run's report that reject at most 5 % of known images, chosen on its
    validation data; where these are too few to say so, no image is rejected. The score is the
    largest logit, or with ``'auto'`` the one that the run found to be clearly better.

    Of images with several labels each class has a threshold of its own, above which the label is
    given (:class:`~bce3s.inference.labels.LabelPrediction`): by default those of the run's report.

    >>> predictor = Predictor('work_dirs/digits')  # doctest: +SKIP
    >>> predictor(['a.png', 'b.jpg'])[0].label  # doctest: +SKIP
    '7'

    Args:
        run: work dir of a training run, or what was found in one.
        checkpoint: of a work dir, file to be used instead of its newest valid one.
        threshold: ``'auto'``, as above; ``'keep=90'``, one for all classes that keeps at least 90 %
            of known images; ``'uniform'``, that of the uniform accuracy; a number that the largest
            logit must exceed; or None, which accepts every image.
        device: such as ``'cpu'`` or ``'cuda'``; None: a GPU if there is one.
        batch_size: images that go through the network at a time.
        workers: processes that read a list of images; 0: it is read in this one.
        top: how many classes ``top`` of a prediction has.

    Attributes:
        run: :class:`RunDirectory`. input: what the network takes, :class:`InputSpec`.
        classes, class_counts, splits: (K,) names, TRAINING images, and ``many``, ``medium`` or
            ``few`` by them.
        threshold: of the logits, one or (K,), or None. rejection: where it comes from,
            :class:`~bce3s.inference.threshold.Rejection`.
        several: whether an image may have several labels.
        score: ``'sigmoid'`` or ``'softmax'``.
        parents: of the classes, where the run's folder has a ``parents.csv``, else None,
            :class:`~bce3s.datasets.parents.Parents`.
        device, model, meta: the network, where it is, and what its checkpoint says of itself.

    Raises:
        BCE3SError: no such run, no checkpoint, one that does not fit the config, a report without
            a threshold, parents that do not fit the classes, an unknown device, or an argument out
            of its range.
    """

    def __init__(
        self,
        run: str | Path | RunDirectory,
        checkpoint: str | Path | None = None,
        threshold: str | float | None = AUTO,
        device: str | torch.device | None = None,
        batch_size: int = 64,
        workers: int = 0,
        top: int = 5,
    ) -> None:
        for name, value, least in (('batch_size', batch_size, 1), ('workers', workers, 0)):
            _require_whole(name, value, least)
        _require_whole('top', top, 1)
        device = None if device is None else _checked(device)
        found = isinstance(run, RunDirectory)
        self.run = run if found else RunDirectory.open(run, checkpoint)
        self.model, self.meta = self.run.model()
        self.input = InputSpec.of(self.run, self.meta)
        self.device = next(self.model.parameters()).device if device is None else device
        self.model.to(self.device)
        self.several = several_labels(self.meta)
        self.score = 'sigmoid' if self.several else self.run.probabilities.name
        self.classes, self.class_counts = class_facts(self.run, self.model, self.meta)
        self.splits = split_of(self.class_counts, thresholds_of(self.run.config)).tolist()
        if self.several and (self.run.folder / PARENTS).exists():
            raise BCE3SError(
                f'{self.run.folder}/{PARENTS}: classes of which an image may have several cannot '
                'have parents. Remove the file.'
            )
        self.parents = read_parents(self.run.folder, self.classes)
        self.rejection, self.distances = self._rejection(threshold)
        self.threshold = self.rejection.threshold
        self._upper = None
        if self.parents is not None and self.threshold is not None:
            given = self.run, self.rejection, self.parents, self.score == 'sigmoid'
            self._upper = parent_thresholds(*given)
        self.batch_size, self.workers, self.top = batch_size, workers, min(top, len(self.classes))

    @classmethod
    def from_pretrained(
        cls, name: str | Path, revision: str | None = None, **options: Any
    ) -> Predictor:
        """The predictor of a published model; no code of it is run.

        Args:
            name: a folder of :meth:`save_pretrained`, or ``NAME/MODEL`` on the Hugging Face Hub.
            revision: branch, tag or commit there.
            options: arguments of the predictor.

        Raises:
            BCE3SError: there is none, it cannot be fetched, or it is damaged or unsafe.
        """
        from bce3s.inference.hub import published

        return cls(published(name, revision), **options)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes the model as a folder, see :func:`bce3s.inference.hub.save_pretrained`."""
        from bce3s.inference.hub import save_pretrained

        return save_pretrained(self.run, folder)

    def _rejection(self, threshold: Any) -> tuple[Rejection, ClassDistances | None]:
        """And what the score takes that it compares."""
        if self.several:
            given = self.run, threshold, self.model, self.classes
            return label_thresholds(*given), None
        epoch = self.meta.get('epoch')
        found = chosen_threshold(self.run, threshold, epoch)
        if found.score != MAHALANOBIS:
            return found, None
        if distances := kept_distances(self.run.folder, self.model):
            return found, distances
        warnings.warn(
            f'{self.run.folder / FILE} is missing, damaged or of another checkpoint, so that the '
            f'largest logit is compared in the place of the {MAHALANOBIS}.',
            ThresholdWarning,
            stacklevel=3,
        )
        return chosen_threshold(self.run, threshold, epoch, logits=True), None

    def __repr__(self) -> str:
        how = f' ({self.rejection.how})' if self.rejection.how else ''
        threshold = f'{self.rejection}{how if self.threshold is not None else ""}'
        return (
            f'Predictor({str(self.run.folder)!r}, {self.run.checkpoint.name}, '
            f'{len(self.classes)} classes, threshold {threshold}, {self.device})'
        )

    def __call__(
        self, images: Any, errors: str = 'raise'
    ) -> list[Prediction] | list[LabelPrediction]:
        """Predictions of images, in their order.

        Args:
            images: one or several (a list, also of mixed kinds; a generator; an array of 4
                dimensions): paths, PIL images, uint8 arrays (H, W) or (H, W, C), uint8 tensors
                (C, H, W), see :func:`~bce3s.inference.inputs.to_uint8`.
            errors: what to do with an image that cannot be read: ``'raise'``, or ``'keep'`` it with
                a sentence, :attr:`Prediction.error`.

        Raises:
            BCE3SError: an image that cannot be read, or what is no image.
        """
        return list(self.stream(images, errors))

    def stream(
        self, images: Any, errors: str = 'raise', keep: Callable[..., Any] | None = None
    ) -> Iterator[Prediction | LabelPrediction]:
        """As :meth:`__call__`, one after the other: no more than a few batches are in memory.

        ``keep`` is called with the names, features (B, d) and logits (B, K), float32 on the CPU, of
        the images of each batch that can be read.
        """
        if errors not in ('raise', 'keep'):
            raise BCE3SError(f"errors is {errors!r}: give 'raise' or 'keep'.")
        for batch in batches(images, self.input, self.batch_size, self.workers):
            error = next(filter(None, batch.errors), None)
            if error and errors == 'raise':
                raise BCE3SError(error)
            yield from self._predictions(batch, keep)

    def logits(self, images: Tensor) -> Tensor:
        """(N, K) float32 on the CPU, of (N, C, H, W) uint8 as the network takes them; see
        :meth:`outputs`.
        """
        return self.outputs(images)[1]

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, d) and logits (N, K), float32 on the CPU, of (N, C, H, W) uint8 as the
        network takes them.

        Raises:
            BCE3SError: the memory of the GPU is full, or the network gives no finite numbers.
        """
        try:
            with torch.no_grad():
                data = dict(inputs=images, data_samples={})
                inputs = self.model.data_preprocessor(data, training=False)['inputs']
                features = self.model.features(inputs)
                logits = self.model.head(features).float().cpu()
                features = features.float().cpu()
        except torch.OutOfMemoryError as error:
            raise BCE3SError(
                f'The memory of {self.device} is full: use a smaller batch size than '
                f'{self.batch_size}.'
            ) from error
        if not logits.isfinite().all():
            raise BCE3SError(
                f'The network of {self.run.checkpoint} gives scores that are not finite: use an '
                'earlier checkpoint.'
            )
        return features, logits

    def _compared(self, features: Tensor, logits: Tensor) -> list[float]:
        """(N,) what is compared with the thresholds, in float32 as they are."""
        if self.rejection.score == MAX_LOGIT:
            return logits.amax(1).tolist()
        if self.distances is not None:
            values = self.distances.scores(features)
        else:
            values = energy(logits, self.score == 'sigmoid')
        return values.astype(np.float32).tolist()

    def _predictions(
        self, batch: Batch, keep: Callable[..., Any] | None
    ) -> Iterator[Prediction | LabelPrediction]:
        kind = LabelPrediction if self.several else Prediction
        known: Iterator[dict[str, Any]] = iter(())
        if batch.images is not None:
            features, logits = self.outputs(batch.images)
            known = self._rows(features, logits)
            if keep is not None:
                pairs = zip(batch.names, batch.errors, strict=True)
                keep([name for name, error in pairs if error is None], features, logits)
        for name, error in zip(batch.names, batch.errors, strict=True):
            if error is None:
                yield kind(name, **next(known))
            else:
                yield kind(name, error=error)

    def _rows(self, features: Tensor, logits: Tensor) -> Iterator[dict[str, Any]]:
        if self.several:
            yield from label_rows(logits, self.threshold, self.classes, self.top)
            return
        values, top = logits.topk(self.top)  # (N, top)
        scores = logits.double()
        scores = scores.sigmoid() if self.score == 'sigmoid' else scores.softmax(1)
        columns = [column.tolist() for column in (values[:, 0], top, scores.gather(1, top))]
        compared = self._compared(features, logits)
        rows = zip(*columns, compared, self._broad(logits), strict=True)
        for logit, classes, shares, value, broad in rows:
            threshold = self.rejection.of(classes[0])
            known = threshold is None or value > threshold
            names = [self.classes[k] for k in classes]
            label = names[0] if known else None
            if not known and broad is not None:
                known = True
                label, value, threshold = broad
            yield dict(
                label=label,
                known=known,
                best=names[0],
                score=shares[0],
                logit=logit,
                compared=value,
                threshold=threshold,
                split=self.splits[classes[0]],
                top=tuple(zip(names, shares, strict=True)),
            )

    def _broad(self, logits: Tensor) -> list[tuple[str, float, float] | None]:
        """For each image its parent, if that is sure, with its logit and threshold."""
        if self._upper is None:
            return [None] * len(logits)
        of_classes = np.full(len(self.classes), np.inf)  # which were not sure
        levels = self.parents.of, of_classes, self._upper
        found = roll_up(logits.numpy(), *levels, self.score == 'sigmoid')
        columns = (column.tolist() for column in (found.parents, found.logits, found.thresholds))
        names = self.parents.names
        return [None if p < 0 else (names[p], z, t) for p, z, t in zip(*columns, strict=True)]


def _require_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BCE3SError(f'{name} is {value!r}: give a whole number, at least {least}.')


def _checked(device: str | torch.device) -> torch.device:
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise BCE3SError(f'The device {device} cannot be used ({reason}): try cpu.') from error
    return device
