"""How good the features of a checkpoint are: what ``bce3s feature-quality`` computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.feature_extraction import Extracted, extract
from bce3s.engine.report_hook import config_name, versions
from bce3s.engine.run_directory import (
    LOADERS,
    RunDirectory,
    require_one_label,
    thresholds_of,
)
from bce3s.engine.unknown_sets import display_name, unknown_dataset
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_means
from bce3s.evaluation.open_set import evaluate_open_set, unknown_accepted
from bce3s.evaluation.rejection import Extremes, measure_rejection
from bce3s.evaluation.rejection_scores import MAX_LOGIT, ClassDistances, Images, all_scores
from bce3s.evaluation.retrieval import METRICS, evaluate_retrieval, nearest_class_mean, searcher
from bce3s.evaluation.uniform_accuracy import uniform_accuracy

NEIGHBOURS = (1, 5, 10, 20)

MAX_SOFTMAX = 'largest softmax probability'  # a score of being known, besides those of all_scores
CROSS_FITTED = 'uniform (test images)'  # the name of a threshold


def feature_quality(
    run: RunDirectory,
    unknown: Sequence[str] = (),
    ks: Sequence[int] | None = None,
    batch_size: int = 500,
    unknown_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything ``features.json`` says: plain Python values, figures in percent, no NaN.

    Each image goes through the network once. The features of the training set are the gallery, and
    those of the test set (or else the validation set) the queries; nothing is augmented.

    Args:
        run: its config and checkpoint.
        unknown: data sets whose classes the model does not know, see
            :func:`~.unknown_sets.unknown_config`.
        ks: numbers of neighbours; None: those of ``NEIGHBOURS`` that the sets allow.
        batch_size: images at a time.
        unknown_options: further arguments of these data sets.

    Raises:
        BCE3SError: a checkpoint that does not fit, features that are not finite, fewer features
            than neighbours, images with several labels, an unknown data set that is known or does
            not exist.
    """
    search = searcher()  # without faiss nothing need be begun
    model, meta = run.model()
    split = next((split for split in ('test', 'val') if split in run.splits), None)
    if split is None:
        raise BCE3SError(f'{run.config.filename} has neither test_dataloader nor val_dataloader.')
    train_set, test_set, loader = (
        run.dataset('train'),
        run.dataset(split),
        run.config[LOADERS[split]],
    )
    require_one_label(bool(train_set.metainfo.get('multilabel')), 'The quality of the features')
    if list(train_set.metainfo['classes']) != list(test_set.metainfo['classes']):
        raise BCE3SError(
            'The training set and the test set have different classes: give both the same '
            'data set options, such as keep_classes.'
        )
    ks = _checked_ks(ks, train_set, test_set)
    others = {
        spec: unknown_dataset(spec, loader.dataset, test_set, unknown_options)
        for spec in dict.fromkeys(unknown)
    }
    see = partial(extract, model, batch_size=batch_size, num_workers=loader.get('num_workers') or 0)
    train, test = see(train_set), see(test_set)
    counts = [int(n) for n in test_set.metainfo['class_counts']]
    limits = thresholds_of(run.config, 'test')
    if test.logits.shape[1] != len(counts):
        raise BCE3SError(
            f'The model has {test.logits.shape[1]} classes, the data {len(counts)}: give the data '
            'set options of the training, such as keep_classes.'
        )
    name = str(test_set.metainfo.get('dataset', 'data set'))
    return {
        'config': config_name(run.config.filename),
        'dataset': name,
        'split': str(test_set.metainfo.get('split', 'test')),
        'class_counts': counts,
        'thresholds': {'many': limits.many, 'few': limits.few},
        'train_samples': len(train.labels),
        'test_samples': len(test.labels),
        'dimensions': train.features.shape[1],
        'ks': sorted(set(ks)),
        **_closed_set(train, test, counts, limits, ks),
        'open_set': [
            {'unknown_set': display_name(spec, name), 'unknown': len(dataset), **figures}
            for spec, dataset, figures in _open_sets(
                see, others, train, test, counts, limits, run.probabilities.name == 'sigmoid'
            )
        ],
        'checkpoint': run.checkpoint.name,
        'epoch': meta.get('epoch'),
        'seed': meta.get('seed'),
        'versions': versions(),
        'search': search,
    }


