"""The command line of ``tools/reproduce.py``."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.arguments import positive, run_tool
from bce3s.errors import BCE3SError
from bce3s.processes import cores
from reproduction.cells import Cell, Table
from reproduction.scales import SCALES, Scale, parse_options
from reproduction.tables import TABLES, find_table

if TYPE_CHECKING:
    from reproduction.cost import Costs
    from reproduction.plan import Job
    from reproduction.run import Outcome

EXAMPLES = """examples:
  python tools/reproduce.py --list
  python tools/reproduce.py table4 --dry-run
  python tools/reproduce.py table1 table4 fig2 fig3 --scale small --jobs 2 --budget 30
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
    return run_tool(lambda: _main(args), 'The same command goes on from here.')


def _main(args: argparse.Namespace) -> int:
    scale = SCALES[args.scale]
    if args.cfg_options:
        scale = scale.with_options(parse_options(args.cfg_options))
    if args.list:
        return _list(args, scale)
    if not args.tables:
        raise BCE3SError(f'Name a table or figure: {", ".join(TABLES)}. --list says more.')
    every = any(name.lower() == 'all' for name in args.tables)
    tables = list(TABLES.values()) if every else [find_table(name) for name in args.tables]
    tables = list({table.name: table for table in tables}.values())
    jobs, skipped = _jobs(args, scale, tables)
    if not jobs:
        raise BCE3SError(f'Nothing of {", ".join(args.tables)} is part of the {scale.name} scale.')
    if scale.label:
        print(f'Scale {scale.label}.')
    costs = _costs(args, scale)
    if args.dry_run:
        return _dry_run(args, jobs, skipped, costs)
    # imported before what takes hours: meanwhile the files may change
    from reproduction.collect import collect
    from reproduction.render import write

    outcomes, interrupted = _train(args, scale, jobs, skipped, costs)
    for table in tables:
        collected = collect(table, scale, args.seeds, args.work_dir)
        path = write(collected, args.out or args.work_dir / scale.name / 'tables')
        print(f'{table.name}: {collected.summary()}, {path}')
    return _close(outcomes, interrupted)


def _jobs(
    args: argparse.Namespace, scale: Scale, tables: Sequence[Table]
) -> tuple[list[Job], list[Cell]]:
    from reproduction.plan import jobs_of

    return jobs_of(tables, scale, args.seeds, args.work_dir, args.only)


def _costs(args: argparse.Namespace, scale: Scale) -> Costs:
    """Learns from every run of the scale that lies in the work dir, of whichever table."""
    from reproduction.cost import Costs, machine
    from reproduction.plan import jobs_of

    jobs, _ = jobs_of(TABLES.values(), scale, args.seeds, args.work_dir)
    timed = [job for job in jobs if (job.folder / 'cell.json').is_file()]
    return Costs(timed, _threads(args), machine())


