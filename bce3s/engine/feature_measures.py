"""How the features develop: the measures of "BCE vs. CE in Deep Feature Learning" at each epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bce3s.engine.feature_extraction import feature_batches
from bce3s.engine.loops import epoch_size
from bce3s.engine.run_directory import require_one_label, thresholds_of
from bce3s.engine.run_state import bare_model
from bce3s.errors import BCE3SError
from bce3s.evaluation.decision_scores import alpha
from bce3s.evaluation.disturbance import disturbed_accuracy
from bce3s.evaluation.features import measure_batches
from bce3s.files import write_all
from bce3s.registry import HOOKS

HISTORY = 'measures_history'  # its name in the message hub, which checkpoints keep
FILE = 'measures.json'
LOGGED = ('accuracy', 'uniform_accuracy', 'nc1', 'nc2', 'nc3', 'e_com', 'e_dis')
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


@HOOKS.register_module()
class FeatureMeasuresHook(Hook):
    """Measures accuracy, uniform accuracy, neural collapse, compactness and distinctiveness.

    After every ``interval``-th epoch and the last one, the images of each set go through the
    network once, without augmentation, and ``measure_batches`` turns features, labels and
    classifier into numbers. All epochs' rows are written to ``WORK_DIR/measures.json`` (rank 0;
    the last row has the histograms that violin plots need), and as curves to the visualiser; the
    history lies in the message hub, so that a resumed run continues it. Where the loss has separate
    decays, ``alpha`` and ``alpha_defined`` are the right side of Eq. 12 at the mean bias, with
    ``n = B / K`` (as printed in Tables 6-11, without ``lambda_b b``; and as Eq. 57 defines it).
    Several ranks share each set and merge what they accumulated.

    Args:
        sets: which of ``train`` (the training set) and ``test`` (the validation set).
        interval: epochs between two measurements.
        batch_size: images at a time.
        cache_bytes: features up to this size are kept between the two passes that the measures
            make over them; larger ones are computed twice.
        disturbances: whether the last row of the test set also has
            :func:`~bce3s.evaluation.disturbance.disturbed_accuracy`, for which all its features are
            held.

    Raises:
        BCE3SError: an unknown set, images with several labels, or a model without a linear
            classifier.
    """

    priority = 'LOW'  # before CheckpointHook, so that a checkpoint knows its own measures

    def __init__(
        self,
        sets: Sequence[str] = ('train', 'test'),
        interval: int = 1,
        batch_size: int = 500,
        cache_bytes: float = 2e9,
        disturbances: bool = False,
    ) -> None:
        unknown = set(sets) - {'train', 'test'}
        if unknown or not sets or interval < 1:
            raise BCE3SError(
                f'FeatureMeasuresHook: sets={list(sets)}, interval={interval}: use train, test or '
                'both, and an interval of at least 1.'
            )
        self.sets, self.interval = tuple(sets), interval
        self.batch_size, self.cache_bytes = batch_size, cache_bytes
        self.disturbances = disturbances

    def before_train(self, runner: Runner) -> None:
        classifier = getattr(getattr(bare_model(runner), 'head', None), 'classifier', None)
        if not (hasattr(classifier, 'linear') and hasattr(classifier, 'embed')):
            raise BCE3SError(
                'FeatureMeasuresHook needs a head with a linear classifier, such as TripartiteHead:'
                ' use that, or remove the hook (default_hooks.measures=None).'
            )
        meta = getattr(runner.train_dataloader.dataset, 'metainfo', {})
        require_one_label(
            bool(meta.get('multilabel')), 'FeatureMeasuresHook (default_hooks.measures)'
        )

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1  # counted from 1
        last = epoch == runner.max_epochs
        if epoch % self.interval and not last:
            return
        row = {'epoch': epoch}
        for name in self.sets:
            loader = runner.train_dataloader if name == 'train' else runner.val_dataloader
            started = time.perf_counter()
            batches = self._batches(runner, loader)
            row[name] = self._measure(runner, loader.dataset, batches, distributions=last)
            if last and self.disturbances and name == 'test':
                row[name] |= _disturbed(runner, batches)
            _log(runner, name, row[name], time.perf_counter() - started)
        history = runner.message_hub.get_info(HISTORY, [])
        history = [past for past in history if past['epoch'] < epoch] + [row]
        runner.message_hub.update_info(HISTORY, history)
        if is_main_process():
            _write(runner, history)

    def _batches(self, runner: Runner, loader: DataLoader) -> Batches:
        """Two passes over (features, labels) of this rank's share of the loader's data set."""
        model, (rank, ranks) = bare_model(runner), get_dist_info()
        classifier, samples = model.head.classifier, len(loader.dataset)
        share = range(samples * rank // ranks, samples * (rank + 1) // ranks)

        @torch.no_grad()
        def computed() -> Iterator[tuple[Tensor, Tensor]]:
            for features, labels in feature_batches(
                model, loader.dataset, self.batch_size, share, loader.num_workers
            ):
                yield classifier.embed(features), labels

        if 4 * len(share) * classifier.in_features > self.cache_bytes:
            return computed
        kept = list(computed())
        return lambda: iter(kept)

    @torch.no_grad()
    def _measure(
        self, runner: Runner, dataset: Dataset, batches: Batches, distributions: bool
    ) -> dict[str, Any]:
        head = bare_model(runner).head
        weight, bias = head.classifier.linear()
        values = measure_batches(
            batches,
            weight,
            -bias,  # z = W h - b, the sign of the ICML paper
            class_counts=dataset.metainfo['class_counts'],
            distributions=distributions,
            reduce=_merged if get_dist_info()[1] > 1 else None,
            thresholds=thresholds_of(runner.cfg),
        )
        if head.decay:
            right_side = partial(
                alpha,
                values['b_mean'],
                values['rho'],
                num_classes=len(weight),
                samples_per_class=epoch_size(runner.train_dataloader)['global_batch'] / len(weight),
                decay_weight=head.decay.lambdas['weight'],
                decay_feature=head.decay.lambdas['feature'],
            )
            values['alpha'] = right_side()
            values['alpha_defined'] = right_side(decay_bias=head.decay.lambdas['bias'])
        return values


def _disturbed(runner: Runner, batches: Batches) -> dict[str, float]:
    """Of the samples of all ranks, in their order."""
    classifier = bare_model(runner).head.classifier
    features, labels = (torch.cat(part).cpu() for part in zip(*batches(), strict=True))
    parts = all_gather_object((features, labels))
    features, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    weight, bias = classifier.linear()
    return disturbed_accuracy(
        features, labels, weight, -bias, normalize=classifier.normalize_feature
    )


def _merged(part: Any) -> Any:
    """A pass over the samples of all ranks, on every rank."""
    state = {name: tensor.cpu() for name, tensor in part.state().items()}  # as it is pickled
    return part.merged(all_gather_object(state))


def _log(runner: Runner, name: str, values: dict, seconds: float) -> None:
    scalars = {f'{name}/{k}': v for k, v in values.items() if isinstance(v, float)}
    runner.visualizer.add_scalars(scalars, step=runner.epoch + 1)
    shown = ', '.join(f'{k} {values[k]:.4g}' for k in LOGGED if values.get(k) is not None)
    runner.logger.info(
        f'Epoch {runner.epoch + 1}, features of the {name} set: {shown} ({seconds:.1f} s)'
    )


def _write(runner: Runner, history: list[dict]) -> None:
    head = bare_model(runner).head
    content = {
        'config': Path(runner.cfg.filename or 'unnamed').name,
        'seed': runner.seed,
        'max_epochs': runner.max_epochs,
        'decay': head.decay and dict(head.decay.lambdas),
        'batch_size': epoch_size(runner.train_dataloader)['global_batch'],
        'epochs': history,
    }
    write_all({FILE: json.dumps(content, indent=1, allow_nan=False)}, runner.work_dir)
