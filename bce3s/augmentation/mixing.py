"""MixUp and CutMix, with a partner batch or within the batch.

With a partner batch ``lambda ~ Beta(alpha, alpha)`` is drawn once a batch and shared by both (GLMC,
Du et al., CVPR 2023, from which BCE3S takes its views). Each returns the mixed images and the share
of the sample itself in them, which is the weight of its label.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bce3s.errors import BCE3SError


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


class PairedPartner:
    """The partner as it is, for what mixes features: own share 0."""

    name = 'partner'

    def __call__(
        self, images: Tensor, partners: Tensor, lam: float, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Images and partners (B, C, H, W) float -> partners, 0."""
        return partners, 0.0


class MixUpOrCutMix:
    """MixUp, CutMix or neither for a whole batch, each image with its mirror place in the batch.

    With probability ``prob`` the batch is mixed: by CutMix with probability ``switch_prob``, else
    by MixUp, with one ``lambda ~ Beta(alpha, alpha)``; CutMix's label share is the area that is
    left. So does timm's ``Mixup(mode='batch')``. The values below are settings 5 and 6 of "BCE vs.
    CE in Deep Feature Learning" (ICML 2025, Table 5), but for ``switch_prob``, which the paper does
    not print and timm has as 0.5.

    Args:
        mixup_alpha, cutmix_alpha: of Beta; positive.
        prob: of mixing a batch at all.
        switch_prob: of CutMix, given that the batch is mixed; 0 or 1 for one of them alone.

    Raises:
        BCE3SError: an alpha that is not positive, a probability outside [0, 1].
    """

    name = 'mixed'

    def __init__(
        self,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        prob: float = 0.8,
        switch_prob: float = 0.5,
    ) -> None:
        if not (mixup_alpha > 0 and cutmix_alpha > 0 and 0 <= prob <= 1 and 0 <= switch_prob <= 1):
            raise BCE3SError(
                f'MixUpOrCutMix: mixup_alpha={mixup_alpha} and cutmix_alpha={cutmix_alpha} must be '
                f'positive, prob={prob} and switch_prob={switch_prob} in [0, 1].'
            )
        self.prob, self.switch_prob = prob, switch_prob
        self.mixup, self.mixup_alpha = PairedMixUp(), mixup_alpha
        self.cutmix, self.cutmix_alpha = PairedCutMix(), cutmix_alpha

    def __call__(
        self, images: Tensor, partners: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Images and those of the mirror places (B, C, H, W) float -> mixed images, own share."""
        if rng.random() >= self.prob:
            return images, 1.0
        cutmix = rng.random() < self.switch_prob
        alpha = self.cutmix_alpha if cutmix else self.mixup_alpha
        mix = self.cutmix if cutmix else self.mixup
        return mix(images, partners, rng.beta(alpha, alpha), rng)
