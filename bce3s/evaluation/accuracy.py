"""Accuracies of long-tailed recognition: pure functions on arrays, in percent.

With ``r_k`` of the ``n_k`` test samples of class k predicted right, the accuracy of class k is
``a_k = 100 r_k / n_k``. A class without a test sample has no accuracy: it is NaN here, ``None`` in
what ``evaluate`` returns, and no part of any mean. All, Many, Medium and Few are means of ``a_k``
over the classes of the split, and splits go by the TRAINING count (Many > 100, Medium 20..100,
Few < 20; Liu et al., CVPR 2019, as BCE3S uses them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import as_labels, as_tensor, check_some

COLUMNS = ('all', *SPLITS)


def per_class_means(values: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    """Mean of a figure over the samples of each class (K,); NaN where a class has none.

    Args:
        values: (N,) a figure of each sample; NaN: undefined, left out.
        labels: (N,) classes.
        num_classes: K.

    >>> per_class_means([1.0, 3.0, 5.0], [0, 0, 2], 3).tolist()
    [2.0, nan, 5.0]
    """
    values, labels = np.asarray(values, dtype=np.float64), np.asarray(labels)
    defined = ~np.isnan(values)
    sizes = np.bincount(labels[defined], minlength=num_classes)
    sums = np.bincount(labels[defined], weights=values[defined], minlength=num_classes)
    return np.divide(sums, sizes, out=np.full(num_classes, np.nan), where=sizes > 0)


def per_class_accuracy(
    labels: ArrayLike, preds: ArrayLike, num_classes: int
) -> NDArray[np.float64]:
    """``100 r_k / n_k`` (K,), NaN for a class without a test sample.

    Args:
        labels: (N,) true classes. preds: (N,) predicted classes.
        num_classes: K.

    Raises:
        BCE3SError: no sample, different lengths, or a value outside 0..K-1.

    >>> per_class_accuracy([0, 0, 1], [0, 1, 1], 2).tolist()
    [50.0, 100.0]
    """
    labels, preds = _checked(labels, preds, num_classes)
    return per_class_means(100.0 * (labels == preds), labels, num_classes)


def split_accuracy(
    per_class: ArrayLike, class_counts: Sequence[int], thresholds: Thresholds | None = None
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

    >>> split_accuracy([90.0, 60.0, 30.0], [500, 50, 5])
    {'all': 60.0, 'many': 90.0, 'medium': 60.0, 'few': 30.0}
    """
    per_class = np.asarray(per_class, dtype=np.float64)
    if len(per_class) != len(class_counts):
        raise BCE3SError(
            f'There are {len(per_class)} per-class accuracies but {len(class_counts)} class '
            'counts: give the counts of the training set, one for each class.'
        )
    masks = {'all': True, **split_masks(class_counts, thresholds)}
    kept = {name: per_class[masks[name] & ~np.isnan(per_class)] for name in COLUMNS}
    return {name: float(values.mean()) if values.size else None for name, values in kept.items()}


def split_means(
    values: ArrayLike,
    labels: ArrayLike,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
) -> dict[str, float | None]:
    """A figure of each sample, averaged over classes and splits as accuracies are.

    Args:
        values: (N,) the figure; NaN where it is undefined, which is then no part of any mean.
        labels: (N,) classes.
        class_counts: (K,) TRAINING samples of each class.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all``, ``many``, ``medium``, ``few``: means of the per-class means; ``plain``: the mean
        over all samples alike. ``None`` where nothing is defined.
    """
    values = np.asarray(values, dtype=np.float64)
    per_class = per_class_means(values, labels, len(class_counts))
    defined = values[~np.isnan(values)]
    plain = float(defined.mean()) if defined.size else None
    return {**split_accuracy(per_class, class_counts, thresholds), 'plain': plain}


def macro_f1(labels: ArrayLike, preds: ArrayLike, num_classes: int) -> float:
    """Mean of ``200 r_k / (n_k + p_k)`` over the classes that occur, p_k samples called k.

    As in scikit-learn's ``f1_score(average='macro', zero_division=0)``: a class occurs if it is
    some sample's label or some sample's prediction; one that never is predicted right counts as 0.
    In percent. Arguments and errors: :func:`per_class_accuracy`.

    >>> round(macro_f1([0, 0, 1, 2], [0, 1, 1, 0], 3), 2)
    38.89
    """
    labels, preds = _checked(labels, preds, num_classes)
    of = (labels[labels == preds], labels, preds)
    right, tested, predicted = (np.bincount(ids, minlength=num_classes) for ids in of)
    occurs = tested + predicted > 0
    return float(np.mean(200.0 * right[occurs] / (tested + predicted)[occurs]))


def evaluate(
    labels: ArrayLike,
    preds: ArrayLike,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
) -> dict[str, object]:
    """Everything the report says about one set of predictions, as plain Python values (no NaN).

    Args:
        labels: (N,) true classes.
        preds: (N,) predicted classes.
        class_counts: (K,) TRAINING samples of each class.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all`` (which others call balanced accuracy), ``many``, ``medium``, ``few`` (``None`` for a
        split without a class), ``accuracy`` (plain), ``macro_f1``, ``per_class`` (list of K,
        ``None`` without a sample), in percent; ``samples`` (N).

    Raises:
        BCE3SError: no sample, different lengths, or a value outside 0..K-1.

    >>> found = evaluate([0, 0, 1, 2], [0, 1, 1, 0], [500, 50, 5])
    >>> found['all'], found['many'], found['medium'], found['few'], found['accuracy']
    (50.0, 50.0, 100.0, 0.0, 50.0)
    """
    labels, preds = _checked(labels, preds, len(class_counts))
    per_class = per_class_accuracy(labels, preds, len(class_counts))
    return {
        **split_accuracy(per_class, class_counts, thresholds),
        'accuracy': float(100.0 * (labels == preds).mean()),
        'macro_f1': macro_f1(labels, preds, len(class_counts)),
        'per_class': [None if np.isnan(value) else float(value) for value in per_class],
        'samples': len(labels),
    }


def _checked(
    labels: ArrayLike, preds: ArrayLike, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    preds = as_tensor(preds)
    labels, preds = (as_labels(ids, preds, num_classes).cpu().numpy() for ids in (labels, preds))
    check_some(len(labels))
    return labels, preds
