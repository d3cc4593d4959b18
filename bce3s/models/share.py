"""How a global batch lies on several processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.dist import all_gather, get_dist_info
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Which contiguous rows of the global batch this rank holds.

    Attributes:
        sizes: rows of every rank, in order; they may differ by one in the last batch of an epoch.
        rank: ours.
    """

    sizes: tuple[int, ...]
    rank: int = 0

    @classmethod
    def of(cls, rows: Tensor) -> Share:
        """The share of a rank that holds ``rows`` (B, ...); all ranks must call it together."""
        rank, world_size = get_dist_info()
        if world_size == 1:
            return cls((len(rows),))
        sizes = all_gather(torch.tensor([len(rows)], device=rows.device))
        return cls(tuple(int(n) for n in sizes), rank)

    @property
    def total(self) -> int:
        """Rows of the global batch."""
        return sum(self.sizes)

    def take(self, rows: Tensor, dim: int = 0) -> Tensor:
        """This rank's part of rows that every rank holds whole."""
        return rows.narrow(dim, sum(self.sizes[: self.rank]), self.sizes[self.rank])

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, in the order of the global batch."""
        if len(self.sizes) == 1:
            return rows
        padded = rows.new_zeros(max(self.sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = zip(all_gather(padded), self.sizes, strict=True)
        return torch.cat([part[:n] for part, n in parts])

    def mean(self, rows: Tensor) -> Tensor:
        """Mean over the global batch of ``rows`` (..., B), in the form DDP's averaging needs.

        DDP gives each rank's gradient the same weight, but shares may be uneven; so a rank returns
        its sum times (number of ranks) / (rows of the global batch).
        """
        return rows.sum(-1) * (len(self.sizes) / self.total)
