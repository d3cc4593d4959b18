"""A training run of a shipped config that stands still between its steps."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

import bce3s
from bce3s.config import load_config
from bce3s.datasets.in_memory import CIFAR100LT, InMemoryLongTailed
from bce3s.datasets.whole_batches import WholeBatches
from bce3s.engine import checkpoint as checkpoint  # the atomic backend that the configs name
from bce3s.engine.run_state import bare_model
from bce3s.engine.runner import QuietRunner
from bce3s.errors import BCE3SError
from bce3s.randomness import Clock
from bce3s.registry import DATASETS
from benchmarks.timing import Options

CONFIGS = Path(bce3s.__file__).parents[1] / 'configs'
NETWORKS = {  # network: method: config
    'ResNet-32': {
        'CE': 'baselines/cifar100lt_if100_ce_r32.py',
        'BCE': 'baselines/cifar100lt_if100_ce_r32.py model.head.joint.type=BCEJoint',
        'BCE3S': 'bce3s/cifar100lt_if100_r32.py',
    },
    'ResNet-34': {
        'CE': 'baselines/cifar100lt_if100_ce.py',
        'BCE': 'baselines/cifar100lt_if100_ce.py model.head.joint.type=BCEJoint',
        'BCE3S': 'bce3s/cifar100lt_if100.py',
    },
}
QUICK = {  # tiny networks of the same classes: config of the backbone, features
    'CIFARResNet': (dict(type='CIFARResNet', depth=8, width=0.25), 16),
    'ResNet_CIFAR': (dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4), 32),
}


@DATASETS.register_module()
class NoiseLT(WholeBatches, InMemoryLongTailed):
    """Random images of the shape and number of CIFAR-100-LT: augmented and trained on as fast."""

    classes = CIFAR100LT.classes
    default_n_max = 500

    def __init__(self, *args: Any, per_class: int = 500, **options: Any) -> None:
        self.per_class = per_class  # images before subsampling
        super().__init__(*args, n_max=per_class, **options)

    def read(self, train: bool) -> tuple[np.ndarray, np.ndarray, str]:
        labels = np.repeat(np.arange(len(self.classes)), self.per_class)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
        return images, labels, 'noise'


@functools.cache
def dataset_config(data_root: str, quick: bool) -> tuple[dict[str, Any], str]:
    """What to change in a loader's data set, and a sentence that says what it then is."""
    if quick:
        return dict(type='NoiseLT', per_class=20, imbalance_factor=4), 'Images: noise.'
    real = dict(data_root=data_root, download=False, verify=False)
    try:
        CIFAR100LT(data_root, verify=False)
    except BCE3SError:
        return dict(type='NoiseLT'), (
            f'Images: noise of the shape of CIFAR-100-LT, which is not in {data_root}.'
        )
    return real, 'Images: CIFAR-100-LT, imbalance factor 100.'


def config(path: str, options: Options, changes: dict[str, Any] | None = None) -> Config:
    """``configs/<path>`` (options may follow it) on the data at hand, without validation and
    checkpoints; tiny with ``quick``.

    Args:
        changes: by dotted path, such as ``{'model.precision': 'fp32'}``.
    """
    path, *changed = path.split()
    cfg = load_config(str(CONFIGS / path), changed)
    dataset, _ = dataset_config(options.data_root, options.quick)
    if dataset.get('type') == 'NoiseLT':
        cfg.train_dataloader.dataset = dict(dataset, split='train')
    else:
        cfg.train_dataloader.dataset.update(dataset)
    if options.quick:
        backbone, features = QUICK[cfg.model.backbone.type]
        cfg.model.backbone, cfg.model.head.in_channels = backbone, features
        cfg.train_dataloader.batch_size = 8
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = None
    cfg.merge_from_dict(changes or {})
    return cfg


class Run:
    """A run after its start; each :meth:`step` is an iteration as the Runner has it, data included.

    Attributes:
        runner, loop, model, optim_wrapper: of MMEngine; the model without a wrapper.
        dataset: of the training loader.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner, self.loop, self.model = runner, runner.train_loop, bare_model(runner)
        self.optim_wrapper = runner.optim_wrapper
        self.dataset = runner.train_dataloader.dataset
        self._batches = enumerate(self.loop.dataloader)

    def step(self) -> None:
        self.loop.run_iter(*self.next_batch())

    @property
    def precision(self) -> str:
        """In which the backbone multiplies: ``fp32`` or ``bf16``."""
        dtype = self.model.dtype(next(self.model.parameters()).device)
        return 'bf16' if dtype == torch.bfloat16 else 'fp32'

    def next_batch(self) -> tuple[int, Any]:
        """Number in the epoch, batch; at the end of an epoch the next one begins."""
        try:
            return next(self._batches)
        except StopIteration:
            self.runner.call_hook('after_train_epoch')
            self.loop._epoch += 1
            _begin_epoch(self.loop)
            self._batches = enumerate(self.loop.dataloader)
            return next(self._batches)

    def views(self, batch: Any) -> dict[str, Any]:
        """What the preprocessor makes of a batch of the loader, ``inputs`` and ``data_samples``."""
        self.model.data_preprocessor.clock = Clock(0, self.loop.epoch, self.loop.iter)
        return self.model.data_preprocessor(batch, True)


@contextlib.contextmanager
def started(cfg: Config) -> Iterator[Run]:
    """Builds everything as ``tools/train.py`` does and stops before the first iteration.

    Log files, curves and what the console shows go to a temporary folder and nowhere.
    """
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open('w') as nowhere:
        cfg.work_dir, cfg.experiment_name = folder, f'benchmark-{uuid.uuid4().hex}'
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            runner = QuietRunner.from_cfg(cfg)  # its log handler keeps this stdout
            loop = runner.build_train_loop(runner._train_loop)
            loop.run = functools.partial(_begin, loop)
            runner._train_loop = loop
            runner.train()
        try:
            yield Run(runner)
        finally:
            runner.visualizer.close()
            for handler in list(runner.logger.handlers):
                handler.close()
                runner.logger.removeHandler(handler)


def _begin(loop: Any) -> torch.nn.Module:
    """The beginning of the loop's ``run``."""
    loop.runner.call_hook('before_train')
    _begin_epoch(loop)
    return loop.runner.model


def _begin_epoch(loop: Any) -> None:
    loop.runner.call_hook('before_train_epoch')
    loop.runner.model.train()
