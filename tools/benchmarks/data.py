"""Section ``data``: augmentation of a uint8 batch against Pillow image by image, one core each."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bce3s.randomness import Clock
from bce3s.registry import DATASETS, MODELS
from benchmarks import plain, runs
from benchmarks.tables import Table
from benchmarks.timing import Options, compare, measuring, one_thread

CONFIG = 'baselines/cifar100lt_if100_ce_r32.py'  # augments as BCE3S does, and mixes nothing
TRAINING_BATCH = 128  # 64 and their partners
BATCHES = (64, TRAINING_BATCH, 256, 1024)
AT_ONCE = 16  # images a call of the reference implementation


def run(options: Options) -> Iterator[Table]:
    """Images per second."""
    with one_thread():
        cfg = runs.config(CONFIG, options)
        preprocessor = MODELS.build(cfg.model.data_preprocessor).to(options.device)
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
        images = dataset.images[order[: max(BATCHES)]]
        note = runs.dataset_config(options.data_root, options.quick)[1]
        yield throughput(preprocessor, images, options, note)


def plain_calls(images: Tensor, function: Callable[[Any], Any]) -> Callable[[], None]:
    """``function`` on the next :data:`AT_ONCE` of ``images``, as Pillow images."""
    arrays = itertools.cycle(images.permute(0, 2, 3, 1).contiguous().numpy())

    def call() -> None:
        for _ in range(AT_ONCE):
            function(Image.fromarray(next(arrays)))

    return call


# ------------------------------------------------------------ the whole
def throughput(preprocessor: Any, images: Tensor, options: Options, note: str) -> Table:
    measuring('data: images/s through the augmentation')
    batches = (8, 16) if options.quick else BATCHES
    mean, std = (_shares(preprocessor, name) for name in ('mean', 'std'))
    functions: dict[Any, Callable] = {'plain': plain_calls(images, plain.pipeline(mean, std))}
    for size in batches:
        functions[size] = functools.partial(_augment, preprocessor, images[:size])
    times = compare(functions, options)
    pillow = AT_ONCE / times['plain'].median
    table = Table(
        'Crop, flip, AutoAugment, Cutout, normalise: images/s, one thread',
        ('way', 'batch', 'images/s', 'us an image', 'ratio', 'spread'),
        notes=[
            note,
            f'{TRAINING_BATCH} is the training batch: 64 images and their partners.',
            'The reference implementation decodes nothing either: its images are arrays in memory.',
            'Medians. Ratio: to the reference; spread: relative interquartile range.',
        ],
    )
    for name, timing in times.items():
        size = AT_ONCE if name == 'plain' else name
        rate = size / timing.median
        table.rows.append(
            {
                'way': 'plain: Pillow, one image at a time' if name == 'plain' else 'ours',
                'batch': None if name == 'plain' else name,
                'images/s': rate,
                'us an image': 1e6 / rate,
                'ratio': rate / pillow,
                'spread': timing.spread,
            }
        )
    return table


def _shares(preprocessor: Any, name: str) -> list[float]:
    """Mean or standard deviation in units of [0, 1]."""
    return (getattr(preprocessor, name).flatten().cpu() / 255).tolist()


_steps = itertools.count()


def _augment(preprocessor: Any, images: Tensor) -> Tensor:
    """The training batch of one view; other draws at every call."""
    preprocessor.clock = Clock(0, 0, next(_steps))
    labels = torch.zeros(len(images), dtype=torch.long)
    return preprocessor(dict(inputs=images, data_samples=dict(labels=labels)), True)['inputs']
