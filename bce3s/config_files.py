"""Config files are Python code: they are read from this machine only, never fetched.

MMEngine evaluates ``_base_`` before anything else of a file. Here the names are read from the text
of all files first, so that nothing runs of a config one of whose parts is elsewhere.
"""

from __future__ import annotations

import ast
import errno
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.errors import BCE3SError

if TYPE_CHECKING:
    from mmengine.config import Config

MOST_FILES = 100  # that one config may be made of


def read_config(path: str) -> Config:
    """The config of a Python file and of those that its ``_base_`` names.

    Raises:
        BCE3SError: one of them is missing, remote, no Python or goes wrong (with file and line).
    """
    from mmengine.config import Config

    check_local(path)
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is code, which can raise anything
        place = _place(error, path)
        raise BCE3SError(f'{place}: the config cannot be read: {_said(error)}') from error


def check_local(path: str) -> None:
    """Every file that the config ``path`` is made of must be a Python file on this machine.

    Raises:
        BCE3SError: one is not, is missing, or is its own base.
    """
    waiting, visits = [(str(path), str(path))], 0
    while waiting:
        name, asked_by = waiting.pop()
        for base, line in _bases(name, asked_by):
            place = f'{name}:{line}'
            _require_local_name(base, place)
            if '::' not in base:  # of an installed package, which MMEngine looks for
                waiting.append((str(Path(name).parent / base), place))
        visits += 1
        if visits + len(waiting) > MOST_FILES:
            raise BCE3SError(f'{path} is made of more than {MOST_FILES} files, or its own base.')


def _require_local_name(name: str, place: str) -> None:
    if re.match(r'\s*[\w+.-]+:/', name) or name.startswith(('//', '\\\\')):
        raise BCE3SError(
            f'{place}: {name} is not on this machine. Config files are Python code and are never '
            'fetched: read it, copy it here, and name the copy.'
        )


def _bases(name: str, asked_by: str) -> Iterator[tuple[str, int]]:
    """(text, line) of every string in the ``_base_`` of a config file."""
    _require_local_name(name, asked_by)
    if not name.endswith('.py'):
        raise BCE3SError(f'{asked_by}: config files are Python files, NAME.py; {name!r} is not.')
    try:
        if Path(name).exists() and not Path(name).is_file():  # a pipe would be waited for
            raise OSError(errno.EINVAL, 'it is no regular file')
        tree = ast.parse(Path(name).read_bytes())
    except OSError as error:
        where = '' if asked_by == name else f'{asked_by}: '
        raise BCE3SError(
            f'{where}Config file {name} does not exist or cannot be read ({error.strerror}). See '
            'configs/ for those that do.'
        ) from error
    except SyntaxError as error:
        place = f'{name}:{error.lineno or 0}'
        raise BCE3SError(f'{place}: the config cannot be read: {error.msg}') from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise BCE3SError(f'{name}: the config cannot be read: {_said(error)}') from error
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == '_base_' for t in targets):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value, part.lineno


def _place(error: Exception, path: str) -> str:
    """The last line of a config file that the error passed through."""
    place = path
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if frame.f_code.co_name == '<module>' and name.endswith('.py') and Path(name).is_file():
            place = f'{name}:{line}'
    return place


def _said(error: BaseException) -> str:
    first = str(error).splitlines()[0][:300] if str(error) else ''
    return f'{type(error).__name__}: {first}' if first else type(error).__name__