def _checked_ks(ks: Sequence[int] | None, train_set: Dataset, test_set: Dataset) -> Sequence[int]:
    """Before anything is computed. Each test image has one neighbour fewer among its own set."""
    most = min(len(train_set), len(test_set) - 1)
    if most < 1:
        raise BCE3SError(
            f'Nearest neighbours take a training image and two test images at least, but there are '
            f'{len(train_set)} and {len(test_set)}.'
        )
    if ks is None:
        ks = [k for k in NEIGHBOURS if k <= most]
    wrong = [k for k in ks if not 1 <= k <= most]
    if wrong or not ks:
        raise BCE3SError(
            f'--k {" ".join(map(str, wrong))}: there are {len(train_set)} training and '
            f'{len(test_set)} test images, so the number of neighbours is between 1 and {most}.'
        )
    return ks


# --------------------------------------------------------------------------------------- closed set
def _closed_set(
    train: Extracted,
    test: Extracted,
    counts: Sequence[int],
    limits: Thresholds,
    ks: Sequence[int],
) -> dict[str, Any]:
    labels, gallery = test.labels.numpy(), (train.features, train.labels)

    def accuracy(preds: np.ndarray) -> dict[str, float | None]:
        return split_means(100.0 * (preds == labels), labels, counts, limits)

    def class_mean(metric: str) -> dict[str, float | None]:
        return accuracy(nearest_class_mean(test.features, *gallery, len(counts), metric))

    def retrieval(*gallery: Any) -> dict[str, Any]:
        return evaluate_retrieval(test.features, labels, *gallery, counts, limits, ks)

    return {
        'classifier': accuracy(test.logits.argmax(dim=1).numpy()),
        'nearest_class_mean': {metric: class_mean(metric) for metric in METRICS},
        'from_training': retrieval(*gallery),
        'within_test': retrieval(None, None),
    }


# ----------------------------------------------------------------------------------------- open set
def _open_sets(
    see: Callable[[Dataset], Extracted],
    others: Mapping[str, Dataset],
    train: Extracted,
    test: Extracted,
    counts: Sequence[int],
    limits: Thresholds,
    sigmoid: bool,
) -> Iterator[tuple[str, Dataset, dict[str, Any]]]:
    """For each unknown set and each score the figures; right is what the classifier has right."""
    if not others:
        return
    distances = ClassDistances.of(train.features, train.labels)
    of = partial(_scores, train=train, sigmoid=sigmoid, distances=distances)
    labels, known = test.labels.numpy(), of(test)
    correct = test.logits.argmax(dim=1).numpy() == labels
    uniform = uniform_accuracy(train.logits, train.labels).threshold
    at = {'zero': 0.0} | ({} if uniform is None else {'uniform': uniform})
    # of the known each half is held to the threshold that the other half chose; the unknown, which
    # no half has seen, to that of both
    fitted = measure_rejection(Extremes.of(test.logits, test.labels), counts, limits, 'test')
    for spec, dataset in others.items():
        unknown = of(see(dataset))
        for score, values in known.items():
            named, strange = at if score == MAX_LOGIT else None, unknown[score]
            figures = evaluate_open_set(values, correct, labels, strange, counts, limits, named)
            uniform = fitted and fitted['uniform']
            if score == MAX_LOGIT and fitted and uniform['false_rejection']['all'] is not None:
                figures['at'][CROSS_FITTED] = {
                    'threshold': uniform['threshold'],
                    'unknown_accepted': unknown_accepted(strange, uniform['threshold']),
                    'known_rejected': uniform['false_rejection'],
                }
            yield spec, dataset, {'score': score, **figures}


def _scores(
    images: Extracted, train: Extracted, sigmoid: bool, distances: ClassDistances
) -> dict[str, np.ndarray]:
    """Of each score its values (N,), higher meaning known."""
    given = (Images(one.features, one.logits, one.labels) for one in (images, train))
    found = all_scores(*given, sigmoid, distances)
    # The logarithm orders as the probability does, which float64 rounds to 1 at some point.
    softmax = images.logits.double().log_softmax(dim=1).amax(dim=1).numpy()
    return {MAX_LOGIT: found.pop(MAX_LOGIT), MAX_SOFTMAX: softmax, **found}
