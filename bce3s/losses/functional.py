"""One equation, one function: tensors to a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError


def soft_labels(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integer labels (...) in 0..K-1 as one-hot (..., K); soft labels (..., K) in ``dtype``.

    Several labels a picture, int8 (..., K): 1 and 0 as they are, -1, unknown, as NaN.

    Raises:
        RuntimeError: PyTorch's, on a CPU, of an integer label outside 0..K-1; a GPU asserts.

    >>> soft_labels(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if labels.is_floating_point():
        return labels.to(dtype)
    if labels.dtype == torch.int8:
        return labels.to(dtype).masked_fill(labels < 0, math.nan)
    hot = torch.zeros(*labels.shape, num_classes, dtype=dtype, device=labels.device)
    return hot.scatter_(-1, labels[..., None].long(), 1)


def multilabel_bce(
    logits: Tensor,
    targets: Tensor,
    classes: Tensor | None = None,
    soft_negatives: bool = True,
    clamp: float | None = None,
    negative_weight: Tensor | None = None,
    positive_weight: Tensor | None = None,
) -> Tensor:
    """``sum_j t_j softplus(-z_j) + (1 - t_j) softplus(z_j)``; hard labels: t one-hot, or several 1.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1]; NaN, unknown, is no term.
        classes: bool, broadcast to (..., K): the terms that count; None: all.
        soft_negatives: True: as above. False, as in the public implementation of BCE3S: the second
            part only where ``t_j = 0``, and then with weight 1.
        clamp: limit of ``|z|``, beyond which there is no gradient (64 in the public
            implementation); None: no limit, none is needed.
        negative_weight: (), of the second part; None: 1.
        positive_weight: broadcast to (..., K), of the first part; None: 1.

    Returns:
        (...): the sum over the classes, not averaged over samples.

    >>> multilabel_bce(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.4402])
    """
    if clamp is not None:
        logits = logits.clamp(-clamp, clamp)
    targets, known = known_targets(targets)
    if soft_negatives and negative_weight is None and positive_weight is None:
        terms = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    else:  # softplus(z) = -logsigmoid(-z)
        positive, negative = -targets * F.logsigmoid(logits), -F.logsigmoid(-logits)
        if negative_weight is not None:
            negative = negative_weight * negative
        if positive_weight is not None:
            positive = positive_weight * positive
        if soft_negatives:
            terms = positive + (1 - targets) * negative
        else:
            terms = torch.where(targets > 0, positive, negative)
    return (terms * (known if classes is None else known & classes)).sum(-1)


def known_targets(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (..., K) with 0 for NaN, and which are none (..., K): terms of the others are left
    out, and so are their gradients.
    """
    known = ~targets.isnan()
    return targets.where(known, 0), known


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


