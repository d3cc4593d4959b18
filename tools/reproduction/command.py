"""The command line of ``tools/reproduce.py``."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.arguments import positive, run_tool
from bce3s.errors import BCE3SError
from bce3s.processes import cores
from reproduction.cells import Scale, Table
from reproduction.rivals import BACKBONES, DATA, Harness
from reproduction.small import SCALES
from reproduction.tables import TABLES, find_table

if TYPE_CHECKING:
    from reproduction.collect import Collected
    from reproduction.jobs import Job

EXAMPLES = """examples:
  python tools/reproduce.py --list
  python tools/reproduce.py table4 --dry-run
  python tools/reproduce.py table1 table4 fig2 fig3 --scale small --jobs 2 --budget 30
  python tools/reproduce.py rivals --augment auto --seeds 3 --jobs 4 --record
  python tools/reproduce.py table6 --only 'mnist/r18/*' --seeds 3
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='reproduce.py',
        description='Trains the runs of a published table or figure that have no result yet, and '
        'writes the table (published beside ours) and its figure.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('tables', nargs='*', metavar='TABLE', help='names as in --list; or all')
    p.add_argument('--list', action='store_true', help='the tables, their cells, what is done')
    p.add_argument(
        '--dry-run', action='store_true', help='what would be run and its estimated cost; runs none'
    )
    p.add_argument(
        '--scale',
        choices=tuple(SCALES),
        default='full',
        help='full: as published (the default); small: a version for two slow cores, labelled so',
    )
    p.add_argument('--seeds', type=positive(int), default=1, metavar='N', help='seeds 0 .. N-1 (1)')
    p.add_argument(
        '--only',
        action='append',
        default=[],
        metavar='PATTERN',
        help="train only cells whose key fits, such as 'cifar10/r18/*'; may be repeated",
    )
    p.add_argument(
        '--budget',
        type=positive(float),
        default=float('inf'),
        metavar='MINUTES',
        help='halts the runs at its end and starts no more; the next call resumes them',
    )
    p.add_argument('--jobs', type=positive(int), default=1, metavar='N', help='runs at a time (1)')
    p.add_argument(
        '--overwrite', action='store_true', help='train again where the config has changed'
    )
    p.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/reproduce'),
        metavar='DIR',
        help='runs go to DIR/<scale>/<cell>/seed<k> (work_dirs/reproduce)',
    )
    group = p.add_argument_group('of the rivals')
    group.add_argument('--data', choices=tuple(DATA), default='cifar100lt', help='(cifar100lt)')
    group.add_argument(
        '--factor', type=positive(int), default=100, metavar='N', help='imbalance factor (100)'
    )
    group.add_argument(
        '--backbone',
        choices=tuple(BACKBONES),
        default='r32',
        help='r32: the true CIFAR ResNet-32 (the default); r32x4: of four times the width; r34: '
        "BCE3S's ResNet-34, with its schedule and its three views",
    )
    group.add_argument(
        '--augment',
        choices=('plain', 'auto'),
        default='plain',
        help='plain: crop and flip (the default); auto: AutoAugment and Cutout too',
    )
    group.add_argument(
        '--unknown', action='store_true', help='leaves every fifth class out, to be rejected'
    )
    p.add_argument(
        '--record',
        action='store_true',
        help='adds the finished runs to data_lists/results/TABLE.csv, and draws the table there '
        'from all of its rows',
    )
    p.add_argument(
        '--out', type=Path, metavar='DIR', help='tables go here (<work dir>/<scale>/tables)'
    )
    p.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='changes of every cell, such as model.precision=bf16; named in what is written',
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 after an error or a failed run, 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    return run_tool(
        lambda: _main(args), 'The same command resumes from here.', folder=args.work_dir
    )


def _main(args: argparse.Namespace) -> int:
    from reproduction.jobs import jobs_of

    scale = replace(SCALES[args.scale], options=parse_options(args.cfg_options))
    if not args.tables and not args.list:
        raise BCE3SError(f'Name a table or figure: {", ".join(TABLES)}. --list says more.')
    if args.record and args.cfg_options:
        raise BCE3SError(
            '--record keeps results of the recipes as they are, so it takes no --cfg-options: they '
            'would stand beside the others, and nothing would tell them apart.'
        )
    every = any(name.lower() == 'all' for name in args.tables)
    harness = Harness(args.data, args.factor, args.backbone, args.augment, args.unknown)
    names = [harness.table if name == 'rivals' else name for name in args.tables if not every]
    tables = [find_table(name) for name in names] or list(TABLES.values())
    jobs = jobs_of(tables, scale, args.seeds, args.work_dir, args.only)
    if args.list:
        return _list(args, scale, tables, jobs)
    if not jobs:
        raise BCE3SError(f'Nothing of {", ".join(args.tables)} is part of the {scale.name} scale.')
    if scale.label:
        print(f'Scale {scale.label}.')
    if args.dry_run:
        return _dry_run(args, jobs)
    # imported before what takes hours: meanwhile the files may change
    from reproduction.collect import collect
    from reproduction.render import write

    status = _train(args, scale, jobs)
    for table in tables:
        collected = collect(table, scale, args.seeds, args.work_dir)
        path = write(collected, args.out or args.work_dir / scale.name / 'tables')
        print(f'{table.name}: {collected.summary}, {path}')
        if args.record:
            print(f'{table.name}: {_record(collected)}')
    if status == 130:
        raise KeyboardInterrupt
    return status


