"""What ``tools/train.py`` and ``tools/test.py`` share: config, processes, errors as sentences.

Nothing here imports torch before the arguments are parsed, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.arguments import parser
from bce3s.datasets.workers import not_fetched, worker_death
from bce3s.errors import BCE3SError
from bce3s.files import DISK_ERRORS, PATH_ERRORS, checkpoints_in, exclusive, hush_writers, reason
from bce3s.processes import (
    abandon_processes,
    adopt_environment,
    lost_process,
    start_processes,
    stop_processes,
)
from bce3s.run_config import load_config, train_config, with_own_data
from bce3s.signals import FailedElsewhere, Preempted, StopSignals

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


# ------------------------------------------------------------ exit status
def main(tool: str, argv: list[str] | None = None) -> int:
    """Parses, runs, and prints a :class:`BCE3SError` as one sentence. Returns the exit status."""
    args = parser(tool).parse_args(argv)
    run = {'train': train, 'test': test}[tool]
    hint = '--resume continues from the last checkpoint.' if tool == 'train' else ''
    return run_tool(lambda: run(args), hint)


def run_tool(action: Callable[[], int | None], hint: str = '', folder: Path | str = '') -> int:
    """The exit status of a tool whose arguments are parsed: that of ``action``, see
    :func:`status_of`, which takes ``folder``; 130 after Ctrl-C, with ``hint`` on what is left of
    the work.
    """
    prepare_process()
    try:
        status = status_of(action, folder)
    except KeyboardInterrupt:
        _print_error(f'Interrupted. {hint}'.strip())
        status = 130
    abandon_processes()
    return status


def prepare_process() -> None:
    """What holds for every tool, before torch and MMEngine are imported."""
    # Every torch.load of this process, MMEngine's too, reads tensors and plain types only.
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    # mmcv-lite is what the requirements ask for; its advice to install mmcv does not apply.
    warnings.filterwarnings('ignore', 'Fail to import', UserWarning)
    # The name of a class may have signs that the font of a figure lacks.
    warnings.filterwarnings('ignore', 'Glyph .* missing', UserWarning)
    # A loader that pins memory is for GPUs and does no harm without one.
    warnings.filterwarnings('ignore', "'pin_memory' argument is set as true", UserWarning)


def status_of(action: Callable[[], int | None], folder: Path | str = '') -> int:
    """The exit status of a tool: what ``action`` returns (None: 0); or 1 after a
    :class:`BCE3SError`, or where ``folder`` cannot be written, which is printed as a sentence.
    """
    try:
        status = action() or 0
        sys.stdout.flush()
        return status
    except BCE3SError as error:
        _print_error(_sentence(error))
        return 1
    except BrokenPipeError:  # `| head` has read enough
        _drop_output()
    except RuntimeError as error:
        if 'Symlink loop' not in str(error):  # of Path.resolve
            raise
        _print_error(f'{error}.')
    except OSError as error:
        if folder:
            _print_error(f'cannot write to {folder}: {error}')
        elif error.errno in DISK_ERRORS | PATH_ERRORS:
            _print_error(f'{reason(error)}.')
        else:
            raise
        _drop_output()
    return 1


def _drop_output() -> None:
    """Nothing more is written to the terminal, or its file: not even what Python holds back."""
    with suppress(OSError, ValueError):  # without a file descriptor: in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: BCE3SError) -> str:
    """The message; without the traceback that a loader's worker process puts before it."""
    return str(error).rsplit('bce3s.errors.BCE3SError: ', 1)[-1].strip()


def _print_error(text: str) -> None:
    sys.stdout.flush()
    rank = os.environ.get('RANK', '0')
    where = f'rank {rank}: ' if rank != '0' else ''
    print(f'error: {where}{text}', file=sys.stderr, flush=True)


# ------------------------------------------------------------ tools
def train(args: argparse.Namespace) -> int:
    """``tools/train.py``; returns its exit status."""
    adopt_environment(args.launcher)
    signals = StopSignals()
    hush_writers()
    try:
        with signals:
            cfg = train_config(args)
            return _dry_run(cfg, args) if args.dry_run else _train_in(cfg, args)
    except (Preempted, Exception) as error:
        stop = error if isinstance(error, Preempted) else None
        if stop is None and not signals.patient:  # somebody's `except:` has made it another error
            stop = signals.early
        if stop is None:
            raise
        if os.environ.get('RANK', '0') == '0':
            print(stop, flush=True)
        return stop.status


