"""One line that says how far the runs are, on a terminal; plain lines elsewhere."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bce3s.reproduction.cost import Costs, duration
from bce3s.reproduction.plan import Job

if TYPE_CHECKING:
    from bce3s.reproduction.run import Outcome, Running


class Progress:
    """Args:
    stream: where it is written.
    interval: seconds between two updates of the line.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 1.0) -> None:
        self.stream = stream or sys.stdout
        self.interval = interval
        self._live = self.stream.isatty()
        self._shown, self._total, self._done = 0.0, 0, 0
        self._drawn = False

    def begin(self, jobs: Sequence[Job], costs: Costs, parallel: int) -> None:
        self._total, self._costs, self._parallel = len(jobs), costs, parallel

    def started(self, job: Job, arguments: Sequence[str]) -> None:
        self._line(f'{job.name}: python tools/train.py {shlex.join(_short(arguments))}')

    def ended(self, outcome: Outcome, seconds: float) -> None:
        self._done += 1
        text = outcome.text or f'{outcome.job.name}: finished'
        self._line(f'[{self._done}/{self._total}] {text} ({duration(seconds)})')

    def show(self, running: Sequence[Running], waiting: Sequence[Job], now: float) -> None:
        """The line, if it is time for it: ``now``, in seconds."""
        if not self._live or not running or now - self._shown < self.interval:
            return
        self._shown = now
        runs = ', '.join(_epoch(run, now) for run in running)
        left = duration(self._left(running, waiting))
        text = f'[{self._done + 1}/{self._total}] {runs}; about {left} left'
        self._write('\r\x1b[K' + text[: shutil.get_terminal_size().columns - 1])
        self._drawn = True

    def end(self) -> None:
        if self._drawn:
            self._write('\r\x1b[K')

    def _left(self, running: Sequence[Running], waiting: Sequence[Job]) -> float:
        now = (self._costs.estimate(run.job).seconds for run in running)
        later = (self._costs.estimate(job).seconds for job in waiting)
        return (sum(now) + sum(later)) / self._parallel

    def _line(self, text: str) -> None:
        self._write(('\r\x1b[K' if self._drawn else '') + text + '\n')
        self._drawn = False

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _epoch(run: Running, now: float) -> str:
    done = max(run.job.epochs_done, run.job.result.epoch)
    return f'{run.job.name}: epoch {done}/{run.job.max_epochs}, {duration(now - run.begun)}'


def _short(arguments: Sequence[str]) -> list[str]:
    """Paths below the working directory as seen from there."""
    here = f'{Path.cwd()}/'
    return [argument.removeprefix(here) for argument in arguments]
