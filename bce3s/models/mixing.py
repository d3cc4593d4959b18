"""MixUp and CutMix with a partner batch.

``lambda ~ Beta(alpha, alpha)`` is drawn once a batch and shared by both (GLMC, Du et al., CVPR
2023, from which BCE3S takes its views); each returns the mixed images and the share of the sample
itself in them, which is the weight of its label.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bce3s.registry import BATCH_AUGMENTS


@BATCH_AUGMENTS.register_module()
class PairedMixUp:
    """``lambda * image + (1 - lambda) * partner``.

    Zhang et al., mixup: Beyond Empirical Risk Minimization (ICLR 2018).
    """

    name = 'mixup'

    def __call__(
        self, images: Tensor, partners: Tensor, lam: float, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Images and partners (B, C, H, W) float -> mixed images (B, C, H, W), own share."""
        return torch.lerp(partners, images, lam), lam


@BATCH_AUGMENTS.register_module()
class PairedCutMix:
    """Pastes one box of the partner, the same for the whole batch, into each image.

    The box has sides ``H sqrt(1 - lambda)`` and ``W sqrt(1 - lambda)``, a centre uniform over the
    image, and is clipped at the border. Yun et al., CutMix (ICCV 2019).

    Args:
        correct_lambda: True: the own share is the area that is left, ``1 - box / (H W)``. False, as
            in the public implementation of BCE3S: MixUp's lambda, though the box was clipped.
    """

    name = 'cutmix'

    def __init__(self, correct_lambda: bool = True) -> None:
        self.correct_lambda = correct_lambda

    def __call__(
        self, images: Tensor, partners: Tensor, lam: float, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Images and partners (B, C, H, W) float -> mixed images (B, C, H, W), own share."""
        top, bottom, left, right = self.box(*images.shape[-2:], lam, rng)
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
        if self.correct_lambda:
            lam = 1 - (bottom - top) * (right - left) / (images.shape[-2] * images.shape[-1])
        return mixed, lam

    @staticmethod
    def box(height: int, width: int, lam: float, rng: np.random.Generator) -> tuple[int, ...]:
        """(top, bottom, left, right) of the clipped box."""
        cut = math.sqrt(1 - lam)
        sides = []
        for length in (height, width):
            half = int(length * cut) // 2
            centre = int(rng.integers(length))
            sides += [max(0, centre - half), min(length, centre + half)]
        return tuple(sides)
