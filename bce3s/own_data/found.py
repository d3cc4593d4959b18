"""What was found of somebody's own images: classes, splits and notes; written down in a run's
folder and read back.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bce3s.datasets.checks import printable
from bce3s.datasets.label_sets import UNKNOWN, Label, Marks, positives
from bce3s.datasets.lists import ImageEntries, read_list
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.own_data.settings import Facts
from bce3s.wording import in_order

SPLIT_NAMES = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation'),
    'test': ('test', 'testing'),
}
FOLDER, FACTS = 'data', 'data.json'  # below the work dir


@dataclass
class FoundImages:
    """Images, their classes and their splits.

    Attributes:
        root: the folder that paths are relative to.
        classes: names of the classes; a label is a position in it.
        splits: ``train``, ``val`` or ``test``, in this order -> the images of it: (path relative
            to ``root``, label), sorted by path. Where an image may have several labels this is a
            mark for each class (:data:`~bce3s.datasets.label_sets.Marks`).
        made: the splits that we made, because the data had none.
        notes: sentences on what was found and how it was understood.
        unnamed: the mark of a class that the data do not name.
    """

    root: Path
    classes: list[str]
    splits: dict[str, list[tuple[str, Label]]]
    made: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unnamed: int = UNKNOWN

    def __post_init__(self) -> None:
        self.splits = {name: self.splits[name] for name in SPLIT_NAMES if name in self.splits}

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several labels, or none."""
        return any(isinstance(images[0][1], tuple) for images in self.splits.values() if images)

    def counts(self, split: str) -> list[int]:
        """(K,) images of each class in ``split``; of several labels those that have it."""
        labels = [label for _, label in self.splits.get(split, ())]
        return positives(labels, len(self.classes))

    def of_classes(self, kept: Sequence[int]) -> FoundImages:
        """The same images with these classes only; each single label is one of them."""
        new = {label: at for at, label in enumerate(kept)}
        splits = {
            split: [
                (path, new[label] if isinstance(label, int) else tuple(label[k] for k in kept))
                for path, label in images
            ]
            for split, images in self.splits.items()
        }
        return replace(self, classes=[self.classes[k] for k in kept], splits=splits)


def labelled(
    root: Path,
    named: dict[str, list[tuple[str, str]]],
    notes: list[str],
    order: Sequence[str] | None = None,
) -> FoundImages:
    """Numbers the classes of the training images, or of all where there are none, in the natural
    order of their names.

    Names are stripped, and composed (NFC): a folder packed on a Mac has another form of the same
    name.

    Args:
        root, notes: see :class:`FoundImages`.
        named: split -> (path, name of the class).
        order: of the classes, another one.

    Raises:
        BCE3SError: a class that only ``val`` or ``test`` has, a name that is empty or not UTF-8.
    """
    tidy = {name: tidy_name(name) for images in named.values() for _, name in images}
    first = named.get('train') or [image for images in named.values() for image in images]
    known = {tidy[name] for _, name in first}
    classes = in_order(known)
    if order is not None:
        classes = [name for name in dict.fromkeys(map(tidy_name, order)) if name in known]
    numbers = {name: label for label, name in enumerate(classes)}
    for split, images in named.items():
        unknown = in_order({tidy[name] for _, name in images} - numbers.keys())
        if unknown:
            raise _unknown(unknown, split)
    splits = {
        split: sorted((path, numbers[tidy[name]]) for path, name in images)
        for split, images in named.items()
    }
    return FoundImages(root, classes, splits, notes=notes)


def marked(
    root: Path,
    splits: dict[str, list[tuple[str, Marks]]],
    notes: list[str],
    classes: Sequence[str],
    unnamed: int,
) -> FoundImages:
    """Images that may have several labels.

    Args:
        root, notes, unnamed: see :class:`FoundImages`.
        splits: split -> (path, marks).
        classes: names of the classes that the marks are of.

    Raises:
        BCE3SError: no image has a label, a class that only ``val`` or ``test`` has, two names that
            differ in blanks only, one that is empty or not UTF-8.
    """
    tidy = list(map(tidy_name, classes))
    if twice := [name for name, number in Counter(tidy).items() if number > 1]:
        raise BCE3SError(
            f'{root}: classes whose names differ in blanks or their Unicode form only: '
            f'{quoted(twice)}. Give them one name.'
        )
    splits = {split: sorted(images) for split, images in splits.items()}
    found = FoundImages(root, tidy, splits, notes=notes, unnamed=unnamed)
    train = found.counts('train')
    for split in found.splits:
        unknown = [k for k, n in enumerate(found.counts(split)) if n and not train[k]]
        if unknown:
            raise _unknown([tidy[k] for k in unknown], split)
    if not any(train):
        raise BCE3SError(f'{root}: no training image has a label.')
    return found


