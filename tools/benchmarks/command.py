"""The command line of ``tools/benchmark.py``."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import sys
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

# modules of benchmarks with `run(options)`, which yields tables
SECTIONS = {
    'data': 'images/s through the augmentation, one core',
    'step': 'whole training steps/s, data included; where a step goes',
    'head': 'three branches: time and memory against the number of classes',
    'frozen': 'a head on kept features: seconds against images, classes and features',
}
CLEAR = '\x1b[K' if sys.stdout.isatty() else ''  # of what `measuring` has written
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='benchmark.py',
        description='Measures this package against the recipe as public code writes it, on this '
        'machine; prints a table or more per section.',
        epilog='sections: ' + '; '.join(f'{name}: {what}' for name, what in SECTIONS.items()),
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
    """Runs the sections, prints their tables as they come, writes the file; a section that fails
    does not stop the others.

    Raises:
        BCE3SError: an unknown section, a device that is not there.
    """
    for name in args.sections:
        if name not in SECTIONS:
            raise BCE3SError(f'No section is called {name!r}; there are {", ".join(SECTIONS)}.')
    options = _options(args)
    results = {**_machine(options), 'complete': False, 'sections': {}}
    print(', '.join(f'{key} {value}' for key, value in results['machine'].items()) + '\n')
    if options.quick:
        print('quick: the sizes are tiny, the figures mean nothing\n')

    def write() -> None:
        if args.json is not None:
            with written_whole(args.json) as file:
                file.write(json.dumps(results, indent=1, default=Table.json).encode() + b'\n')

    def run(name: str) -> None:
        print(f'== {name}: {SECTIONS[name]}\n', flush=True)
        tables = results['sections'][name] = []
        for table in importlib.import_module(f'benchmarks.{name}').run(options):
            tables.append(table)
            print(f'{CLEAR}{table.text()}\n', flush=True)
            write()  # in case the process is killed

    write()
    statuses = [status_of(lambda name=name: run(name)) for name in args.sections or SECTIONS]
    results['complete'] = not any(statuses)
    write()
    return max(statuses)


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


def _machine(options: Options) -> dict[str, Any]:
    import torch

    cpu = [line for line in _read('/proc/cpuinfo').splitlines() if line.startswith('model name')]
    return {
        'command': ' '.join(['python', *sys.argv]),
        'options': dict(vars(options)),
        'machine': {
            'date': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
            'gpu': torch.cuda.get_device_name() if options.device == 'cuda' else None,
            'cpu': cpu[0].partition(': ')[2] if cpu else platform.machine(),
            'cores': os.cpu_count(),
            'threads': torch.get_num_threads(),
            'load at the start': round(os.getloadavg()[0], 2),
            'torch': torch.__version__,
            'bce3s': bce3s.__version__,
        },
    }


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).is_file() else ''
