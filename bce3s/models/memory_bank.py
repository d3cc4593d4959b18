"""What is remembered: one feature per class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError


class ClassMemoryBank(nn.Module):
    """Holds the feature of the last sample seen of each class; knows no loss.

    Where samples have several labels, the projection of one with many speaks for each of its
    classes a little. So of a batch that sample writes the entry of a class which has the fewest
    labels among those with the class, the last where several have as few: with one label each, it
    is the last again.

    Both buffers are saved with the model.

    Args:
        num_classes: K.
        dim: D, size of a feature.
        momentum: mu in [0, 1): ``m <- mu m + (1 - mu) z`` where the class has been seen; 0: as
            published, the last sample alone.
        normalize: whether features are brought to unit length before they are written.

    Raises:
        BCE3SError: a momentum outside [0, 1); entries loaded that are not of unit length.

    >>> bank = ClassMemoryBank(3, 2)
    >>> bank.update(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([2, 0, 2]))
    >>> bank.features, bank.filled
    (tensor([[3., 4.],
            [0., 0.],
            [5., 6.]]), tensor([ True, False,  True]))
    """

    features: Tensor  # (K, D)
    filled: Tensor  # (K,) bool: whether the class has been seen

    def __init__(
        self, num_classes: int, dim: int, momentum: float = 0.0, normalize: bool = False
    ) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise BCE3SError(f'ClassMemoryBank: momentum must be in [0, 1), not {momentum}.')
        self.momentum, self.normalize = momentum, normalize
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
        Of several labels a sample, int8 (B, K), the entries of the classes that the batch has are
        written, O(B K + K D).

        Every sample of a class writes the feature of that class's last one: equal values, so the
        result does not depend on the order of writes. O(B log B + B D), whatever K.
        """
        if labels.dim() == 2:
            self._update_several(features, labels > 0)
            return
        ordered, position = labels.sort(stable=True)
        last = position[torch.searchsorted(ordered, labels, right=True) - 1]  # (B,)
        self.features[labels] = self._entries(features[last], *self.rows(labels))
        self.filled.index_fill_(0, labels, True)

    def _update_several(self, features: Tensor, has: Tensor) -> None:
        size, place = len(has), torch.arange(len(has), device=has.device)
        order = place - size * has.sum(1)  # fewer labels first, then later ones: all different
        chosen = torch.where(has, order[:, None], torch.iinfo(order.dtype).min).argmax(0)  # (K,)
        present = has.any(0)
        entries = self._entries(features[chosen], self.features, self.filled)
        self.features.copy_(torch.where(present[:, None], entries, self.features))
        self.filled |= present

    def _entries(self, features: Tensor, old: Tensor, filled: Tensor) -> Tensor:
        """What stands in the bank when ``features`` are written over ``old``."""
        features = features.to(self.features.dtype)
        if self.normalize:
            features = F.normalize(features, dim=1)
        if self.momentum:
            step = torch.where(filled, 1 - self.momentum, 1.0)[:, None]
            features = old.lerp(features, step.to(features.dtype))
        return features

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        lengths = self.features[self.filled].norm(dim=1)
        if self.normalize and (lengths > 1.001).any():
            raise BCE3SError(
                'The memory bank of the checkpoint holds features that are not of unit length: it '
                'was saved without model.head.bank.normalize; set it to False, or start anew.'
            )
