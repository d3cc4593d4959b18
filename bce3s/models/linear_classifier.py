"""The linear classifier: normalised or not, with a scale."""

from __future__ import annotations

import math
from numbers import Real

from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError


class LinearClassifier(nn.Linear):
    """``z_j = gamma (w_j . x + b_j)``; features and weights of unit length, or as they are.

    With both normalised it is the classifier of "Classification vs. Deep Feature Learning in
    Normalized Spaces with Different Scaling", ``z_j = gamma (cos(w_j, x) + b_j)``. Only the
    abstract of that paper is public: that gamma multiplies the bias too is our reading.

    Args:
        in_channels: d.
        num_classes: K.
        bias: whether there is one.
        normalize_weight: whether every w_j is normalised in the forward pass.
        normalize_feature: whether every x is; a feature of length 0 stays 0.
        scale: gamma > 0.
        init: of W: ``kaiming_normal`` (a = 1) or ``kaiming_uniform``, as PyTorch initialises a
            linear layer: uniform in +-1/sqrt(d). b is uniform in +-1/sqrt(d) with both.
        bias_mean: added to the initial bias in the sign of "BCE vs. CE in Deep Feature Learning"
            (ICML 2025), ``z = W x - b``; the layer's own b_j therefore start about ``-bias_mean``.

    Raises:
        BCE3SError: a scale that is not positive, an unknown init, bias_mean without a bias.

    >>> classifier = LinearClassifier(2, 3, normalize_feature=True, scale=16.0)
    >>> _ = classifier.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    >>> _ = classifier.bias.data.fill_(-0.5)
    >>> classifier(torch.tensor([[3.0, 0.0]])).detach()
    tensor([[  8.,  -8., -24.]])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        bias: bool = True,
        normalize_weight: bool = True,
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
        self.normalize_weight, self.normalize_feature = normalize_weight, normalize_feature
        self.scale, self.init, self.bias_mean = scale, init, bias_mean
        super().__init__(in_channels, num_classes, bias)

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in_features)
        if self.init == 'kaiming_normal':
            nn.init.kaiming_normal_(self.weight, a=1)
        else:
            nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound - self.bias_mean, bound - self.bias_mean)

    def finetune(self) -> None:
        """Enter the second stage: say which of its parameters that trains, here all."""
        self.requires_grad_(True)

    def embed(self, x: Tensor) -> Tensor:
        """Features (..., d) as they are multiplied with the weights."""
        return F.normalize(x, dim=-1) if self.normalize_feature else x

    def rows(self, classes: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """W (K, d) and b (K,) as they are stored, or their rows of ``classes`` (S,)."""
        if classes is None:
            return self.weight, self.bias
        return self.weight[classes], None if self.bias is None else self.bias[classes]

    def scores(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Features (..., d) and :meth:`rows` -> logits (..., S)."""
        return F.linear(self.embed(x), *self._scaled(weight, bias))

    def _scaled(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        weight = F.normalize(weight, dim=1) if self.normalize_weight else weight
        if self.scale == 1:
            return weight, bias
        return self.scale * weight, None if bias is None else self.scale * bias

    def linear(self) -> tuple[Tensor, Tensor]:
        """W (K, d) and b (K,) of ``z = embed(x) W^T + b``; b is 0 where there is none."""
        weight, bias = self._scaled(*self.rows())
        return weight, weight.new_zeros(len(weight)) if bias is None else bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., K)."""
        return self.scores(x, *self.rows())
