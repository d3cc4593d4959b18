"""Trains what has no result yet: some runs at a time, within a budget; a failed one stops none."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bce3s.errors import BCE3SError
from bce3s.files import checkpoints_in, written_whole
from bce3s.reproduction.children import INTERRUPTED, Child, Start, train_arguments
from bce3s.reproduction.configuration import check, write_config
from bce3s.reproduction.cost import Costs
from bce3s.reproduction.plan import CHANGED, CUT, DONE, Job
from bce3s.reproduction.progress import Progress
from bce3s.reproduction.results import NOTE

FINISHED, FAILED, HALTED, WAITING = 'finished', 'failed', 'halted', 'not started'
LOG = 'console.log'
WAIT = 0.1  # seconds between two looks at the runs


@dataclass(frozen=True)
class Settings:
    """How runs are run.

    Args:
        parallel: runs at a time.
        threads: CPU threads of each.
        budget: seconds for all; None: no end.
        overwrite: whether a run whose config changed is trained again.
        heading: what is written on top of each run's config file.
    """

    parallel: int = 1
    threads: int = 1
    budget: float | None = None
    overwrite: bool = False
    heading: str = ''


@dataclass(frozen=True)
class Outcome:
    """``what`` became of a job, with a sentence where it did not finish."""

    job: Job
    what: str
    text: str = ''


@dataclass
class Running:
    """A run in progress."""

    job: Job
    child: Child
    before: int  # epochs that were done when it began
    begun: float  # seconds, by the clock of its session


class Session:
    """Runs jobs to their end or to that of the budget.

    Args:
        settings, start, costs, progress: how runs are run, begun, estimated and shown.
        clock: the seconds that a budget is counted in, and what waits for some of them.
    """

    def __init__(
        self,
        settings: Settings,
        start: Start,
        costs: Costs,
        progress: Progress,
        clock: tuple[Callable[[], float], Callable[[float], None]] = (time.monotonic, time.sleep),
    ) -> None:
        self.settings, self.start, self.costs, self.progress = settings, start, costs, progress
        self.running: list[Running] = []
        self.outcomes: list[Outcome] = []
        self._now, self._wait = clock
        self._begun = self._now()

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        """What became of each job, in the order they ended. Ctrl-C halts the runs, so that they can
        be resumed, and goes on to the caller.

        Raises:
            BCE3SError: an override that its config does not know; a config file that cannot be
                written.
        """
        waiting = [job for job in jobs if self._to_be_run(job)]
        for job in waiting:
            check(job.cell)
        self.progress.begin(waiting, self.costs, self.settings.parallel)
        try:
            while waiting or self.running:
                self._fill(waiting)
                if not self.running:
                    break
                self._wait(WAIT)
                self._look()
                if self._left() <= 0:
                    self._halt('the budget of time was spent')
                self.progress.show(self.running, waiting, self._now())
        except BaseException:
            self._halt('it was interrupted')
            raise
        finally:
            self.progress.end()
        reason = 'it would not have fitted into the budget'
        self.outcomes += [Outcome(job, WAITING, f'{job.name}: {reason}.') for job in waiting]
        return self.outcomes

    def _to_be_run(self, job: Job) -> bool:
        if job.state == CHANGED and not self.settings.overwrite:
            text = (
                f'{job.name}: {job.folder} holds a run with another config. --overwrite trains it '
                'again (and deletes that run), another --work-dir keeps both.'
            )
            self.outcomes.append(Outcome(job, CHANGED, text))
            return False
        return job.state != DONE

    # ------------------------------------------------------------ budget
    def _left(self) -> float:
        if self.settings.budget is None:
            return float('inf')
        return self.settings.budget - (self._now() - self._begun)

    def _fill(self, waiting: list[Job]) -> None:
        while len(self.running) < self.settings.parallel:
            job = next((job for job in waiting if self._fits(job)), None)
            if job is None:
                return
            waiting.remove(job)
            self._begin(job)

    def _fits(self, job: Job) -> bool:
        """A run longer than the whole budget is trained in pieces: each call resumes it."""
        needed = self.costs.estimate(job).seconds
        if self.settings.budget is not None and needed > self.settings.budget:
            return self._left() > 0 and not self.running
        return needed <= self._left()

    # ------------------------------------------------------------ one run
    def _begin(self, job: Job) -> None:
        state, before = job.state, job.epochs_done
        again = state == CHANGED
        if again:
            before = 0
            _clear(job.folder)
        heading = f'{job.cell.key}. {self.settings.heading}'.strip()
        config = write_config(job.cell, job.folder.parent, heading)
        earlier = job.result.note if state == CUT else {}  # of what is not resumed nothing is left
        _write_note(job, {**earlier, **self._note(job)})
        arguments = train_arguments(config, job.folder, job.seed, state == CUT, overwrite=again)
        self.progress.started(job, arguments)
        log = job.folder / LOG
        if state != CUT:
            log.unlink(missing_ok=True)
        child = self.start(arguments, log, self.settings.threads)
        self.running.append(Running(job, child, before, self._now()))

    def _note(self, job: Job) -> dict:
        return {
            'key': job.cell.key,
            'seed': job.seed,
            'digest': job.digest,
            'machine': self.costs.device,
            'threads': self.settings.threads,
        }

    def _look(self) -> None:
        for run in list(self.running):
            status = run.child.poll()
            if status is not None:
                self._ended(run, status)

    def _halt(self, reason: str) -> None:
        """Ends every run in a way that it can be resumed; all are asked at once."""
        runs = list(self.running)
        if not runs:
            return
        with _undisturbed(), ThreadPoolExecutor(len(runs)) as pool:
            for run, status in zip(runs, pool.map(lambda run: run.child.stop(), runs), strict=True):
                self._ended(run, status, reason)

    def _ended(self, run: Running, status: int, halted: str = '') -> None:
        self.running.remove(run)
        job = run.job
        epochs = job.epochs_done - run.before
        note = job.result.note
        seconds = self._now() - run.begun
        part = {'epochs': epochs, 'seconds': round(seconds, 2)}
        with suppress(OSError):  # a full disk: the run itself has said so
            _write_note(job, {**note, 'runs': [*note.get('runs', []), part]})
        if job.state == DONE:
            self.costs.learn(job)
            outcome = Outcome(job, FINISHED)
        elif halted or status == INTERRUPTED:
            outcome = Outcome(job, HALTED, _halted(job, halted or 'it was interrupted'))
        else:
            outcome = Outcome(job, FAILED, f'{job.name}: {_complaint(job.folder / LOG, status)}')
        self.outcomes.append(outcome)
        self.progress.ended(outcome, seconds)


def _halted(job: Job, reason: str) -> str:
    if not job.has_checkpoint:
        return f'{job.name}: {reason} before its first checkpoint; the next call starts it again.'
    at = f'{job.epochs_done} of {job.max_epochs} epochs'
    return f'{job.name}: {reason} with {at} done and saved; the next call resumes it.'


def _clear(folder: Path) -> None:
    """Takes a run away that is to be trained again with another config. The checkpoints go first
    and the note, which names the config, last: cut short, it is still known as the old one.
    """
    old = checkpoints_in(folder)
    for path in (*old, *(folder / name for name in ('report.json', 'measures.json', NOTE))):
        path.unlink(missing_ok=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C waits until the runs have ended: it would leave them behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _write_note(job: Job, note: dict) -> None:
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        with written_whole(job.folder / NOTE) as file:
            file.write(json.dumps(note, indent=1).encode())
    except OSError as error:
        raise BCE3SError(
            f'{job.folder / NOTE} could not be written ({error.strerror or error}): make room, or '
            'give another --work-dir.'
        ) from error


def _complaint(log: Path, status: int) -> str:
    """What a run said last: its error, or its last line."""
    try:
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        lines = []
    errors = [line for line in lines if re.match(r'error: |\w*(Error|Exception)\b', line)]
    said = errors or [line.strip() for line in lines if line.strip()]
    last = f'{said[-1].removeprefix("error: ")} ' if said else ''
    how = f'killed by signal {-status}' if status < 0 else f'exit status {status}'
    return f'{last}({how}; see {log})'
