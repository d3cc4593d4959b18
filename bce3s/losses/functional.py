"""One equation, one function: tensors to a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError


def soft_labels(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integer labels (...) as one-hot (..., K); soft labels (..., K) in ``dtype``.

    >>> soft_labels(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if labels.is_floating_point():
        return labels.to(dtype)
    return (labels[..., None] == torch.arange(num_classes, device=labels.device)).to(dtype)


def multilabel_bce(
    logits: Tensor,
    targets: Tensor,
    classes: Tensor | None = None,
    soft_negatives: bool = True,
    clamp: float | None = None,
    negative_weight: Tensor | None = None,
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
        negative_weight: (), of the second part; None: 1.

    Returns:
        (...): the sum over the classes, not averaged over samples.

    >>> multilabel_bce(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.4402])
    """
    if clamp is not None:
        logits = logits.clamp(-clamp, clamp)
    if soft_negatives and negative_weight is None:
        terms = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    else:  # softplus(z) = -logsigmoid(-z)
        positive, negative = -targets * F.logsigmoid(logits), -F.logsigmoid(-logits)
        if negative_weight is not None:
            negative = negative_weight * negative
        if soft_negatives:
            terms = positive + (1 - targets) * negative
        else:
            terms = torch.where(targets > 0, positive, negative)
    return (terms if classes is None else terms * classes).sum(-1)


def soft_cross_entropy(logits: Tensor, targets: Tensor, classes: Tensor | None = None) -> Tensor:
    """``-sum_j t_j log(exp(z_j) / sum_l exp(z_l))``: the softmax couples the logits.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1].
        classes: bool, broadcast to (..., K): the classes that exist, in both sums; None: all. A row
            without any is 0.

    Returns:
        (...): one value a row, not averaged over samples.

    >>> soft_cross_entropy(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.0486])
    """
    if classes is not None:
        # The lowest finite number, not -inf: a row without any class must stay finite.
        logits = logits.masked_fill(~classes, torch.finfo(logits.dtype).min)
        targets = targets * classes
    return -(targets * logits.log_softmax(-1)).sum(-1)


def bce_uniformity(weight: Tensor) -> Tensor:
    """``1/K sum_k sum_{j != k} softplus(w_k . w_j)``, w_k of unit length.

    The equation as it stands, K x K cosines at once; :class:`~bce3s.losses.BCEUniformity` computes
    the same in blocks. BCE3S (arXiv 2511.14097), L_cc.

    Args:
        weight: (K, d), of any length.

    >>> bce_uniformity(torch.eye(3))  # 2 log 2
    tensor(1.3863)
    """
    weight = F.normalize(weight, dim=1)
    cosines = weight @ weight.T
    return F.softplus(cosines.fill_diagonal_(-math.inf)).sum() / len(weight)


def ce_uniformity(weight: Tensor) -> Tensor:
    """``1/K sum_k -log(exp(w_k . w_k) / sum_j exp(w_k . w_j))``, w_k of unit length.

    As :func:`bce_uniformity`, of the paper's "CE TSL"; in blocks:
    :class:`~bce3s.losses.CEUniformity`.

    >>> ce_uniformity(torch.eye(3))  # log(e + 2) - 1
    tensor(0.5514)
    """
    weight = F.normalize(weight, dim=1)
    cosines = weight @ weight.T
    return (cosines.logsumexp(1) - cosines.diagonal()).mean()


def class_balanced_weights(counts: Sequence[int] | Tensor, beta: float) -> Tensor:
    """``w_k = c (1 - beta) / (1 - beta^{n_k})`` with c such that the weights sum to K.

    Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019), Eq. 5.

    Args:
        counts: (K,) training samples of each class, at least 1.
        beta: in [0, 1); 0 weighs every class alike, towards 1 the weights become ``1 / n_k``.

    Returns:
        (K,) float64.

    Raises:
        BCE3SError: beta outside [0, 1), or a class without a training sample.

    >>> class_balanced_weights([100, 10, 1], 0.999)
    tensor([0.0284, 0.2713, 2.7004], dtype=torch.float64)
    """
    if not 0 <= beta < 1:
        raise BCE3SError(f'class_balanced_weights: beta must be in [0, 1), not {beta}.')
    counts = torch.as_tensor(counts).double()
    if (counts < 1).any():
        empty = (counts < 1).nonzero()[0].item()
        raise BCE3SError(
            f'class_balanced_weights: class {empty} has no training sample, so its weight is '
            'infinite; remove the class or give it a sample.'
        )
    # expm1: 1 - beta^n loses its digits for beta near 1 and small n.
    effective = -torch.expm1(counts * math.log(beta)) if beta > 0 else torch.ones_like(counts)
    weights = (1 - beta) / effective
    return weights * (len(weights) / weights.sum())
