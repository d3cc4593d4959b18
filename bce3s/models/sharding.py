"""A classifier and a memory bank of which each rank holds some rows: for very many classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from bce3s.models.linear_classifier import Classifier
from bce3s.models.memory_bank import ClassMemoryBank
from bce3s.models.targets import Targets
from bce3s.shards import Gather, Shards

DRAWN = 2**12  # rows of W at a time; of a multiple of 16 numbers torch draws those of a whole


class Spread:
    """The batch of all ranks, compared with the classes that this rank holds.

    A rank's losses are then its classes' part of the global sums, times the number of ranks: as of
    :meth:`Share.mean` the mean over the ranks is the loss (:meth:`shown`), and DDP's mean of
    gradients right for what it averages. Without shards everything stays as it is.
    """

    def __init__(self, targets: Targets, shards: Shards | None) -> None:
        self.own, self.targets, self.shards = targets, targets, shards
        if shards is not None:
            self.share, partners = targets.held, targets.partners
            self.targets = replace(
                targets,
                labels=self.share.gather(targets.labels),
                partners=None if partners is None else self.share.gather(partners),
                classes=torch.arange(*shards.bounds(), device=targets.labels.device),
                shards=shards,
            )

    def __call__(self, rows: Tensor) -> Tensor:
        """(V * B, ...) -> (V * global B, ...)."""
        if self.shards is None:
            return rows
        rows = self.own.per_view(rows).transpose(0, 1)  # (B, V, ...)
        return Gather.apply(rows, self.share).transpose(0, 1).flatten(0, 1)

    def shown(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """With the values of all ranks together, and this rank's gradients."""
        if self.shards is None:
            return losses
        values = torch.stack([loss.detach() for loss in losses.values()])
        all_reduce(values, 'mean')
        pairs = zip(losses.items(), values, strict=True)
        return {name: value + (loss - loss.detach()) for (name, loss), value in pairs}


class ShardedClassifier(Classifier):
    """:class:`Classifier` of whose K rows this rank holds and trains its own.

    Its initial weights are those of the whole one. :meth:`forward` and :meth:`linear` give all
    classes, so all ranks must call them together. The gradients of W and b are those of the global
    loss: DistributedDataParallel must leave them alone.
    """

    def __init__(self, shards: Shards, in_channels: int, *args) -> None:
        self.shards, (first, stop) = shards, shards.bounds()
        super().__init__(in_channels, stop - first, *args)
        for parameter in self.parameters():  # losses are times the ranks, see Spread
            parameter.register_hook(lambda grad: grad / shards.ranks)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        first, stop = self.shards.bounds()
        for start in range(0, self.shards.rows, DRAWN):
            end = min(start + DRAWN, self.shards.rows)
            block = self.draw_weight(self.weight.new_empty(end - start, self.in_features))
            low, high = max(start, first), min(end, stop)
            if low < high:
                self.weight[low - first : high - first] = block[low - start : high - start]
        if self.bias is not None:
            whole = self.draw_bias(self.bias.new_empty(self.shards.rows))
            self.bias.copy_(self.shards.take(whole))

    def linear(self) -> tuple[Tensor, Tensor]:
        weight, bias = super().linear()
        return self.shards.gather(weight), self.shards.gather(bias)

    def forward(self, x: Tensor) -> Tensor:
        x, rows = self.embed(x), super().linear()
        blocks = zip(*map(self.shards.blocks, rows), strict=True)
        return torch.cat([x @ weight.T - bias for weight, bias in blocks], -1)


class ShardedMemoryBank(ClassMemoryBank):
    """:class:`ClassMemoryBank` of this rank's classes."""

    def __init__(self, shards: Shards, dim: int) -> None:
        self.first, stop = shards.bounds()
        super().__init__(stop - self.first, dim)

    def rows(self, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of all classes of this rank, which are what its losses compare with."""
        return super().rows()

    def write(self, labels: Tensor, features: Tensor) -> None:
        """What is not ours writes the same as a sample that is; without any, what is there."""
        rows = labels - self.first
        ours = (rows >= 0) & (rows < len(self.filled))  # (B,)
        pick = torch.where(ours, torch.arange(len(ours), device=ours.device), ours.byte().argmax())
        rows = rows[pick].clamp(0, len(self.filled) - 1)
        features = torch.where(ours.any(), features[pick], self.features[rows])
        self.filled[rows] |= ours.any()
        self.features[rows] = features
