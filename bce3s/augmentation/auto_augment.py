"""AutoAugment for a whole batch, each image with its own sub-policy, coins and signs.

From: Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", arXiv 1805.09501. The
table is torchvision's; the rest is as in the code of the long-tailed literature, from which
torchvision differs: grey fill, cubic shear, translation by up to 150/331 of the size, rotation
counter-clockwise only.
"""

from __future__ import annotations

import numpy as np

from bce3s.augmentation.draws import pick
from bce3s.augmentation.image_ops import OPS, BatchSteps
from bce3s.errors import BCE3SError

Choice = tuple[str, float, int | None]  # operation, probability, level 0..9

POLICIES: dict[str, tuple[tuple[Choice, Choice], ...]] = {
    'cifar10': (
        (('Invert', 0.1, None), ('Contrast', 0.2, 6)),
        (('Rotate', 0.7, 2), ('TranslateX', 0.3, 9)),
        (('Sharpness', 0.8, 1), ('Sharpness', 0.9, 3)),
        (('ShearY', 0.5, 8), ('TranslateY', 0.7, 9)),
        (('AutoContrast', 0.5, None), ('Equalize', 0.9, None)),
        (('ShearY', 0.2, 7), ('Posterize', 0.3, 7)),
        (('Color', 0.4, 3), ('Brightness', 0.6, 7)),
        (('Sharpness', 0.3, 9), ('Brightness', 0.7, 9)),
        (('Equalize', 0.6, None), ('Equalize', 0.5, None)),
        (('Contrast', 0.6, 7), ('Sharpness', 0.6, 5)),
        (('Color', 0.7, 7), ('TranslateX', 0.5, 8)),
        (('Equalize', 0.3, None), ('AutoContrast', 0.4, None)),
        (('TranslateY', 0.4, 3), ('Sharpness', 0.2, 6)),
        (('Brightness', 0.9, 6), ('Color', 0.2, 8)),
        (('Solarize', 0.5, 2), ('Invert', 0.0, None)),
        (('Equalize', 0.2, None), ('AutoContrast', 0.6, None)),
        (('Equalize', 0.2, None), ('Equalize', 0.6, None)),
        (('Color', 0.9, 9), ('Equalize', 0.6, None)),
        (('AutoContrast', 0.8, None), ('Solarize', 0.2, 8)),
        (('Brightness', 0.1, 3), ('Color', 0.7, 0)),
        (('Solarize', 0.4, 5), ('AutoContrast', 0.9, None)),
        (('TranslateY', 0.9, 9), ('TranslateY', 0.7, 9)),
        (('AutoContrast', 0.9, None), ('Solarize', 0.8, 3)),
        (('Equalize', 0.8, None), ('Invert', 0.1, None)),
        (('TranslateY', 0.7, 9), ('AutoContrast', 0.9, None)),
    ),
}

_ENHANCE = np.linspace(0.0, 0.9, 10)
LEVELS: dict[str, np.ndarray] = {  # strength at levels 0..9; an operation that is not here has none
    'ShearX': np.linspace(0.0, 0.3, 10),  # slope
    'ShearY': np.linspace(0.0, 0.3, 10),
    'TranslateX': np.linspace(0.0, 150 / 331, 10),  # fraction of the size
    'TranslateY': np.linspace(0.0, 150 / 331, 10),
    'Rotate': np.linspace(0.0, 30.0, 10),  # degrees
    'Color': _ENHANCE,  # distance of the factor from 1
    'Sharpness': _ENHANCE,
    'Brightness': _ENHANCE,
    'Contrast': _ENHANCE,
    'Posterize': np.linspace(8.0, 4.0, 10).round(),  # bits kept
    'Solarize': np.linspace(256.0, 0.0, 10),  # threshold
}
BOTH_SIGNS = ('ShearX', 'ShearY', 'TranslateX', 'TranslateY')  # +- m
AROUND_ONE = ('Color', 'Sharpness', 'Brightness', 'Contrast')  # 1 +- m


def strength(name: str, level: int | None, sign: int) -> float:
    """What operation ``name`` takes at ``level`` (0..9); ``sign`` is -1 or 1.

    0 for an operation that has no strength.
    """
    if name not in LEVELS:
        return 0.0
    value = float(LEVELS[name][level])
    if name in AROUND_ONE:
        return 1.0 + sign * value
    return sign * value if name in BOTH_SIGNS else value


class BatchAutoAugment(BatchSteps):
    """One sub-policy for each image: two operations, each applied with its own probability.

    Columns of ``u``: sub-policy, coin of each operation, sign of each operation.
    """

    draws = 5

    def __init__(self, policy: str = 'cifar10') -> None:
        if policy not in POLICIES:
            raise BCE3SError(
                f'BatchAutoAugment(policy={policy!r}): no such policy; choose one of '
                f'{sorted(POLICIES)}.'
            )
        table = POLICIES[policy]
        # Axes: sub-policy, first or second operation (, minus or plus).
        self._op = np.array([[OPS.index(name) for name, _, _ in pair] for pair in table])
        self._prob = np.array([[prob for _, prob, _ in pair] for pair in table])
        self._strength = np.array(
            [[[strength(op, level, s) for s in (-1, 1)] for op, _, level in pair] for pair in table]
        )

    def _decide(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the operation (B, 2), ``len(OPS)`` for none, and its strength (B, 2)."""
        choice = pick(draws[:, 0], len(self._op))
        sign = (draws[:, 3:5] >= 0.5).astype(np.int64)
        strengths = self._strength[choice[:, None], np.arange(2), sign]
        return np.where(draws[:, 1:3] < self._prob[choice], self._op[choice], len(OPS)), strengths
