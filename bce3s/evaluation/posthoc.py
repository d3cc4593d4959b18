r"""What can be mended after the training, on the scores alone, with one number that is chosen.

* **Logit adjustment** (Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021):
  :math:`z_j - \tau (\log \pi_j - \overline{\log \pi})` with the training frequencies
  :math:`\pi_j = n_j / \sum_k n_k`. The mean over the classes, which the paper does not have,
  changes no prediction; it keeps the level of the logits, which means something to a sigmoid. The
  loss of the same name ADDS the prior to the logits, in training alone: one or the other.
* **Log-odds adjustment**, the same for a sigmoid a class: :math:`z_j - \tau (\log \frac{\pi_j}
  {1 - \pi_j} - \log \frac{1/K}{1 - 1/K})`. A sigmoid trained with BCE tells class j from all
  others, so that its logit holds the log-ODDS of :math:`\pi_j` (Bal-BCE of LiVT, Xu et al., CVPR
  2023, has them in the loss); with :math:`\tau = 1` it becomes that of a class of the size 1 / K,
  the others keeping their shares among themselves.
* **Multiplicative adjustment** (Hasegawa and Sato, "Exploring Weight Balancing on Long-Tailed
  Recognition Problem", ICLR 2024): :math:`z_j \pi_j^{-\tau}`, here with :math:`\pi_j` divided by
  its geometric mean, which changes no prediction. A logit below 0 of a rare class falls.
* **tau-normalisation** (Kang et al., "Decoupling Representation and Classifier", ICLR 2020):
  :math:`(z_j - b_j) (g / \|w_j\|)^\tau + b_j`, where :math:`z_j - b_j = w_j x`. The paper drops the
  bias; here it stays, and the geometric mean g of the norms keeps the scores on its scale. Where
  all norms are equal, as in a classifier that normalises its weights, nothing changes.
* **Temperature** (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017):
  :math:`z_j / T`. No prediction changes, the probabilities do.

Those with a tau take the one with the highest All (mean of per-class accuracies) on a grid, of
equals the one that changes least; the temperature minimises the negative log likelihood, which is
convex in 1 / T. Where no other data are there, each half of the images is measured with what the
other half chose (:func:`~bce3s.evaluation.rejection.halves`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import per_class_accuracy, per_class_means, split_accuracy
from bce3s.evaluation.arrays import as_labels, as_matrix, as_tensor, check_some, row_blocks
from bce3s.evaluation.calibration import Probabilities, by_split
from bce3s.evaluation.rejection import halves

TAUS = tuple(round(0.05 * i, 2) for i in range(61))  # 0 to 3
HOTTEST = 100.0  # temperatures are between 1 / HOTTEST and HOTTEST
EQUAL_NORMS = 1e-4  # relative: float32, and normalised with an epsilon


class Scores(NamedTuple):
    """``logits`` (N, K) and ``labels`` (N,) of the same images."""

    logits: Tensor
    labels: Tensor

    @classmethod
    def of(cls, logits: Any, labels: Any) -> Scores:
        """Checked: see :func:`~bce3s.evaluation.arrays.as_matrix`."""
        logits = as_matrix('logits', logits)
        check_some(len(logits))
        return cls(logits, as_labels(labels, logits, logits.shape[1]))

    def at(self, mask: NDArray[np.bool_]) -> Scores:
        """Of some images."""
        rows = torch.from_numpy(np.flatnonzero(mask)).to(self.logits.device)
        return Scores(self.logits[rows], self.labels[rows])


class Method(ABC):
    """Logits -> other logits, by one number that is to be found.

    Attributes:
        name: for the table. parameter: what the number is called.
        neutral: the value that changes nothing.
    """

    name: str
    parameter: str
    neutral: float
    fixed: float | None = None  # the value, where there is nothing to choose

    @abstractmethod
    def apply(self, logits: Tensor, value: float) -> Tensor:
        """Logits (n, K) float64 -> (n, K)."""

    @abstractmethod
    def choose(self, scores: Scores) -> float:
        """The best value for these images."""


class TauMethod(Method):
    """One whose tau is found on a grid, for the accuracy."""

    parameter, neutral = 'tau', 0.0

    def __init__(self, taus: Sequence[float] = TAUS) -> None:
        self.taus = tuple(taus)
        if len(self.taus) == 1:
            self.fixed, self.name = self.taus[0], f'{self.name}, {self.parameter} {self.taus[0]:g}'

    def choose(self, scores: Scores) -> float:
        ordered = sorted(self.taus, key=lambda tau: abs(tau - self.neutral))
        return max(ordered, key=lambda tau: self._accuracy(scores, tau))  # the first of equals

    def _accuracy(self, scores: Scores, tau: float) -> float:
        """All: the mean over the classes that occur."""
        logits, labels = scores
        preds = [self.apply(logits[rows].double(), tau).argmax(1) for rows in row_blocks(logits)]
        right, labels = (torch.cat(preds) == labels).cpu().numpy(), labels.cpu().numpy()
        # whole numbers over whole numbers: equal accuracies are equal numbers
        return float(np.nanmean(per_class_means(right, labels, logits.shape[1])))


class LogitAdjustment(TauMethod):
    r""":math:`z_j - \tau (\log \pi_j - \overline{\log \pi})`.

    Args:
        class_counts: (K,) TRAINING images; a class without counts as one with a single image.
        taus: to be tried.
    """

    name = 'Logit adjustment'

    def __init__(self, class_counts: Sequence[int], taus: Sequence[float] = TAUS) -> None:
        super().__init__(taus)
        logs = torch.as_tensor(class_counts, dtype=torch.float64).clamp(min=1).log()
        self.prior = logs - logs.mean()  # log pi_j but for a constant

    def apply(self, logits: Tensor, value: float) -> Tensor:
        return logits - value * self.prior.to(logits.device)


class MultiplicativeAdjustment(LogitAdjustment):
    r""":math:`z_j (\pi_j / g)^{-\tau}`, g the geometric mean of the priors.

    Args:
        class_counts, taus: of :class:`LogitAdjustment`.
    """

    name = 'Multiplicative adjustment'

    def apply(self, logits: Tensor, value: float) -> Tensor:
        return logits * (-value * self.prior.to(logits.device)).exp()


class LogOddsAdjustment(LogitAdjustment):
    r""":math:`z_j - \tau (\log \frac{\pi_j}{1 - \pi_j} - \log \frac{1/K}{1 - 1/K})`, for sigmoids.

    Args:
        class_counts: (K,) TRAINING images; a class without counts as one with a single image.
        taus: to be tried.

    Raises:
        BCE3SError: fewer than two classes.

    >>> LogOddsAdjustment([8, 1, 1]).prior
    tensor([ 2.0794, -1.5041, -1.5041], dtype=torch.float64)
    """

    name = 'Log-odds adjustment'

    def __init__(self, class_counts: Sequence[int], taus: Sequence[float] = TAUS) -> None:
        super().__init__(class_counts, taus)
        if len(class_counts) < 2:
            raise BCE3SError('The log-odds of a class need a second one; there is one class only.')
        counts = torch.as_tensor(class_counts, dtype=torch.float64).clamp(min=1)
        others = counts.sum() - counts
        self.prior = (counts * (len(counts) - 1) / others).log()


class TauNormalization(TauMethod):
    r""":math:`z_j + (z_j - b_j) ((g / \|w_j\|)^\tau - 1)`, g the geometric mean of the norms.

    Args:
        weight: (K, d) of the classifier, as it multiplies. bias: (K,).
        taus: to be tried.

    Attributes:
        changes_nothing: whether all norms are equal.

    Raises:
        BCE3SError: a norm that is 0 or not finite.
    """

    name = 'tau-normalisation'

    def __init__(self, weight: Any, bias: Any, taus: Sequence[float] = TAUS) -> None:
        super().__init__(taus)
        norms = torch.linalg.vector_norm(as_matrix('weights', weight).double(), dim=1)
        wrong = (~(norms > 0) | norms.isinf()).nonzero()[:, 0]
        if len(wrong):
            raise BCE3SError(
                f'The classifier has weights of the length {norms[wrong[0]]:g} for class '
                f'{int(wrong[0])}: they cannot be normalised.'
            )
        self.bias = as_tensor(bias).double()
        logs = norms.log() - norms.log().mean()
        self.changes_nothing = bool((logs.amax() - logs.amin()) < EQUAL_NORMS)
        self.log_norms = torch.zeros_like(logs) if self.changes_nothing else logs

    def apply(self, logits: Tensor, value: float) -> Tensor:
        stretch = (-value * self.log_norms.to(logits.device)).expm1()
        return logits + (logits - self.bias.to(logits.device)) * stretch


class Temperature(Method):
    """``z_j / T``.

    Args:
        probabilities: sigmoid or softmax, whose likelihood is to be the largest.
    """

    name, parameter, neutral = 'Temperature', 'T', 1.0

    def __init__(self, probabilities: Probabilities) -> None:
        self.probabilities = probabilities

    def apply(self, logits: Tensor, value: float) -> Tensor:
        return logits / value

    def choose(self, scores: Scores) -> float:
        """Where the slope of the convex likelihood in 1 / T is 0, by bisection of log T."""
        low, high = -math.log(HOTTEST), math.log(HOTTEST)  # of 1 / T
        while high - low > 1e-6:
            middle = (low + high) / 2
            if self.probabilities.slope(*scores, math.exp(middle)) > 0:
                high = middle
            else:
                low = middle
        return math.exp(-(low + high) / 2)


# -------------------------------------------------------------------------------------------- table
def posthoc_rows(
    measured: Scores,
    tuning: Scores | None,
    methods: Sequence[Method],
    describe: Callable[[Tensor], dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """A row for each method: the baseline first, then as they are finished.

    Args:
        measured: what the figures are of.
        tuning: other images, on which the numbers are chosen; ``None``: cross-fitted halves of
            those that are measured.
        methods: to be compared.
        describe: logits (N, K) of the measured images -> figures; see :func:`figures`.

    Yields:
        ``method``, ``parameter`` (its name or ``None``), ``values`` (one; two if cross-fitted,
        chosen on the first and the second half; none of the baseline) and the figures. A method
        whose value is fixed has that one, and nothing is chosen.

    Raises:
        BCE3SError: too few images for two halves.
    """
    logits = measured.logits.double()
    yield {'method': 'As trained', 'parameter': None, 'values': [], **describe(logits)}
    for method in methods:
        if method.fixed is not None:
            values = [method.fixed]
            changed = method.apply(logits, method.fixed)
        elif tuning is not None:
            values = [method.choose(tuning)]
            changed = method.apply(logits, values[0])
        else:
            half = halves(measured.labels)
            if len(set(half.tolist())) < 2:
                raise BCE3SError(
                    f'There are {len(half)} images to choose on and to measure, not enough for '
                    'two halves: give the config a val_dataloader and a test_dataloader.'
                )
            values = [method.choose(measured.at(half == h)) for h in (0, 1)]
            changed = torch.empty_like(logits)
            for h in (0, 1):  # with what the other half chose
                rows = torch.from_numpy(half == h).to(logits.device)
                changed[rows] = method.apply(logits[rows], values[1 - h])
        found = describe(changed)
        yield {'method': method.name, 'parameter': method.parameter, 'values': values, **found}


def figures(
    logits: Tensor,
    labels: Any,
    class_counts: Sequence[int],
    thresholds: Thresholds,
    probabilities: Probabilities,
) -> dict[str, Any]:
    """``all``, ``many``, ``medium``, ``few``; ``ece`` with the same four (percent), and ``nll``."""
    preds = logits.argmax(dim=1).cpu().numpy()
    labels = as_tensor(labels).cpu().numpy()
    confidence = probabilities.confidence(logits)
    return {
        **accuracies(labels, preds, class_counts, thresholds),
        'ece': by_split(confidence, preds == labels, labels, class_counts, thresholds),
        'nll': probabilities.nll(logits, labels),
    }


def accuracies(
    labels: Any, preds: Any, class_counts: Sequence[int], thresholds: Thresholds
) -> dict[str, float | None]:
    """``all``, ``many``, ``medium``, ``few`` (percent)."""
    per_class = per_class_accuracy(labels, preds, len(class_counts))
    return split_accuracy(per_class, class_counts, thresholds)
