"""Runs in processes of their own, so that one that dies takes nothing with it.

Where there is no GPU, a run is a fork of this process, which has imported everything once: start-up
costs several seconds a process, as much as a small run itself. With a GPU, which does not survive a
fork, and on other systems than Linux it is a new process of ``tools/train.py``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol

from reproduction.configuration import ROOT

PRELOADED = (
    'mmpretrain.models',
    'torch.utils.tensorboard',
    'bce3s.engine.runner',
    'bce3s.evaluation.report',
    'bce3s.strict_config',
)
GRACE = 60.0  # seconds that a run gets to end in, after it was asked to
INTERRUPTED = 130


class Child(Protocol):
    """A run in progress."""

    def poll(self) -> int | None:
        """The exit status; None while it runs."""

    def stop(self) -> int:
        """Asks it to end (as Ctrl-C does), then makes it; returns the exit status."""


Start = Callable[[Sequence[str], Path, int], Child]


def starter() -> Start:
    """The way runs are started on this machine; imports what they all need if they are forks."""
    import torch

    if sys.platform != 'linux' or torch.cuda.is_available():
        return Process
    _import_everything()
    return Fork


def _import_everything() -> None:
    """What a run imports before its first step. None of it starts a thread."""
    from bce3s.config_keys import registries

    for module in PRELOADED:
        import_module(module)
    for registry in registries():
        registry.import_from_location()


def train_arguments(
    config: Path, folder: Path, seed: int, resume: bool, overwrite: bool
) -> list[str]:
    """What follows ``tools/train.py`` on the command line."""
    arguments = [str(config), '--seed', str(seed), '--work-dir', str(folder)]
    return arguments + ['--resume'] * resume + ['--overwrite'] * overwrite


# ------------------------------------------------------------ forks
class Fork:
    """A fork that calls what ``tools/train.py`` calls."""

    def __init__(self, arguments: Sequence[str], log: Path, threads: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _run_and_exit(list(arguments), log, threads)

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def stop(self) -> int:
        return _stop(self, lambda number: os.kill(self.pid, number))


def _run_and_exit(arguments: list[str], log: Path, threads: int) -> None:
    """In the fork; never returns."""
    status = 1
    try:
        os.setsid()  # Ctrl-C in the terminal is for the parent, which passes it on
        _end_with_the_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _redirect(log)
        import torch

        from bce3s.cli import main

        torch.set_num_threads(threads)
        status = main('train', arguments)
    except BaseException:  # a fork must end here, whatever happened
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _end_with_the_parent() -> None:
    """Also if it is killed. Linux: prctl(PR_SET_PDEATHSIG, SIGINT)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _redirect(log: Path) -> None:
    """Input from nowhere, output to the end of ``log``."""
    with log.open('ab') as file, open(os.devnull, 'rb') as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(i, 'w', buffering=1, closefd=False) for i in (1, 2))


# ------------------------------------------------------------ processes
class Process:
    """A process of ``tools/train.py``."""

    def __init__(self, arguments: Sequence[str], log: Path, threads: int) -> None:
        command = [sys.executable, str(ROOT / 'tools' / 'train.py'), *arguments]
        with log.open('ab') as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> int:
        return _stop(self, self._process.send_signal)


def _stop(child: Child, send: Callable[[int], None]) -> int:
    """SIGINT, and after the grace SIGKILL."""
    for number, seconds in ((signal.SIGINT, GRACE), (signal.SIGKILL, GRACE)):
        if child.poll() is None:
            send(number)
        deadline = time.monotonic() + seconds
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    status = child.poll()
    return INTERRUPTED if status is None else status
