"""Features of a frozen network on a sphere about their mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.registry import MODELS


@MODELS.register_module()
class CentredFeatures(nn.Module):
    """``x -> length (x - mean) / |x - mean|``; a vector that is the mean becomes 0.

    Features of a pretrained network share a large mean (pooled behind a ReLU all of them are
    positive), which hides the angles between classes and slows every linear classifier down.

    Args:
        in_channels: d.
        length: of what comes out.
        momentum: of the mean, ``mean <- (1 - momentum) mean + momentum mean of the batch``, for a
            network that is trained; None: it stays as :meth:`set_mean` set it.

    Attributes:
        mean: (d,), a buffer: 0 until :meth:`set_mean`, or the first batch of a training.
    """

    def __init__(
        self, in_channels: int, length: float = 16.0, momentum: float | None = None
    ) -> None:
        super().__init__()
        self.length, self.momentum = length, momentum
        self.register_buffer('mean', torch.zeros(in_channels))

    def set_mean(self, features: Tensor) -> None:
        """Of the training features (N, d)."""
        self.mean.copy_(features.mean(0))

    def forward(self, features: Tensor | Sequence[Tensor]) -> tuple[Tensor]:
        features = features if isinstance(features, Tensor) else features[-1]
        if self.training and self.momentum is not None:
            mean = features.detach().float().mean(0)
            self.mean.lerp_(mean, torch.where(self.mean.any(), self.momentum, 1.0))
        return (self.length * F.normalize(features - self.mean, dim=1),)
