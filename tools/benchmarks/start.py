"""Section ``start``: what a process pays before it does anything.

Every figure is the wall time of a fresh process, the processes taking turns. The floor is the same
process with nothing but what it cannot avoid: Python and argparse for an answer about arguments,
MMEngine's runner and mmpretrain's models for a training. The plain way imports everything up front,
as scripts do that import at the top what some of their functions need.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bce3s.errors import BCE3SError
from benchmarks.tables import Table
from benchmarks.timing import Options, Timing, compare, measuring

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/bce3s/digits.py'
FIRST_ITERATION = 'Epoch(train)'
UP_FRONT = ('torch', 'torchvision', 'mmengine.runner', 'mmpretrain.models', 'mmpretrain.datasets')
UP_FRONT += ('faiss', 'sklearn.datasets', 'matplotlib.pyplot', 'torch.utils.tensorboard')
# What a training of MMEngine and mmpretrain cannot do without.
FRAMEWORK = ('mmengine.runner', 'mmpretrain.models')
FLOORS = {
    'import bce3s': 'python -c pass',
    'train.py --help': 'import argparse',
    'train.py --no-such-argument': 'import argparse',
    'train.py digits, to its first iteration': f'import {", ".join(FRAMEWORK)}',
}
EVERYTHING = 'import everything up front'


def run(options: Options) -> list[Table]:
    """The table of starts.

    Raises:
        BCE3SError: a process ends as it should not.
    """
    with tempfile.TemporaryDirectory() as folder:
        functions = processes(options.quick, Path(folder))
        measuring(f'the start of {len(functions)} processes, in turns')
        return [table(compare(functions, options, warmup=1))]


def processes(quick: bool, folder: Path) -> dict[str, Callable[[], object]]:
    """Name -> a function that starts the process and waits for it; ``quick``: those without torch.

    Args:
        quick: as :class:`Options` has it.
        folder: where the training writes.
    """

    def code(text: str) -> partial:
        return partial(ended, ['-c', text], 0)

    light = {
        'python -c pass': code('pass'),
        'import argparse': code('import argparse'),
        'import bce3s': code('import bce3s'),
        'train.py --help': partial(ended, ['tools/train.py', '--help'], 0),
        'train.py --no-such-argument': partial(ended, ['tools/train.py', '--no-such-argument'], 2),
    }
    if quick:
        return light
    up_front = [name for name in UP_FRONT if find_spec(name.partition('.')[0])]
    training = ['tools/train.py', CONFIG, '--overwrite', '--work-dir', str(folder)]
    training += ['--cfg-options', 'default_hooks.logger.interval=1']
    framework = ', '.join(FRAMEWORK)
    return light | {
        'import torch': code('import torch'),
        'import mmengine.runner': code('import mmengine.runner'),
        f'import {framework}': code(f'import {framework}'),
        EVERYTHING: code(f'import {", ".join(up_front)}'),
        'train.py digits, to its first iteration': partial(until, training, FIRST_ITERATION),
    }


def table(timings: dict[str, Timing]) -> Table:
    """A row a process; its floor and the plain way beside it where it has one."""
    plain = timings.get(EVERYTHING)
    rows = []
    for name, timing in timings.items():
        row = {'process': name, 'best s': timing.best, 'median s': timing.median}
        if name in FLOORS:
            floor = timings[FLOORS[name]].best
            row |= {'floor s': floor, 'over the floor': timing.best / floor}
            if plain is not None:
                row['plain / ours'] = plain.best / timing.best
        rows.append(row)
    columns = ('process', 'best s', 'median s', 'floor s', 'over the floor', 'plain / ours')
    notes = [
        'Fresh processes in turns. Floor: '
        + '; '.join(f'{floor} for {name}' for name, floor in FLOORS.items() if name in timings)
        + '. Ratios are of the best times.',
    ]
    if plain is not None:
        notes.append(
            f'Plain: {EVERYTHING} ({", ".join(UP_FRONT)}), before any work: a training pays the '
            'rest on top. The digits are read by scikit-learn, whose import is in our time and not '
            'in the floor.'
        )
    return Table('Start of a process, seconds', columns, rows, notes)


def ended(arguments: Sequence[str], status: int) -> None:
    """Runs Python with these arguments in the checkout, to its end.

    Raises:
        BCE3SError: it ends with another status.
    """
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != status:
        raise _failure(arguments, done.returncode, done.stderr)


def until(arguments: Sequence[str], text: str) -> None:
    """Runs Python with these arguments until it prints a line with ``text``, then kills it.

    Raises:
        BCE3SError: it ends before.
    """
    command = [sys.executable, *arguments]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed = []
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        for line in process.stdout:
            printed.append(line)
            if text in line:
                process.kill()
                return
    raise _failure(arguments, process.returncode, ''.join(printed))


def _failure(arguments: Sequence[str], status: int, printed: str) -> BCE3SError:
    last = printed.strip().rpartition('\n')[2]
    return BCE3SError(f'python {" ".join(arguments)} ended with status {status}: {last}')
