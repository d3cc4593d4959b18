"""Classifiers of which the angles are fixed: a simplex equiangular tight frame (ETF)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from bce3s.errors import BCE3SError
from bce3s.models.linear_classifier import LinearClassifier


def simplex_etf(num_classes: int, dim: int) -> Tensor:
    """K unit vectors whose cosines are all ``-1/(K-1)``, in a random orientation.

    ``M = sqrt(K/(K-1)) U V^T`` with orthonormal columns: U (d, K-1) random, V (K, K-1) a basis of
    what is orthogonal to the vector of ones. It is the ``sqrt(K/(K-1)) U (I - 1 1^T / K)`` of the
    literature without the column of U that the centring takes away, so that d = K - 1 suffices.

    Returns:
        M^T (K, d) float64, drawn from torch's generator.

    Raises:
        BCE3SError: fewer than 2 classes, or ``d < K - 1``.

    >>> (simplex_etf(3, 2) @ simplex_etf(3, 2).T).shape
    torch.Size([3, 3])
    """
    if num_classes < 2 or dim < num_classes - 1:
        raise BCE3SError(
            f'A simplex of {num_classes} classes needs features of at least {num_classes - 1} '
            f'numbers (and two classes at least), but these have {dim}: lift them with '
            "model.neck=dict(type='LinearNeck', in_channels=..., out_channels=..., gap_dim=2), as "
            'configs/_base_/rivals_r32_lifted.py does.'
        )
    size = num_classes - 1
    ones = torch.ones(num_classes, 1, dtype=torch.float64)
    frame = torch.randn(num_classes, size, dtype=torch.float64)
    basis = torch.linalg.qr(torch.cat([ones, frame], 1)).Q[:, 1:]
    orientation = torch.linalg.qr(torch.randn(dim, size, dtype=torch.float64)).Q
    return (num_classes / size) ** 0.5 * basis @ orientation.T


class ETFClassifier(LinearClassifier):
    """``z_j = gamma cos(m_j, x)``, the m_j a simplex ETF that is drawn once and not trained.

    Yang et al., Inducing Neural Collapse in Imbalanced Learning (NeurIPS 2022, arXiv 2203.09081).
    The m_j are a buffer: no optimiser sees them, and a checkpoint holds them. Their loss is
    :class:`~bce3s.losses.DotRegression`. Their features are pooled, pass a BatchNorm and are
    normalised; the BatchNorm is the neck's.

    Args:
        in_channels: d >= K - 1. The public code, which draws U (d, K), needs d >= K.
        num_classes: K >= 2.
        normalize_feature: whether x is normalised.
        scale: gamma > 0.

    Raises:
        BCE3SError: d < K - 1, or a scale that is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        normalize_feature: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__(in_channels, num_classes, False, False, normalize_feature, scale)
        simplex = self.weight.detach()
        del self.weight
        self.register_buffer('weight', simplex)

    def reset_parameters(self) -> None:
        """Draw another orientation."""
        self.weight.data.copy_(simplex_etf(self.out_features, self.in_features))


class RotatedETFClassifier(ETFClassifier):
    """``z_j = gamma cos(R m_j, x)``: an ETF whose rotation R (d, d) is learnt, from the identity.

    After Gao et al., Feature Directions Matter (RBL, ICML 2023, PMLR 202): the angles between
    classes are fixed, their directions are not. OUR READING: neither loss nor scale of the paper
    could be looked up. R is ``torch.nn.utils.parametrizations.orthogonal`` (the matrix exponential
    of a skew-symmetric matrix, times where it starts); let its parameter, ``rotation``, not decay,
    or R is drawn back to the start, and give it a lower rate: it turns all classes at once.
    ``weight`` are the m_j, :meth:`rows` gives R m_j.

    Args:
        in_channels, num_classes, normalize_feature, scale: as of :class:`ETFClassifier`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        normalize_feature: bool = True,
        scale: float = 16.0,
    ) -> None:
        super().__init__(in_channels, num_classes, normalize_feature, scale)
        rotation = nn.Linear(in_channels, in_channels, bias=False)
        nn.init.eye_(rotation.weight)
        self.rotation = parametrizations.orthogonal(rotation)

    def rows(self, classes: Tensor | None = None) -> tuple[Tensor, None]:
        """R m_j (K, d), or those of ``classes`` (S,), and no bias."""
        weight, _ = super().rows(classes)
        return self.rotation(weight), None
