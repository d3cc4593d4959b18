r"""Several labels an image: average precision, F1 at a threshold per class, and rankings of labels.

Labels are (N, K) with 1 where an image has the class, 0 where it has not, and -1 where that is
unknown: such a pair of image and class is left out of everything. Scores are (N, K), of which only
the order within a class (or within an image, for rankings) counts. Figures are in percent, but for
the coverage error, which is a number of labels.

**Average precision** of class k, of its positives :math:`i \in P_k` among the images of which it is
known whether they have it (the area under precision over recall, without interpolation):

.. math:: AP_k = \frac{1}{|P_k|} \sum_{i \in P_k}
    \frac{|\{j \in P_k : s_{jk} \ge s_{ik}\}|}{|\{j : s_{jk} \ge s_{ik}\}|}

mAP is its mean over the classes that have a positive and a negative image (macro), and over those
of them that are Many, Medium and Few by their positives in TRAINING; micro AP is that of all pairs
of image and class together.

**F1** of class k at a threshold: :math:`2 TP / (2 TP + FP + FN)`, an image being called k iff
:math:`s_{ik} > t_k`. :func:`f1_thresholds` chooses the t that maximises it.

Where scores say next to nothing of a class, that is one below nearly all of them, and everything is
called the class; so with a largest F1 below ``LEAST_F1`` the threshold is the highest score (Yang,
"A Study on Thresholding Strategies for Text Categorization", SIGIR 2001; SCutFBR.1 of Lewis et al.,
"RCV1", JMLR 5, 2004).

What it brings: mean F1 on the 614 test pictures of the digits on canvases, percent (Many / Medium /
Few), with thresholds chosen on long-tailed validation pictures (about 16 to 1 positives a class),
means of 60 draws; A: BCE3S after 25 epochs, B: after all 65, seed 0:

==================================================== =================== ===================
\                                                    A                   B
==================================================== =================== ===================
probability 0.5                                      38.5 (84 / 33 / 0)  62.5 (84 / 70 / 31)
one threshold for all classes                        45.0 (76 / 55 / 2)  67.4 (81 / 78 / 40)
one together for classes with fewer than 5 positives 54.2 (86 / 61 / 13) 65.7 (83 / 73 / 38)
one for each class                                   58.2 (86 / 59 / 30) 66.2 (83 / 74 / 39)
one for each class, and ``LEAST_F1`` (ours)          60.0 (86 / 59 / 35) 66.2 (83 / 74 / 40)
==================================================== =================== ===================

**Rankings** of the labels of each image (Tsoumakas et al., "Mining Multi-label Data", 2010):
coverage error, how far down its ranking one has to go for all its labels; ranking loss, the share
of pairs of a label that it has and one that it has not which are in the wrong order; label ranking
average precision. Ties count as wrong, as in scikit-learn, to which all of these are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_accuracy
from bce3s.evaluation.arrays import BLOCK, as_tensor, check_some

HALF = 0.0  # the logit of probability 0.5
LEAST_F1 = 10.0  # percent, see above

Labels = NDArray[np.int8]
Scores = NDArray[np.floating]


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Labels, Scores]:
    """Both as arrays (N, K); integer scores become float64.

    Raises:
        BCE3SError: no sample, shapes that differ, a label other than 1, 0 and -1, or a score that
            is not finite.
    """
    labels, scores = (as_tensor(values).cpu().numpy() for values in (labels, scores))
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise BCE3SError(
            f'The labels have the shape {labels.shape} and the scores {scores.shape}: with several '
            'labels an image both must be (N, K), a row an image and a column a class.'
        )
    check_some(len(labels))
    wrong = (labels != 0) & (labels != 1) & (labels != -1)
    if wrong.any():
        row, k = np.argwhere(wrong)[0]
        raise BCE3SError(
            f'The labels must be 1 (has it), 0 (has it not) or -1 (unknown), but sample {row} has '
            f'{labels[row, k]} for class {k}.'
        )
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise BCE3SError(
            f'The scores of sample {row} are not finite: the model has diverged or its input is '
            'broken.'
        )
    return labels.astype(np.int8, copy=False), scores


# --------------------------------------------------------------------------------------- of classes
def average_precision(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """AP of each class (K,), percent; NaN for a class without a positive.

    Args:
        labels: (N, K) of 1, 0 and -1 (unknown). scores: (N, K).

    Raises:
        BCE3SError: see :func:`checked`.

    >>> average_precision([[1, 0], [0, 0], [1, 0]], [[3, 1], [2, 1], [1, 1]]).round(2).tolist()
    [83.33, nan]
    """
    columns = _columns(*checked(labels, scores))
    return np.array([_ap(*column) for column in columns], dtype=np.float64)


def micro_average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """AP of all pairs of image and class together, percent; NaN without a positive.

    Arguments and errors: :func:`average_precision`.

    >>> round(micro_average_precision([[1, 0], [-1, 1]], [[0.5, 0.75], [2.0, 1.0]]), 2)
    83.33
    """
    labels, scores = checked(labels, scores)
    return _ap(scores[labels == 1], scores[labels == 0])


def _ap(positives: Scores, negatives: Scores) -> float:
    if not len(positives):
        return np.nan
    _, hits, false = _called(positives, negatives)
    return float(100.0 * np.mean(hits / (hits + false)))


def _called(
    positives: Scores, negatives: Scores
) -> tuple[Scores, NDArray[np.int64], NDArray[np.int64]]:
    """The positives' scores in ascending order, and how many positives and negatives score at least
    as high as each.
    """
    positives = np.sort(positives)
    hits = len(positives) - np.searchsorted(positives, positives)
    return positives, hits, len(negatives) - np.searchsorted(np.sort(negatives), positives)


def _columns(labels: Labels, scores: Scores) -> Iterator[tuple[Scores, Scores]]:
    """Of each class the scores of its positives and of its negatives, in the order of the images.

    Block by block of about ``BLOCK`` numbers: a column of a matrix by rows is slow to read.
    """
    width = max(BLOCK // len(labels), 1)
    for k in range(0, labels.shape[1], width):
        block = (np.ascontiguousarray(values[:, k : k + width].T) for values in (labels, scores))
        for y, z in zip(*block, strict=True):
            yield z[y == 1], z[y == 0]


# --------------------------------------------------------------------------------------- thresholds
def f1_thresholds(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Of each class (K,) the threshold t at which calling images with ``score > t`` it gives the
    largest F1; NaN for a class without a positive, or without a negative.

    Such a t lies right below the score of a positive: in the middle between that and the next
    lower score that occurs, or as near below it as numbers go where none is lower. Of several that
    are as good it is the highest, which calls the fewest images.

    Args:
        labels: (N, K) of 1, 0 and -1 (unknown). scores: (N, K).

    Raises:
        BCE3SError: see :func:`checked`.

    >>> f1_thresholds([[1], [1], [0], [1], [0]], [[5.0], [4.0], [2.0], [1.0], [-9.0]]).tolist()
    [-4.0]
    """
    columns = _columns(*checked(labels, scores))
    return np.array([_f1_threshold(*column) for column in columns], dtype=np.float64)


