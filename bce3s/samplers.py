"""What is drawn: how often each class is seen in training. Plain PyTorch.

    loader = DataLoader(dataset, sampler=PowerSampler(labels, q=1.0))
    loader = DataLoader(dataset, batch_sampler=PairedBatchSampler(NaturalSampler(labels), 64))

``sampler.set_epoch(epoch)`` before each epoch gives it an order of its own.

A sampler gives the order of a whole epoch as a function of (seed, epoch), the same on every rank; a
batch sampler cuts it into batches and keeps this rank's slice. So N processes with batch B / N see
what one process with batch B sees, no sample is drawn by two ranks, and resuming needs no stored
state: in the middle of an epoch its first batches are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, Sampler

from bce3s.distributed import rank_and_world_size
from bce3s.errors import BCE3SError
from bce3s.losses.functional import class_balanced_weights
from bce3s.randomness import generator


class NaturalSampler(Sampler):
    """Every sample once an epoch, shuffled.

    Args:
        dataset: the labels (N,), integers in 0..K-1, or of several a picture (N, K), 1 where it has
            the class; or a data set that has them as ``labels`` or ``targets``, as those of
            torchvision.
        seed: of the run, the same on every rank.
        stream: name of the random stream; two samplers of one run need different ones.

    >>> list(NaturalSampler([0, 0, 0, 1, 1]))
    [0, 2, 4, 3, 1]
    """

    def __init__(self, dataset, seed: int = 0, stream: str = 'order') -> None:
        self.dataset = dataset
        labels = getattr(dataset, 'labels', getattr(dataset, 'targets', dataset))
        if isinstance(labels, Dataset):
            raise BCE3SError(
                f'{type(self).__name__} needs the labels of the samples, and '
                f'{type(labels).__name__} has neither labels nor targets: give the labels (N,).'
            )
        self.labels = torch.as_tensor(labels)
        self.seed = seed
        self.stream = stream
        self.epoch = 0

    @property
    def total(self) -> int:
        """N, the samples of an epoch, of all ranks together."""
        return len(self.labels)

    def __len__(self) -> int:
        """Of this rank's part, as it is iterated over."""
        rank, world_size = rank_and_world_size()
        return len(range(rank, self.total, world_size))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def generator(self) -> torch.Generator:
        return generator(self.seed, self.stream, self.epoch)

    def order(self) -> Tensor:
        """Indices (N,) of the whole epoch, the same on every rank."""
        return torch.randperm(self.total, generator=self.generator())

    def __iter__(self) -> Iterator[int]:
        """This rank's part, for loaders without one of the batch samplers below."""
        rank, world_size = rank_and_world_size()
        return iter(self.order()[rank::world_size].tolist())


class ClassFrequencySampler(NaturalSampler):
    """Draws N samples an epoch with replacement: first a class, then one of its samples uniformly.

    Subclasses say with which probability each class is drawn. Of several labels a picture, n_k
    counts the pictures that have class k, and a picture without any is never drawn.
    """

    def __init__(self, dataset, seed: int = 0, stream: str = 'order') -> None:
        super().__init__(dataset, seed, stream)
        names = getattr(dataset, 'metainfo', {}).get('classes', ())
        if self.labels.dim() == 2:
            has = self.labels > 0
            counts, by_class = has.sum(0), has.T.nonzero()[:, 1]
        else:
            counts = torch.bincount(self.labels, minlength=len(names))
            by_class = torch.argsort(self.labels, stable=True)
        if (counts == 0).any():
            empty = (counts == 0).nonzero()[0].item()
            name = f' ({names[empty]})' if names else ''
            raise BCE3SError(
                f'{type(self).__name__}: class {empty}{name} has no training sample, so it '
                'cannot be drawn; remove the class or give it a sample.'
            )
        self.class_counts = counts
        self.by_class = by_class
        self.first = counts.cumsum(0) - counts

    def class_probabilities(self) -> Tensor:
        """(K,) float64, sum 1: the probability of each class in this epoch."""
        raise NotImplementedError

    def order(self) -> Tensor:
        gen = self.generator()
        drawn = torch.multinomial(self.class_probabilities(), self.total, True, generator=gen)
        within = torch.rand(self.total, generator=gen, dtype=torch.float64)
        return self.by_class[self.first[drawn] + (within * self.class_counts[drawn]).long()]