def focal_cross_entropy(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """``-sum_j t_j (1 - p_j)^gamma log p_j``, p = softmax(z).

    Lin et al., Focal Loss for Dense Object Detection (ICCV 2017, arXiv 1708.02002), Eq. 4, with a
    softmax as in the long-tailed literature.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1].
        gamma: >= 0; 0 is :func:`soft_cross_entropy`.

    Returns:
        (...): one value a row.

    >>> focal_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 1.0)
    tensor([0.3466])
    """
    logs = logits.log_softmax(-1)
    return -(targets * _power(-torch.expm1(logs), gamma) * logs).sum(-1)


def focal_bce(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """``sum_j t_j (1 - p_j)^gamma softplus(-z_j) + (1 - t_j) p_j^gamma softplus(z_j)``, p =
    sigmoid(z).

    As :func:`focal_cross_entropy`, with the paper's own sigmoids, and without its factor alpha; a
    target NaN, unknown, is no term.

    >>> focal_bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 1.0)
    tensor([0.6931])
    """
    targets, known = known_targets(targets)
    positive = -targets * _power((-logits).sigmoid(), gamma) * F.logsigmoid(logits)
    negative = -(1 - targets) * _power(logits.sigmoid(), gamma) * F.logsigmoid(-logits)
    return ((positive + negative) * known).sum(-1)


def asymmetric_bce(
    logits: Tensor,
    targets: Tensor,
    positive_gamma: float = 0.0,
    negative_gamma: float = 4.0,
    margin: float = 0.05,
) -> Tensor:
    """``-sum_j t_j (1 - p_j)^g+ log p_j + (1 - t_j) q_j^g- log(1 - q_j)``, p = sigmoid(z),
    ``q_j = max(p_j - m, 0)``.

    Ridnik et al., Asymmetric Loss for Multi-Label Classification (ICCV 2021, arXiv 2009.14119),
    Eqs. 4 to 7. Its public code takes the powers as constants in the backward pass unless it is
    asked not to; here the gradient is that of the equation.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1]; NaN, unknown, is no term.
        positive_gamma, negative_gamma: g+ and g-, >= 0.
        margin: m in [0, 1), below which a negative is no term at all.

    Returns:
        (...): one value a row.

    >>> asymmetric_bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 0.0, 1.0, 0.1)
    tensor([0.8975])
    """
    targets, known = known_targets(targets)
    positive = _power((-logits).sigmoid(), positive_gamma) * F.logsigmoid(logits)
    q = (logits.sigmoid() - margin).clamp(min=0)
    log_rest = torch.log1p(-q) if margin else F.logsigmoid(-logits)
    negative = _power(q, negative_gamma) * log_rest
    return -((targets * positive + (1 - targets) * negative) * known).sum(-1)


def distribution_balanced_bce(
    logits: Tensor,
    targets: Tensor,
    frequencies: Tensor,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.2,
    scale: float = 2.0,
    kappa: float = 0.05,
    gamma: float = 0.0,
) -> Tensor:
    """``sum_j r_j (t_j f(a_j) + (1 - t_j) f(-l a_j) / l)``, ``f(x) = sigmoid(-x)^g softplus(-x)``.

    Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets
    (ECCV 2020, arXiv 2007.09654):

    - re-balanced weights, Eqs. 2 to 4: a picture is drawn for any of its labels, so ``s_j = (1 /
      pi_j) / sum_k t_k / pi_k`` corrects what class-balanced drawing does to class j, and ``r_j =
      alpha + sigmoid(beta (s_j - mu))`` keeps it within bounds; of a picture without any label it
      is the limit, ``alpha + 1``;
    - negative-tolerant regularisation, Eqs. 5 and 6: ``a_j = z_j + kappa log(pi_j / (1 - pi_j))``,
      and l flattens what the negatives give;
    - g > 0 is its DB-Focal, without the factor 2 of its public code.

    Args:
        logits: z (..., K).
        targets: t (..., K) in [0, 1]; NaN, unknown, is no term.
        frequencies: pi (K,) in (0, 1), the share of training pictures that have each class.
        alpha, beta, mu: of r; mu is 0.3 on VOC-LT and 0.2 on COCO-LT.
        scale: l > 0. kappa: >= 0. gamma: g >= 0.

    Returns:
        (...): one value a row. r has no gradient.

    >>> z, t = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> distribution_balanced_bce(z, t, torch.tensor([0.5, 0.5]), scale=1.0)  # 1.1 * 2 log 2
    tensor([1.5245])
    """
    targets, known = known_targets(targets)
    rates = (targets / frequencies).sum(-1, keepdim=True)
    r = alpha + (beta * (1 / (frequencies * rates) - mu)).sigmoid()
    a = logits + kappa * frequencies.logit()
    positive = _power((-a).sigmoid(), gamma) * F.softplus(-a)
    negative = _power((scale * a).sigmoid(), gamma) * F.softplus(scale * a) / scale
    return (r * (targets * positive + (1 - targets) * negative) * known).sum(-1)


def _power(x: Tensor, gamma: float) -> Tensor:
    """``x^gamma``; of a gamma below 1 the slope at x = 0, which is infinite, is that of 1e-12."""
    return x.clamp(min=1e-12) ** gamma if 0 < gamma < 1 else x**gamma


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
    counts = _counts(counts, 'class_balanced_weights', 'its weight is infinite')
    # expm1: 1 - beta^n loses its digits for beta near 1 and small n.
    effective = -torch.expm1(counts * math.log(beta)) if beta > 0 else torch.ones_like(counts)
    weights = (1 - beta) / effective
    return weights * (len(weights) / weights.sum())


def power_weights(counts: Sequence[int] | Tensor, p: float) -> Tensor:
    """``v_k = n_k^-p / mean_j n_j^-p``, which sum to K.

    GLMC multiplies soft labels by them, ``v_k t_k``, and does not normalise the products.

    Args:
        counts: (K,) training samples of each class, at least 1.
        p: 0 weighs every class alike, 1 by the inverse of its frequency.

    Returns:
        (K,) float64.

    Raises:
        BCE3SError: a class without a training sample.

    >>> power_weights([100, 10, 1], 1.0)
    tensor([0.0270, 0.2703, 2.7027], dtype=torch.float64)
    """
    counts = _counts(counts, 'power_weights', 'its weight is infinite')
    weights = counts**-p
    return weights / weights.mean()


def log_prior(counts: Sequence[int] | Tensor) -> Tensor:
    """``log pi_k``, ``pi_k = n_k / sum_j n_j``.

    Args:
        counts: n (K,) training samples of each class, at least 1.

    Returns:
        (K,) float64.

    Raises:
        BCE3SError: a class without a training sample.

    >>> log_prior([3, 1]).exp()
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    counts = _counts(counts, 'log_prior', 'its prior is 0, of which there is no logarithm')
    return counts.log() - counts.sum().log()


def label_distribution_margins(counts: Sequence[int] | Tensor, max_margin: float) -> Tensor:
    """``m_k = C n_k^{-1/4}`` with C such that the largest is ``max_margin``.

    Cao et al. (LDAM, NeurIPS 2019, arXiv 1906.07413), Eq. 13. Arguments and errors as of
    :func:`log_prior`.

    >>> label_distribution_margins([16, 1], 0.5)
    tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    counts = _counts(counts, 'label_distribution_margins', 'its margin is infinite')
    return max_margin * (counts.min() / counts) ** 0.25


def label_aware_smoothing(
    counts: Sequence[int] | Tensor, head: float = 0.4, tail: float = 0.1
) -> Tensor:
    """``eps_k = tail + (head - tail) sin(pi/2 (n_k - n_min) / (n_max - n_min))``.

    Zhong et al. (MiSLAS, CVPR 2021, arXiv 2104.00466), the concave form. Counts and errors as of
    :func:`log_prior`; where all classes are equal, each has ``head``.

    Args:
        head, tail: eps of the most frequent class and of the rarest, ``0 <= tail <= head < 1``.

    >>> label_aware_smoothing([101, 51, 1], head=0.4, tail=0.1)
    tensor([0.4000, 0.3121, 0.1000], dtype=torch.float64)
    """
    if not 0 <= tail <= head < 1:
        raise BCE3SError(
            f'label_aware_smoothing: 0 <= tail <= head < 1 must hold, but head is {head} and tail '
            f'{tail}.'
        )
    counts = _counts(counts, 'label_aware_smoothing', 'nothing is known of its labels')
    low, high = counts.min(), counts.max()
    share = (counts - low) / (high - low) if high > low else torch.ones_like(counts)
    return tail + (head - tail) * torch.sin(math.pi / 2 * share)


def _counts(counts: Sequence[int] | Tensor, function: str, otherwise: str) -> Tensor:
    """(K,) float64, or BCE3SError where a class is empty."""
    counts = torch.as_tensor(counts).double()
    if (counts < 1).any():
        empty = (counts < 1).nonzero()[0].item()
        raise BCE3SError(
            f'{function}: class {empty} has no training sample, so {otherwise}; remove the class '
            'or give it a sample.'
        )
    return counts


def batch_counts(labels: Tensor, num_classes: int, dtype: torch.dtype | None = None) -> Tensor:
    """Labels, integer (N,) or int8 (N, K) -> (K,), how often each class is among them; on their
    device, without making the host wait.
    """
    if labels.dim() == 2:
        return (labels > 0).sum(0, dtype=dtype)
    ones = torch.ones(len(labels), dtype=dtype, device=labels.device)
    return ones.new_zeros(num_classes).index_add(0, labels, ones)
