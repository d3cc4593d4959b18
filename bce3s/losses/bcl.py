"""Balanced contrastive learning, BCL (CVPR 2022): supervised contrast with every class alike."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_contrastive(
    anchors: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor, own: Tensor, tau: float
) -> Tensor:
    """``-mean_{p in P(i)} log( exp(s_ip) / sum_k mean_{a in A_k(i)} exp(s_ia) )``, ``s = z . z' /
    tau``.

    A(i) are all keys but the anchor itself, A_k(i) those of class k, P(i) those of the anchor's own
    class. Supervised contrastive learning (Khosla et al., NeurIPS 2020) sums over all of A(i) in
    the denominator, where frequent classes outweigh rare ones; here each class counts once. With a
    prototype of each class among the keys no class is ever missing. Zhu et al., Balanced
    Contrastive Learning for Long-Tailed Visual Recognition (CVPR 2022, arXiv 2207.09052).

    Args:
        anchors: z (N, D), of unit length.
        labels: (N,) int64.
        keys: (M, D), the anchors themselves among them.
        key_labels: (M,) int64 from 0 to K - 1.
        own: (N,) int64, the place of each anchor among the keys.
        tau: temperature > 0.

    Returns:
        (N,): a value for each anchor; 0 where no other key is of its class.

    >>> z, labels = torch.eye(2), torch.tensor([0, 1])
    >>> keys, key_labels = torch.cat([z, z]), torch.cat([labels, labels])
    >>> balanced_contrastive(z, labels, keys, key_labels, labels, 1.0)  # -log(e / (e + 1))
    tensor([0.3133, 0.3133])
    """
    similarity = anchors @ keys.T / tau  # (N, M)
    itself = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, own[:, None], True)
    positive = (labels[:, None] == key_labels) & ~itself
    counts = (key_labels[:, None] == key_labels).sum(1)  # of each key's class
    among = (counts - positive.long()).clamp(min=1)  # the anchor is left out of its own
    logs = (similarity - among.to(similarity.dtype).log()).masked_fill(itself, -torch.inf)
    number = positive.sum(1)
    mean = (similarity * positive).sum(1) / number.clamp(min=1)
    return torch.where(number > 0, logs.logsumexp(1) - mean, 0.0)
