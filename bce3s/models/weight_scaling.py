"""A scale a class, learnt in the second stage: LWS."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bce3s.models.linear_classifier import LinearClassifier


class LWSClassifier(LinearClassifier):
    """``z_j = s_j (w_j . x + b_j)``: learnable weight scaling, where a second stage trains s.

    In the first stage every s_j is 1 and this is a :class:`LinearClassifier`. Kang et al.,
    "Decoupling Representation and Classifier" (ICLR 2020, arXiv 1910.09217). The paper scales w_j
    alone; as in the public code, s_j multiplies the bias too.

    Args:
        *args: of :class:`LinearClassifier`.
        train_weights: whether the second stage trains W and b beside s, as MiSLAS (CVPR 2021,
            arXiv 2104.00466) does.
        **kwargs: of :class:`LinearClassifier`.

    >>> classifier = LWSClassifier(2, 3, bias=False, normalize_weight=False)
    >>> classifier.finetune()
    >>> [name for name, p in classifier.named_parameters() if p.requires_grad]
    ['scales']
    """

    def __init__(self, *args, train_weights: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.scales = nn.Parameter(torch.ones(self.out_features))
        self.train_weights, self.finetuning = train_weights, False

    def finetune(self) -> None:
        """Enter the second stage: s alone is trained, or everything."""
        self.requires_grad_(self.train_weights)
        self.scales.requires_grad_(True)
        self.finetuning = True

    def _scaled(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        weight, bias = super()._scaled(weight, bias)
        # no gradient before: a parameter that DistributedDataParallel knows, and nobody trains
        scales = self.scales if self.finetuning else self.scales.detach()
        return scales[:, None] * weight, None if bias is None else scales * bias
