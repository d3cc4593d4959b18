"""Trains what has no result yet: some runs of ``tools/train.py`` at a time, within a budget; one
that fails stops none, and one that is halted is resumed by the next call.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bce3s.errors import BCE3SError
from bce3s.files import checkpoints_in, written_whole
from reproduction.configuration import ROOT, check, write_config
from reproduction.cost import Costs, duration, progress
from reproduction.plan import CHANGED, CUT, DONE, Job
from reproduction.results import NOTE

FINISHED, FAILED, HALTED, WAITING = 'finished', 'failed', 'halted', 'not started'
LOG = 'console.log'
WAIT = 0.1  # seconds between two looks at the runs
GRACE = 60.0  # seconds that a run gets to end in, after it was asked to
INTERRUPTED = 130


@dataclass(frozen=True)
class Settings:
    """How runs are run.

    Args:
        parallel: runs at a time.
        threads: CPU threads of each.
        budget: seconds for all; None: no end.
        overwrite: whether a run whose config changed is trained again.
        heading: what is written on top of each run's config file.
        options: the ``--cfg-options`` that all runs have.
    """

    parallel: int = 1
    threads: int = 1
    budget: float | None = None
    overwrite: bool = False
    heading: str = ''
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """``what`` became of a job, with a sentence where it did not finish."""

    job: Job
    what: str
    text: str = ''


class Child(Protocol):
    """A run in progress: what a session needs of :class:`subprocess.Popen`."""

    def poll(self) -> int | None: ...

    def send_signal(self, number: int) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


Start = Callable[[Sequence[str], Path, int], Child]


def start(arguments: Sequence[str], log: Path, threads: int) -> subprocess.Popen:
    """A process of ``tools/train.py`` in a session of its own, so that Ctrl-C in the terminal is
    for the parent, which passes it on.
    """
    with log.open('ab') as file:
        return subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / 'train.py'), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
            start_new_session=True,
        )


@dataclass
class Running:
    """A run in progress; ``before``: epochs that were done when it began."""

    job: Job
    child: Child
    before: float
    begun: float


class Session:
    """Runs jobs to their end or to that of the budget.

    Args:
        settings: how.
        costs: learns from what finishes.
        start: starts a run, given its arguments, its log and its threads.
        say: prints a line.
    """

    def __init__(
        self, settings: Settings, costs: Costs, start: Start = start, say: Callable = print
    ) -> None:
        self.settings, self.costs, self.start, self.say = settings, costs, start, say
        self.running: list[Running] = []
        self.outcomes: list[Outcome] = []
        self._causes: dict[str, Job] = {}
        self._total = 0
        self._begun = 0.0

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
        self._total = len(self.outcomes) + len(waiting)
        self._begun = time.monotonic()  # not before: what checks a config takes seconds to import
        try:
            while self.running or (waiting and self._left() > 0):
                while waiting and len(self.running) < self.settings.parallel:
                    self._begin(waiting.pop(0))
                time.sleep(WAIT)
                for run in list(self.running):
                    if (status := run.child.poll()) is not None:
                        self._ended(run, status)
                if self._left() <= 0:
                    self._halt('the budget of time was spent')
        except BaseException:
            self._halt('it was interrupted')
            raise
        reason = 'the budget of time was spent'
        self.outcomes += [Outcome(job, WAITING, f'{job.name}: {reason}.') for job in waiting]
        return self.outcomes

    def _to_be_run(self, job: Job) -> bool:
        if job.state == CHANGED and not self.settings.overwrite:
            self.outcomes.append(Outcome(job, CHANGED, _changed(job, self.settings.options)))
            return False
        return job.state != DONE

    def _left(self) -> float:
        if self.settings.budget is None:
            return float('inf')
        return self.settings.budget - (time.monotonic() - self._begun)

    def _begin(self, job: Job) -> None:
        resume, again = job.state == CUT, job.state == CHANGED
        if again:
            _clear(job.folder)
        heading = f'{job.cell.key}. {self.settings.heading}'.strip()
        config = write_config(job.cell, job.folder.parent, heading)
        earlier = job.result.note if resume else {}  # of what is not resumed nothing is left
        note = {
            'key': job.cell.key,
            'seed': job.seed,
            'digest': job.digest,
            'machine': self.costs.device,
            'threads': self.settings.threads,
            'options': dict(self.settings.options),
        }
        _write_note(job, {**earlier, **note})
        arguments = [str(config), '--seed', str(job.seed), '--work-dir', str(job.folder)]
        arguments += ['--resume'] * resume + ['--overwrite'] * again
        here = f'{Path.cwd()}/'
        command = shlex.join(argument.removeprefix(here) for argument in arguments)
        self.say(f'{job.name}: python tools/train.py {command}')
        log = job.folder / LOG
        if not resume:
            log.unlink(missing_ok=True)
        child = self.start(arguments, log, self.settings.threads)
        self.running.append(Running(job, child, progress(job)[0], time.monotonic()))

    def _halt(self, reason: str) -> None:
        """Ends every run in a way that it can be resumed; all are asked at once."""
        with _undisturbed():
            for run in self.running:
                run.child.send_signal(signal.SIGINT)
            for run in list(self.running):
                try:
                    status = run.child.wait(GRACE)
                except subprocess.TimeoutExpired:
                    run.child.send_signal(signal.SIGKILL)
                    status = run.child.wait()
                self._ended(run, status, reason)

    def _ended(self, run: Running, status: int, halted: str = '') -> None:
        self.running.remove(run)
        job, seconds = run.job, time.monotonic() - run.begun
        part = {'epochs': round(progress(job)[0] - run.before, 3), 'seconds': round(seconds, 2)}
        note = job.result.note
        with suppress(OSError):  # a full disk: the run itself has said so
            _write_note(job, {**note, 'runs': [*note.get('runs', []), part]})
        if job.state == DONE:
            self.costs.learn(job)
            outcome = Outcome(job, FINISHED)
        elif halted or status == INTERRUPTED:
            outcome = Outcome(job, HALTED, _halted(job, halted or 'it was interrupted'))
        else:
            outcome = Outcome(job, FAILED, self._failed(job, status))
        self.outcomes.append(outcome)
        text = f'{outcome.what}: {outcome.text}' if outcome.text else f'{job.name}: finished'
        self.say(f'[{len(self.outcomes)}/{self._total}] {text} ({duration(seconds)})')

    def _failed(self, job: Job, status: int) -> str:
        """Its cause; one that an earlier run had is not said again."""
        log = job.folder / LOG
        cause = _complaint(log)
        first = self._causes.setdefault(cause, job)
        if cause and first is not job:
            cause = f'as {first.name} '
        how = f'killed by signal {-status}' if status < 0 else f'exit status {status}'
        return f'{job.name}: {cause}({how}; see {log})'


def _halted(job: Job, reason: str) -> str:
    if not job.has_checkpoint:
        return f'{job.name}: {reason} before its first checkpoint; the next call starts it again.'
    at = progress(job)[1].replace('/', ' of ')
    return f'{job.name}: {reason} after the checkpoint of {at}; the next call resumes it.'


def _changed(job: Job, options: Mapping[str, Any]) -> str:
    began = job.result.note.get('options')
    how, remedy = 'with another config', ''
    if began is not None and began != options:
        given = ' '.join(f'{key}={value}' for key, value in began.items())
        how = f'that was begun with --cfg-options {given}' if given else 'without --cfg-options'
        remedy = 'Give the same to go on with it; '
    return (
        f'{job.name}: {job.folder} holds a run {how}. {remedy}--overwrite trains it again (and '
        'deletes that run), another --work-dir keeps both.'
    )


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


def _complaint(log: Path) -> str:
    """What a run said last: its error, or its last line."""
    try:
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        lines = []
    errors = [line for line in lines if re.match(r'error: |\w*(Error|Exception)\b', line)]
    said = errors or [line.strip() for line in lines if line.strip()]
    return f'{said[-1].removeprefix("error: ")} ' if said else ''
