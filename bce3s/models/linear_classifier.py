"""The linear classifier: normalised or not, with a scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import torch
from mmengine.dist import all_reduce, is_distributed
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bce3s.errors import BCE3SError


class _Rows(torch.autograd.Function):
    """``parameter[classes]`` with a sparse gradient of these rows, the mean over the ranks.

    All ranks sample the same classes, so averaging the values averages the gradient;
    DistributedDataParallel, which takes dense gradients only, must leave the parameter alone
    (:class:`LongTailedClassifier` tells it so).
    """

    @staticmethod
    def forward(parameter: Tensor, classes: Tensor) -> Tensor:
        return parameter.index_select(0, classes)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        parameter, classes = inputs
        ctx.save_for_backward(classes)
        ctx.shape = parameter.shape

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (classes,), grad = ctx.saved_tensors, grad.contiguous()
        if is_distributed():
            grad = grad.clone()  # autograd may hand the same memory to others
            all_reduce(grad, 'mean')
        rows = torch.sparse_coo_tensor(classes[None], grad, ctx.shape, check_invariants=False)
        return rows, None


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

    Attributes:
        before_read: functions called with the classes (S,) whose rows are about to be read, None
            for all: an optimiser that owes rows some updates (:class:`LazySGD`) makes up for them
            here. Whatever reads or saves W and b goes through this class, not its parameters.

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
        self.before_read: list[Callable[[Tensor | None], None]] = []
        super().__init__(in_channels, num_classes, bias)

    def reset_parameters(self) -> None:
        self.draw_weight(self.weight)
        if self.bias is not None:
            self.draw_bias(self.bias)

    def draw_weight(self, rows: Tensor) -> Tensor:
        """Fills and returns rows (n, d)."""
        if self.init == 'kaiming_normal':
            return nn.init.kaiming_normal_(rows, a=1)
        bound = 1 / math.sqrt(self.in_features)
        return nn.init.uniform_(rows, -bound, bound)

    def draw_bias(self, bias: Tensor) -> Tensor:
        """Fills and returns b (n,)."""
        bound = 1 / math.sqrt(self.in_features)
        return nn.init.uniform_(bias, -bound - self.bias_mean, bound - self.bias_mean)

    def embed(self, x: Tensor) -> Tensor:
        """Features (..., d) as they are multiplied with the weights."""
        return F.normalize(x, dim=-1) if self.normalize_feature else x

    def catch_up(self, classes: Tensor | None = None) -> None:
        """Bring the rows of ``classes`` (S,), None: all, up to date; see ``before_read``."""
        for function in self.before_read:
            function(classes)

    def sampled_rows(self, classes: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Rows of W (S, d) and b (S,) as they are stored, for :meth:`scores`.

        Args:
            classes: (S,) int64; the gradients of W and b are then sparse. None: all K, with dense
                gradients.
        """
        self.catch_up(classes)
        if classes is None:
            return self.weight, self.bias
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.before_read = self.before_read  # where LazySGD finds it
        bias = None if self.bias is None else _Rows.apply(self.bias, classes)
        return _Rows.apply(self.weight, classes), bias

    def scores(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Features (..., d) and rows as :meth:`sampled_rows` gives them -> logits (..., S)."""
        return F.linear(self.embed(x), *self._scaled(weight, bias))

    def _scaled(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        weight = F.normalize(weight, dim=1) if self.normalize else weight
        if self.scale == 1:
            return weight, bias
        return self.scale * weight, None if bias is None else self.scale * bias

    def linear(self) -> tuple[Tensor, Tensor]:
        """W (K, d) and b (K,) of ``z = embed(x) W^T - b``, the sign of the ICML paper, with gamma:
        ``(gamma w_j, -gamma b_j)``; b is 0 where there is none.
        """
        weight, bias = self._scaled(*self.sampled_rows())
        return weight, weight.new_zeros(len(weight)) if bias is None else -bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., K)."""
        return self.scores(x, *self.sampled_rows())

    def _save_to_state_dict(self, *args, **kwargs) -> None:
        self.catch_up()
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self.catch_up()  # what is owed is owed to the weights that are replaced here
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict:
        """Of a copy or a pickle, which no optimiser moves."""
        self.catch_up()
        for parameter in self.parameters():
            vars(parameter).pop('before_read', None)
        return self.__dict__ | dict(before_read=[])
