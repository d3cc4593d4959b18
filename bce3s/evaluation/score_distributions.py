r"""How the scores of a classifier are spread, own images against others.

As in Figure 3 of "BCE vs. CE in Deep Feature Learning" (ICML 2025): :math:`s_{ij} = w_j h_i`
without the bias, in the sign :math:`z = W h - b`, so that BCE calls image i one of class j iff
:math:`s_{ij} > b_j`, and at a uniform threshold t iff :math:`s_{ij} > b_j + t`. By split of the
class j that is scored, where the bias belongs: a positive score is one of j's own images, a
negative one of any other image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LIMIT = 200_000


@dataclass(frozen=True)
class Spread:
    """A distribution of scores.

    Attributes:
        values: the scores, or a sample of them.
        number: of all of them.
        mean, std: of ``values``.
        quantiles: at ``QUANTILES``.
    """

    values: NDArray[np.float32]
    number: int
    mean: float
    std: float
    quantiles: tuple[float, ...]


def positive_scores(scores: NDArray, labels: NDArray, classes: NDArray) -> Spread | None:
    """Scores of the own class of the images of ``classes``, all of them.

    Args:
        scores: (N, K). labels: (N,). classes: (K,) booleans.

    Returns:
        ``None`` if there are none.

    >>> positive_scores(np.eye(2), np.array([0, 1]), np.array([True, False])).mean
    1.0
    """
    rows = np.flatnonzero(classes[labels])
    return _spread(scores[rows, labels[rows]], len(rows))


def negative_scores(
    scores: NDArray, labels: NDArray, classes: NDArray, limit: int = LIMIT
) -> Spread | None:
    """Scores of ``classes`` on images of all other classes than the one scored.

    Args:
        scores: (N, K). labels: (N,). classes: (K,) booleans.
        limit: of more scores, that many are drawn (always the same ones) for ``values``.

    Returns:
        ``None`` if there are none.
    """
    columns = np.flatnonzero(classes)
    cells = len(labels) * len(columns)
    number = cells - int(classes[labels].sum())
    if not number:
        return None
    if cells > limit:
        chosen = np.random.default_rng(0).integers(cells, size=limit)
    else:
        chosen = np.arange(cells)
    rows, places = np.divmod(chosen, len(columns))
    drawn = columns[places]
    keep = labels[rows] != drawn
    return _spread(scores[rows[keep], drawn[keep]], number)


def _spread(values: NDArray, number: int) -> Spread | None:
    if not values.size:
        return None
    exact = values.astype(np.float64)
    quantiles = tuple(float(q) for q in np.quantile(exact, QUANTILES))
    return Spread(values, number, float(exact.mean()), float(exact.std()), quantiles)


def density(
    values: ArrayLike, low: float, high: float, bins: int = 80
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Heights and the density there, for a violin: a histogram smoothed by a short binomial kernel.

    Args:
        values: the scores; those outside ``low..high`` are counted at its ends.
        low, high: range.
        bins: of the histogram.

    Returns:
        ``(bins,)`` centres and densities; the largest density is 1.
    """
    width = max(high - low, 1e-12)
    places = np.clip((np.asarray(values, dtype=np.float64) - low) / width * bins, 0, bins - 1)
    counts = np.bincount(places.astype(np.int64), minlength=bins).astype(np.float64)
    smooth = np.convolve(counts, np.array([1, 4, 6, 4, 1]) / 16, 'same')
    centres = low + (np.arange(bins) + 0.5) * width / bins
    return centres, smooth / max(smooth.max(), 1e-12)