def _record(collected: Collected) -> Path:
    """The table drawn from what was recorded, earlier and now."""
    from reproduction.render import write
    from reproduction.results import RESULTS, record, recorded

    table, scale = collected.table, collected.scale
    record(collected, RESULTS / f'{table.name}.csv')
    return write(recorded(table, scale, RESULTS / f'{table.name}.csv'), RESULTS / scale.name)


def _list(
    args: argparse.Namespace, scale: Scale, tables: Sequence[Table], jobs: Sequence[Job]
) -> int:
    from reproduction.jobs import DONE

    print(f'Scale {scale.label or scale.name}, {args.seeds} seed(s), runs in {args.work_dir}\n')
    print(f'{"table":15} {"cells":>5} {"runs":>5} {"done":>5}  shows')
    paper = ''
    for table in tables:
        if table.paper != paper:
            paper = table.paper
            print(f'\n{paper}')
        keys = {cell.key for cell in table.cells}
        own = [job for job in jobs if job.cell.key in keys]
        done = sum(job.state == DONE for job in own)
        print(f'{table.name:15} {len(table.rows):5} {len(own):5} {done:5}  {table.title}')
    return 0


def _dry_run(args: argparse.Namespace, jobs: Sequence[Job]) -> int:
    """The state of each run; what the rest would take by finished runs of the same network and
    data; folders of data that are not there.
    """
    from reproduction.jobs import DONE

    timed = {
        _alike(job): job.note['seconds'] / job.max_epochs
        for job in jobs
        if job.state == DONE and 'seconds' in job.note
    }
    total, unknown, missing = 0.0, 0, set()
    for job in jobs:
        job.check()
        state, text = job.state, ''
        if state != DONE:
            seconds = timed.get(_alike(job))
            unknown += seconds is None
            if seconds is not None:
                total += seconds * job.max_epochs
                text = f'at most {duration(seconds * job.max_epochs)}'
            roots = (job.config[f'{name}_dataloader'].dataset for name in ('train', 'val'))
            missing |= {data.get('data_root', 'data') for data in roots if data.type != 'DigitsLT'}
        print(f'{job.name:45} {state:9} {job.last_checkpoint or "":12} {text}'.rstrip())
    print()
    if total:
        print(f'In all at most {duration(total / args.jobs)} with --jobs {args.jobs}.')
    if unknown:
        print(f'- runs without an estimate, for none like them has finished here: {unknown}')
    for root in sorted(root for root in missing if not Path(root).expanduser().exists()):
        print(f'- data that a run would look for: {root} does not exist')
    return 0


def _alike(job: Job) -> str:
    """Equal for runs that take as long: network, data and views."""
    model = job.config.model
    return repr((model.backbone, job.config.train_dataloader, model.data_preprocessor.get('mix')))


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 90 * 60 else f'{seconds / 3600:.1f} h'


def _train(args: argparse.Namespace, scale: Scale, jobs: Sequence[Job]) -> int:
    """The exit status; after Ctrl-C, too, tables are written."""
    from reproduction.jobs import DONE
    from reproduction.pool import FAILED, WAITING, Pool

    todo = [job for job in jobs if job.state != DONE]
    print(f'{len(jobs) - len(todo)} of {len(jobs)} runs are done.')
    asked = os.environ.get('OMP_NUM_THREADS', '')
    threads = int(asked) if asked.isdigit() and int(asked) else max(cores() // args.jobs, 1)
    pool = Pool(args.jobs, threads, 60 * args.budget, args.overwrite, scale.label)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        outcomes = list(pool.run(todo).values())
    except KeyboardInterrupt:
        return 130
    if waiting := outcomes.count(WAITING):
        print(f'{WAITING}: {waiting} runs, for the budget of time was spent')
    return int(FAILED in outcomes)


def parse_options(options: list[str]) -> dict[str, Any]:
    """``['a.b=1']`` -> ``{'a.b': 1}``, values read as those of ``--cfg-options``.

    Raises:
        BCE3SError: no ``=``.
    """
    if not options:
        return {}
    from bce3s.config import parse_value

    pairs = [option.partition('=') for option in options]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise BCE3SError(f'--cfg-options {key}: write KEY=VALUE.')
    return {key: parse_value(text) for key, _, text in pairs}
