"""For many classes: each step is compared with a sample of them (Partial FC)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bce3s.distributed import all_mean
from bce3s.errors import BCE3SError
from bce3s.losses.resampling import check_ratio, sample_classes
from bce3s.models.head import TripartiteHead
from bce3s.models.linear_classifier import LinearClassifier
from bce3s.models.targets import Targets


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
        (classes,), grad = ctx.saved_tensors, all_mean(grad.contiguous())
        rows = torch.sparse_coo_tensor(classes[None], grad, ctx.shape, check_invariants=False)
        return rows, None


class SampledClassifier(LinearClassifier):
    """:class:`LinearClassifier` whose rows can be read, and get gradients, some at a time.

    Attributes:
        before_read: functions called with the classes (S,) whose rows are about to be read, None
            for all: an optimiser that owes rows some updates (:class:`LazySGD`) makes up for them
            here. Whatever reads or saves W and b goes through this class, not its parameters.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.before_read: list[Callable[[Tensor | None], None]] = []

    def catch_up(self, classes: Tensor | None = None) -> None:
        """Bring the rows of ``classes`` (S,), None: all, up to date."""
        for function in self.before_read:
            function(classes)

    def rows(self, classes: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """As of :class:`LinearClassifier`; the gradients of some rows are sparse."""
        self.catch_up(classes)
        if classes is None:
            return self.weight, self.bias
        for parameter in self.parameters():
            parameter.before_read = self.before_read  # where LazySGD finds it
        bias = None if self.bias is None else _Rows.apply(self.bias, classes)
        return _Rows.apply(self.weight, classes), bias

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


class SampledTripartiteHead(TripartiteHead):
    """:class:`TripartiteHead` of which each step sees some of very many classes.

    Every branch, on every view and in both stages, is the one of S = max(int(K r), n) classes drawn
    for the batch, those of its n labels and partners first (Partial FC, An et al., arXiv
    2010.05222); every sum, softmax and mean over the K classes becomes one over these. A step then
    takes O(V B S d + S^2 d) time and O(V B S + S d) memory, S^2 up to a stated block
    (:mod:`bce3s.losses.uniformity`), and no work or memory for the rest of the K rows of W, b and
    the bank. The gradients of W and b are sparse: train with ``LazySGD``, which moves the other
    rows later just as SGD would have. ``joint.resample``, in contrast, computes all logits and
    leaves some out of the origin view's loss.

    Args:
        sample_rate: r in (0, 1).
        args, kwargs: of :class:`TripartiteHead`; ``classifier`` a :class:`SampledClassifier`.

    Raises:
        BCE3SError: an argument out of its bounds, or sampling with what needs all K classes.
    """

    several_labels = False

    def __init__(self, *args, sample_rate: float = 0.1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.classifier, SampledClassifier):
            raise BCE3SError(
                'SampledTripartiteHead needs a classifier that gives some of its rows: set '
                "model.head.classifier.type='SampledClassifier'."
            )
        self.sample_rate = check_ratio(sample_rate, 'model.head.sample_rate')
        for name, loss in (('joint', self.joint), ('finetune', self.second_joint)):
            if getattr(loss, 'resample', 1) < 1:
                raise BCE3SError(
                    f'SampledTripartiteHead samples the classes of every branch, and '
                    f"'resample' would sample among them again: set model.head.{name}.resample=1, "
                    'or model.head.type=TripartiteHead.'
                )
            if hasattr(loss, 'set_class_counts') or not hasattr(loss, 'rows'):
                raise BCE3SError(
                    f'SampledTripartiteHead shows {type(loss).__name__} some of the classes in '
                    'each step, but it needs all of them: set model.head.type=TripartiteHead.'
                )
        if self.decay is not None and (self.decay.lambdas['weight'] or self.decay.lambdas['bias']):
            raise BCE3SError(
                'SampledTripartiteHead: the gradients of W and b are sparse, but decay.weight and '
                'decay.bias have one for every row: set both to 0 and use the weight_decay of '
                'LazySGD, or set model.head.type=TripartiteHead.'
            )

    def prepared(self, targets: Targets) -> Targets:
        """The targets over the classes drawn for the batch, unless they are drawn already."""
        if targets.classes is not None:
            return targets
        return replace(targets, classes=self.sampled_classes(targets))

    def sampled_classes(self, targets: Targets) -> Tensor:
        """(S,) those of all labels and partners of the global batch, filled up at random."""
        labels, rng = targets.all_labels, targets.clock.numpy('negatives')
        if targets.partners is not None:
            labels = torch.cat([labels, targets.share.gather(targets.partners)])
        return sample_classes(labels, self.num_classes, self.sample_rate, rng)
