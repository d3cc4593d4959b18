"""The linear classifier: normalised or not, with a scale."""

from __future__ import annotations

import math
from numbers import Real

from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError


class Classifier(nn.Linear):
    """``z_j = gamma (w_j . x + b_j)``; features and weights of unit length, or as they are.

    With both normalised it is the classifier of "Classification vs. Deep Feature Learning in
    Normalized Spaces with Different Scaling", ``z_j = gamma (cos(w_j, x) + b_j)``. Only the
    abstract of that paper is public: that gamma multiplies the bias too is our reading.

    Args:
        in_channels: d.
        num_classes: K.
        bias: whether there is one.
        normalize: whether every w_j is normalised in the forward pass.
        normalize_feature: whether every x is; a feature of length 0 stays 0.
        scale: gamma > 0.
        init: of W: ``kaiming_normal`` (a = 1) or ``kaiming_uniform``, as PyTorch initialises a
            linear layer: uniform in +-1/sqrt(d). b is uniform in +-1/sqrt(d) with both.
        bias_mean: added to the initial bias in the sign of "BCE vs. CE in Deep Feature Learning"
            (ICML 2025), ``z = W x - b``; the layer's own b_j therefore start about ``-bias_mean``.

    Raises:
        BCE3SError: a scale that is not positive, an unknown init, bias_mean without a bias.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        bias: bool = True,
        normalize: bool = True,
        normalize_feature: bool = False,
        scale: float = 1.0,
        init: str = 'kaiming_normal',
        bias_mean: float = 0.0,
    ) -> None:
        for name, value in (('scale', scale), ('bias_mean', bias_mean)):
            if not isinstance(value, Real):
                raise BCE3SError(f"The classifier's {name} must be a number, not {value!r}.")
        if not 0 < scale < math.inf:
            raise BCE3SError(f'The scale of the classifier must be positive, not {scale}.')
        if init not in ('kaiming_normal', 'kaiming_uniform'):
            raise BCE3SError(
                f"The classifier's init is {init!r}: use 'kaiming_normal' or 'kaiming_uniform'."
            )
        if not math.isfinite(bias_mean) or (bias_mean and not bias):
            raise BCE3SError(
                f'bias_mean is {bias_mean}: it must be finite, and 0 if the classifier has no bias.'
            )
        self.normalize, self.normalize_feature, self.scale = normalize, normalize_feature, scale
        self.init, self.bias_mean = init, bias_mean
        super().__init__(in_channels, num_classes, bias)

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in_features)
        if self.init == 'kaiming_normal':
            nn.init.kaiming_normal_(self.weight, a=1)
        else:
            nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound - self.bias_mean, bound - self.bias_mean)

    def embed(self, x: Tensor) -> Tensor:
        """Features (..., d) as they are multiplied with the weights."""
        return F.normalize(x, dim=-1) if self.normalize_feature else x

    def linear(self) -> tuple[Tensor, Tensor]:
        """W (K, d) and b (K,) of ``z = embed(x) W^T - b``, the sign of the ICML paper, with gamma:
        ``(gamma w_j, -gamma b_j)``; b is 0 where there is none.
        """
        weight = F.normalize(self.weight, dim=1) if self.normalize else self.weight
        bias = weight.new_zeros(len(weight)) if self.bias is None else -self.bias
        return self.scale * weight, self.scale * bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., K)."""
        weight, bias = self.linear()
        return F.linear(self.embed(x), weight, -bias)
