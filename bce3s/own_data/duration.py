"""How long a training takes here, estimated from a few steps of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

from bce3s.datasets.image_files import ImageFiles, Images
from bce3s.own_data.found import FoundImages
from bce3s.processes import cores
from bce3s.wording import counted

STEPS = 3  # that are timed, after one that is not
READ = 64  # images that are read at most
EMBEDDED = 16  # images that a frozen network sees to be timed
HEAD_STEP = 0.008  # seconds of a step of the head on features, about


@dataclass(frozen=True)
class Pace:
    """Seconds.

    Attributes:
        read: of one image, by one process.
        first, second: of a step of either stage, without reading.
        test: of the network for ``batch_size`` images in the evaluation.
    """

    read: float
    first: float
    second: float
    test: float


def measured(
    cfg: Config,
    model: nn.Module,
    found: FoundImages,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Times the reading of a few images, and a few steps on them, which leave ``model`` in the
    second stage.

    Args:
        cfg: a completed one, of which ``model`` was built.
        found: the images.
        clock: gives seconds.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model.to(device).head.set_class_counts(found.counts('train'))
    start = clock()
    images, labels = _images(cfg, found)
    read = (clock() - start) / len(images)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9))

    def seconds(action: Callable[..., Any], size: int, **options: Any) -> float:
        """Mean of ``STEPS``, after one that is not timed."""
        rows = torch.arange(size) % len(images)
        samples = dict(labels=labels[rows], indices=rows)
        for step in range(STEPS + 1):
            if step == 1:
                finish()
                start = clock()
            action(dict(inputs=images[rows], data_samples=dict(samples)), **options)
        finish()
        return (clock() - start) / STEPS

    finish = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
    first = seconds(model.train().train_step, _drawn(cfg), optim_wrapper=optimizer)
    predict = torch.no_grad()(model.eval().test_step)
    test = seconds(predict, cfg.train_dataloader.batch_size)
    model.finetune_classifier()
    second = seconds(model.train().train_step, _drawn(cfg), optim_wrapper=optimizer)
    return Pace(read, first, second, test)


def seconds_frozen(cfg: Config, model: nn.Module, found: FoundImages) -> float:
    """To embed all images once, by the time that ``EMBEDDED`` of them take, and to train a head of
    this size on features.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    start = time.perf_counter()
    images, _ = _images(cfg, found, EMBEDDED)
    read = (time.perf_counter() - start) / len(images)
    model.to(device).eval()
    with torch.no_grad():
        inputs = model.data_preprocessor(dict(inputs=images, data_samples={}))['inputs']
        model.features(inputs[:2])
        start = time.perf_counter()
        model.features(inputs).cpu()
    each = read + (time.perf_counter() - start) / len(images)
    number = sum(map(len, found.splits.values()))
    steps = -(-len(found.splits['train']) // cfg.train_dataloader.batch_size)
    return number * each + cfg.train_cfg.max_epochs * steps * HEAD_STEP


def _images(cfg: Config, found: FoundImages, most: int = READ) -> tuple[torch.Tensor, torch.Tensor]:
    """Some training images, as the training reads them: (n, 3, size, size), (n,)."""
    entries = found.splits['train']
    entries = entries[:: -(-len(entries) // most)]
    paths, labels = [str(found.root / path) for path, _ in entries], [label for _, label in entries]
    config = cfg.train_dataloader.dataset
    kept = ('size', 'resize', 'random_crop', 'bits', 'ground')
    options = {key: config[key] for key in kept if key in config}
    images = Images(str(found.root), paths, labels)
    dataset = ImageFiles(images, True, dict(classes=found.classes), unreadable='skip', **options)
    return torch.stack([dataset[i]['inputs'] for i in range(len(paths))]), dataset.labels


def _drawn(cfg: Config) -> int:
    """Images that a step draws: with a second one for each, where these are mixed."""
    loader = cfg.train_dataloader
    return loader.batch_size * (2 if loader.batch_sampler.type == 'PairedBatchSampler' else 1)


def estimate(cfg: Config, found: FoundImages, pace: Pace) -> float:
    """Seconds that the training of ``cfg`` takes at a pace, with its validations.

    Images are read meanwhile where a GPU computes; without one reading takes time of the same
    processors.
    """
    cuda = torch.cuda.is_available()

    def together(seconds: float, images: int) -> float:
        reading = (
            images * pace.read / (max(1, cfg.train_dataloader.num_workers) if cuda else cores())
        )
        return max(seconds, reading) if cuda else seconds + reading

    batch = cfg.train_dataloader.batch_size
    steps = math.ceil(len(found.splits['train']) / batch)
    second = cfg.train_cfg.get('finetune_epochs', 0)
    first = cfg.train_cfg.max_epochs - second
    images = len(found.splits['val'])
    validation = together(pace.test * images / batch, images)
    return (
        first * steps * together(pace.first, _drawn(cfg))
        + second * steps * together(pace.second, _drawn(cfg))
        + cfg.train_cfg.max_epochs // cfg.train_cfg.val_interval * validation
    )


def in_words(seconds: float) -> str:
    """Rounded, for more is not known.

    >>> for seconds in (20, 100, 2000, 7000, 400_000):
    ...     print(in_words(seconds))
    less than a minute
    about 2 minutes
    about 35 minutes
    about 2 hours
    about 5 days
    """
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1:
        return 'less than a minute'
    if minutes < 10:
        return f'about {counted(round(minutes), "minute")}'
    if minutes < 90:
        return f'about {5 * round(minutes / 5)} minutes'
    return f'about {round(hours)} hours' if hours < 48 else f'about {round(hours / 24)} days'
