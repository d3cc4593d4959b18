"""A GPU without a GPU: tensors on ``cuda`` have shapes and types but no values.

What needs a value from the device, and would make the host wait for it (``.item()``, ``nonzero``,
boolean indexing, ``.cpu()`` followed by a read), cannot be answered and raises; so do a copy from
pageable memory, for which CUDA waits too, and mixed devices. What stays on the CPU is computed for
real. So a forward pass that succeeds never waits for a GPU, as far as PyTorch's operators tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class _FakeGPU(FakeTensorMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get('device')
        given = _pytree.tree_leaves((args, kwargs))
        if any(isinstance(x, FakeTensor) for x in given) or (
            device is not None and torch.device(device).type == 'cuda'
        ):
            if func in COPIES:
                source = args[-1]
                pinned = getattr(source, 'is_in_pinned_memory', False)
                if not (isinstance(source, FakeTensor) or source.numel() == 0 or pinned):
                    raise AssertionError(f'{tuple(source.shape)} goes up from pageable memory')
            return super().__torch_dispatch__(func, types, args, kwargs)
        return func(*args, **kwargs)


def _pinned(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.is_in_pinned_memory = True
    return tensor


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Inside, ``cuda`` is such a device."""
    mode = _FakeGPU(allow_non_fake_inputs=True)
    # true pinned memory needs a driver
    with mock.patch.object(Tensor, 'pin_memory', _pinned), mode:
        yield


def to_fake_gpu(module: nn.Module) -> nn.Module:
    """``module`` with every parameter and buffer on the fake GPU; only inside :func:`fake_gpu`."""
    for child in module.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                child._parameters[name] = nn.Parameter(
                    torch.empty_like(parameter, device='cuda'), parameter.requires_grad
                )
        for name, buffer in child._buffers.items():
            if buffer is not None:
                child._buffers[name] = torch.empty_like(buffer, device='cuda')
    return module
