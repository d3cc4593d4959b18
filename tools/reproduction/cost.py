"""How far a run is, and what the rest of it will take, from the seconds of runs that were timed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bce3s.processes import cores
from reproduction.plan import Job

# Images for training and for testing, classes.
DATA = {
    'MNISTLT': (60_000, 10_000, 10),
    'FashionMNISTLT': (60_000, 10_000, 10),
    'CIFAR10LT': (50_000, 10_000, 10),
    'CIFAR100LT': (50_000, 10_000, 100),
    'DigitsLT': (405, 500, 10),
}
IMAGENET = (1_281_167, 50_000, 1000)


@cache
def machine() -> str:
    """What runs are timed on: the name of the GPU, or the CPU with its cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'cpu, {cores()} cores'


class Costs:
    """Estimates from the seconds an epoch of runs on the same machine with as many threads.

    Args:
        jobs: those that may have been run.
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
        here = (job.digest, self.device, self.threads)
        if epochs and (note['digest'], note['machine'], note['threads']) == here:
            seconds = sum(part['seconds'] for part in note['runs'])
            self._measured.setdefault(_alike(job), []).append(seconds / epochs)

    def seconds(self, job: Job) -> float | None:
        """For the epochs that are left; None: no run of the same network
        and data was timed here."""
        measured = self._measured.get(_alike(job))
        if not measured:
            return None
        return statistics.median(measured) * max(job.max_epochs - progress(job)[0], 0)


def _alike(job: Job) -> str:
    """Equal for runs that take as long: network, data and views."""
    model = job.config.get('model') or {}
    views = (model.get('data_preprocessor') or {}).get('mix')
    return repr((model.get('backbone'), job.config.get('train_dataloader'), views))


def progress(job: Job) -> tuple[float, str]:
    """How far the checkpoint is that a resumed run begins from: in epochs, and in words."""
    batch = max(int((job.config.get('train_dataloader') or {}).get('batch_size', 1)), 1)
    steps = math.ceil(sizes(job.config)[0] / batch)
    if job.iterations_done > job.epochs_done * steps:
        text = f'iteration {job.iterations_done}/{job.max_epochs * steps}'
        return job.iterations_done / steps, text
    return job.epochs_done, f'epoch {job.epochs_done}/{job.max_epochs}'


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


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``, ``4.2 days``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    if seconds < 90 * 60:
        return f'{seconds / 60:.0f} min'
    if seconds < 48 * 3600:
        return f'{seconds / 3600:.1f} h'
    return f'{seconds / 86400:.1f} days'
