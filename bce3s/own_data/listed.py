"""Images that somebody's own lists and tables name."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from bce3s.datasets.lists import ImageEntries, list_content, read_list
from bce3s.errors import BCE3SError
from bce3s.own_data.found import SPLIT_OF, FoundImages, labelled

SUFFIXES = ('.csv', '.tsv', '.txt')
SPLIT_COLUMNS = ('split', 'subset', 'set')

Columns = tuple[str, str] | None


def lists_in(folder: Path) -> dict[str, Path]:
    """split -> its list, of those called like a split; empty without one for the training.

    Raises:
        BCE3SError: two lists for one split.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.casefold().removesuffix('.gz')
        split = SPLIT_OF.get(Path(name).stem)
        if split and name.endswith(SUFFIXES) and path.is_file():
            if split in found:
                raise BCE3SError(
                    f'{found[split]} and {path} both look like the list of the split {split!r}: '
                    'rename one of them.'
                )
            found[split] = path
    return found if 'train' in found else {}


def from_lists(folder: Path, lists: dict[str, Path], columns: Columns) -> FoundImages:
    """Of lists for each split; their paths are relative to ``folder``."""
    train = read_list(lists['train'], None, columns)
    entries = {
        split: train if split == 'train' else read_list(path, train.classes, columns)
        for split, path in lists.items()
    }
    names = _class_names(train)
    named = {
        split: _relative(folder, of_split, names) for split, of_split in sorted(entries.items())
    }
    found = ', '.join(path.name for path in lists.values())
    return labelled(folder, named, [f'The images are those of {found}.'])


def from_list(path: Path, columns: Columns) -> FoundImages:
    """Of one list; paths are relative to its folder, a column ``split`` says what is what."""
    if not path.name.casefold().removesuffix('.gz').endswith(SUFFIXES):
        raise BCE3SError(
            f'data_root: {path} is neither a folder nor a list ({", ".join(SUFFIXES)}).'
        )
    entries = read_list(path, None, columns)
    named = _relative(path.parent, entries, _class_names(entries))
    splits = _splits_of(path, entries)
    parts: dict[str, list[tuple[str, str]]] = {}
    for split, image in zip(splits, named, strict=True):
        parts.setdefault(split, []).append(image)
    if 'train' not in parts:
        raise BCE3SError(f'{path}: no image is of the split train.')
    return labelled(path.parent, parts, [f'The images are those of {path.name}.'])


def _relative(folder: Path, entries: ImageEntries, names: dict[int, str]) -> list[tuple[str, str]]:
    """(path, class); absolute paths stay so where they lie elsewhere."""
    inside = f'{folder.resolve()}/'
    paths = (path.removeprefix(inside) for path in entries.paths)
    return [
        (path, names.get(label, str(label)))
        for path, label in zip(paths, entries.labels, strict=True)
    ]


def _class_names(train: ImageEntries) -> dict[int, str]:
    """label -> name: the table's; else the folder of its images, if each class has one of its own;
    else the number.
    """
    if train.classes is not None:
        return dict(enumerate(train.classes))
    folders: dict[int, set[str]] = {}
    for path, label in zip(train.paths, train.labels, strict=True):
        folders.setdefault(label, set()).add(PurePosixPath(path).parent.name)
    names = {label: next(iter(found)) for label, found in folders.items()}
    own = all(len(found) == 1 for found in folders.values()) and all(names.values())
    if own and len(set(names.values())) == len(names):
        return names
    return {label: str(label) for label in folders}


def _splits_of(path: Path, entries: ImageEntries) -> list[str]:
    """The split of each entry: that of the table's column, or ``train``."""
    column = _split_column(path)
    if column is None:
        return ['train'] * len(entries.paths)
    splits = [SPLIT_OF.get(column.get(line, '').strip().casefold(), '') for line in entries.lines]
    if '' in splits:
        line = entries.lines[splits.index('')]
        raise BCE3SError(
            f'{path}:{line}: the split {column.get(line, "")!r} is unknown: use train, val or test.'
        )
    return splits


def _split_column(path: Path) -> dict[int, str] | None:
    """line -> what the column ``split`` says; None: there is none, or it is no table."""
    if path.name.casefold().removesuffix('.gz').endswith('.txt'):
        return None
    text = list_content(path).decode('utf-8-sig', 'replace')
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    header = next((line for line in text.split('\n') if line.strip()), '')
    delimiter = max('\t;,', key=header.count)
    reader, before, rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter), 0, []
    for row in reader:
        if any(map(str.strip, row)):
            rows.append((before + 1, row))
        before = reader.line_num
    names = [name.strip().casefold() for name in rows[0][1]]
    at = next((names.index(name) for name in SPLIT_COLUMNS if name in names), None)
    if at is None:
        return None
    return {line: row[at] for line, row in rows[1:] if len(row) > at}
