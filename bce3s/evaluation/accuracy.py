"""Accuracies of long-tailed recognition: pure functions on arrays, in percent.

With ``M[i, j]`` the number of test samples of class i that were predicted as class j, the accuracy
of class k is ``a_k = 100 M[k, k] / sum_j M[k, j]``. A class without a test sample has no accuracy:
it is NaN here, ``None`` in what ``evaluate`` returns, and no part of any mean. All, Many, Medium
and Few are means of ``a_k`` over the classes of the split, and splits go by the TRAINING count
(Many > 100, Medium 20..100, Few < 20; Liu et al., CVPR 2019, as BCE3S uses them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.errors import BCE3SError

COLUMNS = ('all', *SPLITS)


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


def confusion_matrix(labels: ArrayLike, preds: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """``M[i, j]``: samples of class i predicted as class j.

    Args:
        labels: (N,) true classes.
        preds: (N,) predicted classes.
        num_classes: K.

    Returns:
        (K, K) counts.

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
    cells = np.bincount(labels * num_classes + preds, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def per_class_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``100 M[k, k] / sum_j M[k, j]`` (K,), NaN for a class without a test sample."""
    tested = confusion.sum(axis=1)
    shares = np.full(len(confusion), np.nan)
    np.divide(100.0 * confusion.diagonal(), tested, out=shares, where=tested > 0)
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


def plain_accuracy(confusion: NDArray[np.int64]) -> float:
    """``100 sum_k M[k, k] / N``: the share of samples that are right (micro)."""
    return float(100.0 * confusion.diagonal().sum() / confusion.sum())


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """The mean of the per-class accuracies over the classes with a test sample (percent)."""
    return float(np.nanmean(per_class_accuracy(confusion)))


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean of ``200 M[k, k] / (sum_j M[k, j] + sum_i M[i, k])`` over the classes that occur.

    As in scikit-learn's ``f1_score(average='macro', zero_division=0)``: a class occurs if it is
    some sample's label or some sample's prediction; one that never is predicted right counts as 0.
    In percent.
    """
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    occurs = total > 0
    return float(np.mean(200.0 * confusion.diagonal()[occurs] / total[occurs]))


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
        ``all``, ``many``, ``medium``, ``few``, ``accuracy`` (plain), ``balanced_accuracy``,
        ``macro_f1`` (percent; ``None`` where there is nothing to average), ``per_class`` (list of
        K, percent or ``None``), ``samples`` (N).

    Raises:
        BCE3SError: no sample, different lengths, or a value outside 0..K-1.
    """
    confusion = confusion_matrix(labels, preds, len(class_counts))
    per_class = per_class_accuracy(confusion)
    return {
        **split_accuracy(per_class, class_counts, thresholds),
        'accuracy': plain_accuracy(confusion),
        'balanced_accuracy': balanced_accuracy(confusion),
        'macro_f1': macro_f1(confusion),
        'per_class': [None if np.isnan(value) else float(value) for value in per_class],
        'samples': int(confusion.sum()),
    }
