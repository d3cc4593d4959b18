"""What the machine can do at most, measured in the same run: the floor of every time."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch

from benchmarks.timing import Options, compare, measuring


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at most.

    Attributes:
        flops: FLOP/s of a large square matrix product by precision: ``fp32`` (on a GPU: TF32, as
            convolutions run there), ``bf16``.
        bandwidth: bytes/s of a large copy, read and written ones counted.
    """

    flops: dict[str, float]
    bandwidth: float


def measured(options: Options) -> Ceilings:
    """The ceilings of this device at its present number of threads; measured once a process."""
    return _measured(options.device, torch.get_num_threads(), options.quick, options.seconds)


@functools.cache
def _measured(device: str, threads: int, quick: bool, seconds: float) -> Ceilings:
    measuring('the ceilings: a large matrix product, a large copy')
    on_gpu = device.startswith('cuda')
    size = 256 if quick else 8192 if on_gpu else 2048
    length = 2**20 if quick else 2**30 if on_gpu else 2**28
    functions = {}
    for name, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        functions[name] = functools.partial(_product, a, b, torch.empty_like(a))
    source = torch.ones(length, dtype=torch.uint8, device=device)
    functions['copy'] = functools.partial(torch.empty_like(source).copy_, source)
    options = replace(Options(device, threads, quick), seconds=min(seconds, 2.0))
    best = {name: timing.best for name, timing in compare(functions, options).items()}
    flops = {name: 2 * size**3 / best[name] for name in ('fp32', 'bf16')}
    return Ceilings(flops, 2 * length / best['copy'])


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('high' if a.is_cuda else before)
    torch.mm(a, b, out=out)
    torch.set_float32_matmul_precision(before)