class PowerSampler(ClassFrequencySampler):
    """A sample of class y is drawn with probability proportional to ``n_y^-q``.

    So class k has ``p_k = n_k^(1-q) / sum_j n_j^(1-q)``: q = 0 natural frequencies with
    replacement, q = 1/2 square-root sampling, q = 1 class-balanced, q > 1 favours rare classes.

    >>> labels = [0] * 90 + [1] * 10
    >>> PowerSampler(labels, q=0.5).class_probabilities()
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """

    def __init__(self, dataset, q: float, seed: int = 0, stream: str = 'order') -> None:
        super().__init__(dataset, seed, stream)
        self.q = q

    def class_probabilities(self) -> Tensor:
        mass = self.class_counts.double() ** (1 - self.q)
        return mass / mass.sum()


class ProgressiveSampler(ClassFrequencySampler):
    """From natural to class-balanced: ``p_k = (1 - t) n_k / N + t / K``, ``t = epoch / (T - 1)``.

    Kang et al., Decoupling Representation and Classifier (ICLR 2020), Eq. 2.

    Args:
        epochs: T, the number of epochs after which the sampling is class-balanced.

    >>> sampler = ProgressiveSampler([0] * 90 + [1] * 10, epochs=5)
    >>> sampler.set_epoch(2)
    >>> sampler.class_probabilities()
    tensor([0.7000, 0.3000], dtype=torch.float64)
    """

    def __init__(self, dataset, epochs: int, seed: int = 0, stream: str = 'order') -> None:
        super().__init__(dataset, seed, stream)
        if epochs < 1:
            raise BCE3SError(f'ProgressiveSampler: epochs must be at least 1, not {epochs}.')
        self.epochs = epochs

    def class_probabilities(self) -> Tensor:
        t = min(1.0, self.epoch / max(1, self.epochs - 1))
        counts = self.class_counts.double()
        return (1 - t) * counts / counts.sum() + t / len(counts)


class EffectiveNumberSampler(ClassFrequencySampler):
    """A sample of class y is drawn with probability proportional to ``(1 - beta)/(1 - beta^n_y)``.

    Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019).

    >>> EffectiveNumberSampler([0] * 90 + [1] * 10, beta=0.99).class_probabilities()
    tensor([0.5911, 0.4089], dtype=torch.float64)
    """

    def __init__(self, dataset, beta: float, seed: int = 0, stream: str = 'order') -> None:
        super().__init__(dataset, seed, stream)
        self.weights = class_balanced_weights(self.class_counts, beta)

    def class_probabilities(self) -> Tensor:
        mass = self.class_counts.double() * self.weights
        return mass / mass.sum()


class Draws(list[int]):
    """The indices of a batch, as any data set takes them, and which draw of the run each one is.

    A data set that augments by itself seeds every sample from (seed, epoch, place): an image that
    is drawn twice is augmented twice, whatever the number of workers and processes.

    Attributes:
        seed, epoch: of the sampler.
        places: of each index, where it stands in its epoch: 0 to N - 1 in the natural stream, N to
            2 N - 1 in that of the partners.
    """

    def __init__(self, indices: list[int], seed: int, epoch: int, places: list[int]) -> None:
        super().__init__(indices)
        self.seed, self.epoch, self.places = seed, epoch, places


