"""RandAugment for a whole batch, each image with its own operations and signs.

From: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search
space", arXiv 1909.13719. Operations and strengths are torchvision's ``RandAugment``, but as
:mod:`bce3s.augmentation.auto_augment` computes them: grey fill (torchvision: black), cubic shear
(nearest), translation by the nearest whole pixel (the next towards 0).
"""

from __future__ import annotations

import numpy as np

from bce3s.augmentation.draws import at_least, pick
from bce3s.augmentation.image_ops import OPS, BatchSteps

# operation: strength at magnitude 0, change up to the largest magnitude, whether of either sign
SPACE: dict[str, tuple[float, float, bool]] = (
    dict(Identity=(0, 0, False))
    | dict.fromkeys(('ShearX', 'ShearY'), (0, 0.3, True))
    | dict.fromkeys(('TranslateX', 'TranslateY'), (0, 150 / 331, True))
    | dict(Rotate=(0, 30, True))
    | dict.fromkeys(('Brightness', 'Color', 'Contrast', 'Sharpness'), (1, 0.9, True))
    | dict(Posterize=(8, -4, False), Solarize=(255, -255, False))
    | dict.fromkeys(('AutoContrast', 'Equalize'), (0, 0, False))
)


class BatchRandAugment(BatchSteps):
    """``num_ops`` of 14 operations for each image, drawn with replacement, all equally likely.

    PaCo, GLMC and ProCo train with timm's early variant ``rand-n2-m10-mstd0.5``: 15 operations
    (inversion and a second solarisation, but no identity), each left out with probability 1/2,
    strengths at their ends, spread by a little noise, colours and brightness only raised.
    ``magnitude=10, num_levels=11, prob=0.5`` is our reading of it in this class.

    Columns of ``u``: for each of the ``num_ops`` the operation, its sign, its coin.

    Args:
        num_ops: N of the paper.
        magnitude: M, in [0, num_levels - 1].
        num_levels: that the strengths are divided into; torchvision's 31, or 11 for M = 0..10.
        prob: of each operation's being applied; 1 in the paper.
    """

    def __init__(
        self, num_ops: int = 2, magnitude: float = 9, num_levels: int = 31, prob: float = 1.0
    ) -> None:
        at_least(self, 'num_ops', num_ops, 1)
        at_least(self, 'num_levels', num_levels, 2)
        at_least(self, 'magnitude', magnitude, 0, num_levels - 1)
        at_least(self, 'prob', prob, 0, 1)
        share = magnitude / (num_levels - 1)
        self._ops = np.array([OPS.index(n) if n in OPS else len(OPS) for n in SPACE])
        start, change, signed = np.array(list(SPACE.values())).T
        change *= share
        change[list(SPACE).index('Posterize')] = -round(4 * share)  # whole bits
        minus = start + np.where(signed, -change, change)
        self._strength = np.stack([minus, start + change], 1)  # (14, 2): of either sign
        self.num_ops, self.draws, self.prob = num_ops, 3 * num_ops, prob

    def _decide(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of each operation, ``len(OPS)`` for none, and its strength, both (B, num_ops)."""
        which, sign, coin = np.moveaxis(draws.reshape(-1, self.num_ops, 3), 2, 0)
        choice = pick(which, len(SPACE))
        strengths = self._strength[choice, (sign >= 0.5).astype(np.int64)]
        return np.where(coin < self.prob, self._ops[choice], len(OPS)), strengths
