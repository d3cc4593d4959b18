"""The command line of ``tools/benchmark.py``."""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bce3s
from bce3s.arguments import positive, run_tool, status_of
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from benchmarks.tables import Table

if TYPE_CHECKING:
    from benchmarks.timing import Options

# name: (module of benchmarks with `run(options)`, which returns or yields tables; what)
SECTIONS = {
    'data': ('data', 'images/s through the augmentation, one core'),
    'step': ('step', 'whole training steps/s, data included; where a step goes'),
    'head': ('head', 'three branches: time and memory against the number of classes'),
}
CLEAR = '\x1b[K' if sys.stdout.isatty() else ''  # of what `measuring` has written
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='benchmark.py',
        description='Measures this package against the recipe as public code writes it, on this '
        'machine; prints a table or more per section.',
        epilog='sections: ' + '; '.join(f'{name}: {what}' for name, (_, what) in SECTIONS.items()),
    )
    p.add_argument('sections', nargs='*', metavar='SECTION', help='which (all)')
    p.add_argument('--json', type=Path, metavar='FILE', help='write everything to FILE')
    p.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    p.add_argument('--threads', type=positive(int), metavar='N', help="of the CPU (torch's choice)")
    p.add_argument('--quick', action='store_true', help='tiny sizes: shows that it runs')
    p.add_argument(
        '--seconds', type=positive(float), metavar='S', help='time a figure may take (2)'
    )
    p.add_argument('--data-root', default='data', metavar='D', help='folder of data sets (data)')
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 after an error, 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    folder = args.json.parent if args.json else ''
    return run_tool(lambda: show(args), 'What was measured before is kept.', folder)


def show(args: argparse.Namespace) -> int:
    """Runs the sections, prints their tables as they come, writes the file.

    Raises:
        BCE3SError: an unknown section, a device that is not there, a file that cannot be written.
    """
    names = args.sections or list(SECTIONS)
    _check(args, names)
    options = _options(args)
    results = dict(**_machine(options), options=vars(options).copy(), complete=False, sections={})
    print(_header(results) + '\n', flush=True)
    status = 0
    try:
        for name in names:
            action = functools.partial(_run, name, options, results, args)
            status |= status_of(action)
        results['complete'] = status == 0
    finally:
        _write(args, results)
    return status


def _check(args: argparse.Namespace, names: list[str]) -> None:
    for name in names:
        if name not in SECTIONS:
            raise BCE3SError(f'No section is called {name!r}; there are {", ".join(SECTIONS)}.')
    if args.json and not (args.json.parent.is_dir() and os.access(args.json.parent, os.W_OK)):
        raise BCE3SError(f'{args.json} cannot be written: make its folder first.')


def _options(args: argparse.Namespace) -> Options:
    if args.threads:  # read by libraries when they are imported, and by child processes
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(args.threads)))
    if args.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # MMEngine takes a GPU where it sees one
    import torch

    from benchmarks.timing import Options

    if args.device == 'cuda' and not torch.cuda.is_available():
        raise BCE3SError('--device cuda: torch finds no GPU here; measure with --device cpu.')
    if args.threads:
        torch.set_num_threads(args.threads)
    seconds = args.seconds or (0.05 if args.quick else 2.0)
    return Options(args.device, args.threads, args.quick, seconds, args.data_root)


def _run(name: str, options: Options, results: dict[str, Any], args: argparse.Namespace) -> None:
    module, what = SECTIONS[name]
    print(f'== {name}: {what}\n', flush=True)
    start, tables = time.perf_counter(), []
    section = results['sections'][name] = dict(tables=tables)
    try:
        for table in importlib.import_module(f'benchmarks.{module}').run(options):
            tables.append(table)
            print(f'{CLEAR}{table.text()}\n', flush=True)
            _write(args, results)  # in case the process is killed
    except BCE3SError as error:
        section['error'] = str(error)
        raise
    finally:
        section['seconds'] = round(time.perf_counter() - start, 1)


# ------------------------------------------------------------ the machine
def _machine(options: Options) -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if options.device == 'cuda' else None
    return dict(
        date=datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
        command=' '.join(['python', *sys.argv]),
        machine=dict(
            cpu=_cpu(),
            cores=os.cpu_count(),
            gpu=gpu,
            threads=torch.get_num_threads(),
            load=round(os.getloadavg()[0], 2),
        ),
        versions=dict(
            bce3s=bce3s.__version__, torch=torch.__version__, python=platform.python_version()
        ),
    )


def _cpu() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _header(results: dict[str, Any]) -> str:
    machine, versions = results['machine'], results['versions']
    parts = [
        results['date'][:16].replace('T', ' '),
        machine['gpu'],
        f'{machine["cpu"]}, {machine["cores"]} cores, {machine["threads"]} threads',
        f'load at the start {machine["load"]}',
        f'torch {versions["torch"]}, bce3s {versions["bce3s"]}',
        'quick: the sizes are tiny, the figures mean nothing'
        if results['options']['quick']
        else None,
    ]
    return '; '.join(filter(None, parts))


# ------------------------------------------------------------ the file
def _write(args: argparse.Namespace, results: dict[str, Any]) -> None:
    if args.json is not None:
        with written_whole(args.json) as file:
            file.write(json.dumps(results, indent=1, default=Table.json).encode() + b'\n')
