"""How good the features of a checkpoint are: what ``tools/feature_quality.py`` computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.feature_extraction import Extracted, extract
from bce3s.engine.report_hook import config_name, versions
from bce3s.engine.run_directory import load_model, thresholds_of
from bce3s.engine.unknown_sets import display_name, unknown_dataset
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_means
from bce3s.evaluation.open_set import evaluate_open_set
from bce3s.evaluation.rejection import Extremes, measure_rejection, rejected
from bce3s.evaluation.retrieval import (
    METRICS,
    evaluate_retrieval,
    nearest_class_mean,
    neighbours,
    searcher,
)
from bce3s.evaluation.uniform_accuracy import uniform_accuracy
from bce3s.registry import DATASETS

NEIGHBOURS = (1, 5, 10, 20)

# The scores of "being known" that are compared.
MAX_LOGIT = 'largest logit'
MAX_SOFTMAX = 'largest softmax probability'
NEAREST = 'cosine to the nearest training feature'
CROSS_FITTED = 'uniform (test images)'  # the name of a threshold


class Scored(NamedTuple):
    """``values`` (N,), higher meaning known, and ``preds`` (N,), the classes they speak for."""

    values: np.ndarray
    preds: np.ndarray


def _datasets(cfg: Config) -> tuple[Dataset, Dataset, ConfigDict]:
    """The training set without augmentation, the test set (or else the validation set), and the
    latter's loader.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if loader is None or cfg.get('train_dataloader') is None:
        raise BCE3SError(
            f'{cfg.filename} lacks a train_dataloader or a val_dataloader: features of the one are '
            'the gallery, those of the other the queries.'
        )
    train, test = DATASETS.build(cfg.train_dataloader.dataset), DATASETS.build(loader.dataset)
    if list(train.metainfo['classes']) != list(test.metainfo['classes']):
        raise BCE3SError(
            'The training set and the test set have different classes: give both the same '
            'data set options, such as keep_classes.'
        )
    return train, test, loader


def feature_quality(
    cfg: Config,
    checkpoint: str | Path,
    unknown: Sequence[str] = (),
    ks: Sequence[int] | None = None,
    batch_size: int = 500,
    unknown_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything ``features.json`` says: plain Python values, figures in percent, no NaN.

    Each image goes through the network once. The features of the training set are the gallery, and
    those of the test set the queries; nothing is augmented.

    Args:
        cfg: config the checkpoint was trained with.
        checkpoint: file.
        unknown: data sets whose classes the model does not know, see
            :func:`~.unknown_sets.unknown_config`.
        ks: numbers of neighbours; None: those of ``NEIGHBOURS`` that the sets allow.
        batch_size: images at a time.
        unknown_options: further arguments of these data sets.

    Raises:
        BCE3SError: a checkpoint that does not fit, features that are not finite, fewer features
            than neighbours, an unknown data set that is known or does not exist.
    """
    init_default_scope(cfg.get('default_scope', 'bce3s'))
    search = searcher()  # without faiss nothing need be begun
    model, meta = load_model(cfg, checkpoint)
    train_set, test_set, loader = _datasets(cfg)
    ks = _checked_ks(ks, train_set, test_set)
    others = {
        spec: unknown_dataset(spec, loader.dataset, test_set, unknown_options)
        for spec in dict.fromkeys(unknown)
    }
    see = partial(extract, model, batch_size=batch_size, num_workers=loader.get('num_workers') or 0)
    train, test = see(train_set), see(test_set)
    counts, limits = [int(n) for n in test_set.metainfo['class_counts']], thresholds_of(cfg, 'test')
    if test.logits.shape[1] != len(counts):
        raise BCE3SError(
            f'The model has {test.logits.shape[1]} classes, the data {len(counts)}: give the data '
            'set options of the training, such as keep_classes.'
        )
    name = str(test_set.metainfo.get('dataset', 'data set'))
    return {
        'config': config_name(cfg.filename),
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
            for spec, dataset, figures in _open_sets(see, others, train, test, counts, limits)
        ],
        'checkpoint': Path(checkpoint).name,
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
) -> Iterator[tuple[str, Dataset, dict[str, Any]]]:
    """For each unknown set and each score the figures. A score is held to the predictions of its
    own: those of the classifier, or the class of the nearest training feature.
    """
    if not others:
        return
    labels, known = test.labels.numpy(), _scores(test, train)
    uniform = uniform_accuracy(train.logits, train.labels).threshold
    at = {'zero': 0.0} | ({} if uniform is None else {'uniform': uniform})
    extremes = Extremes.of(test.logits, test.labels)
    for spec, dataset in others.items():
        unknown = _scores(see(dataset), train)
        for score, (values, preds) in known.items():
            correct, named = preds == labels, at if score == MAX_LOGIT else None
            strange = unknown[score].values
            figures = evaluate_open_set(values, correct, labels, strange, counts, limits, named)
            if score == MAX_LOGIT:
                figures['at'] |= _cross_fitted(extremes, strange, counts, limits)
            yield spec, dataset, {'score': score, **figures}


def _cross_fitted(
    extremes: Extremes, unknown: np.ndarray, counts: Sequence[int], limits: Thresholds
) -> dict[str, dict[str, Any]]:
    """At the uniform threshold of the test set: of the known each half is held to the one that the
    other half chose; the unknown, which no half has seen, to that of both.
    """
    found = measure_rejection(extremes, counts, limits, 'test')
    if found is None or found['false_rejection']['all'] is None:
        return {}
    threshold = found['threshold']
    accepted = 100.0 * (1.0 - rejected(unknown, threshold).mean())
    return {
        CROSS_FITTED: {
            'threshold': threshold,
            'unknown_accepted': float(accepted),
            'known_rejected': found['false_rejection'],
        }
    }


def _scores(images: Extracted, train: Extracted) -> dict[str, Scored]:
    logits = images.logits.double()
    preds = logits.argmax(dim=1).numpy()
    blocks = list(neighbours(images.features, train.features, 1))
    nearest = np.concatenate([block.indices[:, 0] for block in blocks])
    cosines = np.concatenate([block.scores[:, 0] for block in blocks])
    return {
        MAX_LOGIT: Scored(logits.amax(dim=1).numpy(), preds),
        # The logarithm orders as the probability does, which float64 rounds to 1 at some point.
        MAX_SOFTMAX: Scored(logits.log_softmax(dim=1).amax(dim=1).numpy(), preds),
        NEAREST: Scored(cosines, train.labels.numpy()[nearest]),
    }
