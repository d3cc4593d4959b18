"""How a global batch lies on several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, distributed

from bce3s.distributed import all_gather, all_gather_with_gradient, rank_and_world_size
from bce3s.errors import BCE3SError


@dataclass(frozen=True)
class Share:
    """Which contiguous rows of the global batch this rank holds.

    Attributes:
        sizes: rows of every rank, in order; they may differ by one in the last batch of an epoch,
            and some are 0 where it has fewer rows than there are ranks.
        rank: ours.
    """

    sizes: tuple[int, ...]
    rank: int = 0

    @classmethod
    def of(cls, rows: Tensor, sizes: Sequence[int] | None = None) -> Share:
        """The share of a rank that holds ``rows`` (B, ...).

        Args:
            rows: of this rank.
            sizes: of every rank, where they are known (``GlobalBatchSampler.sizes``); of 0 rows
                one stands in. Otherwise the ranks ask each other, for which all must call this
                together, and a GPU is waited for.

        Raises:
            BCE3SError: ``rows`` is not of the size known.
        """
        rank, world_size = rank_and_world_size()
        if world_size == 1:
            return cls((len(rows),))
        if sizes is None:
            sizes = all_gather(torch.tensor([len(rows)], device=rows.device))
        elif len(sizes) != world_size or max(1, sizes[rank]) != len(rows):
            raise BCE3SError(
                f'Rank {rank} of {world_size} has a batch of {len(rows)} samples where its sampler '
                f'announced {tuple(sizes)}: no sample may be dropped between sampler and model, '
                'for then the ranks would no longer agree on the global batch.'
            )
        return cls(tuple(int(n) for n in sizes), rank)

    @property
    def own(self) -> int:
        """Rows of this rank."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """Rows of the global batch."""
        return sum(self.sizes)

    def take(self, rows: Tensor, dim: int = 0) -> Tensor:
        """This rank's part of rows that every rank holds whole."""
        return rows.narrow(dim, sum(self.sizes[: self.rank]), self.own)

    def gather(self, rows: Tensor, gradient: bool = False) -> Tensor:
        """The rows of all ranks, in the order of the global batch; with ``gradient`` what is made
        of them on any rank has a gradient by the rows of this one.
        """
        if len(self.sizes) == 1:
            return rows
        padded = rows.new_zeros(max(self.sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = all_gather_with_gradient(padded) if gradient else all_gather(padded)
        parts = zip(gathered, self.sizes, strict=True)
        return torch.cat([part[:n] for part, n in parts])

    def mirrored(self, rows: Tensor) -> Tensor:
        """This rank's part of the global batch in reverse order: row ``total - 1 - i`` for row i.

        Each row is sent to the one rank that needs it, as few of them as there are here.
        """
        if len(self.sizes) == 1:
            return rows.flip(0)
        ends = [*accumulate(self.sizes, initial=0)]
        held = [*pairwise(ends)]  # which rows each rank holds, and needs:
        needed = [(self.total - stop, self.total - start) for start, stop in held]
        to = [_overlap(held[self.rank], rows) for rows in needed]
        of = [_overlap(needed[self.rank], rows) for rows in held]
        # the last rows go to the first ranks
        blocks = torch.cat(rows.split(to[::-1])[::-1])
        received = torch.empty_like(blocks)
        distributed.all_to_all_single(received, blocks, of, to)
        return received.flip(0)

    def mean(self, rows: Tensor) -> Tensor:
        """Mean over the global batch of ``rows`` (..., B), in the form DDP's averaging needs.

        DDP gives each rank's gradient the same weight, but shares may be uneven; so a rank returns
        its sum times (number of ranks) / (rows of the global batch).
        """
        return rows.sum(-1) * (len(self.sizes) / self.total)


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> int:
    """Length of what two intervals share."""
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))
