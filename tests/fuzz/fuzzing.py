"""A case that hypothesis draws goes to a target under limits of time and memory.

A target may return a word or raise :class:`BCE3SError`; everything else is a failure.
"""

from __future__ import annotations

import contextlib
import io
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis.strategies import SearchStrategy

from bce3s.errors import BCE3SError

MEMORY = 2 << 30  # bytes that a case may take beside what the process has


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        cases: makes the strategy of its cases, Python literals.
        run: takes one; returns a word for what happened, or raises.
        seconds: that a case may take.
        share: how many cases, relative to other targets.
    """

    name: str
    cases: Callable[[], SearchStrategy]
    run: Callable[[Any], str]
    seconds: float = 5.0
    share: float = 1.0


class Hang(BaseException):
    """Not an Exception, so that no ``except Exception`` takes it for a damaged file."""


@contextlib.contextmanager
def limits(seconds: float) -> Iterator[None]:
    """Raises :class:`Hang` after ``seconds``; ``MEMORY`` more bytes can be had than now."""

    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def check(target: Target, case: Any) -> str:
    """How one case ended: the word of the target, or ``refused``."""
    quiet = contextlib.redirect_stdout(io.StringIO())
    try:
        with quiet, limits(target.seconds), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return target.run(case)
    except BCE3SError as error:
        return 'refused' if len(str(error)) < 20_000 else 'refused at length'
    except Hang:
        raise AssertionError(f'took more than {target.seconds:g} s') from None