def _f1_threshold(positives: Scores, negatives: Scores) -> float:
    if not (len(positives) and len(negatives)):
        return np.nan
    positives, hits, false = _called(positives, negatives)
    f1 = hits / (hits + false + len(positives))  # half of it
    at = positives[len(f1) - 1 - int(np.argmax(f1[::-1]))]
    lower = [below.max() for z in (positives, negatives) if (below := z[z < at]).size]
    if not lower:
        return float(np.nextafter(at, -np.inf))
    low, high = max(lower), at
    between = low + (high - low) / 2  # in the scores' precision, in which it will be compared
    return float(between if low <= between < high else low)


class Decisions(NamedTuple):
    """(K,) of each class the images that are called it rightly, wrongly, and not although they are.

    Or of one class three numbers.
    """

    hits: NDArray[np.int64]
    false: NDArray[np.int64]
    missed: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """(K,) percent; NaN where nothing is called the class."""
        return _share(self.hits, self.hits + self.false)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(K,) percent; NaN where nothing is the class."""
        return _share(self.hits, self.hits + self.missed)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,) percent; NaN where nothing is the class, nor is called it."""
        return _share(2 * self.hits, 2 * self.hits + self.false + self.missed)

    @property
    def micro_f1(self) -> float:
        """Of all pairs of image and class together, percent."""
        return float(Decisions(*(values.sum(keepdims=True) for values in self)).f1[0])


