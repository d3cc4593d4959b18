"""Whether a command could be started: its tool is there, its parser takes the arguments, and the
config that it names can be read with its options. Nothing is run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from bce3s.cli import parser
from bce3s.config import load_config

MODULES = ('pytest', 'venv')  # python -m ...


class _Parsed(Exception):
    """Leaves a tool with what it has parsed."""


def check_command(words: Sequence[str], folder: Path) -> None:
    """A command that the documents name, as bash would start it in ``folder``.

    Raises:
        AssertionError: it could not be started; or nothing here knows what it is.
    """
    command, arguments = words[0], list(words[1:])
    with contextlib.chdir(folder):
        if command in ('python', 'python3'):
            _check_python(arguments)
        elif command.endswith('.sh'):
            _check_script(command, arguments)
        elif command == 'sbatch':
            wrapped = next(w for w in arguments if w.startswith('--wrap='))
            name, *rest = wrapped.removeprefix('--wrap=').split()
            _check_script(name, rest)
        elif command == 'pip':
            assert arguments[0] == 'install', words
            assert Path(arguments[arguments.index('-r') + 1]).is_file(), words
        else:
            assert command == 'tensorboard', f'{words}: no rule for this command'


def _check_python(arguments: list[str]) -> None:
    if arguments[0] == '-m':
        assert arguments[1] in MODULES, arguments
        return
    script = Path(arguments[0])
    if len(script.parts) == 1:  # the reader's own, saved from the document
        compile(script.read_bytes(), script, 'exec')
        return
    parsed = parsed_by(arguments[0], arguments[1:])
    config = getattr(parsed, 'config', None)
    written = config and config.startswith('work_dirs/')  # by a run, which is not made here
    if config and not written and (config.endswith('.py') or getattr(parsed, 'checkpoint', None)):
        load_config(config, parsed.cfg_options)


def _check_script(name: str, arguments: list[str]) -> None:
    """The shell scripts hand on what is left to train.py or test.py."""
    assert Path(name).is_file(), name
    if name.endswith('slurm_train.sh'):
        tool, rest = 'train', arguments[2:]
    elif name.endswith('dist_test.sh'):
        tool, rest = 'test', [*arguments[:2], *arguments[3:]]
        assert int(arguments[2]) > 0, arguments
    else:
        tool, rest = 'train', [arguments[0], *arguments[2:]]
        assert int(arguments[1]) > 0, arguments
    parsed = _parse(lambda: parser(tool).parse_args(rest), [name, *arguments])
    load_config(parsed.config, parsed.cfg_options)


def parsed_by(script: str, arguments: Sequence[str]) -> argparse.Namespace:
    """What the script's own parser makes of the arguments; the script ends there."""
    assert Path(script).is_file(), f'{script} does not exist'
    real = argparse.ArgumentParser.parse_args

    def leave(self, *given, **named):
        raise _Parsed(real(self, *given, **named))

    with _as_script(script, arguments), patch.object(argparse.ArgumentParser, 'parse_args', leave):
        try:
            _parse(lambda: runpy.run_path(script, run_name='__main__'), [script, *arguments])
        except _Parsed as parsed:
            return parsed.args[0]
    raise AssertionError(f'{script} parses no arguments')


def _parse(action, words: Sequence[str]):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return action()
    except SystemExit as stop:
        raise AssertionError(f'{" ".join(words)}: {said.getvalue()}') from stop


@contextlib.contextmanager
def _as_script(script: str, arguments: Sequence[str]) -> Iterator[None]:
    """``sys.argv`` and ``sys.path`` as ``python SCRIPT ...`` has them; no module of the checkout
    stays behind.
    """
    path, before = list(sys.path), dict(os.environ)
    with patch.object(sys, 'argv', [script, *arguments]):
        sys.path.insert(0, str(Path(script).parent.resolve()))
        try:
            yield
        finally:
            sys.path[:] = path
            os.environ.clear()
            os.environ.update(before)