def _dry_run(cfg: Config, args: argparse.Namespace) -> int:
    from bce3s.own_data.dry_run import dry_run
    from bce3s.strict_config import explained

    with explained(cfg):
        return dry_run(cfg, args.cfg_options)


def _train_in(cfg: Config, args: argparse.Namespace) -> int:
    """Trains in the work dir, which nobody else does at the time; returns the exit status."""
    hint = ' Checkpoints written earlier are intact. Make room, then continue with --resume.'
    return _in_work_dir(cfg, lambda: _train(cfg, args), hint)


def _in_work_dir(cfg: Config, action: Callable[[], None], hint: str = '') -> int:
    """``action()`` in the work dir, where no other run is at the time; returns the exit status."""
    try:
        with _one_run_at_a_time(Path(cfg.work_dir)):
            action()
    except FailedElsewhere:
        return 1
    except OSError as error:
        if error.errno == errno.ENOENT and not Path(cfg.work_dir, '.lock').exists():
            raise BCE3SError(
                f'{cfg.work_dir} was removed or moved while this run wrote to it '
                f'({reason(error)}): what the run has made since is lost.'
            ) from error
        if error.errno not in DISK_ERRORS:
            raise
        raise BCE3SError(f'{cfg.work_dir} cannot be written to ({reason(error)}).{hint}') from error
    return 0


def _one_run_at_a_time(work_dir: Path) -> AbstractContextManager:
    """The first process of a run claims the folder for all of them."""
    return exclusive(work_dir) if os.environ.get('RANK', '0') == '0' else nullcontext()


def _train(cfg: Config, args: argparse.Namespace) -> None:
    work_dir = Path(cfg.work_dir)
    resume, overwrite = args.resume, args.overwrite
    if resume is None and cfg.get('resume'):  # asked for in the config
        resume, cfg.load_from = cfg.get('load_from') or 'auto', None
    held = checkpoints_in(work_dir)
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT') or 0):  # torchrun starts it once more
        overwrite = False
        resume = 'auto' if held or resume is None else resume
    if held and resume is None and not overwrite:
        raise BCE3SError(
            f'{work_dir} already holds checkpoints ({held[0].name}). Continue with --resume, start '
            'again with --overwrite (deletes them), or give another --work-dir.'
        )
    if resume not in (None, 'auto') and not Path(resume).expanduser().is_file():
        raise BCE3SError(f'Checkpoint {resume} does not exist. Check the path.')
    cfg.resume = False
    with_own_data(cfg, args.cfg_options, keep=resume is not None)

    def begin(runner: Runner) -> None:
        checkpoint = _agreed_checkpoint(work_dir, resume)
        if checkpoint is not None:
            runner._load_from, runner._resume = checkpoint, True
            runner.asked = None if args.changed else args.cfg_options
        elif resume is not None:
            runner.logger.warning(
                f'--resume: {work_dir} holds no checkpoint yet, there is nothing to resume. '
                'Training starts from the beginning.'
            )
        elif overwrite:
            _delete(held)
        runner.train()

    _run(cfg, args.launcher, begin)


def _agreed_checkpoint(work_dir: Path, resume: str | None) -> str | None:
    """The first process decides for all: it may be the only one that sees a file as it is."""
    from mmengine.dist import broadcast_object_list, is_main_process

    from bce3s.engine.checkpoint import resolve_checkpoint

    found: list[str | None] = [None, None]
    if is_main_process():
        try:
            path = resolve_checkpoint(work_dir, resume)
            found[0] = str(path) if path else None
        except BCE3SError as error:
            found[1] = str(error)
    broadcast_object_list(found)
    if found[1] is not None:
        raise BCE3SError(found[1])
    return found[0]


