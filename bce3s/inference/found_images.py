"""Which images are meant: files, folders, lists of paths."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bce3s.datasets.checks import Problems
from bce3s.datasets.folders import look_below, passed_over
from bce3s.datasets.lists import SUFFIXES, decoded, list_content, listed_at, read_lines
from bce3s.datasets.tables import DELIMITERS, EXTENSIONS, kind_of, read_table
from bce3s.errors import BCE3SError
from bce3s.own_data.find import ListOptions, located


def find_images(
    paths: Sequence[str | Path],
    data_root: str | Path | None = None,
    trained_on: str | None = None,
    say: Callable[[str], Any] = print,
) -> list[str]:
    """The paths of all images, in the order in which they are named; of a folder those in it and
    below it, each folder's by name.

    Args:
        paths: each an image, a folder, or a list (``.txt``, ``.csv``, ``.tsv``, also ``.gz``): a
            path a line, a label behind it or not; or a table, separated as those of
            :mod:`bce3s.datasets.tables`, with a column called as in ``PATH_COLUMNS``. Labels are
            not looked at. ``*``, ``?`` and ``[...]`` stand for what they do in a shell.
        data_root: what paths in lists are relative to. None: the folder of the list, or else
            ``trained_on``, where an image of the list is there and none in that folder. Where none
            is there either, they are looked for as for a training
            (:func:`~bce3s.own_data.find.located`).
        trained_on: the folder of the images of the training.
        say: takes a line for each folder of which something is passed over, and for each list
            whose images lie elsewhere.

    Raises:
        BCE3SError: a path that is not there or is none, a folder or a list without an image, or a
            list that cannot be read.
    """
    found: list[str] = []
    for path in (path for given in paths for path in expanded(given)):
        if path.is_dir():
            found += _in_folder(path, say)
        elif _is_list(path):
            found += _in_list(path, data_root, trained_on, say)
        else:
            found.append(str(path))
    return found


def expanded(given: str | Path) -> list[Path]:
    """The path, or the paths that a pattern stands for."""
    path = Path(given).expanduser()
    if os.path.exists(path):
        return [path]
    if str(given) == '-':
        raise BCE3SError('- is no path, and nothing is read from a pipe: give a list of paths.')
    if re.match('[a-z][a-z0-9+.-]+://', str(given), re.IGNORECASE):
        raise BCE3SError(f'{given} is an address: download the images and give their paths.')
    if found := sorted(glob.glob(str(path), recursive=True)):
        return [Path(each) for each in found]
    raise BCE3SError(f'{path} is not there: give images, folders of images or lists of paths.')


def _is_list(path: Path) -> bool:
    return kind_of(path) in SUFFIXES


def _in_folder(folder: Path, say: Callable[[str], Any]) -> list[str]:
    below, problems = look_below(folder), Problems()
    for error in below.errors:
        problems.add(error.filename or folder, f'cannot be listed ({error.strerror})')
    problems.raise_all('Folders cannot be read')
    lines = '; '.join(passed_over(below))
    if not below.images:
        has = f'; it has {lines}' if lines else ''
        raise BCE3SError(f'{folder} holds no image ({", ".join(EXTENSIONS)}){has}.')
    if lines:
        say(f'note: Passed over in {folder}: {lines}.')
    return [os.path.join(folder, image) for image in below.images]


def _in_list(
    path: Path,
    data_root: str | Path | None,
    trained_on: str | None,
    say: Callable[[str], Any],
) -> list[str]:
    text = decoded(list_content(path), path)
    names = _paths(text, path)
    if not names:
        raise BCE3SError(f'The list {path} names no image: expected a path a line.')
    roots = [path.parent, *([Path(trained_on).expanduser()] if trained_on else [])]
    if data_root is not None:
        roots = [Path(data_root).expanduser()]
    for root in roots:
        if any(os.path.exists(listed_at(root, name)) for name in names):
            if root != roots[0]:
                say(f'note: The images of {path.name} are those in {root}, of the training.')
            return [listed_at(root, name) for name in names]
    images = data_root and str(roots[0].resolve())
    try:
        names, note = located(names, path, ListOptions(images=images), '--data-root FOLDER')
    except BCE3SError as error:
        say(f'note: {error}')
        return [listed_at(roots[0], name) for name in names]
    if note:
        say(f'note: {note}')
    return [listed_at(path.parent, name) for name in names]


def _paths(text: str, path: Path) -> list[str]:
    problems = Problems()
    if kind_of(path) in DELIMITERS:
        names = read_table(text, path, None, problems, labelled=False).paths
    else:
        names = read_lines(text, path, problems, labelled=False).paths
    problems.raise_all(f'The table {path} has rows that cannot be used: correct or remove them')
    return names
