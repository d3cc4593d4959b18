"""Which runs a table needs, and how far each of them is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.errors import BCE3SError
from bce3s.reproduction import configuration
from bce3s.reproduction.cells import Cell, Table
from bce3s.reproduction.results import Result
from bce3s.reproduction.scales import Scale

if TYPE_CHECKING:
    from mmengine.config import Config

NEW = 'to run'
CUT = 'cut short'
DONE = 'done'
CHANGED = 'changed'


@dataclass(frozen=True)
class Job:
    """One run: a cell with a seed in a folder of its own."""

    cell: Cell
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f'{self.cell.key} seed {self.seed}'

    @property
    def result(self) -> Result:
        """As it is on the disk now."""
        return Result(self.folder)

    @cached_property
    def config(self) -> Config:
        return configuration.resolved(self.cell)

    @cached_property
    def digest(self) -> str:
        return configuration.digest(self.cell)

    @property
    def max_epochs(self) -> int:
        return int((self.config.get('train_cfg') or {}).get('max_epochs', 0))

    @property
    def state(self) -> str:
        """``to run``; ``cut short``, to be resumed; ``done``; or ``changed``: what lies there was
        trained with another config.
        """
        result = self.result
        started = result.report is not None or self.has_checkpoint
        if not started:
            return NEW
        if result.digest is not None and result.digest != self.digest:
            return CHANGED
        if result.finished:
            return DONE
        return CUT if self.has_checkpoint else NEW

    @property
    def checkpoints(self) -> list[Path]:
        """That it can be resumed from."""
        return [*self.folder.glob('epoch_*.pth'), *self.folder.glob('iter_*.pth')]

    @property
    def has_checkpoint(self) -> bool:
        return bool(self.checkpoints)

    @property
    def epochs_done(self) -> int:
        """Of checkpoints, which are what a resumed run begins from; all, if it is finished."""
        result = self.result
        if result.finished:
            return result.epoch
        return max(map(_epochs_in, self.checkpoints), default=0)


def _epochs_in(checkpoint: Path) -> int:
    """Whole epochs: in the name of one that ends an epoch, else read; 0 in a damaged one."""
    kind, _, number = checkpoint.stem.partition('_')
    if kind == 'epoch' and number.isdigit():
        return int(number)
    import torch

    try:
        meta = torch.load(checkpoint, map_location='cpu', mmap=True, weights_only=True)['meta']
        return int(meta['epoch'])
    except Exception:  # whatever a damaged file raises: resuming passes it over too
        return 0


def folder_of(root: Path, scale: Scale, cell: Cell, seed: int) -> Path:
    """``ROOT/<scale>/<key>/seed<k>``: the same whichever table asks for the cell."""
    return root / scale.name / cell.key / f'seed{seed}'


def jobs_of(
    tables: Iterable[Table],
    scale: Scale,
    seeds: int,
    root: Path,
    only: Sequence[str] = (),
) -> tuple[list[Job], list[Cell]]:
    """The runs of the tables, each once, seed 0 of all cells first; and the cells that are not part
    of the scale.

    Raises:
        BCE3SError: a pattern of ``only`` that fits no cell.
    """
    cells = list({cell.key: cell for table in tables for cell in table.cells}.values())
    cells = _matching(cells, only)
    scaled = [(cell, scale.cell(cell)) for cell in cells]
    skipped = [cell for cell, small in scaled if small is None]
    jobs = [
        Job(small, seed, folder_of(root, scale, small, seed))
        for seed in range(seeds)
        for _, small in scaled
        if small is not None
    ]
    return jobs, skipped


def _matching(cells: list[Cell], only: Sequence[str]) -> list[Cell]:
    for pattern in only:
        if not any(fnmatchcase(cell.key, pattern) for cell in cells):
            keys = [cell.key for cell in cells]
            near = difflib.get_close_matches(pattern, keys, n=3, cutoff=0.3) or keys[:3]
            raise BCE3SError(
                f'--only {pattern} fits none of the {len(keys)} cells; there are '
                f'{", ".join(near)}{", ..." if len(keys) > len(near) else ""}. * stands for '
                'anything, also across /.'
            )
    if not only:
        return cells
    return [cell for cell in cells if any(fnmatchcase(cell.key, pattern) for pattern in only)]


def absent_data(jobs: Iterable[Job]) -> list[str]:
    """A sentence for each data set of the runs that is not there; nothing is fetched. Data sets
    in memory are read; of the others only the folder is looked for.
    """
    from bce3s.datasets.in_memory import DownloadedLongTailed
    from bce3s.registry import DATASETS

    sentences, places = [], {}
    for job in jobs:
        data = job.config.train_dataloader.dataset
        places.setdefault((data.type, data.get('data_root')), data)
    for (kind, root), data in places.items():
        if issubclass(cls := DATASETS.get(kind), DownloadedLongTailed):
            where = {key: data[key] for key in ('data_root', 'verify') if key in data}
            try:
                cls(imbalance='none', download=False, **where)
            except BCE3SError as error:
                sentences.append(str(error))
        elif root is not None and not Path(root).expanduser().is_dir():
            sentences.append(f'There is no folder {root}, where {kind} should be.')
    return sentences
