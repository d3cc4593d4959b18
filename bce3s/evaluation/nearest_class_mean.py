"""Nearest class mean: a classifier that the features alone define."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.errors import BCE3SError
from bce3s.evaluation.class_means import class_means
from bce3s.evaluation.feature_arrays import check_same_size, feature_array, label_array, unit_rows

ROWS = 4096  # features converted to float64 at a time


def nearest_class_mean(
    queries: ArrayLike,
    gallery: ArrayLike,
    gallery_labels: ArrayLike,
    num_classes: int,
    metric: str = 'cosine',
) -> NDArray[np.int64]:
    """``argmax_k cos(x, m_k)`` or ``argmin_k ||x - m_k||``, of equals the lowest k (Q,).

    ``cosine``: m_k is the mean of features of unit length (Rebuffi et al., iCaRL, CVPR 2017).
    ``euclidean``: of the features as they are (Mensink et al., TPAMI 2013). A class without a
    feature in the gallery is never predicted. A feature of length 0 has cosine 0 to every mean.

    Args:
        queries: (Q, d). gallery: (G, d). gallery_labels: (G,).
        num_classes: K.
        metric: ``cosine`` or ``euclidean``.

    Raises:
        BCE3SError: shapes that do not fit, a value that is not finite, a label outside 0..K-1, an
            unknown metric.

    >>> nearest_class_mean([[1.0, 0.2]], [[1.0, 0.0], [0.0, 1.0]], [0, 1], 2).tolist()
    [0]
    """
    if metric not in ('cosine', 'euclidean'):
        raise BCE3SError(f"metric is {metric!r}: use 'cosine' or 'euclidean'.")
    queries, gallery = feature_array('query', queries), feature_array('gallery', gallery)
    check_same_size(queries, gallery)
    labels = label_array(gallery_labels, gallery, num_classes)
    cosine = metric == 'cosine'
    found = class_means(unit_rows(gallery) if cosine else gallery, labels, num_classes)
    present = found.classes.numpy()
    means = found.means.numpy()[present]
    # Distances do not change with the origin; near it they lose no digits.
    origin = np.zeros(means.shape[1]) if cosine else means.mean(axis=0)
    means = unit_rows(means) if cosine else means - origin
    half_norms = 0 if cosine else (means**2).sum(axis=1) / 2
    blocks = (queries[i : i + ROWS].astype(np.float64) for i in range(0, len(queries), ROWS))
    nearest = [((block - origin) @ means.T - half_norms).argmax(axis=1) for block in blocks]
    return present[np.concatenate(nearest)]
