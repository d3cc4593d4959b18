"""Accuracies of long-tailed recognition: pure functions on arrays, in percent.

With ``r_k`` of the ``n_k`` test samples of class k predicted right, the accuracy of class k is
``a_k = 100 r_k / n_k``. A class without a test sample has no accuracy: it is NaN here, ``None`` in
what ``evaluate`` returns, and no part of any mean. All, Many, Medium and Few are means of ``a_k``
over the classes of the split, and splits go by the TRAINING count (Many > 100, Medium 20..100,
Few < 20; Liu et al., CVPR 2019, as BCE3S uses them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.errors import BCE3SError

COLUMNS = ('all', *SPLITS)


class Tally(NamedTuple):
    """What all accuracies follow from; (K,) int64 each.

    Attributes:
        right: r_k, samples of class k that were predicted as k.
        tested: n_k, samples of class k.
        predicted: p_k, samples that were predicted as k.
    """

    right: NDArray[np.int64]
    tested: NDArray[np.int64]
    predicted: NDArray[np.int64]


def _class_ids(name: str, values: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    ids = np.asarray(values).reshape(-1)
    if ids.size and ids.dtype.kind not in 'iu':
        raise BCE3SError(f'The {name} must be integers (class indices), not {ids.dtype}.')
    wrong = np.flatnonzero((ids < 0) | (ids >= num_classes))
    if wrong.size:
        at = int(wrong[0])
        raise BCE3SError(
            f'The {name} must be classes 0..{num_classes - 1}, but sample {at} has {ids[at]}: '
            'check that the model and the evaluation data have the same number of classes.'
        )
    return ids.astype(np.int64)


def tally(labels: ArrayLike, preds: ArrayLike, num_classes: int) -> Tally:
    """The samples of each class: right ones, all, and those predicted as it.

    Args:
        labels: (N,) true classes.
        preds: (N,) predicted classes.
        num_classes: K.

    Raises:
        BCE3SError: no sample, different lengths, or a value outside 0..K-1.
    """
    labels = _class_ids('labels', labels, num_classes)
    preds = _class_ids('predictions', preds, num_classes)
    if labels.size != preds.size:
        raise BCE3SError(
            f'There are {labels.size} labels but {preds.size} predictions: each sample needs one '
            'of each.'
        )
    if not labels.size:
        raise BCE3SError('There is no sample to evaluate: the evaluation data set is empty.')
    of = (labels[labels == preds], labels, preds)
    return Tally(*(np.bincount(ids, minlength=num_classes) for ids in of))


def per_class_accuracy(counts: Tally) -> NDArray[np.float64]:
    """``100 r_k / n_k`` (K,), NaN for a class without a test sample."""
    shares = np.full(len(counts.right), np.nan)
    np.divide(100.0 * counts.right, counts.tested, out=shares, where=counts.tested > 0)
    return shares


def mean_or_none(values: NDArray[np.float64]) -> float | None:
    """The mean over what is not NaN; ``None`` if nothing is left (an empty split is not 0)."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def split_accuracy(
    per_class: ArrayLike, class_counts: Sequence[int], thresholds: Thresholds
) -> dict[str, float | None]:
    """Means of the per-class accuracies over all classes and over each split.

    Args:
        per_class: (K,) percent, NaN for a class without a test sample.
        class_counts: (K,) TRAINING samples of each class.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all``, ``many``, ``medium``, ``few`` in percent, ``None`` if a split has no (tested)
        class.

    Raises:
        BCE3SError: different numbers of classes.
    """
    per_class = np.asarray(per_class, dtype=np.float64)
    if len(per_class) != len(class_counts):
        raise BCE3SError(
            f'There are {len(per_class)} per-class accuracies but {len(class_counts)} class '
            'counts: give the counts of the training set, one for each class.'
        )
    masks = split_masks(class_counts, thresholds)
    means = {split: mean_or_none(per_class[np.asarray(masks[split])]) for split in SPLITS}
    return {'all': mean_or_none(per_class), **means}


def plain_accuracy(counts: Tally) -> float:
    """``100 sum_k r_k / N``: the share of samples that are right (micro)."""
    return float(100.0 * counts.right.sum() / counts.tested.sum())


def macro_f1(counts: Tally) -> float:
    """Mean of ``200 r_k / (n_k + p_k)`` over the classes that occur.

    As in scikit-learn's ``f1_score(average='macro', zero_division=0)``: a class occurs if it is
    some sample's label or some sample's prediction; one that never is predicted right counts as 0.
    In percent.
    """
    total = counts.predicted + counts.tested
    occurs = total > 0
    return float(np.mean(200.0 * counts.right[occurs] / total[occurs]))


def evaluate(
    labels: ArrayLike, preds: ArrayLike, class_counts: Sequence[int], thresholds: Thresholds
) -> dict[str, object]:
    """Everything the report says about one set of predictions, as plain Python values (no NaN).

    Args:
        labels: (N,) true classes.
        preds: (N,) predicted classes.
        class_counts: (K,) TRAINING samples of each class.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all`` (which others call balanced accuracy), ``many``, ``medium``, ``few``, ``accuracy``
        (plain), ``macro_f1`` (percent; ``None`` where there is nothing to average), ``per_class``
        (list of K, percent or ``None``), ``samples`` (N).

    Raises:
        BCE3SError: no sample, different lengths, or a value outside 0..K-1.
    """
    counts = tally(labels, preds, len(class_counts))
    per_class = per_class_accuracy(counts)
    return {
        **split_accuracy(per_class, class_counts, thresholds),
        'accuracy': plain_accuracy(counts),
        'macro_f1': macro_f1(counts),
        'per_class': [None if np.isnan(value) else float(value) for value in per_class],
        'samples': int(counts.tested.sum()),
    }