def test(args: argparse.Namespace) -> int:
    """``tools/test.py``: on the images that ``--data`` names, or else on ``test_dataloader`` if the
    config has one, or else on ``val_dataloader``.
    """
    adopt_environment(args.launcher)
    if Path(args.config).is_dir():
        from bce3s.engine.run_directory import RunDirectory

        run = RunDirectory.open(args.config, args.checkpoint)
        args.config, args.checkpoint = str(run.config.filename), str(run.checkpoint)
    elif args.checkpoint is None:
        raise BCE3SError(f'{args.config} is no work dir of a run: give CONFIG CHECKPOINT.')
    of_data = [o for o in args.cfg_options if args.data and o.startswith('own_data.')]
    cfg = load_config(args.config, [o for o in args.cfg_options if o not in of_data])
    default = f'test_{Path(args.data).resolve().stem}' if args.data else 'test'
    cfg.work_dir = str(args.work_dir or Path(args.checkpoint).parent / default)
    if not Path(args.checkpoint).is_file():
        raise BCE3SError(f'Checkpoint {args.checkpoint} does not exist. Check the path.')
    if 'own_data' in cfg:
        raise BCE3SError(
            f'{args.config} does not say which images a run was trained on; the config that the '
            f'run wrote does: python tools/test.py {Path(args.checkpoint).parent}/'
            f'{Path(args.config).name} {args.checkpoint}'
        )
    if args.data:
        from bce3s.own_data.later import evaluate_on

        evaluate_on(cfg, args.data, args.checkpoint, of_data)
    _complete_test(cfg, args.config)
    cfg.load_from, cfg.resume = args.checkpoint, False

    def begin(runner: Runner) -> None:
        runner.load_or_resume()  # a checkpoint that does not fit is found before data are fetched
        runner.test()

    return _in_work_dir(cfg, lambda: _run(cfg, args.launcher, begin))


def _complete_test(cfg: Config, name: str) -> None:
    """What the test lacks is that of the validation."""
    if cfg.get('test_dataloader') is None:
        if cfg.get('val_dataloader') is None:
            raise BCE3SError(f'{name} has neither test_dataloader nor val_dataloader.')
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, None
    if 'type' not in (cfg.test_dataloader.get('dataset') or {}):
        raise BCE3SError(
            f'{name} has no test split of which test_dataloader could change a part: it is tested '
            'on val_dataloader; other labelled images are given by --data PATH.'
        )
    if cfg.get('test_evaluator') is None:
        if cfg.get('val_evaluator') is None:
            raise BCE3SError(f'{name} has neither test_evaluator nor val_evaluator.')
        cfg.test_evaluator = cfg.val_evaluator
    if cfg.get('test_cfg') is None:
        cfg.test_cfg = {k: v for k, v in (cfg.get('val_cfg') or {}).items() if k != 'type'}


def _delete(files: list[Path]) -> None:
    """Deletes on the first process, after all have looked at the folder."""
    from mmengine.dist import barrier, is_main_process

    barrier()
    if is_main_process():
        for path in files:
            path.unlink(missing_ok=True)
    barrier()


# ------------------------------------------------------------ running
def _run(cfg: Config, launcher: str, action: Callable[[Runner], None]) -> None:
    """Builds the runner and calls ``action`` on it; a mistake in the config ends as a sentence."""
    from bce3s.engine import checkpoint as checkpoint  # the atomic backend, the safe loader
    from bce3s.engine.runner import QuietRunner
    from bce3s.strict_config import explain

    start_processes(cfg, launcher)
    stop = runner = None
    try:
        runner = QuietRunner.from_cfg(cfg)
        action(runner)
    except Preempted as asked:
        stop = asked.with_traceback(None)  # which holds the runner
    except BCE3SError:
        raise
    except Exception as error:
        said = explain(error, cfg), worker_death(error), lost_process(error), not_fetched(error)
        if not any(said):
            raise
        raise BCE3SError(next(filter(None, said))) from error
    del runner
    if stop is None or stop.agreed:
        stop_processes()
    elif launcher != 'none':
        _leave_alone(stop)
    if stop is not None:
        raise stop


def _leave_alone(stop: Preempted) -> None:
    """Without the others, which may be anywhere; gloo's end would wait for them, or abort."""
    print(stop, flush=True)
    os._exit(stop.status)
