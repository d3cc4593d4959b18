"""What is remembered: one feature per class."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClassMemoryBank(nn.Module):
    """Holds the feature of the last sample seen of each class; knows no loss.

    Both buffers are saved with the model.

    Args:
        num_classes: K.
        dim: D, size of a feature.

    >>> bank = ClassMemoryBank(3, 2)
    >>> bank.update(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([2, 0, 2]))
    >>> bank.features, bank.filled
    (tensor([[3., 4.],
            [0., 0.],
            [5., 6.]]), tensor([ True, False,  True]))
    """

    features: Tensor  # (K, D)
    filled: Tensor  # (K,) bool: whether the class has been seen

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer('features', torch.zeros(num_classes, dim))
        self.register_buffer('filled', torch.zeros(num_classes, dtype=torch.bool))

    @torch.compiler.disable  # compiled with the write, the copy would be read after it
    def rows(self, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (S, D) and ``filled`` (S,) of ``classes`` (S,); None: of all K. What a backward
        pass may read after the next write (``filled``) is a copy.
        """
        if classes is None:
            return self.features, self.filled.clone()
        return self.features[classes], self.filled[classes]

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Write ``features`` (B, D) of samples of classes ``labels`` (B,); the last of each stays.

        Every sample of a class writes the feature of that class's last one: equal values, so the
        result does not depend on the order of writes. O(B log B + B D), whatever K.
        """
        ordered, position = labels.sort(stable=True)
        last = position[torch.searchsorted(ordered, labels, right=True) - 1]  # (B,)
        self.features[labels] = features[last].to(self.features.dtype)
        self.filled.index_fill_(0, labels, True)