def _unknown(names: Sequence[str], split: str) -> BCE3SError:
    return BCE3SError(
        f'{quoted(names)}: {"a class" if len(names) == 1 else "classes"} of {split!r} that the '
        'training images do not have. Name them alike in both, add training images, remove them, '
        f'or leave the split out: own_data.leave_out={split}.'
    )


def tidy_name(name: str) -> str:
    """The name of a class as it stands in tables and reports."""
    tidy = ' '.join(unicodedata.normalize('NFC', name).split())
    if not tidy or printable(tidy) != tidy:
        raise BCE3SError(printable(f'{name!r} cannot name a class: give it a name in UTF-8.'))
    return tidy


def quoted(names: Sequence[str], most: int = 5) -> str:
    """The first ``most`` names in quotes, and how many more there are."""
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return printable(', '.join(map(repr, names[:most])) + more)


def not_measured(classes: Sequence[str], counts: Sequence[int], what: str) -> list[str]:
    """A sentence, or none, on the classes that have no image to be measured on.

    Args:
        classes, counts: (K,) names, images of each.
        what: they lack: ``a test image``.
    """
    without = [name for name, count in zip(classes, counts, strict=True) if not count]
    return [f'Without {what}, so not measured: {quoted(without)}.'] if without else []


# ------------------------------------------------------------------------------------- in a run
def write_splits(folder: Path, found: FoundImages, facts: Facts) -> None:
    """Writes ``train.csv``, ``val.csv``, ``test.csv`` (columns path and label, a name; of several
    labels a column for each class, 1, 0 or empty) and, last, ``data.json``: the folder they are
    relative to, the classes in their order, what was noted, and the facts that the settings follow
    from.

    Raises:
        BCE3SError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split in set(SPLIT_NAMES) - set(found.splits):  # of another attempt
            (folder / f'{split}.csv').unlink(missing_ok=True)
        for split, images in found.splits.items():
            _write(folder / f'{split}.csv', _table(found, images))
        content = dict(
            data_root=str(found.root),
            classes=found.classes,
            made=found.made,
            notes=found.notes,
            facts=asdict(facts),
            **(dict(multilabel=True) if found.multilabel else {}),
        )
        _write(folder / FACTS, json.dumps(content, indent=1, ensure_ascii=False))
    except OSError as error:
        raise BCE3SError(
            f'{folder} cannot be written to ({error.strerror}): give another --work-dir.'
        ) from error


def _write(path: Path, text: str) -> None:
    with written_whole(path, shared=True) as file:
        file.write(text.encode())


def _table(found: FoundImages, images: list[tuple[str, Label]]) -> str:
    rows: list[tuple] = [('path', *(found.classes if found.multilabel else ['label']))]
    for path, label in images:
        several = isinstance(label, tuple)
        marks = ['' if mark == UNKNOWN else mark for mark in label] if several else []
        rows.append((path, *(marks if several else [found.classes[label]])))
    lines: list[str] = []

    class Lines:
        write = staticmethod(lines.append)

    plain = csv.writer(Lines, lineterminator='\n')
    quoting = csv.writer(Lines, lineterminator='\n', quoting=csv.QUOTE_ALL)
    for row in rows:  # a blank that begins a path is read back in quotes only
        (quoting if row[0][0] == ' ' else plain).writerow(row)
    return ''.join(lines)


def read_splits(folder: Path) -> tuple[FoundImages, Facts] | None:
    """What :func:`write_splits` wrote; None where there is nothing.

    Raises:
        BCE3SError: a file is missing or damaged.
    """
    if not (folder / FACTS).is_file():
        return None
    content = read_facts(folder)
    splits = {}
    for split in SPLIT_NAMES:
        if split == 'train' or (folder / f'{split}.csv').is_file():
            entries = read_written(folder, split, content)
            splits[split] = list(zip(entries.paths, entries.labels, strict=True))
    kept = (content[key] for key in ('made', 'notes'))
    found = FoundImages(Path(content['data_root']), content['classes'], splits, *kept)
    return found, Facts(**content['facts'])


def read_written(folder: Path, split: str, facts: Mapping[str, Any]) -> ImageEntries:
    """The list of a split, as it was written; ``facts``: of ``data.json``."""
    several = facts.get('multilabel', False)
    columns = ['path'] if several else None
    return read_list(folder / f'{split}.csv', facts['classes'], columns, multilabel=several)


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
