"""Two sets of images with several labels, each with its share of every label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def iterative_stratification(
    counts: NDArray[np.integer], images: Sequence[int], wanted: Sequence[int], share: float
) -> list[int]:
    """Which of G groups of images to hold out, by iterative stratification (K. Sechidis,
    G. Tsoumakas, I. Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011,
    Algorithm 1) into two subsets.

    The label of which the fewest images are left is next; each group that has it goes to the subset
    that lacks most images of this label, or of equal ones most images at all. Here groups come in
    the given order and what remains equal is kept, where the paper draws; and a group that has the
    last image of a label is kept, so that each label can be learnt. What a subset wants of a label
    is given, where the paper has the same share of all.

    Args:
        counts: (G, K) images of each group that have each label; every group has one at least.
        images: (G,) images of each group.
        wanted: (K,) images of each label that are to be held out.
        share: of all images that are to be held out.

    Returns:
        The groups that are held out, in order.
    """
    left = counts.sum(0)  # of each label, not yet in a subset
    lacking = np.stack([left - wanted, np.asarray(wanted)]).astype(float)  # of subsets 0 and 1
    room, kept = [(1 - share) * sum(images), share * sum(images)], left.copy()
    having = [np.flatnonzero(column).tolist() for column in counts.T]
    subset = np.full(len(counts), -1)
    while left.any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        for group in having[label]:
            if subset[group] >= 0:
                continue
            mine = counts[group]
            need = [(lacking[side, label], room[side]) for side in (0, 1)]
            out = need[1] > need[0] and bool(np.all((kept > mine) | (mine == 0)))
            side = int(out)
            subset[group] = side
            left = left - mine
            lacking[side] -= mine
            room[side] -= images[group]
            kept = kept - mine if out else kept
    return np.flatnonzero(subset == 1).tolist()
