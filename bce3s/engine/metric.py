"""Thin MMEngine metrics: they collect what the model returned and call this package's functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS, evaluate
from bce3s.evaluation.hierarchy import accuracy_of_parents, parent_logits
from bce3s.evaluation.multi_label import evaluate_multi_label
from bce3s.evaluation.rejection import Extremes
from bce3s.registry import METRICS


@METRICS.register_module()
class LongTailedMetric(BaseMetric):
    """All / Many / Medium / Few of a long-tailed classifier, in percent: its accuracy, or its mAP
    where an image has several labels, (K,) instead of one.

    The keys have no prefix (``all``, ``many``, ...), so ``CheckpointHook(save_best='all',
    rule='greater')`` works; an empty split has no key. With flip test-time augmentation there is
    ``all_flip_tta`` too. The log stays short: everything else is in the report. After an evaluation
    ``summary`` holds the full result of ``accuracy.evaluate`` or
    ``multi_label.evaluate_multi_label`` as ``summary['plain']`` and, if the model gave flip
    predictions, ``summary['flip_tta']``; ``skipped`` is the number of images that could not be read
    and are left out. In the order of the samples' indices, ``extremes`` is what
    :mod:`~bce3s.evaluation.rejection` needs of the scores, ``None`` if the model gives none, and
    ``several`` labels and scores (N, K) of images with several labels, else ``None``.
    Each sample counts once, whatever the number of processes and however the sampler shares them
    out; every process computes the same.

    With ``parents`` (K,), the parent of each class, and ``sigmoid``, what its logits are made for,
    ``summary['plain']['parents']`` has the accuracy at their level.

    Args:
        many: a class with MORE training samples than this is Many.
        few: a class with FEWER training samples than this is Few.

    Raises:
        BCE3SError: the evaluation data set carries no ``class_counts``, or a label or prediction is
            not one of its classes.
    """

    default_prefix = ''  # plain keys; None would do the same but make MMEngine warn

    def __init__(self, many: int = Thresholds.many, few: int = Thresholds.few) -> None:
        super().__init__()
        self.thresholds = Thresholds(many=many, few=few)
        self.summary: dict[str, dict[str, Any]] = {}
        self.skipped = 0
        self.extremes: Extremes | None = None
        self.several: tuple[NDArray[np.int8], NDArray[np.float32]] | None = None
        self.parents: NDArray[np.int64] | None = None
        self.sigmoid = False

    @property
    def class_counts(self) -> list[int]:
        """(K,) training samples of each class, from the evaluation data set's ``metainfo``."""
        counts = (self.dataset_meta or {}).get('class_counts')
        if counts is None:
            raise BCE3SError(
                "The evaluation data set has no 'class_counts' in its metainfo, so Many, Medium "
                'and Few are unknown: give it the per-class counts of the TRAINING set.'
            )
        return [int(count) for count in counts]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep (index, label, pred, pred with flip TTA or None, (own score, largest other one, best
        class) or None, skipped, parent or None): one entry a sample. With several labels ``label``
        and what is predicted, the scores, are (K,).
        """
        skipped = _skipped(data_batch, len(data_samples))
        columns = _extremes(data_samples), skipped, self._parents_of(data_samples)
        self.results.extend(
            (s['index'], s['label'], s['pred'], s.get('pred_flip_tta'), *further)
            for s, *further in zip(data_samples, *columns, strict=True)
        )

    def _parents_of(self, data_samples: Sequence[dict]) -> list[int | None]:
        if self.parents is None or not data_samples or 'scores' not in data_samples[0]:
            return [None] * len(data_samples)
        scores = torch.stack([sample['scores'] for sample in data_samples]).numpy()
        return parent_logits(scores, self.parents, self.sigmoid).argmax(1).tolist()

    def evaluate(self, size: int) -> dict[str, float]:
        """The numbers to be logged, of the samples of all processes.

        MMEngine's would take the processes' samples in turns, as long as each has one, cut what it
        has at ``size`` and share a disk between machines; it loses samples where one process has
        more than another.
        """
        parts, self.results = all_gather_object(self.results), []
        return self.compute_metrics([entry for part in parts for entry in part])

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Evaluate each sample once (padding repeats some); return the numbers to be logged."""
        once = {int(entry[0]): entry for entry in results}
        kept = [once[index][1:5] for index in sorted(once) if not once[index][5]]
        self.skipped = len(once) - len(kept)
        labels, preds, flipped, pairs = map(list, zip(*kept, strict=True)) if kept else ([],) * 4
        sets = {'plain': preds}
        if flipped and flipped[0] is not None:
            sets['flip_tta'] = flipped
        several = bool(labels) and np.ndim(labels[0]) == 1
        measure, gathered = (evaluate_multi_label, np.stack) if several else (evaluate, _ints)
        self.summary = {
            name: measure(gathered(labels), gathered(values), self.class_counts, self.thresholds)
            for name, values in sets.items()
        }
        self.several = (np.stack(labels), np.stack(preds)) if several else None
        self.extremes = None if None in pairs else _gathered(pairs, labels)
        called = [once[index][6] for index in sorted(once) if not once[index][5]]
        if self.parents is not None and called and None not in called and not several:
            own = self.parents[_ints(labels)]
            self.summary['plain']['parents'] = accuracy_of_parents(own, _ints(called))
        logged = {key: self.summary['plain'][key] for key in COLUMNS}
        if several:
            logged['micro_ap'] = self.summary['plain']['micro_ap']
        if 'flip_tta' in self.summary:
            logged['all_flip_tta'] = self.summary['flip_tta']['all']
        return {key: value for key, value in logged.items() if value is not None}


def _skipped(data_batch: Any, size: int) -> list[bool]:
    """Which samples of a batch could not be read, by the data set's ``data_samples.skipped``."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    flags = samples.get('skipped') if isinstance(samples, dict) else None
    return [False] * size if flags is None else flags.tolist()


def _extremes(data_samples: Sequence[dict]) -> list[tuple[float, float, int] | None]:
    """Of each sample the score of its class, the largest of the others, and the class of the
    largest, where it has scores.
    """
    one = all('scores' in s and np.ndim(s['label']) == 0 for s in data_samples)
    if not data_samples or not one:
        return [None] * len(data_samples)
    scores = torch.stack([sample['scores'] for sample in data_samples])
    # a label of other data is found when all are evaluated
    labels = _ints([sample['label'] for sample in data_samples]).clip(0, scores.shape[1] - 1)
    found = Extremes.of(scores, labels)
    return list(zip(found.own.tolist(), found.other.tolist(), found.best.tolist(), strict=True))


def _gathered(found: list[tuple[float, float, int]], labels: list[int]) -> Extremes:
    own, other, best = zip(*found, strict=True) if found else ((),) * 3
    scores = (np.array(values, dtype=np.float32) for values in (own, other))
    return Extremes(*scores, _ints(labels), _ints(best))


def _ints(values: list) -> np.ndarray:
    return np.array([int(value) for value in values], dtype=np.int64)
