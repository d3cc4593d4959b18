"""Binary cross-entropy over all classes: K independent sigmoids."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def multilabel_bce(
    logits: Tensor,
    targets: Tensor,
    classes: Tensor | None = None,
    soft_negatives: bool = True,
    clamp: float | None = None,
) -> Tensor:
    """``sum_j t_j softplus(-z_j) + (1 - t_j) softplus(z_j)``; hard labels: t one-hot.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1].
        classes: bool, broadcast to (..., K): the terms that count; None: all.
        soft_negatives: True: as above. False, as in the public implementation of BCE3S: the second
            part only where ``t_j = 0``, and then with weight 1.
        clamp: limit of ``|z|``, beyond which there is no gradient (64 in the public
            implementation); None: no limit, none is needed.

    Returns:
        (...): the sum over the classes, not averaged over samples.
    """
    if clamp is not None:
        logits = logits.clamp(-clamp, clamp)
    if soft_negatives:
        terms = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    else:  # softplus(z) = -logsigmoid(-z)
        positive, negative = -targets * F.logsigmoid(logits), -F.logsigmoid(-logits)
        terms = torch.where(targets > 0, positive, negative)
    return (terms if classes is None else terms * classes).sum(-1)
