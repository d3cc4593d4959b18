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
    """``tools/train.py`` in a session of its own: Ctrl-C in the terminal is for the parent, which
    passes it on.
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
        self.running: dict[Job, tuple[subprocess.Popen, float]] = {}
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
                while waiting and len(self.running) < self.parallel:
                    self._begin(waiting.pop(0))
                time.sleep(WAIT)
                for job, (child, _) in list(self.running.items()):
                    if (status := child.poll()) is not None:
                        self._ended(job, status)
                if time.monotonic() >= end:
                    self._halt()
        except BaseException:
            self._halt()
            raise
        return {**self.outcomes, **dict.fromkeys(waiting, WAITING)}

    def _begin(self, job: Job) -> None:
        resume = job.state == CUT
        config = job.write_config(f'{job.cell.key}. {self.heading}'.strip())
        if not resume:  # checkpoints go first, the note, which names the config, last
            for path in checkpoints_in(job.folder):
                path.unlink()
            for name in ('report.json', 'measures.json', LOG, NOTE):
                (job.folder / name).unlink(missing_ok=True)
        job.take_note(digest=job.digest)
        arguments = [str(config), '--seed', str(job.seed), '--work-dir', str(job.folder)]
        arguments.append('--resume' if resume else '--overwrite')
        print(f'{job.name}: python tools/train.py {shlex.join(arguments)}')
        child = start(arguments, job.folder / LOG, self.threads)
        self.running[job] = child, time.monotonic()

    def _halt(self) -> None:
        """Ends every run in a way that it can be resumed; all are asked at once."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C waits for them
        for child, _ in self.running.values():
            child.send_signal(signal.SIGINT)
        for job, (child, _) in list(self.running.items()):
            try:
                status = child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                status = child.wait()
            self._ended(job, status, halted=True)
        signal.signal(signal.SIGINT, before)

    def _ended(self, job: Job, status: int, halted: bool = False) -> None:
        _, begun = self.running.pop(job)
        job.take_note(seconds=job.note.get('seconds', 0.0) + time.monotonic() - begun)
        if job.state == DONE:
            self._end(job, FINISHED, '')
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