class GlobalBatchSampler(BatchSampler):
    """Cuts the epoch into global batches; yields this rank's contiguous slice of each, as
    :class:`Draws`.

    Args:
        sampler: one of the samplers above.
        batch_size: samples a rank; a global batch holds ``batch_size * world_size``.
        drop_last: leave the last, smaller batch out. Otherwise it is shared out as evenly as it
            goes. A rank that has no sample of it, for it has fewer than there are ranks, is given
            one of another rank's as a stand-in, which counts for nothing (``sizes`` says 0).

    Attributes:
        first: global batches that the next iteration leaves out; then it is 0 again. ``len`` stays
            that of the whole epoch.
    """

    def __init__(self, sampler: NaturalSampler, batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(sampler, NaturalSampler):
            raise BCE3SError(
                f'{type(self).__name__} needs a sampler of this project, which gives the order of '
                f'a whole epoch, not {type(sampler).__name__}: use NaturalSampler or PowerSampler.'
            )
        super().__init__(sampler, batch_size, drop_last)
        self.rank, self.world_size = rank_and_world_size()
        self.first = 0

    @property
    def global_batch_size(self) -> int:
        """Samples of a whole batch, of all ranks together."""
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        whole, rest = divmod(self.sampler.total, self.global_batch_size)
        return whole + (not self.drop_last and rest > 0)

    def sizes(self, batch_idx: int) -> tuple[int, ...]:
        """How many samples each rank has of the epoch's global batch ``batch_idx`` (from 0); of a
        paired batch: of its natural half. 0: it holds a stand-in only.
        """
        begin = batch_idx * self.global_batch_size
        size = min(self.global_batch_size, self.sampler.total - begin)
        bounds = [size * r // self.world_size for r in range(self.world_size + 1)]
        return tuple(high - low for low, high in pairwise(bounds))

    def spans(self, first: int = 0) -> Iterator[range]:
        """The places of this rank's part of every global batch, from number ``first`` on."""
        for i in range(first, len(self)):
            sizes = self.sizes(i)
            begin = i * self.global_batch_size + sum(sizes[: self.rank])
            yield range(begin, begin + max(1, sizes[self.rank]))

    def __iter__(self) -> Iterator[Draws]:
        # A generator takes `first` when its first batch is asked for: a loader with worker
        # processes begins an iteration that it never asks for anything.
        first, self.first = self.first, 0
        order = self.order()
        for span in self.spans(first):
            places = self.places(span)
            indices = order[places].tolist()
            yield Draws(indices, self.sampler.seed, self.sampler.epoch, places)

    def order(self) -> Tensor:
        """The indices of the epoch's draws, by their places."""
        return self.sampler.order()

    def places(self, span: range) -> list[int]:
        """Of the draws that make a batch."""
        return list(span)


class PairedBatchSampler(GlobalBatchSampler):
    """Yields b indices of the natural stream, then b of a partner stream, for mixing.

    Whoever takes the batch splits the two halves; ``batch_size`` counts the natural half.

    Args:
        partner: draws the partners; default ``PowerSampler(q=0)`` of the same samples, with
            replacement in proportion to ``n_y^-q`` (q = 0 on CIFAR-100-LT in GLMC and BCE3S). In a
            config: the sampler's config.

    >>> batches = PairedBatchSampler(NaturalSampler([0, 0, 0, 1]), batch_size=2)
    >>> list(batches)
    [[0, 2, 1, 1], [1, 3, 1, 1]]
    """

    def __init__(
        self,
        sampler: NaturalSampler,
        batch_size: int,
        drop_last: bool = False,
        partner: NaturalSampler | dict | None = None,
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        common = dict(dataset=sampler.dataset, seed=sampler.seed, stream='partner order')
        if partner is None:
            partner = PowerSampler(q=0, **common)
        elif isinstance(partner, dict):
            from bce3s.registry import DATA_SAMPLERS

            partner = DATA_SAMPLERS.build({**partner, **common})
        self.partner = partner

    def order(self) -> Tensor:
        self.partner.set_epoch(self.sampler.epoch)
        return torch.cat([self.sampler.order(), self.partner.order()])

    def places(self, span: range) -> list[int]:
        own, natural = list(span), self.sampler.total
        return own + [natural + place for place in own]
