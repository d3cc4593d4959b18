"""What every command shares: arguments that mean the same everywhere, and errors as sentences.

Nothing here imports torch, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bce3s.errors import BCE3SError
from bce3s.files import DISK_ERRORS, PATH_ERRORS, reason


# ------------------------------------------------------------ arguments
def positive(kind: type) -> Callable[[str], int | float]:
    """A type of arguments: positive, finite numbers of ``kind`` (int or float)."""

    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < float('inf'):
            raise argparse.ArgumentTypeError(f'{text} is not positive')
        return value

    return number


def add_run(parser: argparse.ArgumentParser, positional: bool = False) -> None:
    """``run`` and ``checkpoint``: the work dir of a run, or a config and a checkpoint; for
    :meth:`RunDirectory.open <bce3s.engine.run_directory.RunDirectory.open>`.

    Args:
        parser: to which they are added.
        positional: whether the checkpoint is the second argument; else it is ``--checkpoint``.
    """
    parser.add_argument('run', metavar='RUN', help='work dir of a run, or config file')
    what = 'checkpoint file; of a work dir its newest valid one unless given'
    if positional:
        parser.add_argument('checkpoint', metavar='CHECKPOINT', nargs='?', help=what)
    else:
        parser.add_argument('--checkpoint', metavar='CHECKPOINT', help=what)


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """``--data-root``, for ``load_config`` and ``RunDirectory.open``."""
    parser.add_argument(
        '--data-root', metavar='DIR', help='where the images are, instead of where the config says'
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options``, for ``load_config`` and ``RunDirectory.open``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change the config: train_cfg.max_epochs=2 model.head.contrastive.tau=0.5',
    )


def add_unknown(p: argparse.ArgumentParser, **options: object) -> None:
    """``--unknown`` and ``--unknown-options``, see :mod:`bce3s.engine.unknown_sets`."""
    p.add_argument(
        '--unknown',
        metavar='SET',
        help='images of classes that the model was not trained on: a folder, held-out (those that '
        'keep_classes leaves out), cifar10, cifar100, digits, fashion-mnist, mnist, or a config '
        'file (its test data)',
        **options,
    )
    p.add_argument(
        '--unknown-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='arguments of these data sets, such as verify=False or data_root=elsewhere',
    )


# ------------------------------------------------------------ exit status
def run_tool(action: Callable[[], int | None], hint: str = '', folder: Path | str = '') -> int:
    """The exit status of a command whose arguments are parsed: that of ``action``, see
    :func:`status_of`, which takes ``folder``; 130 after Ctrl-C, with ``hint`` on what is left of
    the work.
    """
    # mmcv-lite is what the requirements ask for; its advice to install mmcv does not apply.
    warnings.filterwarnings('ignore', 'Fail to import', UserWarning)
    # The name of a class may have signs that the font of a figure lacks.
    warnings.filterwarnings('ignore', 'Glyph .* missing', UserWarning)
    # A loader that pins memory is for GPUs and does no harm without one.
    warnings.filterwarnings('ignore', "'pin_memory' argument is set as true", UserWarning)
    try:
        return status_of(action, folder)
    except KeyboardInterrupt:
        print_error(f'Interrupted. {hint}'.strip())
        return 130


def status_of(action: Callable[[], int | None], folder: Path | str = '') -> int:
    """What ``action`` returns (None: 0); or 1 after a :class:`BCE3SError`, or where ``folder``
    cannot be written, which is printed as a sentence.
    """
    try:
        status = action() or 0
        sys.stdout.flush()
        return status
    except BCE3SError as error:
        # without the traceback that a loader's worker process puts before it
        print_error(str(error).rsplit('bce3s.errors.BCE3SError: ', 1)[-1].strip())
        return 1
    except BrokenPipeError:  # `| head` has read enough
        _drop_output()
    except OSError as error:
        if folder:
            print_error(f'cannot write to {folder}: {error}')
        elif error.errno in DISK_ERRORS | PATH_ERRORS:
            print_error(f'{reason(error)}.')
        else:
            raise
        _drop_output()
    return 1


def _drop_output() -> None:
    """Nothing more is written to the terminal, or its file: not even what Python holds back."""
    with suppress(OSError, ValueError):  # without a file descriptor: in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(text: str) -> None:
    """``error: TEXT`` on stderr, with the rank of a process that is not the first."""
    sys.stdout.flush()
    rank = os.environ.get('RANK', '0')
    where = f'rank {rank}: ' if rank != '0' else ''
    print(f'error: {where}{text}', file=sys.stderr, flush=True)
