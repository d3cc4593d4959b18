"""From the host to a device, without waiting for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """``array`` on ``device``; see :func:`upload`."""
    return upload(torch.from_numpy(np.ascontiguousarray(array)), device)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, from the CPU to a GPU through pinned memory: the host does not wait
    (from pageable memory CUDA first waits for everything that is queued).
    """
    if device.type == 'cuda' and tensor.device.type == 'cpu':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
