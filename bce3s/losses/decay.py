"""The regularisation of "BCE vs. CE in Deep Feature Learning" (ICML 2025), Eq. 3."""

from __future__ import annotations

from torch import Tensor, nn

from bce3s.losses.bounds import check_numbers


class FeatureDecay(nn.Module):
    """``lambda_W/2 ||W||_F^2 + lambda_H/2 sum_i ||h_i||^2 + lambda_b/2 ||b||^2``.

    The parameters W, b themselves, and the features h as the classifier multiplies them, SUMMED
    over the batch (and its views), where other losses are means over samples. Set the optimiser's
    own decay to 0, or W and b decay twice.

    Args:
        weight, feature, bias: lambda_W, lambda_H, lambda_b.

    Raises:
        BCE3SError: one of them is not a number >= 0.

    >>> FeatureDecay(weight=0.1, feature=0.01)(torch.ones(4, 2), torch.ones(3, 2))
    tensor(0.3400)
    """

    def __init__(self, weight: float = 0.0, feature: float = 0.0, bias: float = 0.0) -> None:
        super().__init__()
        self.lambdas = dict(weight=weight, feature=feature, bias=bias)
        check_numbers(self, **self.lambdas)

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """h (B, d), W (K, d), b (K,) -> scalar."""
        return self.features(features).sum() + self.classifier(weight, bias)

    def features(self, features: Tensor) -> Tensor:
        """``lambda_H/2 ||h_i||^2`` of features (..., d) -> (...)."""
        return self.lambdas['feature'] / 2 * features.square().sum(-1)

    def classifier(self, weight: Tensor, bias: Tensor | None = None) -> Tensor | float:
        """``lambda_W/2 ||W||_F^2 + lambda_b/2 ||b||^2``; what has no decay is not read."""
        loss = 0.0
        if self.lambdas['weight']:
            loss = loss + self.lambdas['weight'] / 2 * weight.square().sum()
        if self.lambdas['bias'] and bias is not None:
            loss = loss + self.lambdas['bias'] / 2 * bias.square().sum()
        return loss