def _share(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.divide(100.0 * part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _decided(positives: Scores, negatives: Scores, threshold: float) -> NDArray[np.int64]:
    """(3,) hits, false, missed of one class."""
    hits, false = (int((z > threshold).sum()) for z in (positives, negatives))
    return np.array([hits, false, len(positives) - hits])


def _f1(positives: Scores, negatives: Scores, threshold: float) -> float:
    """Of one class, percent; NaN where nothing is the class, nor is called it."""
    return float(Decisions(*_decided(positives, negatives, threshold)[:, None]).f1[0])


def _chosen(positives: Scores, negatives: Scores) -> float:
    """The threshold of one class: see :func:`measure_decisions`."""
    best = _f1_threshold(positives, negatives)
    if np.isnan(best):
        return HALF
    if _f1(positives, negatives, best) < LEAST_F1:
        return float(max(positives.max(), negatives.max()))
    return best


def _cross_fitted(positives: Scores, negatives: Scores, first: int) -> NDArray[np.int64]:
    """(3,) as :func:`_decided`, each image at the threshold that was chosen without it.

    The halves take the positives in turns, and the negatives, beginning with that of ``first``:
    nothing is drawn.
    """
    halves = [[z[(first + side) % 2 :: 2] for z in (positives, negatives)] for side in (0, 1)]
    chosen = [_chosen(*half) for half in halves]
    return sum(_decided(*half, t) for half, t in zip(halves, chosen[::-1], strict=True))


def measure_decisions(
    labels: ArrayLike,
    scores: ArrayLike,
    class_counts: Sequence[int],
    limits: Thresholds | None,
    split: str,
    chosen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The ``decisions`` of ``report.json``: thresholds of the classes and what they do.

    Args:
        labels: (N, K) of 1, 0 and -1 (unknown). scores: (N, K) logits.
        class_counts: (K,) positives in TRAINING.
        limits: where Many ends and Few begins.
        split: what the evaluation data are called.
        chosen: what this function returned for another split, whose thresholds are taken. ``None``:
            they are chosen on these images, and what they do is measured on halves, each at the
            threshold that the other chose.

    Returns:
        ``thresholds``: (K,) logits, which that of an image must exceed for it to be called the
        class: :func:`f1_thresholds`; the highest that occurs for classes whose F1 is below
        ``LEAST_F1`` even so, which are listed in ``uncalled``; ``HALF`` (probability 0.5) for those
        without a positive or a negative among the images that were chosen on, in ``fallback``.
        ``chosen_on``, ``measured_on``, ``cross_fitted``. ``f1``: ``all``, ``many``,
        ``medium``, ``few``, means over the classes that have a positive and a negative image here
        (``None``: there is none), and ``micro``. ``f1_half``: the same at probability 0.5.
        ``precision``, ``recall``, ``f1_per_class``: (K,) percent, ``None`` where undefined.

    Raises:
        BCE3SError: see :func:`checked`.

    >>> chosen = dict(thresholds=[1.5], fallback=[], uncalled=[], chosen_on='val')
    >>> found = measure_decisions([[1], [0]], [[1.0], [-1.0]], [9], None, 'test', chosen)
    >>> found['f1']['all'], found['f1_half']['all']
    (0.0, 100.0)
    """
    labels, scores = checked(labels, scores)
    columns = [*_columns(labels, scores)]
    if chosen is None:
        thresholds = [_chosen(*column) for column in columns]
        fallback = np.flatnonzero(~_tested(labels)).tolist()
        uncalled = [
            k
            for k, (t, column) in enumerate(zip(thresholds, columns, strict=True))
            if k not in fallback and not any((z > t).any() for z in column)
        ]
        found = [_cross_fitted(*column, k % 2) for k, column in enumerate(columns)]
    else:
        thresholds, fallback, uncalled = (
            list(chosen[key]) for key in ('thresholds', 'fallback', 'uncalled')
        )
        found = [_decided(*column, t) for column, t in zip(columns, thresholds, strict=True)]
    at_half = [_decided(*column, HALF) for column in columns]
    decisions, at_half = (Decisions(*np.transpose(rows)) for rows in (found, at_half))
    tested = _tested(labels)

    def means(of: Decisions) -> dict[str, float | None]:
        by_split = split_accuracy(np.where(tested, of.f1, np.nan), class_counts, limits)
        return {**by_split, 'micro': _plain([of.micro_f1])[0]}

    return {
        'thresholds': thresholds,
        'fallback': fallback,
        'uncalled': uncalled,
        'chosen_on': split if chosen is None else chosen['chosen_on'],
        'measured_on': split,
        'cross_fitted': chosen is None,
        'f1': means(decisions),
        'f1_half': means(at_half),
        'precision': _plain(decisions.precision),
        'recall': _plain(decisions.recall),
        'f1_per_class': _plain(decisions.f1),
    }


def _tested(labels: Labels) -> NDArray[np.bool_]:
    """(K,) which classes have a positive and a negative image."""
    return (labels == 1).any(axis=0) & (labels == 0).any(axis=0)


def _plain(values: ArrayLike) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in np.asarray(values)]


# ---------------------------------------------------------------------------------------- of images
def rankings(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Means over the images of figures of the ranking of their labels.

    An image without a label counts 0 in the coverage error; one that has none or all of the labels
    that are known counts 0 in the ranking loss and 100 in the label ranking average precision.
    Time: the number of positives times K.

    Args:
        labels: (N, K) of 1, 0 and -1 (unknown). scores: (N, K).

    Returns:
        ``coverage_error`` in labels, ``ranking_loss`` and ``label_ranking_ap`` in percent.

    Raises:
        BCE3SError: see :func:`checked`.

    >>> rankings([[1, 0, 0], [0, 0, 1]], [[0.75, 0.5, 1.0], [1.0, 0.2, 0.1]])
    {'coverage_error': 2.5, 'ranking_loss': 75.0, 'label_ranking_ap': 41.666666666666664}
    """
    labels, scores = checked(labels, scores)
    images, classes = np.nonzero(labels == 1)
    has, not_has = ((labels == value).sum(axis=1) for value in (1, 0))
    coverage, wrong, precision = np.zeros((3, len(labels)))
    rows = max(BLOCK // labels.shape[1], 1)
    for start in range(0, len(images), rows):
        at = images[start : start + rows]
        own = scores[at, classes[start : start + rows]]
        above, y = scores[at] >= own[:, None], labels[at]  # (rows, K)
        hits, misses = ((above & (y == value)).sum(axis=1) for value in (1, 0))
        np.maximum.at(coverage, at, hits + misses)
        np.add.at(wrong, at, misses)
        np.add.at(precision, at, hits / (hits + misses))
    mixed = (has > 0) & (not_has > 0)
    loss = np.divide(wrong, has * not_has, out=np.zeros(len(labels)), where=mixed)
    precision = np.divide(precision, has, out=np.ones(len(labels)), where=mixed)
    return {
        'coverage_error': float(coverage.mean()),
        'ranking_loss': float(100.0 * loss.mean()),
        'label_ranking_ap': float(100.0 * precision.mean()),
    }


# --------------------------------------------------------------------------------------- the report
def evaluate_multi_label(
    labels: ArrayLike,
    scores: ArrayLike,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """Everything the report says about scores alone, as plain Python values (no NaN).

    Args:
        labels: (N, K) of 1, 0 and -1 (unknown). scores: (N, K).
        class_counts: (K,) positives in TRAINING.
        thresholds: where Many ends and Few begins.

    Returns:
        ``all``, ``many``, ``medium``, ``few``: mAP; ``micro_ap``; :func:`rankings`; ``per_class``:
        (K,) AP; ``positives``: (K,) images that have the class; ``samples``, N; ``multilabel``,
        True. A class without a positive or a negative image has no AP (``None``) and is in no mean.

    Raises:
        BCE3SError: see :func:`checked`; other numbers of classes; or no class that has an AP.

    >>> found = evaluate_multi_label([[1, 0], [0, 1]], [[2.0, 1.0], [1.0, 3.0]], [500, 5])
    >>> found['all'], found['micro_ap'], found['ranking_loss']
    (100.0, 100.0, 0.0)
    """
    labels, scores = checked(labels, scores)
    tested = _tested(labels)
    if not tested.any():
        raise BCE3SError(
            'No class has both an image with it and one without it, so that nothing can be '
            'measured: evaluate on other images.'
        )
    found = np.array([_ap(*column) for column in _columns(labels, scores)])
    per_class = np.where(tested, found, np.nan)
    return {
        **split_accuracy(per_class, class_counts, thresholds),
        'micro_ap': micro_average_precision(labels, scores),
        **rankings(labels, scores),
        'per_class': _plain(per_class),
        'positives': (labels == 1).sum(axis=0).tolist(),
        'samples': len(labels),
        'multilabel': True,
    }
