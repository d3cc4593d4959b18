"""Open-set recognition: are images of classes that the model never saw told from those it knows?

Every image has one score, higher meaning "of a known class", such as its largest logit. Images of
known classes are the positives, all others ("unknown") the negatives. On the curves an image counts
as known if its score is at least t, and equal scores count half where all t are averaged over, so
that nothing depends on the order of the images. All figures are in percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_means
from bce3s.evaluation.arrays import as_labels, as_tensor, as_vector
from bce3s.evaluation.rejection import rejected

KNOWN, UNKNOWN = 'known scores', 'unknown scores'


def _paired(known: Any, correct: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    known, correct = as_vector(KNOWN, known), as_tensor(correct).cpu().numpy().astype(bool)
    if known.shape != correct.shape:
        raise BCE3SError(
            f'There are {known.size} scores of known samples, but {correct.size} flags that say '
            'which were classified correctly: give one of each for each sample.'
        )
    return known, correct


# ----------------------------------------------------------------------------- over all thresholds
def share_below(known: Any, unknown: Any) -> NDArray[np.float64]:
    """Of each known sample, the share of unknown ones that score lower, equals counting half (N,).

    ``v_i = 1/M sum_j ([u_j < s_i] + [u_j = s_i] / 2)``, in O((N + M) log M).

    Raises:
        BCE3SError: no known or no unknown sample, a score that is not finite.
    """
    known, unknown = as_vector(KNOWN, known), np.sort(as_vector(UNKNOWN, unknown))
    below = np.searchsorted(unknown, known, 'left') + np.searchsorted(unknown, known, 'right')
    return below / (2 * unknown.size)


def auroc(known: Any, unknown: Any) -> float:
    """Area under the curve of TPR over FPR: the Mann-Whitney statistic.

    The chance that a known sample scores higher than an unknown one, equals counting half; 50
    is no information.

    Args:
        known: (N,) scores. unknown: (M,) scores.

    Raises:
        BCE3SError: no known or no unknown sample, a score that is not finite.

    >>> auroc([2.0, 1.0], [0.0, 1.0])
    87.5
    """
    return 100 * _with_scikit_learn('roc_auc_score', known, unknown)


def aupr(known: Any, unknown: Any) -> float:
    """Area under the curve of precision over recall of the known samples, as the average precision:
    no interpolation between thresholds. Arguments and errors: :func:`auroc`.

    >>> round(aupr([2.0, 1.0], [0.0, 1.5]), 2)
    83.33
    """
    return 100 * _with_scikit_learn('average_precision_score', known, unknown)


def _with_scikit_learn(name: str, known: Any, unknown: Any) -> float:
    from sklearn import metrics

    known, unknown = as_vector(KNOWN, known), as_vector(UNKNOWN, unknown)
    truth = np.arange(known.size + unknown.size) < known.size
    return float(getattr(metrics, name)(truth, np.concatenate([known, unknown])))


def oscr(known: Any, correct: Any, unknown: Any) -> float:
    """Area under the curve of CCR over FPR: ``100/N sum_i v_i [i is classified right]``.

    ``CCR(t)``: share of known samples that score at least t AND are classified right;
    ``FPR(t)``: share of unknown samples that score at least t (Dhamija, Guenther, Boult,
    "Reducing Network Agnostophobia", NeurIPS 2018). The area is a sum over the right ones:
    each adds the share of the FPR axis over which it is accepted. It is at most the accuracy, and
    the AUROC if every known sample is right.

    Args:
        known: (N,) scores. correct: (N,) booleans. unknown: (M,) scores.

    Raises:
        BCE3SError: as :func:`auroc`; or ``known`` and ``correct`` of different lengths.

    >>> oscr([2.0, 1.0], [True, False], [0.0, 1.0])
    50.0
    """
    known, correct = _paired(known, correct)
    return float(100 * (share_below(known, unknown) * correct).mean())


def curve(known: Any, correct: Any, unknown: Any, points: int = 201) -> dict[str, list[float]]:
    """Points of both curves, by falling threshold, from (0, 0) on: ``fpr``, ``tpr``, ``ccr``.

    Every distinct score is a threshold; of more than ``points`` of them, those are kept that lie
    evenly along ``fpr + tpr``.

    Raises:
        BCE3SError: as :func:`oscr`.
    """
    (known, correct), unknown = _paired(known, correct), as_vector(UNKNOWN, unknown)
    thresholds = np.unique(np.concatenate([known, unknown]))[::-1]
    columns = [_accepted(s, thresholds) for s in (unknown, known, known[correct])]
    sizes = (unknown.size, known.size, known.size)
    fpr, tpr, ccr = (
        np.concatenate([[0.0], 100 * column / size])
        for column, size in zip(columns, sizes, strict=True)
    )
    kept = np.unique(np.searchsorted(fpr + tpr, np.linspace(0, 200, points)).clip(max=len(fpr) - 1))
    return {'fpr': fpr[kept].tolist(), 'tpr': tpr[kept].tolist(), 'ccr': ccr[kept].tolist()}


def _accepted(scores: NDArray, thresholds: NDArray) -> NDArray[np.int64]:
    """How many scores are at least each threshold."""
    return scores.size - np.searchsorted(np.sort(scores), thresholds, 'left')


# --------------------------------------------------------------------------------- at one threshold
def threshold_at_tpr(known: Any, tpr: float = 95.0) -> float:
    """The largest t such that at least ``tpr`` percent of the known samples score at least t.

    Raises:
        BCE3SError: ``tpr`` is not in (0, 100], no known sample, a score that is not finite.
    """
    if not 0 < tpr <= 100:
        raise BCE3SError(f'tpr is {tpr}: it is a percentage above 0, at most 100.')
    known = np.sort(as_vector(KNOWN, known))
    # 1e-9: a product that is whole in exact arithmetic must not ask for one sample more
    needed = max(math.ceil(tpr / 100 * known.size - 1e-9), 1)
    return float(known[known.size - needed])


def fpr_at_tpr(known: Any, unknown: Any, tpr: float = 95.0) -> float:
    """Share of unknown samples that are accepted at the threshold that accepts ``tpr`` percent of
    the known ones (:func:`threshold_at_tpr`); lower is better.

    Args:
        known: (N,) scores. unknown: (M,) scores. tpr: percent.

    Raises:
        BCE3SError: as :func:`threshold_at_tpr`, or no unknown sample.

    >>> fpr_at_tpr([4.0, 3.0, 2.0, 1.0], [0.0, 2.0, 2.5, 5.0], tpr=75)
    75.0
    """
    unknown = as_vector(UNKNOWN, unknown)
    return float(100 * (unknown >= threshold_at_tpr(known, tpr)).mean())


def unknown_accepted(unknown: Any, threshold: float) -> float:
    """Share of unknown samples that score above ``threshold``: what is at it is rejected, as
    :func:`~.rejection.rejected` has it.

    For BCE the natural threshold of the largest logit is 0 (a probability of 1/2), or the one of
    the uniform accuracy, which is made for all classes and samples alike.
    """
    return float(100 * (~rejected(as_vector(UNKNOWN, unknown), threshold)).mean())


# ------------------------------------------------------------------------------------------- report
def evaluate_open_set(
    known: Any,
    correct: Any,
    labels: Any,
    unknown: Any,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
    score_thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Everything the report says about one score and one set of unknown samples (percent, no NaN).

    Args:
        known: (N,) scores of the known samples. correct: (N,) whether each is classified right.
        labels: (N,) their classes.
        unknown: (M,) scores of the unknown samples.
        class_counts: (K,) TRAINING samples of the known classes.
        thresholds: where Many ends and Few begins.
        score_thresholds: named thresholds of the score to be looked at, which reject what is at
            or below them, besides the one that accepts 95 % of the known, with what is at it.

    Returns:
        ``auroc`` and ``oscr``: ``all``, ``many``, ``medium``, ``few`` (means over the known
        classes) and ``plain`` (all known samples alike), each against all unknown samples;
        ``fpr95``: ``many``, ``medium``, ``few``, the known samples of the split having a threshold
        of their own, and ``plain``; ``at``: for each named threshold ``threshold``,
        ``unknown_accepted`` and ``known_rejected`` (means as above); ``curve``; ``unknown``: M.
        ``None`` where a split has no sample.

    Raises:
        BCE3SError: no known or no unknown sample, lengths that differ, a score not finite.
    """
    (known, correct), unknown = _paired(known, correct), as_vector(UNKNOWN, unknown)
    labels = as_labels(labels, known, len(class_counts)).numpy()

    def means(values: NDArray) -> dict[str, float | None]:
        return split_means(100 * values, labels, class_counts, thresholds)

    below, at_95 = share_below(known, unknown), threshold_at_tpr(known)
    return {
        'auroc': means(below),
        'oscr': means(below * correct),
        'fpr95': _fpr_of_splits(known, labels, unknown, class_counts, thresholds),
        'at': {
            '95 % TPR': {
                'threshold': at_95,
                'unknown_accepted': fpr_at_tpr(known, unknown),
                'known_rejected': means(known < at_95),
            }
        }
        | {
            name: {
                'threshold': float(at),
                'unknown_accepted': unknown_accepted(unknown, at),
                'known_rejected': means(rejected(known, at)),
            }
            for name, at in (score_thresholds or {}).items()
        },
        'curve': curve(known, correct, unknown),
        'unknown': unknown.size,
    }


def _fpr_of_splits(
    known: NDArray,
    labels: NDArray,
    unknown: NDArray,
    class_counts: Sequence[int],
    thresholds: Thresholds | None,
) -> dict[str, float | None]:
    masks = split_masks(class_counts, thresholds)
    groups = {split: known[masks[split][labels]] for split in SPLITS}
    fprs = {s: fpr_at_tpr(group, unknown) if group.size else None for s, group in groups.items()}
    return {**fprs, 'plain': fpr_at_tpr(known, unknown)}
