r"""All measures of features and classifier in two passes over batches, mergeable across ranks.

The first pass sums up what needs no mean, the second what does: NC1, NC4, compactness, histograms.
Both keep a few numbers of each sample. Sums and products are float64 whatever the features are, a
block of rows at a time, so batching and merging change nothing beyond rounding. Logits are
:math:`z = W h - b`, the sign of "BCE vs. CE in Deep Feature Learning" (ICML 2025): a linear layer's
bias is MINUS ``bias``. Scores are :math:`W h`: :math:`s_{pos} = w_y h` of the own class,
:math:`s_{neg} = w_j h`, j != y (Eqs. 51-54).

Compactness within the classes and distinctiveness between them (Eqs. 49, 50) are means of cosines
over pairs of samples, which are inner products of sums of unit vectors: linear in N. With
:math:`u_k = \frac{1}{n_k}\sum_i h_i / \|h_i\|` over the samples of class k, and
:math:`\tilde u_k` the same of the features less the global mean,

.. math:: E_{com} = \tfrac{1}{2}\big[\tfrac{1}{K}\sum_k \|\tilde u_k\|^2 + 1\big] 100\%, \qquad
    E_{dis} = \tfrac{1}{2}\big[1 - \tfrac{1}{K(K-1)}\sum_k \langle u_k, \sum_{k' \ne k} u_{k'}
    \rangle\big] 100\%.

A vector of norm 0 has the cosine 0 with every vector, itself included. Classes without samples are
left out, and K is the number of the others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import (
    as_classifier,
    as_labels,
    as_matrix,
    as_tensor,
    check_finite,
    check_some,
    row_blocks,
)
from bce3s.evaluation.decision_scores import bias_statistics, rho
from bce3s.evaluation.neural_collapse import ClassMeans, nc2, nc3
from bce3s.evaluation.uniform_accuracy import exact_uniform_accuracy, gridded_uniform_accuracy

BINS = 64  # of a histogram
Batches = Callable[[], Iterable[tuple[Any, Any]]]
Reduce = Callable[[Any], Any]


# ---------------------------------------------------------------------------------------- measures
def measure(
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    class_counts: Sequence[int] | None = None,
    distributions: bool = False,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """All measures of features that are at hand: see :func:`measure_batches`.

    Args:
        features: (N, d), NumPy or torch; the work is done where they are.
        labels: (N,) classes.
        weight, bias, class_counts, distributions, thresholds: as :func:`measure_batches`.

    >>> found = measure([[2.0, 0.0], [0.0, 2.0]], [0, 1], [[1.0, 0.0], [0.0, 1.0]])
    >>> found['accuracy'], found['e_dis'], found['nc4'], round(found['nc3'], 6)
    (100.0, 50.0, 0.0, 0.0)
    """
    features = as_matrix('features', features)
    weight = as_tensor(weight, features.device)
    batches = [(features, labels)]
    rest = (class_counts, distributions, None, thresholds)
    return measure_batches(lambda: batches, weight, bias, *rest)


@torch.no_grad()
def measure_batches(
    batches: Batches,
    weight: Any,
    bias: Any = None,
    class_counts: Sequence[int] | None = None,
    distributions: bool = False,
    reduce: Reduce | None = None,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """All measures of features that come in batches, as plain Python values, never NaN.

    Args:
        batches: called twice; each time gives the same (features (n, d), labels (n,)) batches, in
            any order. They go to the device of ``weight``.
        weight: (K, d) classifier, without the features' scale or normalisation left out: the logits
            are ``features @ weight.T - bias``.
        bias: (K,) in that sign; 0 if ``None``.
        class_counts: (K,) TRAINING samples of each class; asks for ``splits``.
        distributions: asks for ``distributions``.
        reduce: given each pass in turn, returns that of all ranks, for example
            ``lambda part: part.merged(gathered_states)``.
        thresholds: where Many ends and Few begins.

    Returns:
        A dict. ``accuracy`` (Eq. 41, the first of equal scores is predicted), ``uniform_accuracy``
        (exact) with ``uniform_threshold``, ``uniform_accuracy_200`` (the paper's thresholds),
        ``e_com``, ``e_dis`` in percent; ``nc1``, ``nc2``, ``nc2_uncentred``, ``nc3``,
        ``nc3_centred``; ``nc4`` in [0, 1]; ``rho``; ``s_pos_mean``, ``s_pos_std``, ``s_neg_mean``,
        ``s_neg_std`` (without bias), ``b_mean``, ``b_std``; ``samples``, ``classes`` (those with
        samples). What is not defined is ``None``: with one class NC1 to NC4 and E_dis, without a
        right sample the threshold. Standard deviations divide by the number of values.

        ``splits`` has for ``many``, ``medium`` and ``few`` those of the measures that are sums over
        samples or classes, over the samples of the split's classes: means, whitening and the other
        class of every pair are those of all classes, so weighted by samples (E_com, E_dis: by
        classes) the splits give the whole; the uniform accuracy has a threshold of its own. A split
        without samples is ``None``.

        ``distributions``: ``b``, the K biases, and histograms of ``s_pos`` and ``s_neg``, each
        ``low``, ``high`` and 64 ``counts`` (``s_neg`` is ``None`` with one class).

    Raises:
        BCE3SError: no sample; shapes or lengths that do not fit; a label outside 0..K-1; features,
            scores, weights or biases that are not finite; two passes of different samples.
    """
    weight, bias = as_classifier(weight, bias)
    masks = {} if class_counts is None else _masks(class_counts, thresholds, weight)
    first = _run(FirstPass(weight, bias), batches, reduce)
    check_some(len(first.rows))
    second = _run(SecondPass(first, distributions), batches, reduce)
    if not torch.equal(first.counts, second.counts):
        raise BCE3SError(
            f'The first pass over the features saw {len(first.rows)} samples, the second '
            f'{len(second.rows)} or of other classes: batches() must give the same samples each '
            'time it is called.'
        )
    result = {
        **_measures_of(first, second, torch.ones_like(first.counts, dtype=torch.bool)),
        'uniform_accuracy_200': gridded_uniform_accuracy(first['logit'], first['rival']).accuracy,
        'nc2': nc2(weight),
        'nc2_uncentred': nc2(weight, centred=False),
        'nc3': nc3(weight, second.means),
        'nc3_centred': nc3(weight, second.means, centred=True),
        'rho': rho(weight),
        **bias_statistics(bias),
    }
    if class_counts is not None:
        result['splits'] = {
            name: _measures_of(first, second, mask) if first.counts[mask].sum() else None
            for name, mask in masks.items()
        }
    if distributions:
        result['distributions'] = {'b': bias.tolist(), **second.histograms()}
    return result


def _run(part: _Pass, batches: Batches, reduce: Reduce | None) -> Any:
    for features, labels in batches():
        part.update(features, labels)
    return part if reduce is None else reduce(part)


def _masks(
    class_counts: Sequence[int], thresholds: Thresholds | None, weight: Tensor
) -> dict[str, Tensor]:
    if len(class_counts) != len(weight):
        raise BCE3SError(
            f'There are {len(class_counts)} class counts but the classifier has {len(weight)} '
            'classes: give the counts of the training set, one for each class.'
        )
    masks = split_masks(class_counts, thresholds)
    return {name: torch.from_numpy(mask).to(weight.device) for name, mask in masks.items()}


def _measures_of(first: FirstPass, second: SecondPass, classes: Tensor) -> dict[str, Any]:
    """What is a sum over samples or classes, over those of ``classes`` (a mask)."""
    counts, rows, again = first.counts, classes[first.labels], classes[second.labels]
    present = classes & (counts > 0)
    several, negatives = len(second.means.classes) > 1, len(classes) - 1
    uniform = exact_uniform_accuracy(first['logit'][rows], first['rival'][rows])
    positive, centres = first['positive'][rows], first['negative'][rows]
    # of negatives * n values: within the samples and between them
    spread = first['spread'][rows].sum() + negatives * (centres - centres.mean()).square().sum()
    compact = 50.0 * (_unit_means(second).square().sum(dim=1) + 1.0)
    units = _unit_means(first)
    cosines = (units * (units.sum(dim=0) - units)).sum(dim=1) / max(
        len(second.means.classes) - 1, 1
    )
    return {
        'accuracy': 100.0 * float(first['right'][rows].mean()),
        'uniform_accuracy': uniform.accuracy,
        'uniform_threshold': uniform.threshold,
        'e_com': float(compact[present].mean()),
        'e_dis': float(50.0 * (1.0 - cosines)[present].mean()) if several else None,
        'nc1': float(second['whitened'][again].mean()) if len(second.means.whitening) else None,
        'nc4': float(second['differs'][again].mean()) if several else None,
        's_pos_mean': float(positive.mean()),
        's_pos_std': float(positive.std(correction=0)),
        's_neg_mean': float(centres.mean()) if negatives else None,
        's_neg_std': float((spread / (negatives * len(centres))).sqrt()) if negatives else None,
        'samples': int(rows.sum()),
        'classes': int(present.sum()),
    }


def _unit_means(part: _Pass) -> Tensor:
    """(K, d) u_k."""
    return part.unit_sums / part.counts.clamp(min=1)[:, None]


# ------------------------------------------------------------------------------------------ passes
class _Pass:
    """Sums over classes, added up over batches and ranks, and a few numbers of each sample.

    Args:
        weight: (K, d) float64, on the device where everything is done.
        bias: (K,) float64, z = W h - b.

    Attributes:
        unit_sums: (K, d) sums of normalised features.
        rows: (N, columns) of the samples; ``part[column]`` is (N,).
    """

    columns: tuple[str, ...] = ('label',)
    totals: tuple[str, ...] = ('unit_sums',)

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias
        self.unit_sums = torch.zeros_like(weight)
        self._parts = [weight.new_zeros(0, len(self.columns))]

    @property
    def rows(self) -> Tensor:
        self._parts = [torch.cat(self._parts)]
        return self._parts[0]

    def __getitem__(self, column: str) -> Tensor:
        return self.rows[:, self.columns.index(column)]

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self['label'].long()

    @property
    def counts(self) -> Tensor:
        """(K,) samples of each class."""
        return torch.bincount(self.labels, minlength=len(self.weight))

    @torch.no_grad()
    def update(self, features: Any, labels: Any) -> None:
        """Takes a batch in.

        Args:
            features: (n, d), any real dtype, on any device.
            labels: (n,).

        Raises:
            BCE3SError: different lengths or widths, a label outside 0..K-1, or features or scores
                that are not finite. Samples are numbered in the order in which they came.
        """
        seen = sum(map(len, self._parts))
        features = as_matrix('features', features, self.weight.device)
        as_classifier(self.weight, None, features)
        labels = as_labels(labels, features, len(self.weight), seen)
        for rows in row_blocks(features, len(self.weight)):
            block, own = features[rows].to(torch.float64, copy=True), labels[rows]
            columns = self._add(block, own, seen + rows.start)
            self._parts.append(torch.stack([own.double(), *(c.double() for c in columns)], dim=1))

    def state(self) -> dict[str, Tensor]:
        """All there is to know of the samples seen so far, as tensors of their own."""
        totals = {name: getattr(self, name).clone() for name in self.totals}
        return {**totals, 'rows': self.rows.clone()}

    def merged(self, states: Iterable[dict[str, Tensor]]) -> Self:
        """A new pass over the samples of all ``states`` (this one's own are not added)."""
        states = list(states)
        whole = copy.copy(self)
        for name in self.totals:
            zero = torch.zeros_like(getattr(self, name))
            setattr(whole, name, sum((state[name].to(zero.device) for state in states), zero))
        empty = self.weight.new_zeros(0, len(self.columns))
        whole._parts = [empty, *(state['rows'].to(empty.device) for state in states)]
        return whole

    def _add(self, block: Tensor, labels: Tensor, first: int) -> Iterable[Tensor]:
        """Takes (n, d) float64 ``block`` in, and may change it; ``first`` numbers its samples.
        Returns (n,) each of the further columns."""
        raise NotImplementedError

    def _add_units(self, block: Tensor, labels: Tensor) -> None:
        norms = torch.linalg.vector_norm(block, dim=1)
        block.div_(torch.where(norms > 0, norms, 1.0)[:, None])
        self.unit_sums.index_add_(0, labels, block)


class FirstPass(_Pass):
    """What needs no mean of the features.

    ``sums`` (K, d) of the features, and of each sample ``positive``, its own score without bias;
    ``negative``, the mean of the others, and ``spread``, their sum of squared deviations from it;
    ``low`` and ``high``, the least and largest of them; with bias ``logit``, the own one, and
    ``rival``, the largest other (-inf if there is none); ``right``, whether it is classified so.
    """

    columns = ('label', 'positive', 'negative', 'spread', 'low', 'high', 'logit', 'rival', 'right')
    totals = ('unit_sums', 'sums')

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__(weight, bias)
        self.sums = torch.zeros_like(weight)

    def _add(self, block: Tensor, labels: Tensor, first: int) -> Iterable[Tensor]:
        check_finite('features', torch.linalg.vector_norm(block, dim=1), first)
        scores, own = block @ self.weight.T, labels[:, None]
        check_finite('scores', torch.linalg.vector_norm(scores, dim=1), first)
        self.sums.index_add_(0, labels, block)
        self._add_units(block, labels)
        number = max(scores.shape[1] - 1, 1)
        positive = scores.gather(1, own)[:, 0]
        centre = (scores.sum(dim=1) - positive) / number
        deviations = (scores - centre[:, None]).scatter_(1, own, 0.0)
        rest = deviations.sum(dim=1) / number  # what rounding left in the centre
        spread = deviations.square().sum(dim=1) - number * rest.square()
        high = scores.scatter(1, own, -torch.inf).amax(dim=1)
        low = scores.scatter(1, own, torch.inf).amin(dim=1)
        logits = scores.sub_(self.bias)
        logit = logits.gather(1, own)[:, 0]
        rival, other = logits.scatter_(1, own, -torch.inf).max(dim=1)
        right = (logit > rival) | ((logit == rival) & (labels < other))  # the first of equals
        return positive, centre + rest, spread, low, high, logit, rival, right


class SecondPass(_Pass):
    """What needs the means of the features.

    ``unit_sums`` of the centred and normalised features, ``bins`` of the scores' histograms, and of
    each sample ``whitened``, the summand of NC1, and ``differs``, whether its prediction is not the
    nearest class mean.

    Args:
        first: the first pass over ALL samples.
        distributions: whether to count histograms.
    """

    columns = ('label', 'whitened', 'differs')
    totals = ('unit_sums', 'bins')

    def __init__(self, first: FirstPass, distributions: bool = False) -> None:
        super().__init__(first.weight, first.bias)
        self.means, self.distributions = ClassMeans(first.counts, first.sums), distributions
        self.bins = torch.zeros(2, BINS, dtype=torch.int64, device=first.weight.device)
        self.positive = _widened(float(first['positive'].min()), float(first['positive'].max()))
        self.negative = _widened(float(first['low'].min()), float(first['high'].max()))

    def histograms(self) -> dict[str, Any]:
        """``s_pos`` and ``s_neg``: ``low``, ``high`` and ``counts`` of equal bins between them.

        The range is that of the scores (widened around a single value); ``s_neg`` is ``None`` with
        one class.
        """
        found = {
            name: {'low': low, 'high': high, 'counts': counts}
            for name, (low, high), counts in zip(
                ('s_pos', 's_neg'), (self.positive, self.negative), self.bins.tolist(), strict=True
            )
        }
        return found if len(self.weight) > 1 else {**found, 's_neg': None}

    def _add(self, block: Tensor, labels: Tensor, first: int) -> Iterable[Tensor]:
        scores = block @ self.weight.T
        residuals = block - self.means.means[labels]
        whitened = (residuals @ self.means.whitening.T).square().sum(dim=1)
        block -= self.means.global_mean
        differs = (scores - self.bias).argmax(dim=1) != self.means.nearest(block)
        self._add_units(block, labels)
        if self.distributions:
            own = scores.gather(1, labels[:, None])
            self.bins[0] += _histogram(own, *self.positive)
            if len(self.weight) > 1:
                # all scores less the positive ones, in the same bins
                every = _histogram(scores, *self.negative)
                self.bins[1] += every - _histogram(own, *self.negative)
        return whitened, differs


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range in which bins have a width; around one value, of its size or 1."""
    margin = max(abs(low), abs(high), 1.0) * 1e-6
    return (low, high) if high - low > margin else (low - margin, high + margin)


def _histogram(values: Tensor, low: float, high: float) -> Tensor:
    """(BINS,) int64; values that rounding put outside are counted in the outer bins."""
    # Not histc: it has no deterministic implementation on GPUs
    bins = ((values - low) * (BINS / (high - low))).long().clamp_(0, BINS - 1)
    return torch.bincount(bins.flatten(), minlength=BINS)


# ------------------------------------------------------------------------ one measure of features
def compactness(features: Any, labels: Any, num_classes: int | None = None) -> float:
    """E_com (Eq. 49) in percent.

    Args:
        features: (N, d). labels: (N,).
        num_classes: K, against which labels are checked if it is given.

    Raises:
        BCE3SError: no sample, labels and features of different lengths, a label outside 0..K-1, or
            features that are not finite (the sample is named).

    >>> round(compactness([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, -1.0]], [0, 0, 1, 1]), 2)
    92.68
    """
    return _of_features(features, labels, num_classes)['e_com']


def distinctiveness(features: Any, labels: Any, num_classes: int | None = None) -> float | None:
    """E_dis (Eq. 50) in percent; ``None`` if fewer than two classes have samples. Arguments and
    errors: :func:`compactness`.

    >>> distinctiveness([[2.0, 0.0], [0.0, 1.0]], [0, 1]), distinctiveness([[1.0], [-1.0]], [0, 1])
    (50.0, 100.0)
    """
    return _of_features(features, labels, num_classes)['e_dis']


def nc1(features: Any, labels: Any, num_classes: int | None = None) -> float | None:
    """NC1 (Eq. 32) of (N, d) features, see :mod:`~.neural_collapse`; ``None`` if the class means do
    not differ. Arguments and errors: :func:`compactness`.

    >>> round(nc1([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1]), 6)
    0.125
    """
    return _of_features(features, labels, num_classes)['nc1']


def nc4(features: Any, labels: Any, weight: Any, bias: Any = None) -> float | None:
    """NC4 (Eq. 31): the rate, in [0, 1], at which argmax W h - b is not the nearest class mean;
    ``None`` if fewer than two classes have samples. Arguments and errors: :func:`measure`.

    >>> nc4([[1.0], [-1.0]], [0, 1], [[1.0], [-1.0]]), nc4([[1.0], [-1.0]], [0, 1], [[-1.0], [1.0]])
    (0.0, 1.0)
    """
    return measure(features, labels, weight, bias)['nc4']


def score_statistics(features: Any, labels: Any, weight: Any) -> dict[str, float | None]:
    """Mean and standard deviation of the positive and the negative scores W h (Eqs. 51-54):
    ``s_pos_mean``, ``s_pos_std``, ``s_neg_mean``, ``s_neg_std``; the latter two ``None`` with one
    class. Arguments and errors: :func:`measure`.

    >>> score_statistics([[1.0, 0.0], [0.0, 3.0]], [0, 1], [[1.0, 0.0], [0.0, 1.0]])
    {'s_pos_mean': 2.0, 's_pos_std': 1.0, 's_neg_mean': 0.0, 's_neg_std': 0.0}
    """
    found = measure(features, labels, weight)
    return {key: found[key] for key in ('s_pos_mean', 's_pos_std', 's_neg_mean', 's_neg_std')}


def _of_features(features: Any, labels: Any, num_classes: int | None) -> dict[str, Any]:
    """What does not depend on the classifier, which is 0 here."""
    features = as_matrix('features', features)
    labels = as_labels(labels, features, num_classes)
    check_some(len(labels))
    classes = num_classes or int(labels.max()) + 1
    zeros = features.new_zeros(classes, features.shape[1], dtype=torch.float64)
    return measure(features, labels, zeros)
