"""Colour jitter and grey images, each image of a batch with its own draw."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from bce3s.augmentation.draws import at_least, pick
from bce3s.augmentation.image_ops import OPS, BatchSteps


class BatchColorJitter(BatchSteps):
    """Brightness, contrast, saturation and hue changed at random, in random order.

    As torchvision's ``ColorJitter`` of Pillow's images: three factors uniform in
    ``[max(0, 1 - a), 1 + a]``, a turn of the hue uniform in ``[-hue, hue]`` of the circle, all
    orders equally likely. (.4, .4, .4, 0) is what ImageNet-LT and Places-LT are trained with in
    "Decoupling Representation and Classifier" (classifier-balancing, arXiv 1910.09217), PaCo, GLMC
    and ProCo. Saturation and hue leave grey images (C = 1) as they are.

    Columns of ``u``: coin, order, then one for each of the four that is not 0.

    Args:
        brightness, contrast, saturation: a, at least 0.
        hue: in [0, 1/2].
        prob: of an image's being changed at all.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.0,
        prob: float = 1.0,
    ) -> None:
        at_least(self, 'hue', hue, 0, 0.5)
        at_least(self, 'prob', prob, 0, 1)
        spans = dict(brightness=brightness, contrast=contrast, saturation=saturation)
        for name, span in spans.items():
            at_least(self, name, span, 0)
        ranges = [(max(0, 1 - a), 1 + a) for a in spans.values()] + [(-hue, hue)]
        names = ('Brightness', 'Contrast', 'Color', 'Hue')
        used = [(OPS.index(name), *r) for name, r in zip(names, ranges, strict=True) if r[0] < r[1]]
        self._ops, self._low, self._high = np.array(used).reshape(-1, 3).T
        self._orders = np.array(list(permutations(range(len(used)))), dtype=np.int64)
        self.draws, self.prob = 2 + len(used), prob

    def _decide(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the operations in their order, and their strengths, both (B, S)."""
        order = self._orders[pick(draws[:, 1], len(self._orders))]
        strengths = self._low + (self._high - self._low) * draws[:, 2:]
        ops = np.where(draws[:, :1] < self.prob, self._ops[order], len(OPS)).astype(np.int64)
        return ops, np.take_along_axis(strengths, order, 1)


class BatchGrayscale(BatchSteps):
    """The grey image, in as many channels as it had, with probability ``prob``.

    The second view of PaCo's, GLMC's and ProCo's augmentations has it, with 0.2.
    """

    draws = 1

    def __init__(self, prob: float = 0.2) -> None:
        at_least(self, 'prob', prob, 0, 1)
        self.prob = prob

    def _decide(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ops = np.where(draws < self.prob, OPS.index('Color'), len(OPS))
        return ops, np.zeros(ops.shape)
