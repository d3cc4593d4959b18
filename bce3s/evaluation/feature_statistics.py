"""All measures of features and classifier in two passes over batches, mergeable across ranks.

The first pass sums up what needs no mean (and keeps two scores a sample, for the uniform accuracy);
the second what does: NC1, NC4, compactness, histograms. Sums and products are float64 whatever the
features are, a block of rows at a time, so batching and merging change nothing beyond rounding.
Logits are z = features @ weight.T - bias, the sign of "BCE vs. CE in Deep Feature Learning" (ICML
2025): a linear layer's bias is MINUS ``bias``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds, split_masks
from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import as_matrix, as_tensor, check_some
from bce3s.evaluation.decision_scores import bias_statistics, describe_scores, rho
from bce3s.evaluation.feature_passes import FirstPass, SecondPass
from bce3s.evaluation.feature_properties import class_compactness, class_distinctiveness
from bce3s.evaluation.neural_collapse import nc2, nc3
from bce3s.evaluation.uniform_accuracy import exact_uniform_accuracy, gridded_uniform_accuracy

Batches = Callable[[], Iterable[tuple[Any, Any]]]
Reduce = Callable[[Any], Any]


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
    """
    features = as_matrix('features', features)
    weight = as_tensor(weight, features.device)
    return measure_batches(
        lambda: [(features, labels)],
        weight,
        bias,
        class_counts,
        distributions,
        thresholds=thresholds,
    )


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
        reduce: given the accumulator of each pass in turn, returns that of all ranks, for example
            ``lambda part: part.merged(gathered_states)``.
        thresholds: where Many ends and Few begins.

    Returns:
        A dict. ``accuracy`` (Eq. 41, the first of equal scores is predicted), ``uniform_accuracy``
        (exact) with ``uniform_threshold``, ``uniform_accuracy_200`` (the paper's thresholds),
        ``e_com``, ``e_dis`` in percent; ``nc1``, ``nc2``, ``nc2_uncentred``, ``nc3``,
        ``nc3_centred``; ``nc4`` in [0, 1]; ``rho``; ``s_pos_mean``, ``s_pos_std``, ``s_neg_mean``,
        ``s_neg_std`` (without bias), ``b_mean``, ``b_std``; ``samples``, ``classes`` (those with
        samples). What is not defined is ``None``: with one class NC1 to NC4 and E_dis, without a
        right sample the threshold.

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
    weight, bias = _classifier(weight, bias)
    masks = {} if class_counts is None else _masks(class_counts, thresholds, weight)
    first = _run(FirstPass(weight, bias), batches, reduce)
    check_some(int(first.counts.sum()))
    second = _run(SecondPass(first, weight, bias, distributions), batches, reduce)
    if not torch.equal(first.counts, second.counts):
        raise BCE3SError(
            f'The first pass over the features saw {int(first.counts.sum())} samples, the second '
            f'{int(second.counts.sum())} or of other classes: batches() must give the same '
            'samples each time it is called.'
        )
    everything = torch.ones_like(first.counts, dtype=torch.bool)
    result = {
        **_measures_of(first, second, everything),
        'uniform_accuracy_200': gridded_uniform_accuracy(*first.extremes()[:2]).accuracy,
        'nc2': nc2(weight),
        'nc2_uncentred': nc2(weight, centred=False),
        'nc3': nc3(weight, second.class_means),
        'nc3_centred': nc3(weight, second.class_means, centred=True),
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


def _run(part: Any, batches: Batches, reduce: Reduce | None) -> Any:
    for features, labels in batches():
        part.update(features, labels)
    return part if reduce is None else reduce(part)


def _measures_of(first: FirstPass, second: SecondPass, classes: Tensor) -> dict[str, Any]:
    """What is a sum over samples or classes, over those of ``classes`` (a mask)."""
    counts = first.counts
    samples, present = int(counts[classes].sum()), classes & (counts > 0)
    positive, max_negative, labels = first.extremes()
    of_split = classes[labels]
    uniform = exact_uniform_accuracy(positive[of_split], max_negative[of_split])
    several = len(second.class_means.classes) > 1
    distinct = class_distinctiveness(first.unit_sums, counts)[present].mean()
    squares, differing = second.whitened[classes].sum(), second.differing[classes].sum()
    return {
        'accuracy': 100.0 * int(first.right[classes].sum()) / samples,
        'uniform_accuracy': uniform.accuracy,
        'uniform_threshold': uniform.threshold,
        'e_com': float(class_compactness(second.unit_sums, counts)[present].mean()),
        'e_dis': float(distinct) if several else None,
        'nc1': float(squares) / samples if len(second.whitening) else None,
        'nc4': int(differing) / samples if several else None,
        **describe_scores(first.positive, first.negative, classes),
        'samples': samples,
        'classes': int(present.sum()),
    }


def _classifier(weight: Any, bias: Any) -> tuple[Tensor, Tensor]:
    weight = as_matrix('weights', weight).double()
    bias = weight.new_zeros(len(weight)) if bias is None else as_tensor(bias, weight.device)
    if bias.shape != weight.shape[:1]:
        raise BCE3SError(
            f'The classifier has {len(weight)} classes, but the biases have the shape '
            f'{tuple(bias.shape)}: give one bias for each class.'
        )
    bias = bias.double()
    if not all(torch.isfinite(torch.linalg.vector_norm(part)) for part in (weight, bias)):
        raise BCE3SError('The weights or biases are not finite: the model has diverged.')
    return weight, bias


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
