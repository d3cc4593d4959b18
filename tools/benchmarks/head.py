"""Section ``head``: a step of the three branches, optimiser included, against K and r.

r K classes are sampled in a step; README.md has what was measured up to a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from bce3s.devices import upload
from bce3s.engine.lazy_sgd import LazySGD
from bce3s.models import SampledTripartiteHead, TripartiteHead
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks.plain import PlainModel
from benchmarks.tables import Table
from benchmarks.timing import Options, compare, measuring, peak_memory

RATES = {100: (1.0, 0.1), 1000: (1.0, 0.1), 10_000: (1.0, 0.1), 100_000: (0.01,)}  # K: r
PLAIN_MEMORY = 4 * 2**30  # that the reference implementation may take for K x K cosines
BATCH, DIM, PROJECTION = 64, 512, 128
SGD = dict(lr=0.01, momentum=0.9, weight_decay=5e-4)


@dataclass
class Step:
    """Forward, backward and optimiser of a head on given features.

    Args:
        num_classes: K. rate: r; 1: torch's SGD, else ``LazySGD``.
        batch: B, in three views. dim: d.
        device: where.
    """

    num_classes: int
    rate: float
    batch: int = BATCH
    dim: int = DIM
    device: str = 'cpu'

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        with torch.device(self.device):
            sampled = {}
            if self.rate < 1:
                sampled = dict(sample_rate=self.rate, classifier=dict(type='SampledClassifier'))
            self.head = (SampledTripartiteHead if sampled else TripartiteHead)(
                self.num_classes,
                self.dim,
                joint=dict(type='BCEJoint'),
                contrastive=dict(type='BCEContrastive'),
                uniformity=dict(type='BCEUniformity'),
                projection_dim=PROJECTION,
                **sampled,
            )
            self.features = torch.randn(3 * self.batch, self.dim, requires_grad=True)
        self.optimizer = (torch.optim.SGD if self.rate == 1 else LazySGD)(
            self.head.parameters(), **SGD
        )
        self.steps = 0

    def targets(self) -> Targets:
        """Other labels, and other sampled classes, in each step."""
        self.steps += 1
        generator = torch.Generator().manual_seed(self.steps)
        labels = torch.randint(self.num_classes, (2, self.batch), generator=generator)
        labels, partners = upload(labels, torch.device(self.device))
        return Targets.mixed(labels, partners, [1.0, 0.7, 0.6], Clock(step=self.steps))

    def __call__(self) -> None:
        losses = self.head.loss(self.features, self.targets())
        sum(losses.values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.features.grad = None


class PlainStep:
    """The same as public code does it: every row, K x K cosines, a loop over the bank, SGD."""

    def __init__(self, num_classes: int, batch: int, dim: int, device: str) -> None:
        torch.manual_seed(0)
        model = PlainModel(nn.Identity(), dim, num_classes, 'BCE3S', projection_dim=PROJECTION)
        self.model, self.device, self.batch = model.to(device), device, batch
        self.features = torch.randn(3 * batch, dim, device=device, requires_grad=True)
        self.optimizer = torch.optim.SGD(model.parameters(), **SGD)

    def __call__(self) -> None:
        labels = torch.randint(self.model.num_classes, (2, self.batch)).to(self.device)
        losses = self.model.losses(self.features, *labels, lams=(1.0, 0.7, 0.6))
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()


# ------------------------------------------------------------ the section
def run(options: Options) -> Iterator[Table]:
    """Dense and sampled heads beside the reference implementation, which is dense."""
    sizes = dict(batch=4, dim=16) if options.quick else dict(batch=BATCH, dim=DIM)
    rows = []
    for classes, rates in ({20: (1.0, 0.1)} if options.quick else RATES).items():
        measuring(f'heads on three views, K = {classes:,}')
        steps: dict[object, Callable[[], object]] = {
            rate: Step(classes, rate, **sizes, device=options.device) for rate in rates
        }
        if 32 * classes**2 <= PLAIN_MEMORY:
            steps['reference'] = PlainStep(classes, **sizes, device=options.device)
        times = compare(steps, replace(options, seconds=options.seconds / 2), warmup=1)
        for name, step in steps.items():
            memory = peak_memory(step, options.device)
            rows.append(
                {
                    'way': f'r = {name}' if name in rates else 'reference implementation',
                    'K': classes,
                    'ms': 1000 * times[name].best,
                    'peak MiB': None if memory is None else memory / 2**20,
                }
            )
    yield Table(
        f'A step of the three branches, optimiser included: B = {sizes["batch"]}, d = '
        f'{sizes["dim"]}, three views',
        ('way', 'K', 'ms', 'peak MiB'),
        rows,
        ['ms: the best of all rounds. Peak: above the parameters, their momentum and the bank.'],
    )
