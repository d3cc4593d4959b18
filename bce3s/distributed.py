"""What the processes of a run do together, in PyTorch's words; alone, nothing."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def rank_and_world_size() -> tuple[int, int]:
    """(0, 1) without ``torch.distributed``."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def all_gather(tensor: Tensor) -> list[Tensor]:
    """That of each rank, in order; all have one shape."""
    world_size = rank_and_world_size()[1]
    if world_size == 1:
        return [tensor]
    gathered = [torch.empty_like(tensor) for _ in range(world_size)]
    distributed.all_gather(gathered, tensor.contiguous())
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        return torch.stack(all_gather(tensor))

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)  # autograd may share the memory
        distributed.all_reduce(grad)
        return grad[rank_and_world_size()[0]]


def all_gather_with_gradient(tensor: Tensor) -> list[Tensor]:
    """As :func:`all_gather`; in the backward pass each rank gets the sum of all ranks' gradients by
    its tensor.
    """
    if rank_and_world_size()[1] == 1:
        return [tensor]
    return list(_Gather.apply(tensor))


def all_mean(tensor: Tensor) -> Tensor:
    """The mean over the ranks."""
    world_size = rank_and_world_size()[1]
    if world_size == 1:
        return tensor
    tensor = tensor.clone(memory_format=torch.contiguous_format)  # autograd may share the memory
    distributed.all_reduce(tensor)
    return tensor.div_(world_size)
