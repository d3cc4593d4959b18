"""Signals that ask a run to stop, and the loader's worker processes, which they must not reach.

Nothing here imports torch: a run can be asked to stop while it still imports it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from bce3s.errors import BCE3SError

# Slurm's and torchrun's; Slurm's --signal=USR1@SECONDS, ahead of its time limit; Ctrl-C; a terminal
# that is closed
STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

_active: StopSignals | None = None


class Preempted(BaseException):
    """The run was asked to stop, and did: ``str()`` is the sentence to print, ``status`` the exit
    status, ``agreed`` whether all processes raise it at the same place.

    Not an ``Exception``, like ``KeyboardInterrupt``: nobody else's ``except`` may swallow it.
    """

    def __init__(self, name: str, what: str, agreed: bool = False) -> None:
        super().__init__(f'Stopped by {name} {what}')
        self.status = 130 if name == 'SIGINT' else 0
        self.agreed = agreed


class FailedElsewhere(BCE3SError):
    """Another process of the run could not go on; that one says why."""


class StopSignals:
    """While the block runs, SIGTERM, SIGUSR1, SIGINT and SIGHUP ask for a stop; afterwards they do
    what they did before. Under ``nohup``, which has SIGHUP ignored, it stays so.

    As long as nothing can be lost (start-up) the first one raises :class:`Preempted` at once. After
    :func:`be_patient` it is only noted, and whoever trains looks at :func:`requested` between two
    iterations. Further ones change nothing, but that a second Ctrl-C at a terminal is a
    ``KeyboardInterrupt``. Outside the main thread the block does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.patient = False
        self.early: Preempted | None = None
        self._before: dict[signal.Signals, object] = {}
        self._process = os.getpid()

    def __enter__(self) -> StopSignals:
        global _active
        if threading.current_thread() is threading.main_thread():
            _active = self
            handlers = {number: signal.getsignal(number) for number in STOPPING}
            if handlers[signal.SIGHUP] is signal.SIG_IGN:
                del handlers[signal.SIGHUP]
            self._before = handlers
            for number in handlers:
                signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _active
        if self._before:
            _active = None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process forked by this one
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        first, self.received = self.received is None, self.received or signal.Signals(number)
        # a launcher hands Ctrl-C on to processes that have had it from the terminal already
        if not first and number == signal.SIGINT and 'LOCAL_RANK' not in os.environ:
            raise KeyboardInterrupt
        if first and not self.patient:
            self.early = Preempted(
                self.received.name, 'before the first iteration; nothing was lost.'
            )
            raise self.early


def be_patient() -> None:
    """From now on there is something to save: a signal is noted, not obeyed at once."""
    if _active is not None:
        _active.patient = True


def requested() -> int:
    """The number of the signal that has asked this process to stop; 0: none."""
    return int(_active.received or 0) if _active is not None else 0


# ------------------------------------------------------------ worker processes of a loader
class ShieldedWorker:
    """A loader's ``worker_init_fn``: keeps the signals that are meant for the run from its worker.

    Slurm, and a kill of the process group, reach the workers too. One that dies makes PyTorch raise
    in the middle of whatever the run is doing. A worker ends with its loader, or seconds after its
    run is no more; SIGTERM is obeyed if it is the run that sends it.

    Args:
        init: what the loader called without this; None: nothing.
    """

    def __init__(self, init: Callable[[int], None] | None = None) -> None:
        self.init = init

    def __call__(self, worker: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=_obey_parent, daemon=True).start()
        if self.init is not None:
            self.init(worker)


def _obey_parent() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def shield_workers(loader: object) -> None:
    """Shields the worker processes of a ``DataLoader``, if a run is listening for signals."""
    if _active is not None and loader.num_workers > 0:
        loader.worker_init_fn = ShieldedWorker(loader.worker_init_fn)
