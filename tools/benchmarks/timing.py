"""Fair times on a machine that is never quiet: what is compared takes turns."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

SHORTEST = 2e-3  # seconds between two looks at the clock, so that looking costs nothing


@dataclass(frozen=True)
class Options:
    """What every section is told.

    Attributes:
        device: ``cpu`` or ``cuda``.
        threads: of torch on the CPU; None: torch's own choice.
        quick: tiny sizes, a second a section: shows that it runs, not how fast it is.
        seconds: about as long one figure is measured.
        data_root: folder of the data sets.
    """

    device: str = 'cpu'
    threads: int | None = None
    quick: bool = False
    seconds: float = 2.0
    data_root: str = 'data'


@dataclass(frozen=True)
class Timing:
    """Seconds a call.

    Attributes:
        median, best: over the rounds.
        spread: interquartile range over the median.
        calls: how many were timed.
        rounds: the mean of each round; functions compared took turns in the same rounds.
    """

    median: float
    best: float
    spread: float
    calls: int
    rounds: tuple[float, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, rounds: list[float], calls: int = 1) -> Timing:
        """From the seconds a call in each round of ``calls`` calls."""
        low, median, high = np.percentile(rounds, (25, 50, 75))
        spread = float((high - low) / median)
        return cls(float(median), min(rounds), spread, len(rounds) * calls, tuple(rounds))

    def beyond(self, other: Timing) -> float:
        """Seconds a call more than ``other``: the median over the rounds that they shared."""
        return float(np.median(np.subtract(self.rounds, other.rounds)))

    def divided(self, n: int) -> Timing:
        """Of one of the ``n`` things that a call did."""
        rounds = tuple(seconds / n for seconds in self.rounds)
        return Timing(self.median / n, self.best / n, self.spread, self.calls * n, rounds)


def measuring(what: str) -> None:
    """Says on stderr what is being measured now; on a terminal each line replaces the last."""
    end = '\x1b[K\r' if sys.stderr.isatty() else '\n'
    print(f'measuring {what}', end=end, file=sys.stderr, flush=True)


def compare(
    functions: dict[str, Callable[[], object]], options: Options, warmup: int = 2
) -> dict[str, Timing]:
    """Times the functions in turns, A B A B ..., so that noise meets all of them alike.

    At least 5 rounds (3 where one call takes longer than ``options.seconds``, or with ``quick``),
    then until each function has had its ``options.seconds``. Short functions are called several
    times a turn. A GPU is waited for before and after each turn.

    Args:
        functions: by name.
        warmup: calls of each that are not timed (at most 1 with ``quick``); at least one.
    """
    warmup = max(1, min(warmup, 1) if options.quick else warmup)
    calls, slowest = {}, 0.0
    for name, function in functions.items():
        for _ in range(warmup):
            first = _seconds(function, 1, options.device)
        calls[name] = max(1, round(SHORTEST / max(first, 1e-7)))
        slowest = max(slowest, first)
    rounds = 3 if options.quick or slowest > options.seconds else 5
    seen: dict[str, list[float]] = {name: [] for name in functions}
    stop = time.perf_counter() + options.seconds * len(functions)
    while len(next(iter(seen.values()))) < rounds or time.perf_counter() < stop:
        for name, function in functions.items():
            seen[name].append(_seconds(function, calls[name], options.device))
    return {name: Timing.of(rounds, calls[name]) for name, rounds in seen.items()}


def _seconds(function: Callable[[], object], calls: int, device: str) -> float:
    """Seconds a call."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    synchronize(device)
    return (time.perf_counter() - start) / calls


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch works with one thread inside: figures of one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def synchronize(device: str) -> None:
    """Waits for a GPU."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)


def peak_memory(function: Callable[[], object], device: str) -> int | None:
    """Bytes that ``function`` needs beyond what is in use before it; None: cannot be measured.

    On a GPU by torch's allocator. On the CPU by the process's peak of resident memory, which Linux
    resets on request (proc(5), ``clear_refs``); memory given back but kept by the C library is
    returned to the system first, or it would hide an allocation.
    """
    gc.collect()
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')
        before = _status('VmRSS')
        function()
        return max(0, _status('VmHWM') - before)
    except (OSError, AttributeError, KeyError):
        return None


def _status(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = Path('/proc/self/status').read_text().splitlines()
    fields = dict(line.split(':', 1) for line in lines)
    return int(fields[field].split()[0]) * 1024
