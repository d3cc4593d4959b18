"""Two halves of the evaluation data: what is chosen on the one is measured on the other.

A threshold or a temperature that is chosen and measured on the same images looks better than it is.
Where no other images are left to choose it on (benchmarks have test images only), each half is
measured with what the other half chose, so that every image counts once and none is judged by a
choice that it had a part in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bce3s.evaluation.arrays import as_tensor


def halves(labels: Any) -> NDArray[np.int64]:
    """The half, 0 or 1, of each sample (N,): by its position within its class, in turns.

    ``(p_i + y_i) mod 2`` for the p-th sample of class y, in the order given: nothing is drawn, both
    halves have every class that has two samples, and their shares of it differ by one at most. A
    class with ONE sample is in the half of its parity, and is measured with what was chosen without
    it.

    Args:
        labels: (N,) classes, in an order that does not depend on the run.

    >>> halves([0, 0, 0, 1, 1]).tolist()
    [0, 1, 0, 1, 0]
    """
    labels = as_tensor(labels).cpu().numpy().astype(np.int64).reshape(-1)
    order = np.argsort(labels, kind='stable')
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)  # where the class begins
    half = np.empty(len(labels), dtype=np.int64)
    half[order] = (np.arange(len(labels)) - starts + ordered) % 2
    return half
