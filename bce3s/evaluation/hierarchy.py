r"""Classes that have parents: an answer at the deepest level that is sure.

What a parent scores follows from its children :math:`k \in P`, as a logit; of a parent with one
child it is that of the child.

* Softmax: one class is right, and the probability of a parent is the SUM of its children's,
  :math:`z_P = \log \sum_k e^{z_k}`.
* Sigmoids: K yes-or-no questions. That any of the children is there has the probability
  :math:`1 - \prod_k (1 - p_k)`, for they are trained as independent ones,
  :math:`z_P = \log(e^S - 1), S = \sum_k \log(1 + e^{z_k})`. Not the sum: nothing keeps the sigmoids
  of one image from adding up to more than 1. Nor the largest: it would pass a threshold only where
  a child has passed already, so that no answer would ever be a parent's.

The roll-up is that of SpeciesNet (Gadot et al., "To crop or not to crop", IET Computer Vision 2024;
``roll_up_labels_to_first_matching_level`` of google/cameratrapai): the first level, from the
classes upwards, of which a score is above the threshold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import per_class_accuracy


class Answers(NamedTuple):
    """Of N images.

    Attributes:
        classes: (N,) the class with the largest logit; -1 where it is not sure.
        parents: (N,) where that is so the parent with the largest logit; -1 where it is not sure
            either, and where a class is the answer.
        logits, thresholds: (N,) of the parent with the largest logit, answer or not.
    """

    classes: NDArray[np.int64]
    parents: NDArray[np.int64]
    logits: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def parent_logits(logits: ArrayLike, parents: ArrayLike, sigmoid: bool) -> NDArray[np.float64]:
    """(N, P), see above; -inf for a parent without children.

    Args:
        logits: (N, K) of the classes.
        parents: (K,) the parent of each class, 0 to P-1.
        sigmoid: whether they are logits of sigmoids, not of a softmax.

    Raises:
        BCE3SError: not one parent a class.

    >>> parent_logits([[0.0, 0.0, 3.0]], [0, 0, 1], sigmoid=True).round(4).tolist()
    [[1.0986, 3.0]]
    """
    logits, parents = np.asarray(logits, dtype=np.float64), np.asarray(parents)
    if logits.ndim != 2 or parents.shape != logits.shape[1:]:
        raise BCE3SError(
            f'There are {parents.size} parents for logits {logits.shape}: give one a class.'
        )
    found = np.full((len(logits), parents.max() + 1), -np.inf)
    for parent in np.unique(parents):
        z = logits[:, parents == parent]
        found[:, parent] = np.logaddexp.reduce(z, axis=1)
        if sigmoid:  # never less, and the same where all are small
            total = np.logaddexp(0, z).sum(axis=1)
            with np.errstate(divide='ignore'):  # all so small that nothing is left of them
                any_of_them = total + np.log(-np.expm1(-total))
            found[:, parent] = np.maximum(found[:, parent], any_of_them)
    return found


def roll_up(
    logits: ArrayLike,
    parents: ArrayLike,
    thresholds: ArrayLike,
    upper_thresholds: ArrayLike,
    sigmoid: bool,
) -> Answers:
    """The class where it is sure, or else the parent, or else neither: what has the largest logit
    of its level is sure if that is above its threshold.

    Args:
        logits, parents, sigmoid: see :func:`parent_logits`.
        thresholds: (K,) of the classes, or one for all; -inf: always sure.
        upper_thresholds: (P,) of the parents, or one for all; inf: never sure.
    """
    logits = np.asarray(logits, dtype=np.float64)
    upper = parent_logits(logits, parents, sigmoid)
    limits, needed = (
        np.broadcast_to(np.asarray(given, dtype=np.float64), values.shape[1])
        for given, values in ((thresholds, logits), (upper_thresholds, upper))
    )
    rows, best, above = np.arange(len(logits)), logits.argmax(axis=1), upper.argmax(axis=1)
    sure = logits[rows, best] > limits[best]
    values = upper[rows, above]
    broadly = ~sure & (values > needed[above])
    answers = np.where(sure, best, -1), np.where(broadly, above, -1)
    return Answers(*answers, values, needed[above])


def parent_accuracy(
    logits: ArrayLike, labels: ArrayLike, parents: ArrayLike, sigmoid: bool
) -> dict[str, float]:
    """``all``, the mean over the parents of how many percent of their images are called right at
    their level, and ``plain``, all images alike.

    Args:
        logits, parents, sigmoid: see :func:`parent_logits`. labels: (N,) classes.

    Raises:
        BCE3SError: no image, or a label outside 0..K-1.
    """
    upper = parent_logits(logits, parents, sigmoid)
    own = np.asarray(parents)[np.asarray(labels)]
    return accuracy_of_parents(own, upper.argmax(axis=1))


def accuracy_of_parents(own: ArrayLike, called: ArrayLike) -> dict[str, float]:
    """See :func:`parent_accuracy`.

    Args:
        own, called: (N,) the parents of the images, and which they were taken for.
    """
    own, called = np.asarray(own), np.asarray(called)
    each = per_class_accuracy(own, called, int(max(own.max(), called.max())) + 1)
    return dict(all=float(np.nanmean(each)), plain=float(100.0 * (own == called).mean()))
