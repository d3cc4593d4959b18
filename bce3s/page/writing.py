"""Where a page goes: found out before the work, written whole at its end."""

from __future__ import annotations

import os
from pathlib import Path

from bce3s.errors import BCE3SError
from bce3s.files import reason, written_whole

KINDS = ('.html', '.htm')


def check_writable(path: Path, option: str) -> None:
    """Makes the folder, before minutes of work.

    Args:
        path: of the page. option: of the command line, which a message names.

    Raises:
        BCE3SError: it is not called HTML, or cannot be written to.
    """
    if path.suffix.lower() not in KINDS:
        raise BCE3SError(f'{option} {path}: give a file NAME.html.')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, option, reason(error)) from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        why = 'it is a folder, or in one that cannot be written to'
        raise _unwritable(path, option, why)


def write_page(path: Path, text: str, option: str) -> str:
    """Writes a text, whole or not at all; gives where it is, and how large.

    Raises:
        BCE3SError: it cannot be written.
    """
    content = text.encode()
    try:
        with written_whole(path, shared=True) as file:
            file.write(content)
    except OSError as error:
        raise _unwritable(path, option, reason(error)) from None
    return f'{path} ({len(content) / 1e6:.2f} MB)'


def _unwritable(path: Path, option: str, why: str) -> BCE3SError:
    return BCE3SError(f'{path} cannot be written ({why}): give another {option}.')
