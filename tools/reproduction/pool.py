"""Trains what has no result yet: some runs of ``tools/train.py`` at a time, within a budget; one
that fails stops none, and one that is halted is resumed by the next call.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bce3s.files import checkpoints_in
from reproduction.jobs import CHANGED, CUT, DONE, NOTE, ROOT, Job

FINISHED, FAILED, HALTED, WAITING = 'finished', 'failed', 'halted', 'not started'
LOG = 'console.log'
WAIT = 0.1  # seconds between two looks at the runs
GRACE = 60.0  # seconds that a run gets to end in, after it was asked to


def start(arguments: Sequence[str], log: Path, threads: int) -> subprocess.Popen:
    """A tool (its file below ``tools/``, its arguments) in a session of its own: Ctrl-C in the
    terminal is for the parent, which passes it on.
    """
    with log.open('ab') as file:
        return subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / arguments[0]), *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
            start_new_session=True,
        )


def commit() -> str:
    """The commit that is checked out, with a + where files differ from it; empty without Git."""
    asked = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty=+', '--abbrev=10']
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ''


@dataclass
class Pool:
    """Runs jobs to their end or to that of the budget.

    Args:
        parallel: runs at a time. threads: CPU threads of each.
        budget: seconds for all.
        overwrite: whether a run whose config changed is trained again.
        heading: what is written on top of each run's config file.
    """

    parallel: int = 1
    threads: int = 1
    budget: float = float('inf')
    overwrite: bool = False
    heading: str = ''

    def __post_init__(self) -> None:
        self.running: dict[Job, tuple[subprocess.Popen, float, str]] = {}
        self.outcomes: dict[Job, str] = {}

    def run(self, jobs: Iterable[Job]) -> dict[Job, str]:
        """What became of each job. Ctrl-C halts the runs, so that they can be resumed, and goes on
        to the caller.

        Raises:
            BCE3SError: an override that its config does not know.
        """
        waiting = []
        for job in jobs:
            job.check()
            if job.state == CHANGED and not self.overwrite:
                self._end(
                    job,
                    CHANGED,
                    f'{job.folder} holds a run with another config; --overwrite deletes it and '
                    'trains again, another --work-dir keeps both',
                )
            elif job.state != DONE:
                waiting.append(job)
        end = time.monotonic() + self.budget
        try:
            while self.running or (waiting and time.monotonic() < end):
                while len(self.running) < self.parallel and (job := self._next(waiting)):
                    self._begin(job)
                time.sleep(WAIT)
                for job, (child, *_) in list(self.running.items()):
                    if (status := child.poll()) is not None:
                        self._ended(job, status)
                if time.monotonic() >= end:
                    self._halt()
        except BaseException:
            self._halt()
            raise
        return {**self.outcomes, **dict.fromkeys(waiting, WAITING)}

    def _next(self, waiting: list[Job]) -> Job | None:
        """Takes the first of the jobs whose first stage, if it has one, is done; one whose first
        stage will not be done any more fails.
        """
        for job in list(waiting):
            if job.base in self.running or job.base in waiting:
                continue
            waiting.remove(job)
            if job.base is None or job.base.state == DONE:
                return job
            self._end(job, FAILED, f'its first stage, {job.base.name}, is not done')
        return None

    def _begin(self, job: Job) -> None:
        if job.state not in (CUT, DONE):  # checkpoints go first, the note, with the digest, last
            for path in checkpoints_in(job.folder):
                path.unlink()
            for name in ('report.json', 'measures.json', LOG, NOTE):
                (job.folder / name).unlink(missing_ok=True)
        if not job.trained:  # what follows a training says nothing of how that was made
            job.write_config(f'{job.cell.key}. {self.heading}'.strip())
            job.take_note(digest=job.digest, commit=commit())
        arguments = job.arguments
        print(f'{job.name}: python tools/{shlex.join(arguments)}', flush=True)
        child = start(arguments, job.folder / LOG, self.threads)
        self.running[job] = child, time.monotonic(), arguments[0]

    def _halt(self) -> None:
        """Ends every run in a way that it can be resumed; all are asked at once."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C waits for them
        for child, *_ in self.running.values():
            child.send_signal(signal.SIGINT)
        for job, (child, *_) in list(self.running.items()):
            try:
                status = child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                status = child.wait()
            self._ended(job, status, halted=True)
        signal.signal(signal.SIGINT, before)

    def _ended(self, job: Job, status: int, halted: bool = False) -> None:
        _, begun, was = self.running.pop(job)
        if was == 'train.py':
            job.take_note(seconds=job.note.get('seconds', 0.0) + time.monotonic() - begun)
        if job.state == DONE:
            self._end(job, FINISHED, '')
        elif status == 0 and not halted and job.state == CUT and job.next_tool != was:
            self._begin(job)  # what follows the training
        elif halted:
            saved = job.last_checkpoint
            how = f'the next call resumes it from {saved}' if saved else 'no checkpoint yet'
            self._end(job, HALTED, how)
        else:
            log = job.folder / LOG
            lines = log.read_text(encoding='utf-8', errors='replace').splitlines() or ['']
            said = next((line for line in lines if line.startswith('error: ')), lines[-1])
            self._end(job, FAILED, f'{said} (exit status {status}; see {log})')

    def _end(self, job: Job, what: str, why: str) -> None:
        self.outcomes[job] = what
        print(f'{what}: {job.name}{": " * bool(why)}{why}')
