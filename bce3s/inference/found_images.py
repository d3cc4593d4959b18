"""Which images are meant: files, folders, lists of paths."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bce3s.datasets.checks import Problems
from bce3s.datasets.image_folder import EXTENSIONS, images_below
from bce3s.datasets.lists import list_content
from bce3s.datasets.tables import DELIMITERS, OR_ELSE, PATH_COLUMNS, first_row
from bce3s.errors import BCE3SError

LISTS = ('.txt', *DELIMITERS)


def find_images(
    paths: Sequence[str | Path], data_root: str | Path | None = None, trained_on: str | None = None
) -> list[str]:
    """The paths of all images, in the order in which they are named; of a folder those in it and
    below it, each folder's by name.

    Args:
        paths: each an image, a folder, or a list (``.txt``, ``.csv``, ``.tsv``, also ``.gz``): a
            path a line, a label behind it or not; or a table, separated as those of
            :mod:`bce3s.datasets.tables`, with a column called as in ``PATH_COLUMNS``. Labels are
            not looked at.
        data_root: what paths in lists are relative to. None: the folder of the list, or else
            ``trained_on``, where the first image of the list is there and not in that folder.
        trained_on: the folder of the images of the training.

    Raises:
        BCE3SError: a path that is not there, a folder or a list without an image, or a list that
            cannot be read.
    """
    found: list[str] = []
    for path in map(_expanded, paths):
        if path.is_dir():
            found += _in_folder(path)
        elif _is_list(path):
            found += _in_list(path, data_root, trained_on)
        else:
            found.append(str(path))
    return found


def _expanded(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not os.path.exists(path):
        raise BCE3SError(f'{path} is not there: give images, folders of images or lists of paths.')
    return path


def _is_list(path: Path) -> bool:
    return Path(path.stem if path.suffix == '.gz' else path.name).suffix.lower() in LISTS


class _Unread(Problems):
    """What is wrong with folders; a link to a folder above it shows no other images."""

    def add(self, where: str | Path, what: str) -> None:
        with suppress(OSError):
            if any(os.path.samefile(where, folder) for folder in Path(where).parents):
                return
        super().add(where, what)


def _in_folder(folder: Path) -> list[str]:
    problems = _Unread()
    images = images_below(folder, problems, Counter())
    problems.raise_all('Folders cannot be read')
    if not images:
        raise BCE3SError(f'{folder} holds no image ({", ".join(EXTENSIONS)}).')
    return images


def _in_list(path: Path, data_root: str | Path | None, trained_on: str | None) -> list[str]:
    try:
        text = list_content(path).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise BCE3SError(f'The list {path} is not UTF-8 (byte {error.start}).') from error
    kind = Path(path.stem if path.suffix == '.gz' else path.name).suffix.lower()
    names = _column(text, path, DELIMITERS[kind]) if kind in DELIMITERS else _lines(text)
    if not names:
        raise BCE3SError(f'The list {path} names no image: expected a path a line.')
    root = path.parent if data_root is None else Path(data_root).expanduser()
    if data_root is None and trained_on and not os.path.exists(root / names[0]):
        other = Path(trained_on).expanduser()
        root = other if os.path.exists(other / names[0]) else root
    return [os.path.join(root, name) for name in names]


def _lines(text: str) -> list[str]:
    """``path`` or ``path label`` a line; a path with blanks has an extension of images at its end
    or a label behind it.
    """
    lines = filter(None, (line.strip() for line in text.splitlines()))
    return [line if line.lower().endswith(EXTENSIONS) else _unlabelled(line) for line in lines]


def _unlabelled(line: str) -> str:
    path, *label = line.rsplit(None, 1)
    return path if label else line


def _column(text: str, path: Path, delimiter: str) -> list[str]:
    """The column of paths, of the first delimiter with which there is one."""
    delimiters = OR_ELSE.get(delimiter, delimiter)
    firsts = {each: first_row(text, each) for each in delimiters}
    layouts = {each: _layout(first) for each, first in firsts.items()}
    used = next((each for each in delimiters if layouts[each][0] is not None), delimiter)
    try:
        rows = _rows(text, used)
    except csv.Error as error:
        raise BCE3SError(f'{path} is no table ({error}).') from error
    if not rows:
        return []
    at, headed = layouts[used]
    if at is None:
        header = max(firsts.values(), key=len)
        raise BCE3SError(
            f'The table {path} has no column called {" or ".join(PATH_COLUMNS)} in its first line '
            f'({", ".join(header[:20])}).'
        )
    names = [row[at].strip() if at < len(row) else '' for row in rows[headed:]]
    if '' in names:
        number = names.index('') + 1 + headed
        raise BCE3SError(f'Row {number} of the table {path} names no image.')
    return names


def _rows(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    return [row for row in reader if any(map(str.strip, row))]


def _layout(first: list[str]) -> tuple[int | None, bool]:
    """Where the paths are, by the first row, and whether it is a header; None: it does not say.

    Without a header it is the first column, or the other one of two, that names an image.
    """
    first = [cell.strip().casefold() for cell in first]
    named = next((first.index(name) for name in PATH_COLUMNS if name in first), None)
    if named is not None:
        return named, True
    of_two = first[: 2 if len(first) == 2 else 1]
    return next((i for i, cell in enumerate(of_two) if cell.endswith(EXTENSIONS)), None), False
