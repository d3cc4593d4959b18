"""Section ``frozen``: how long the head of ``my_folder_frozen.py`` trains on kept features, against
images, classes and features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from bce3s.config import read_config
from bce3s.datasets.vectors import HasVectors
from bce3s.own_data.frozen import head_schedule
from bce3s.packaged import OWN_IMAGES_FROZEN
from bce3s.registry import MODELS
from bce3s.samplers import NaturalSampler, PairedBatchSampler
from benchmarks.tables import Table
from benchmarks.timing import Options, compare, measuring

SIZES = [  # N, K, d
    *((n, 100, 1280) for n in (2_000, 20_000, 100_000)),
    *((20_000, k, 1280) for k in (20, 1_000)),
    *((20_000, 100, d) for d in (384, 768, 2048)),
]


class Features(HasVectors):
    """Random ones of ``images`` images, of ``classes`` classes in turn."""

    training = True

    def __init__(self, images: int, classes: int, features: int) -> None:
        self.labels = torch.arange(images) % classes
        self.vectors = torch.randn(images, 1, features)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: list[int]) -> dict:
        rows = torch.as_tensor(indices)
        samples = dict(labels=self.labels[rows], indices=rows)
        return dict(inputs=self.vectors_of(indices), data_samples=samples)


class Step:
    """A step of either stage, its batch included; ``head`` is the model's."""

    def __init__(self, data: Features, batch: int, device: str) -> None:
        classes, features = int(data.labels.max()) + 1, data.vectors.shape[-1]
        cfg: Config = read_config(str(OWN_IMAGES_FROZEN)).model
        cfg.backbone = dict(type='mmpretrain.LeNet5')  # takes no part
        cfg.neck.in_channels = cfg.head.in_channels = features
        cfg.head.num_classes = classes
        torch.manual_seed(0)
        init_default_scope('bce3s')
        self.model = MODELS.build(cfg).to(device).train()
        self.model.head.set_class_counts(torch.bincount(data.labels).tolist())
        self.optimizer = OptimWrapper(torch.optim.SGD(self.model.head.parameters(), 0.05, 0.9))
        self.data, self.batches = data, cycle(PairedBatchSampler(NaturalSampler(data), batch))

    def __call__(self) -> None:
        self.model.train_step(self.data.batch(next(self.batches)), self.optimizer)


def run(options: Options) -> Iterator[Table]:
    """A whole training on features, from the time of its steps."""
    rows = []
    for images, classes, features in [(60, 3, 16)] if options.quick else SIZES:
        measuring(f'a head on {images:,} features, K = {classes:,}, d = {features:,}')
        data, plan = Features(images, classes, features), head_schedule(images)
        first, second = (Step(data, plan.batch_size, options.device) for _ in range(2))
        second.model.finetune_classifier()
        steps = {'first': first, 'second': second}
        times = compare(steps, replace(options, seconds=options.seconds / 2), warmup=2)
        epoch = -(-images // plan.batch_size)
        spent = {
            'first': plan.epochs * epoch * times['first'].best,
            'second': plan.finetune_epochs * epoch * times['second'].best,
        }
        rows.append(
            {
                'images': images,
                'K': classes,
                'd': features,
                'batch': plan.batch_size,
                'epochs': f'{plan.epochs} + {plan.finetune_epochs}',
                'ms a step': 1000 * times['first'].best,
                'seconds': sum(spent.values()),
                'MiB of features': data.vectors.nbytes / 2**20,
            }
        )
    columns = ('images', 'K', 'd', 'batch', 'epochs', 'ms a step', 'seconds', 'MiB of features')
    yield Table(
        'The head of my_folder_frozen.py on kept features, both stages',
        columns,
        rows,
        ['seconds: steps times the best time of one; reading, validation and saving come on top.'],
    )
