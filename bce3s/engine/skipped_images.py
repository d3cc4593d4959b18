"""How many images could not be read, and which were the first."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from bce3s.datasets.checks import printable
from bce3s.registry import HOOKS

SKIPPED = 'skipped_images'  # its name in the message hub, which checkpoints keep
NAMED = 10  # images of each set that are written out


@HOOKS.register_module()
class SkippedImagesHook(Hook):
    """Counts what data sets with ``unreadable='skip'`` could not read (:class:`ImageFiles`).

    In training: draws for which another image of the class stood in, since the beginning of the run
    and of all processes together, an image as often as it was drawn; partners of a mix are draws
    too. ``message_hub.get_info('skipped_images')['train']``, which the report shows, is brought up
    to date at the end of an epoch and before a checkpoint, which keeps it: a resumed run counts on.
    In an evaluation: distinct images, which ``LongTailedMetric`` leaves out and the report counts.
    The first ones of each set are named in the log, once. With other data sets, and with
    ``unreadable='stop'``, nothing is done; the flags are read on the CPU, where the loader put
    them.
    """

    def __init__(self) -> None:
        self._named: dict[str, set[int]] = {}
        self._drawn: list[int] = []  # since the last count
        self._left_out: set[int] = set()

    # ------------------------------------------------------------------------------------ training
    def before_train(self, runner: Runner) -> None:
        self._drawn = []

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        found = _skipped(data_batch)
        if found:
            self._drawn += found
            self._name(runner, 'train', runner.train_dataloader.dataset, found)

    def after_train_epoch(self, runner) -> None:
        self.before_saving(runner)

    def before_saving(self, runner) -> None:
        """Adds up the processes; each of them has to call it."""
        dataset = runner.train_dataloader.dataset
        if not _skips(dataset):
            return
        drawn, self._drawn = self._drawn, []
        drawn = [index for part in all_gather_object(drawn) for index in part]
        self._name(runner, 'train', dataset, drawn)
        total = runner.message_hub.get_info(SKIPPED, {}).get('train', 0) + len(drawn)
        runner.message_hub.update_info(SKIPPED, dict(train=total))

    # ---------------------------------------------------------------------------------- evaluation
    def before_val_epoch(self, runner) -> None:
        self._left_out = set()

    before_test_epoch = before_val_epoch

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._left_out.update(_skipped(data_batch))

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._evaluated(runner, runner.val_dataloader.dataset)

    def after_test_epoch(self, runner, metrics=None) -> None:
        self._evaluated(runner, runner.test_dataloader.dataset)

    def _evaluated(self, runner, dataset: Any) -> None:
        if not _skips(dataset):
            return
        found = sorted(set().union(*all_gather_object(self._left_out)))
        split = dataset.metainfo['split']
        self._name(runner, split, dataset, found)
        if found:
            runner.logger.warning(
                f'{len(found):,} of {len(dataset):,} images of the {split} set cannot be read and '
                'are left out of the figures.'
            )

    def _name(self, runner, split: str, dataset: Any, indices: list[int]) -> None:
        named = self._named.setdefault(split, set())
        for index in indices:
            if len(named) < NAMED and index not in named:
                named.add(index)
                path = printable(dataset.paths[index])
                runner.logger.warning(f'{path} of the {split} set cannot be read and is skipped.')


def _skips(dataset: Any) -> bool:
    return getattr(dataset, 'unreadable', None) == 'skip'


def _skipped(data_batch: Any) -> list[int]:
    """Indices of the samples of a batch that could not be read."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not isinstance(samples, dict) or 'skipped' not in samples:
        return []
    return torch.as_tensor(samples['indices'])[samples['skipped']].tolist()
