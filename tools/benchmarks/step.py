"""Section ``step``: whole training steps, data included; and where a step goes."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from bce3s.processes import cores
from bce3s.registry import MODELS
from benchmarks import plain, runs, step_parts
from benchmarks.tables import Table
from benchmarks.timing import Options, Timing, compare, measuring, synchronize

BLOCK = 0.3  # seconds that a turn of steps takes at least


def run(options: Options) -> Iterator[Table]:
    """Steps per second of all six; then of a BCE3S step what each choice is worth, where it goes,
    and what its branches cost.
    """
    yield steps(options)
    yield step_parts.choices(options)
    yield step_parts.parts(options)
    yield step_parts.branches(options)


# ------------------------------------------------------------ the floor of every time
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


def ceilings(options: Options) -> Ceilings:
    """The ceilings of this device at its present number of threads; measured once a process."""
    return _ceilings(options.device, torch.get_num_threads(), options.quick, options.seconds)


@functools.cache
def _ceilings(device: str, threads: int, quick: bool, seconds: float) -> Ceilings:
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


# ------------------------------------------------------------ whole steps
def steps(options: Options) -> Table:
    ceiling = ceilings(options)
    table = Table(
        'Whole training steps per second, data included',
        (
            'network', 'method', 'images', 'precision', 'ours', 'ours fp32', 'plain', 'ratio',
            'ratio fp32', 'GFLOP', 'GFLOP/s', 'MFU', 'plain MFU', 'spread',
        ),
        notes=_notes(ceiling, options),
    )  # fmt: skip
    for network, configs in runs.NETWORKS.items():
        for method, path in configs.items():
            measuring(f'step: {network} {method}')
            table.rows.append(_row(network, method, path, ceiling, options))
    return table


def _notes(ceiling: Ceilings, options: Options) -> list[str]:
    flops = ', '.join(f'{name} {value / 1e9:.0f}' for name, value in ceiling.flops.items())
    return [
        runs.dataset_config(options.data_root, options.quick)[1],
        'Ours: the shipped configs, an iteration of the Runner with all its hooks, without '
        'validation and checkpoints; precision: that of the config on this device. Images: views '
        'through the network in a step.',
        f'Plain: float32 NCHW, {cores()} worker processes, which stand still while ours is '
        'measured. Turns of a few steps; median; spread is the larger relative interquartile '
        'range.',
        'GFLOP: counted, forward and backward, of products and convolutions. MFU: over the '
        f'measured product of large matrices in that precision (GFLOP/s: {flops}); fp32 on a GPU: '
        'TF32.',
    ]


def _row(
    network: str, method: str, path: str, ceiling: Ceilings, options: Options
) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        ours, fp32 = (
            stack.enter_context(runs.started(runs.config(path, options, changes)))
            for changes in ({}, {'model.precision': 'fp32'})
        )
        theirs = plain_training(runs.config(path, options), ours, method, options)
        workers = stack.enter_context(Workers(theirs))
        with FlopCounterMode(display=False) as counter:
            fp32.step()
        times = _turns(dict(ours=ours.step, fp32=fp32.step, plain=theirs.step), workers, options)
        images = len(ours.views(ours.next_batch()[1])['inputs'])
    precision, flops = ours.precision, counter.get_total_flops()
    seconds = {name: timing.median for name, timing in times.items()}
    return {
        'network': network,
        'method': method,
        'images': images,
        'precision': precision,
        'ours': 1 / seconds['ours'],
        'ours fp32': 1 / seconds['fp32'],
        'plain': 1 / seconds['plain'],
        'ratio': seconds['plain'] / seconds['ours'],
        'ratio fp32': seconds['plain'] / seconds['fp32'],
        'GFLOP': flops / 1e9,
        'GFLOP/s': flops / seconds['ours'] / 1e9,
        'MFU': flops / seconds['ours'] / ceiling.flops[precision],
        'plain MFU': flops / seconds['plain'] / ceiling.flops['fp32'],
        'spread': max(timing.spread for timing in times.values()),
    }


def plain_training(
    cfg: Config, ours: runs.Run, method: str, options: Options
) -> plain.PlainTraining:
    """The reference implementation of a config: its backbone, images, batch size and optimiser."""
    data, head = cfg.model.data_preprocessor, cfg.model.head
    images = ours.dataset.images.permute(0, 2, 3, 1).contiguous().numpy()
    dataset = plain.ImageDataset(
        images, ours.dataset.labels.tolist(), plain.pipeline(data.mean, data.std)
    )
    paired = method == 'BCE3S'
    workers = max(1, cores() // (2 if paired else 1))
    loaders = plain.loaders(dataset, cfg.train_dataloader.batch_size, workers, paired)
    quirks = dict(soft_negatives=head.joint.get('soft_negatives', True))
    if paired:
        quirks |= dict(
            resample=head.joint.resample, diagonal=head.uniformity.get('include_diagonal', False)
        )
    model = plain.PlainModel(
        MODELS.build(cfg.model.backbone), head.in_channels, head.num_classes, method, **quirks
    )
    sgd = {k: v for k, v in cfg.optim_wrapper.optimizer.items() if k in plain.SGD_ARGUMENTS}
    return plain.PlainTraining(model, loaders, options.device, sgd)


class Workers(contextlib.AbstractContextManager):
    """The worker processes of a plain training, which work during its turns only.

    Otherwise they would fill their queues during ours: time taken from us and given to them.
    """

    def __init__(self, training: plain.PlainTraining) -> None:
        self.training = training

    def work(self) -> None:
        self._send(signal.SIGCONT)

    def halt(self) -> None:
        self._send(signal.SIGSTOP)

    def drain(self, seconds: float) -> None:
        """Steps, for about so long, on the batches that were made before the first: they would
        flatter a training that waits for its data.
        """
        stop = time.perf_counter() + seconds
        loader = self.training.loaders[0]
        for _ in range(loader.num_workers * (loader.prefetch_factor or 0)):
            if time.perf_counter() > stop:
                break
            self.training.step()

    def __exit__(self, *_: object) -> None:
        self.work()
        self.training.iterators.clear()  # they end their processes

    def _send(self, signum: int) -> None:
        for iterator in self.training.iterators:
            for worker in getattr(iterator, '_workers', ()):
                if worker.is_alive():
                    os.kill(worker.pid, signum)


def _turns(
    functions: dict[str, Callable[[], None]], workers: Workers, options: Options
) -> dict[str, Timing]:
    """Seconds a step of each, measured in turns of as many steps as take :data:`BLOCK` seconds."""
    turns, sizes = {}, {}
    for name, step in functions.items():
        sizes[name] = 1 if options.quick else _steps_a_turn(step, options.device)
        turns[name] = _turn(step, sizes[name], workers if name == 'plain' else None)
    workers.drain(options.seconds)
    workers.halt()
    times = compare(turns, options, warmup=1)
    return {name: timing.divided(sizes[name]) for name, timing in times.items()}


def _steps_a_turn(step: Callable[[], None], device: str) -> int:
    for _ in range(2):  # the first pays for what happens once
        synchronize(device)
        start = time.perf_counter()
        step()
        synchronize(device)
        seconds = time.perf_counter() - start
        if seconds > 10 * BLOCK:
            break
    return max(1, round(BLOCK / seconds))


def _turn(step: Callable[[], None], size: int, workers: Workers | None) -> Callable[[], None]:
    def turn() -> None:
        if workers:
            workers.work()
        for _ in range(size):
            step()
        if workers:
            workers.halt()

    return turn
