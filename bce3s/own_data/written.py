"""The splits of a run, as they are written down in its folder and read back."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bce3s.datasets.lists import read_list
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.own_data.found import SPLIT_NAMES, FoundImages
from bce3s.own_data.settings import Facts

FOLDER, FACTS = 'data', 'data.json'  # below the work dir


def write(folder: Path, found: FoundImages, facts: Facts) -> None:
    """Writes ``train.csv``, ``val.csv``, ``test.csv`` (columns path and label, a name) and, last,
    ``data.json``: the folder they are relative to, the classes in their order, what was noted, and
    the facts that the settings follow from.

    Raises:
        BCE3SError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split in set(SPLIT_NAMES) - set(found.splits):  # of another attempt
            (folder / f'{split}.csv').unlink(missing_ok=True)
        for split, images in found.splits.items():
            with written_whole(folder / f'{split}.csv', shared=True) as file:
                file.write(_table(found, images).encode())
        content = dict(
            data_root=str(found.root),
            classes=found.classes,
            made=found.made,
            notes=found.notes,
            facts=asdict(facts),
        )
        with written_whole(folder / FACTS, shared=True) as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise BCE3SError(
            f'{folder} cannot be written to ({error.strerror}): give another --work-dir.'
        ) from error


def _table(found: FoundImages, images: list[tuple[str, int]]) -> str:
    text = io.StringIO()
    plain = csv.writer(text, lineterminator='\n')
    quoted = csv.writer(text, lineterminator='\n', quoting=csv.QUOTE_ALL)
    plain.writerow(('path', 'label'))
    for path, label in images:  # a blank that begins a path is read back in quotes only
        (quoted if path[0] == ' ' else plain).writerow((path, found.classes[label]))
    return text.getvalue()


def read(folder: Path) -> tuple[FoundImages, Facts] | None:
    """What :func:`write` wrote; None where there is nothing.

    Raises:
        BCE3SError: a file is missing or damaged.
    """
    if not (folder / FACTS).is_file():
        return None
    content = read_facts(folder)
    classes = content['classes']
    splits = {}
    for split in SPLIT_NAMES:
        if (folder / f'{split}.csv').is_file():
            entries = read_list(folder / f'{split}.csv', classes)
            splits[split] = list(zip(entries.paths, entries.labels, strict=True))
    if 'train' not in splits:
        raise BCE3SError(f'{folder / "train.csv"} is gone: start again in another --work-dir.')
    root = Path(content['data_root'])
    found = FoundImages(root, classes, splits, content['made'], content['notes'])
    return found, Facts(**content['facts'])


def read_facts(folder: Path) -> dict[str, Any]:
    """``data.json``.

    Raises:
        BCE3SError: it is missing or damaged.
    """
    path = folder / FACTS
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not {'data_root', 'classes', 'made', 'notes', 'facts'} <= content.keys():
            raise ValueError('keys are missing')
    except (OSError, ValueError, AttributeError) as error:
        raise BCE3SError(
            f'{path} cannot be read ({error}): it says which classes the run has. Start again in '
            'another --work-dir.'
        ) from error
    return content
