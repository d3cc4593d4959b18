"""Tables of two small cells, runs that write their results at once, and results of any kind."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from reproduction.cells import BEST, LAST, Cell, Column, Drawing, Row, Table
from reproduction.plan import Job

CONFIG = 'configs/baselines/digits_ce.py'
CE = Cell('digits/ce', CONFIG, {'train_cfg.max_epochs': 4})
BCE = Cell('digits/bce', CONFIG, {'train_cfg.max_epochs': 4, 'model.head.joint.type': 'BCEJoint'})
TABLE = Table(
    name='table1',
    title='Digits',
    source='Nowhere',
    rows=(
        Row(CE, {'data': 'digits', 'loss': 'CE'}, {'report.all': '92.8', 'test.accuracy': '90.5'}),
        Row(BCE, {'data': 'digits', 'loss': 'BCE'}, {'report.all': '93.0'}),
    ),
    columns=(
        Column('All', 'report.all', better='higher'),
        Column('A', 'test.accuracy', better='higher'),
        Column('NC1', 'train.nc1', 4, 'lower'),
    ),
    selections=(LAST, BEST),
    drawing=Drawing('dots', ('report.all', 'test.accuracy')),
)


def report(job: Job, epoch: int, every: float = 90.0, sha: str | None = None) -> dict:
    """A ``report.json`` of ``job`` at ``epoch`` with the accuracy ``every``."""
    row = {'many': every, 'medium': every, 'few': None, 'all': every, 'stage': 1}
    best = {**row, 'selection': 'best on test', 'tta': False, 'epoch': 1, 'all': every + 1}
    return {
        **row,
        'epoch': epoch,
        'selection': 'last',
        'tta': False,
        'max_epochs': job.max_epochs,
        'config_sha256': sha or job.digest,
        'other': [best],
    }


def measures(accuracies: list[float], nc1: list[float | None]) -> dict:
    """A ``measures.json``: a row for each epoch."""
    rows = [
        {'epoch': i + 1, 'train': {'nc1': n, 'b_mean': 1.0}, 'test': {'accuracy': a}}
        for i, (a, n) in enumerate(zip(accuracies, nc1, strict=True))
    ]
    return {'epochs': rows}


def put(job: Job, **files: dict) -> Job:
    """Writes ``report.json`` and the like to the job's folder."""
    job.folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (job.folder / f'{name}.json').write_text(json.dumps(content))
    return job


def job(root: Path, cell: Cell = CE, seed: int = 0) -> Job:
    return Job(cell, seed, root / 'full' / cell.key / f'seed{seed}')


def checkpoint(job: Job, epoch: int, name: str = '') -> None:
    """A file that looks like one."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / (name or f'epoch_{epoch}.pth')).write_bytes(b'')


class Trainer:
    """Starts children that need ``polls`` looks to end and then leave a finished report.

    ``fail``: keys of cells that end with status 3; ``begun``: the arguments of every child;
    ``saves``: the checkpoint of one that is stopped.
    """

    def __init__(
        self, jobs: list[Job], polls: int = 1, fail: tuple[str, ...] = (), saves: str = ''
    ) -> None:
        self.jobs = {str(job.folder): job for job in jobs}
        self.polls, self.fail, self.saves = polls, fail, saves
        self.begun: list[list[str]] = []
        self.alive = self.most_alive = 0

    def __call__(self, arguments, log: Path, threads: int) -> Trained:
        self.begun.append(list(arguments))
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        return Trained(self, self.jobs[arguments[arguments.index('--work-dir') + 1]], log)


class Trained:
    def __init__(self, trainer: Trainer, job: Job, log: Path) -> None:
        self.trainer, self.job, self.log = trainer, job, log
        self.left, self.status = trainer.polls, None

    def poll(self) -> int | None:
        self.left -= 1
        if self.status is None and self.left <= 0:
            failed = self.job.cell.key in self.trainer.fail
            if failed:
                self.log.write_text('step 1\nerror: the loss is not finite.\n')
            else:
                put(self.job, report=report(self.job, self.job.max_epochs))
            self._end(3 if failed else 0)
        return self.status

    def send_signal(self, number: int) -> None:
        assert number == signal.SIGINT
        checkpoint(self.job, 2, self.trainer.saves)
        self._end(130)

    def wait(self, timeout: float | None = None) -> int:
        return self.status

    def _end(self, status: int) -> None:
        self.status = status
        self.trainer.alive -= 1
