"""How a time grows with a size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FITTED = 3  # of the sizes of a sweep, the largest ones: there the leading term leads


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """p of ``values ~ sizes^p``, by least squares in log-log over the ``FITTED`` largest sizes.

    Args:
        sizes: at least two different ones, in any order.
        values: positive, such as seconds.
    """
    largest = np.argsort(sizes)[-FITTED:]
    x, y = (np.log(np.asarray(numbers, float)[largest]) for numbers in (sizes, values))
    return float(np.polyfit(x, y, 1)[0])
