"""Cross-entropy of the softmax over all classes, which couples their logits."""

from __future__ import annotations

import torch
from torch import Tensor

from bce3s.shards import Shards, log_softmax


def soft_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    classes: Tensor | None = None,
    shards: Shards | None = None,
) -> Tensor:
    """``-sum_j t_j log(exp(z_j) / sum_l exp(z_l))``.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1].
        classes: bool, broadcast to (..., K): the classes that exist, in both sums; None: all. A row
            without any is 0.
        shards: where the columns are this rank's share of the classes.

    Returns:
        (...): one value a row, not averaged over samples.
    """
    if classes is not None:
        # The lowest finite number, not -inf: a row without any class must stay finite.
        logits = logits.masked_fill(~classes, torch.finfo(logits.dtype).min)
        targets = targets * classes
    return -(targets * log_softmax(logits, shards)).sum(-1)
