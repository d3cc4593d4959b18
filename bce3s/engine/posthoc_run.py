"""The post-hoc methods on what a run's network says of its images: what ``bce3s posthoc``
computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.outputs import Outputs, run_outputs
from bce3s.engine.report_hook import config_name, versions
from bce3s.engine.run_directory import RunDirectory, require_one_label, thresholds_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.posthoc import (
    LogitAdjustment,
    LogOddsAdjustment,
    MultiplicativeAdjustment,
    Scores,
    TauNormalization,
    Temperature,
    accuracies,
    figures,
    posthoc_rows,
)
from bce3s.evaluation.retrieval import nearest_class_mean
from bce3s.losses import BalancedBCE, LogitAdjustedCE

TWICE = (
    'The loss of this run has the prior in its logits already: to adjust them once more is to do '
    'it twice.'
)
SAME_NORMS = (
    'The weights of this classifier all have the same length, so that tau-normalisation changes '
    'nothing.'
)


def posthoc(
    run: RunDirectory, batch_size: int = 500, say: Callable[[str], object] = str
) -> dict[str, Any]:
    """Everything ``posthoc.json`` says: plain Python values, no NaN.

    The numbers are chosen on the validation and measured on the test images where the config has
    loaders of both; on the only evaluation images there are otherwise, cross-fitted.

    Args:
        run: whose outputs are taken, or computed.
        batch_size: images at a time.
        say: gets a line before each part of the work.

    Raises:
        BCE3SError: no evaluation or training data, images with several labels, or logits that are
            not finite.
    """
    measured, tuning = _evaluation(run, batch_size, say)
    say(f'train: what the network says of the training images ({sum(measured.class_counts)})')
    train = run_outputs(run, 'train', batch_size)
    notes = [f'{o.split}: {o.note}' for o in (measured, tuning, train) if o is not None and o.note]
    split = 'test' if 'test' in run.splits else 'val'
    limits, probabilities = thresholds_of(run.config, split), run.probabilities
    counts = measured.class_counts
    if measured.logits.shape[1] != len(counts):
        raise BCE3SError(
            f'The model of {run.folder} has {measured.logits.shape[1]} classes, its data '
            f'{len(counts)}: the data have changed since the training.'
        )
    rest = (counts, limits)

    def describe(logits: Tensor) -> dict[str, Any]:
        return figures(logits, measured.labels, *rest, probabilities)

    normalization = TauNormalization(measured.weight, measured.bias)
    adjusted = [LogitAdjustment(counts, [1.0]), LogitAdjustment(counts)]
    if probabilities.name == 'sigmoid':
        adjusted += [LogOddsAdjustment(counts, [1.0]), LogOddsAdjustment(counts)]
    else:  # where logits are mostly below 0, as those of sigmoids, it would favour the common ones
        adjusted.append(MultiplicativeAdjustment(counts))
    methods = (*adjusted, normalization, Temperature(probabilities))
    rows = []
    scores = [o and Scores.of(o.logits, o.labels) for o in (measured, tuning)]
    for row in posthoc_rows(*scores, methods, describe):
        say(f'{row["method"]}: done')
        rows.append(row)
    rows += _nearest_class_means(measured, train, *rest)
    return {
        'config': config_name(run.config.filename),
        'checkpoint': run.checkpoint.name,
        'seed': (run.config.get('randomness') or {}).get('seed'),
        'score': probabilities.name,
        'tuned_on': measured.split if tuning is None else tuning.split,
        'measured_on': measured.split,
        'cross_fitted': tuning is None,
        'samples': len(measured.labels),
        'class_counts': counts,
        'thresholds': {'many': limits.many, 'few': limits.few},
        'rows': rows,
        'notes': [
            *notes,
            *[TWICE] * (run.loss in (LogitAdjustedCE, BalancedBCE)),
            *[SAME_NORMS] * normalization.changes_nothing,
        ],
        'versions': versions(),
    }


def _evaluation(
    run: RunDirectory, batch_size: int, say: Callable[[str], None]
) -> tuple[Outputs, Outputs | None]:
    """What is measured, and other images to choose on if there are any."""
    found = []
    for split in ('test', 'val'):
        if split in run.splits:
            say(f'{split}: what the network says of the images of {split}_dataloader')
            found.append(run_outputs(run, split, batch_size))
            require_one_label(found[0].labels.ndim == 2, 'Post-hoc adjustment of the scores')
    if not found:
        raise BCE3SError(f'The config of {run.folder} has neither val_ nor test_dataloader.')
    if len(found) == 1 or found[0].split == found[1].split:
        return found[0], None
    return found[0], found[1]


def _nearest_class_means(
    measured: Outputs, train: Outputs, counts: list[int], limits: Thresholds
) -> Iterator[dict[str, Any]]:
    """Rows of a classifier that needs no choice: the means are of the training features."""
    for metric, name in (('cosine', 'cosine'), ('euclidean', 'Euclidean')):
        preds = nearest_class_mean(
            measured.features, train.features, train.labels, len(counts), metric
        )
        yield {
            'method': f'Nearest class mean, {name}',
            'parameter': None,
            'values': [],
            **accuracies(measured.labels, preds, counts, limits),
            'ece': None,
            'nll': None,
        }
