"""Tables of two small cells, runs that write their results at once, and results of any kind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from reproduction.cells import BEST, LAST, Cell, Column, Drawing, Row, Table
from reproduction.jobs import Job

CONFIG = 'configs/baselines/digits_ce.py'
CE = Cell('digits/ce', CONFIG, {'train_cfg.max_epochs': 4})
BCE = Cell('digits/bce', CONFIG, {'train_cfg.max_epochs': 4, 'model.head.joint.type': 'BCEJoint'})
TABLE = Table(
    name='table1',
    title='Digits',
    paper='Nowhere',
    place='Table 1',
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


class Child:
    """Of :class:`subprocess.Popen` what a pool needs: ends after ``polls`` looks with ``status``
    and then has finished its job; asked to end, it saves ``saved``; ``deaf``, it has to be killed.
    """

    def __init__(self, job: Job, polls=1, status=0, saved='epoch_2.pth', deaf=False) -> None:
        self.job, self.left, self.status, self.saved, self.deaf = job, polls, status, saved, deaf
        self.told: list[object] = []

    def poll(self) -> int | None:
        self.left -= 1
        if self.left > 0:
            return None
        if self.status == 0 and self.job.trained:
            rows = [
                {'method': 'As trained', 'all': 50.0, 'ece': {'all': 7.0}},
                {'method': 'Logit adjustment', 'all': 55.0, 'ece': {'all': 8.0}},
            ]
            (self.job.folder / 'posthoc').mkdir()
            (self.job.folder / 'posthoc/posthoc.json').write_text(json.dumps({'rows': rows}))
        elif self.status == 0:
            put(self.job, report=report(self.job, self.job.max_epochs))
        return self.status

    def send_signal(self, number: int) -> None:
        self.told.append(number)
        if self.saved:
            checkpoint(self.job, 0, self.saved)

    def kill(self) -> None:
        self.told.append('kill')

    def wait(self, timeout: float | None = None) -> int:
        self.told.append('wait')
        if self.deaf and timeout is not None:
            raise subprocess.TimeoutExpired('train.py', timeout)
        return 130
