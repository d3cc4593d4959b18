"""How the rows of a matrix that is too large for one process lie on several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce, broadcast, get_dist_info
from torch import Tensor
from torch.autograd.function import once_differentiable

from bce3s.errors import BCE3SError


@dataclass(frozen=True)
class Shards:
    """Rank r holds rows ``[K r // N, K (r + 1) // N)``.

    Attributes:
        rows: K.
        rank, ranks: r and N.
    """

    rows: int
    rank: int
    ranks: int

    @classmethod
    def of(cls, rows: int) -> Shards | None:
        """Those of this run; None in one process, which holds all rows.

        Raises:
            BCE3SError: there are more ranks than rows.
        """
        rank, ranks = get_dist_info()
        if rows < ranks:
            raise BCE3SError(
                f'{rows} classes cannot lie on {ranks} ranks: set model.head.shard=False.'
            )
        return cls(rows, rank, ranks) if ranks > 1 else None

    def bounds(self, rank: int | None = None) -> tuple[int, int]:
        """First row of ``rank`` (None: ours), and the one behind its last."""
        rank = self.rank if rank is None else rank
        return self.rows * rank // self.ranks, self.rows * (rank + 1) // self.ranks

    def take(self, whole: Tensor) -> Tensor:
        """Our rows of (K, ...), a view."""
        return whole[slice(*self.bounds())]

    def blocks(self, own: Tensor) -> Iterator[Tensor]:
        """The rows of every rank in turn, which all ranks must go through together."""
        for rank in range(self.ranks):
            first, stop = self.bounds(rank)
            if rank == self.rank:
                block = own.detach().contiguous()
            else:
                block = own.new_empty(stop - first, *own.shape[1:])
            broadcast(block, rank)
            yield block

    def gather(self, own: Tensor) -> Tensor:
        """(K, ...) of all ranks, on each of them; without a gradient."""
        return torch.cat(list(self.blocks(own)))


class Gather(torch.autograd.Function):
    """The rows of all ranks, on each of them; the gradient of a row is the sum of theirs.

    ``share`` says how rows lie on ranks: its ``gather`` puts them together, ``take`` is the way
    back.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, share: Shards) -> Tensor:
        ctx.share = share
        return share.gather(rows.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        all_reduce(grad)
        return ctx.share.take(grad), None


def log_softmax(logits: Tensor, shards: Shards | None = None) -> Tensor:
    """Over the last dimension, the classes: with ``shards`` those of all ranks."""
    if shards is None:
        return logits.log_softmax(-1)
    each = Shards(shards.ranks, shards.rank, shards.ranks)  # a row a rank
    return logits - Gather.apply(logits.logsumexp(-1)[None], each).logsumexp(0)[..., None]