def _threads(args: argparse.Namespace) -> int:
    """Of each run: OMP_NUM_THREADS, else the cores shared out."""
    asked = os.environ.get('OMP_NUM_THREADS', '')
    return int(asked) if asked.isdigit() and int(asked) else max(cores() // args.jobs, 1)


def _skipped_sentence(scale_name: str, skipped: Sequence[Cell]) -> str:
    keys = ', '.join(cell.key for cell in skipped[:3])
    more = f' and {len(skipped) - 3} more' if len(skipped) > 3 else ''
    return f'Not part of the {scale_name} scale: {keys}{more}.'


# ------------------------------------------------------------ --list, --dry-run
def _list(args: argparse.Namespace, scale: Scale) -> int:
    from reproduction.plan import DONE

    every, _ = _jobs(args, scale, list(TABLES.values()))
    label = f' ({scale.label})' if scale.label else ''
    print(f'Scale {scale.name}{label}, {args.seeds} seed(s), runs in {args.work_dir}\n')
    print(f'{"table":15} {"cells":>5} {"runs":>5} {"done":>5}  shows')
    named = [find_table(name) for name in args.tables if name.lower() != 'all']
    paper = ''
    for table in named or TABLES.values():
        if table.paper != paper:
            paper = table.paper
            print(f'\n{paper}')
        keys = {cell.key for cell in table.cells}
        jobs = [job for job in every if job.cell.key in keys]
        done = sum(job.state == DONE for job in jobs)
        print(f'{table.name:15} {len(table.rows):5} {len(jobs):5} {done:5}  {table.title}')
    if scale.rules is not None:
        print('\nRuns: those of the cells that are part of this scale.')
    return 0


def _dry_run(
    args: argparse.Namespace, jobs: Sequence[Job], skipped: Sequence[Cell], costs: Costs
) -> int:
    from reproduction.configuration import check, missing_data
    from reproduction.cost import duration, progress
    from reproduction.plan import CHANGED, DONE

    known, unknown, changed = 0.0, 0, False
    for job in jobs:
        check(job.cell)
        state = job.state
        runs = state != DONE and (state != CHANGED or args.overwrite)
        changed = changed or (state == CHANGED and not runs)
        done = progress(job)[1]
        text = ''
        if runs:
            seconds = costs.seconds(job)
            known, unknown = known + (seconds or 0.0), unknown + (seconds is None)
            text = f'about {duration(seconds)}' if seconds is not None else ''
        print(f'{job.name:45} {state:9} {done:20} {text}'.rstrip())
    print()
    if known:
        print(
            f'In all about {duration(known / args.jobs)} with --jobs {args.jobs} ({costs.device}).'
        )
    if unknown:
        print(f'- runs without an estimate, for none like them was timed here: {unknown}')
    if changed:
        print('- changed: trained with another config; --overwrite trains it again')
    for text in missing_data([job.config for job in jobs if job.state != DONE]):
        print(f'- data that a run would look for: {text}')
    if skipped:
        print(_skipped_sentence(args.scale, skipped))
    return 0


# ------------------------------------------------------------ training, writing
def _train(
    args: argparse.Namespace,
    scale: Scale,
    jobs: Sequence[Job],
    skipped: Sequence[Cell],
    costs: Costs,
) -> tuple[list[Outcome], bool]:
    """What became of the jobs; and whether Ctrl-C ended it. Then the tables are still written."""
    from reproduction.plan import DONE
    from reproduction.run import Session, Settings

    if skipped:
        print(_skipped_sentence(args.scale, skipped))
    todo = [job for job in jobs if job.state != DONE]
    print(f'{len(jobs) - len(todo)} of {len(jobs)} runs are done.')
    if not todo:
        return [], False
    settings = Settings(
        parallel=args.jobs,
        threads=_threads(args),
        budget=args.budget and 60 * args.budget,
        overwrite=args.overwrite,
        heading=scale.label,
        options=scale.options,
    )
    session = Session(settings, costs)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        session.run(todo)
    except KeyboardInterrupt:
        return session.outcomes, True
    return session.outcomes, False


def _close(outcomes: Sequence[Outcome], interrupted: bool) -> int:
    from reproduction.plan import CHANGED
    from reproduction.run import FAILED, HALTED, WAITING

    for outcome in outcomes:
        if outcome.what == CHANGED:
            print(f'{outcome.what}: {outcome.text}')
    for what in (FAILED, HALTED):  # each has said why when it ended
        if number := sum(outcome.what == what for outcome in outcomes):
            print(f'{what}: {number} of {len(outcomes)} runs, see above')
    if waiting := [outcome for outcome in outcomes if outcome.what == WAITING]:
        more = f' And so {len(waiting) - 1} more.' if len(waiting) > 1 else ''
        print(f'{WAITING}: {waiting[0].text}{more}')
    if interrupted:
        raise KeyboardInterrupt
    return 1 if any(outcome.what == FAILED for outcome in outcomes) else 0
