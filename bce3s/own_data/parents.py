"""What classes belong to: in a table beside the data, in a column, or in the names of folders."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from bce3s.datasets.lists import decoded, list_content
from bce3s.datasets.parents import COLUMNS, FILE, read_parents, rows_of
from bce3s.datasets.tables import DELIMITERS, LABEL_COLUMNS, called, kind_of
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.own_data.found import FoundImages, tidy_name

FOLDERS = 'folders'


def keep_parents(work_dir: str | Path, data_root: str, found: FoundImages, how: Any) -> None:
    """Writes ``parents.csv`` into a run's folder, where the data say what classes belong to: by
    ``parents.csv`` beside them; by a column ``parent`` of their table, if each class has one only;
    or by ``own_data.parents=folders``, as ``PARENT/CLASS``.

    Args:
        work_dir: of the run. data_root: as it was given. found: what was found there.
        how: ``own_data.parents``.

    Raises:
        BCE3SError: a ``parents.csv`` that cannot be used.
    """
    path = Path(data_root).expanduser()
    beside = (path if path.is_dir() else path.parent) / FILE
    if how == FOLDERS:
        parents = {name: name.partition('/')[0] for name in found.classes}
    elif beside.is_file():
        parents = {tidy_name(name): parent for name, parent in rows_of(beside).items()}
    else:
        parents = _of_column(path if path.is_file() else path / 'train.csv', found)
    if not parents:
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerows([COLUMNS, *((k, parents[k]) for k in found.classes if k in parents)])
    with written_whole(Path(work_dir) / FILE) as file:
        file.write(text.getvalue().encode())
    read_parents(work_dir, found.classes)  # so that what is wrong is said before the training


def _of_column(path: Path, found: FoundImages) -> dict[str, str]:
    """Empty where there is no such table or column, or where it says something else."""
    if not path.is_file():
        return {}
    first = decoded(list_content(path), path).partition('\n')[0]
    for delimiter in DELIMITERS.get(kind_of(path), ''):
        header = next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])
        labels, above = (called(header, names) for names in (LABEL_COLUMNS, [['parent']]))
        if len(labels) == len(above) == 1:
            break
    else:
        return {}
    try:
        parents = rows_of(path, (header[labels[0]], header[above[0]]), delimiter)
    except BCE3SError as error:
        print(f'note: The column {header[above[0]]!r} is not taken for parents of classes: {error}')
        return {}
    parents = {tidy_name(name): parent for name, parent in parents.items()}
    return parents if parents.keys() >= {*found.classes} else {}
