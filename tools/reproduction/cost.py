"""What a run will take: from the seconds of finished runs if there are any, else from a count of
multiplications and the usual speed of such a machine.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from bce3s.processes import cores
from reproduction.plan import Job

# 10^9 multiply-adds of one image of 32 x 32 (ImageNet's networks: 224 x 224), forward.
NETWORKS = {
    'ResNet_CIFAR 18': 0.56,
    'ResNet_CIFAR 34': 1.16,
    'ResNet_CIFAR 50': 1.30,
    'DenseNet 121': 0.06,  # stem of stride 4, as for ImageNet
    'CIFARResNet 8': 0.012,
    'CIFARResNet 14': 0.027,
    'CIFARResNet 20': 0.041,
    'CIFARResNet 32': 0.069,
    'ResNet 50': 4.1,
    'ResNet 101': 7.8,
    'DenseNet 161': 7.8,
}
UNKNOWN = 1.0
# Images for training and for testing, classes.
DATA = {
    'MNISTLT': (60_000, 10_000, 10),
    'FashionMNISTLT': (60_000, 10_000, 10),
    'CIFAR10LT': (50_000, 10_000, 10),
    'CIFAR100LT': (50_000, 10_000, 100),
    'DigitsLT': (405, 500, 10),
}
IMAGENET = (1_281_167, 50_000, 1000)
# 10^9 multiply-adds a second that training reaches in float32, and seconds that a step costs
# whatever its size.
CPU_CORE = 30.0
GPU = 8_000.0
STEP = {'cpu': 0.004, 'gpu': 0.02}
START = 5.0  # seconds before the first step and after the last


@dataclass(frozen=True)
class Estimate:
    """``basis``: what it rests on, in words."""

    seconds: float
    basis: str


@cache
def machine() -> str:
    """What runs are timed on: the name of the GPU, or the CPU with its cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'cpu, {cores()} cores'


class Costs:
    """Estimates for jobs, corrected by what finished ones took.

    Args:
        jobs: those that may have been run; of another machine they are left out.
        threads: that each run may use on a CPU.
        device: see :func:`machine`.
    """

    def __init__(self, jobs: Iterable[Job], threads: int, device: str) -> None:
        self.threads, self.device = threads, device
        self._measured: dict[str, list[float]] = {}
        for job in jobs:
            self.learn(job)

    def learn(self, job: Job) -> None:
        """Takes the seconds of a run into account."""
        note = job.result.note
        epochs = sum(part['epochs'] for part in note.get('runs', []))
        if not epochs or note['digest'] != job.digest or note['machine'] != self.device:
            return
        seconds = sum(part['seconds'] for part in note['runs'])
        starts = START * len(note['runs'])
        counted = self.seconds_per_epoch(job.config, note['threads']) * epochs + starts
        for group in self._groups(job):
            self._measured.setdefault(group, []).append(seconds / counted)

    def estimate(self, job: Job) -> Estimate:
        """For the epochs that are left."""
        epochs = max(job.max_epochs - progress(job)[0], 0)
        counted = self.seconds_per_epoch(job.config) * epochs + START
        for group in self._groups(job):
            if corrections := self._measured.get(group):
                runs = 'run' if len(corrections) == 1 else 'runs'
                basis = f'from {len(corrections)} {runs} here: {group}'
                return Estimate(counted * statistics.median(corrections), basis)
        kind = 'a GPU' if self._on_gpu else f'{self.threads} CPU threads'
        return Estimate(counted, f'not measured here: the usual speed of {kind}')

    def _groups(self, job: Job) -> tuple[str, ...]:
        """From the most to the least alike."""
        return f'same config ({job.cell.config})', f'same network ({network(job.config)})', 'any'

    @property
    def _on_gpu(self) -> bool:
        return not self.device.startswith('cpu')

    def seconds_per_epoch(self, cfg: Mapping[str, Any], threads: int = 0) -> float:
        """Counted: forward and backward of the training images, forward where something is
        measured.
        """
        images, test = sizes(cfg)
        loader = cfg.get('train_dataloader') or {}
        preprocessor = (cfg.get('model') or {}).get('data_preprocessor') or {}
        views = 1 + len(preprocessor.get('mix') or ())
        passes = 3 * views * images + _measured_images(cfg, images, test)
        work = passes * _multiply_adds(cfg)
        steps = images / max(int(loader.get('batch_size', 1)), 1)
        if self._on_gpu:
            return work / GPU + steps * STEP['gpu']
        return work / (CPU_CORE * (threads or self.threads)) + steps * STEP['cpu']


def network(cfg: Mapping[str, Any]) -> str:
    """``ResNet_CIFAR 18``, ``DenseNet 121``: type and depth."""
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    return f'{backbone.get("type")} {backbone.get("depth", backbone.get("arch"))}'


def _multiply_adds(cfg: Mapping[str, Any]) -> float:
    width = ((cfg.get('model') or {}).get('backbone') or {}).get('width', 1)
    return NETWORKS.get(network(cfg), UNKNOWN) * width**2


def sizes(cfg: Mapping[str, Any]) -> tuple[int, int]:
    """Images for training and for testing."""
    from bce3s.datasets.long_tailed import class_counts

    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    train, test, classes = DATA.get(dataset.get('type'), IMAGENET)
    kept = len(dataset.get('keep_classes') or ()) or classes
    train, test = train * kept // classes, test * kept // classes
    if dataset.get('imbalance', 'exp') != 'none' and dataset.get('imbalance_factor'):
        n_max = dataset.get('n_max') or train // kept
        kind = dataset.get('imbalance', 'exp')
        train = sum(class_counts(n_max, kept, dataset['imbalance_factor'], kind))
    evaluation = (cfg.get('val_dataloader') or {}).get('dataset') or {}
    if evaluation.get('test_per_class'):
        test = evaluation['test_per_class'] * kept
    return train, test


def progress(job: Job) -> tuple[float, str]:
    """How far the checkpoint is that a resumed run begins from: in epochs, and in words."""
    batch = max(int((job.config.get('train_dataloader') or {}).get('batch_size', 1)), 1)
    steps = math.ceil(sizes(job.config)[0] / batch)
    if job.iterations_done > job.epochs_done * steps:
        text = f'iteration {job.iterations_done}/{job.max_epochs * steps}'
        return job.iterations_done / steps, text
    return job.epochs_done, f'epoch {job.epochs_done}/{job.max_epochs}'


def _measured_images(cfg: Mapping[str, Any], train: int, test: int) -> float:
    """Images that go through the network without a backward pass, an epoch on average."""
    loop = cfg.get('train_cfg') or {}
    views = 2 if (cfg.get('model') or {}).get('flip_tta') else 1
    images = test * views / max(int(loop.get('val_interval', 1)), 1)
    hooks = [*(cfg.get('custom_hooks') or ()), *(cfg.get('default_hooks') or {}).values()]
    for hook in hooks:
        if hook and hook.get('type') == 'FeatureMeasuresHook':
            interval = max(int(hook.get('interval', 1)), 1)
            sets = {'train': train, 'test': test}
            images += sum(sets[name] for name in hook.get('sets', sets)) / interval
    return images


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``, ``4.2 days``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    if seconds < 90 * 60:
        return f'{seconds / 60:.0f} min'
    if seconds < 48 * 3600:
        return f'{seconds / 3600:.1f} h'
    return f'{seconds / 86400:.1f} days'
