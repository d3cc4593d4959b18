"""A run of a cell: its config, how far it is, and its results."""

from __future__ import annotations

import difflib
import functools
import json
import pprint
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.config import read_config
from bce3s.config.reading import share_shape
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from reproduction.cells import BEST, LAST, Cell, Scale, Table

if TYPE_CHECKING:
    from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
AS_TRAINED = 'As trained'  # in posthoc.json
# source of a measure -> the tool that makes it, its arguments, its file in the folder of the run
FOLLOW_UPS = {
    'posthoc': ('posthoc.py', (), 'posthoc/posthoc.json'),
    'open_set': ('feature_quality.py', ('--unknown', 'held-out'), 'features/features.json'),
}
NOTE = 'cell.json'  # what reproduce.py itself keeps in a run's folder
NEW, CUT, DONE, CHANGED = 'to run', 'cut short', 'done', 'changed'
# One checkpoint a run is enough to resume it; a table has dozens of runs.
KEPT = {'default_hooks.checkpoint.max_keep_ckpts': 1}


@dataclass(frozen=True, eq=False)
class Job:
    """One run: a cell with a seed in a folder of its own.

    Args:
        base: the run whose last checkpoint it begins from.
        follow_ups: keys of ``FOLLOW_UPS``, what follows the training.
    """

    cell: Cell
    seed: int
    folder: Path
    base: Job | None = None
    follow_ups: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f'{self.cell.key} seed {self.seed}'

    # ------------------------------------------------------------------------------------- config
    @cached_property
    def config(self) -> Config:
        """The config that it trains, overrides applied but not yet checked.

        Raises:
            BCE3SError: the config file cannot be read, or an override does not fit.
        """
        cfg = deepcopy(_leaf(self.cell.config))
        try:
            cfg.merge_from_dict(deepcopy({**KEPT, **self.cell.overrides}))
        except (TypeError, KeyError, AssertionError) as error:
            raise BCE3SError(
                f'The overrides of cell {self.cell.key} do not fit {self.cell.config}: {error}'
            ) from error
        share_shape(cfg)
        cfg.setdefault('default_scope', 'bce3s')
        if self.base is not None:
            cfg.load_from = str(self.base.folder / f'epoch_{self.base.max_epochs}.pth')
        return cfg

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the experiment, as ``config_sha256`` in its report."""
        from bce3s.engine.report_hook import config_digest

        return config_digest(self.config.to_dict())

    @property
    def max_epochs(self) -> int:
        return int(self.config.train_cfg.max_epochs)

    def check(self) -> None:
        """As ``--cfg-options`` are checked.

        Raises:
            BCE3SError: a key that the config does not have and nothing would read.
        """
        from bce3s.config import check_option

        for key in self.cell.overrides:
            try:
                check_option(_leaf(self.cell.config), key)
            except BCE3SError as error:
                text = str(error).removeprefix('--cfg-options ')
                raise BCE3SError(f'Cell {self.cell.key}, override {text}') from error

    def write_config(self, heading: str) -> Path:
        """Writes the config file that all seeds share: the leaf as ``_base_``, then the overrides.
        A run goes to a folder below, since MMEngine writes a config of that name there.
        """
        lines = [f'"""{heading}\n\nWritten by tools/reproduce.py: changes here are lost.\n"""\n']
        lines.append(f'_base_ = {str(ROOT / self.cell.config)!r}\n')
        for key, value in _nested({**KEPT, **self.cell.overrides}).items():
            lines.append(f'{key} = {pprint.pformat(value, width=96, sort_dicts=False)}')
        lines.append("work_dir = '{{ fileDirname }}/seed0'\n")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder.parent / 'config.py'
        with written_whole(path, shared=True) as file:
            file.write('\n'.join(lines).encode())
        return path

    # -------------------------------------------------------------------------------------- state
    @property
    def state(self) -> str:
        """``to run``; ``cut short``, to be resumed; ``done``; or ``changed``: what lies there was
        trained with another config.
        """
        report, saved = self.report, self.last_checkpoint is not None
        if not (report or saved):
            return NEW
        if report.get('config_sha256', self.note.get('digest')) not in (None, self.digest):
            return CHANGED
        if self.next_tool is None:
            return DONE
        return CUT if saved or self.trained else NEW

    @property
    def trained(self) -> bool:
        report = self.report
        return bool(report.get('max_epochs')) and report['epoch'] >= report['max_epochs']

    def _made(self, name: str) -> Path | None:
        """The file of a follow-up; None where it is not there, or older than the report."""
        path, report = self.folder / FOLLOW_UPS[name][2], self.folder / 'report.json'
        made = path.exists() and path.stat().st_mtime >= report.stat().st_mtime
        return path if made else None

    def _after(self, name: str) -> dict[str, Any]:
        path = self._made(name)
        return _read(path) if path else {}

    @property
    def next_tool(self) -> str | None:
        """The file, below ``tools/``, of the next command; None: everything is done."""
        if not self.trained:
            return 'train.py'
        return next((FOLLOW_UPS[n][0] for n in self.follow_ups if not self._made(n)), None)

    @property
    def arguments(self) -> list[str]:
        """The next command, below ``tools/``; of a run that is not done."""
        for tool, options, _ in FOLLOW_UPS.values():
            if tool == self.next_tool:
                return [tool, str(self.folder), *options]
        changes = ['--cfg-options', f'load_from={self.config.load_from}'] if self.base else []
        return [
            'train.py',
            str(self.folder.parent / 'config.py'),
            *('--seed', str(self.seed), '--work-dir', str(self.folder)),
            '--resume' if self.state == CUT else '--overwrite',
            *changes,
        ]

    @property
    def last_checkpoint(self) -> str | None:
        """``epoch_12`` or ``iter_295``, whichever was written last."""
        found = [path for name in ('epoch_*', 'iter_*') for path in self.folder.glob(f'{name}.pth')]
        return max(found, key=lambda path: path.stat().st_mtime).stem if found else None

    @property
    def note(self) -> dict[str, Any]:
        """``digest`` of the config it was begun with, ``seconds`` it has taken."""
        return _read(self.folder / NOTE)

    def take_note(self, **values: Any) -> None:
        """Keeps ``values`` in the note."""
        with written_whole(self.folder / NOTE) as file:
            file.write(json.dumps({**self.note, **values}, indent=1).encode())

    # ------------------------------------------------------------------------------------ results
    @property
    def report(self) -> dict[str, Any]:
        return _read(self.folder / 'report.json')

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """Rows of ``measures.json``, one an epoch; only to be read of a finished run."""
        return _read(self.folder / 'measures.json').get('epochs', [])

    def value(self, measure: str, selection: str, posthoc: str = '') -> float | None:
        """One number: ``report.all``, ``test.accuracy``, ``train.nc1``; None where there is none.

        Args:
            measure: see :class:`~reproduction.cells.Column`.
            selection: of which epoch: a selection of the report; ``best on test`` is for the
                measures the epoch with the highest ``test.accuracy`` (the first among equals).
            posthoc: a method of ``posthoc.json`` in whose place the run as trained stands.
        """
        source, name = measure.split('.', 1)
        if source == 'run':
            return {**self.report, **self.note}.get(name)
        if posthoc or source == 'posthoc':
            rows = self._after('posthoc').get('rows', [])
            found = next((r for r in rows if r['method'] == (posthoc or AS_TRAINED)), {}).get(name)
            return found.get('all') if isinstance(found, Mapping) else found
        if source == 'open_set':  # by the largest logit, means over the known classes
            sets = self._after('open_set').get('open_set') or [{}]
            return (sets[0].get(name) or {}).get('all')
        return self._found(source, selection).get(name)

    def _found(self, source: str, selection: str) -> Mapping[str, Any]:
        if source == 'contrastive':  # rows by epoch; they are no measures of other epochs
            return (self.report.get(source) or [{}])[-1] if selection == LAST else {}
        row = self._row(source, selection)
        return row if source == 'report' else row.get(source) or {}

    def epoch_of(self, measure: str, selection: str) -> int | None:
        """The epoch that ``value`` is of."""
        return self._row(measure.split('.')[0], selection).get('epoch')

    def _row(self, source: str, selection: str) -> dict[str, Any]:
        from bce3s.evaluation.selection import label, selections

        if source == 'report':
            entries = selections(self.report) if self.report else []
            return next((entry for entry in entries if label(entry) == selection), {})
        if selection == LAST:
            return self.epochs[-1] if self.epochs else {}
        rows = [row for row in self.epochs if row.get('test') and row['epoch'] > 0]
        if selection != BEST or not rows:
            return {}
        return max(rows, key=lambda row: row['test']['accuracy'])

    def curve(self, measure: str) -> dict[int, float]:
        """Epoch -> value of a measure, where there is one."""
        kind, name = measure.split('.', 1)
        points = {row['epoch']: (row.get(kind) or {}).get(name) for row in self.epochs}
        return {epoch: value for epoch, value in points.items() if value is not None}

    def distributions(self) -> dict[str, Any] | None:
        """``b``, ``s_pos``, ``s_neg`` of the last epoch: biases, and histograms of the scores of
        the training set.
        """
        return (self._row('train', LAST).get('train') or {}).get('distributions')


def jobs_of(
    tables: Iterable[Table], scale: Scale, seeds: int, root: Path, only: Sequence[str] = ()
) -> list[Job]:
    """The runs of the tables at a scale, each once, seed 0 of all cells first.

    Raises:
        BCE3SError: a pattern of ``only`` that fits no cell.
    """
    cells = {cell.key: cell for table in tables for cell in table.cells}
    for pattern in only:
        if not any(fnmatchcase(key, pattern) for key in cells):
            near = difflib.get_close_matches(pattern, cells, n=3, cutoff=0.3) or list(cells)[:3]
            raise BCE3SError(
                f'--only {pattern} fits none of the {len(cells)} cells; there are '
                f'{", ".join(near)}, ... * stands for anything, also across /.'
            )
    kept = {
        key: cell
        for key, cell in cells.items()
        if not only or any(fnmatchcase(key, pattern) for pattern in only)
    }
    first = {cell.after: cells[cell.after] for cell in kept.values() if cell.after}
    follow_ups = {cell.key: table.follow_ups for table in tables for cell in table.cells}
    found: list[Job] = []
    for seed in range(seeds):
        mine: dict[str, Job] = {}
        for key, cell in {**first, **kept}.items():
            if (small := scale.cell(cell)) is not None:
                folder = root / scale.name / key / f'seed{seed}'
                base = mine.get(cell.after)
                mine[key] = Job(small, seed, folder, base, follow_ups[key])
        found += mine.values()
    return found


@functools.cache
def _leaf(config: str) -> Config:
    return read_config(str(ROOT / config))


def _nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """``{'a.b': 1}`` -> ``{'a': {'b': 1}}``."""
    result: dict[str, Any] = {}
    for key, value in dotted.items():
        node = result
        *parents, name = key.split('.')
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return result


def _read(path: Path) -> dict[str, Any]:
    """A JSON file; empty where there is none."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BCE3SError(
            f'{path} cannot be read ({error}). Delete it; the run is then resumed or repeated.'
        ) from error
