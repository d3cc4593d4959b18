"""What a folder or a list of somebody's own images holds."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.datasets.checks import printable
from bce3s.datasets.folders import (
    OF_A_RUN,
    Below,
    is_image,
    is_left_behind,
    look_below,
    passed_over,
)
from bce3s.datasets.tables import EXTENSIONS
from bce3s.errors import BCE3SError
from bce3s.wording import counted, in_order

if TYPE_CHECKING:
    from bce3s.own_data.listed import ListOptions

SPLIT_NAMES = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation'),
    'test': ('test', 'testing'),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
NO_CLASS = ('images', 'image', 'imgs', 'img', 'jpegimages', 'data', 'all', 'unknown', 'unlabelled')
LAYOUTS = (
    'Expected PATH/CLASS/IMAGE.jpg, PATH/train/CLASS/IMAGE.jpg (and val, test), '
    'PATH/train.csv (and val.csv, test.csv), or PATH itself a table with the columns path and label'
)

Used = dict[str, set[str]]  # a folder -> what of it is used, see not_used


@dataclass
class FoundImages:
    """Images, their classes and their splits.

    Attributes:
        root: the folder that paths are relative to.
        classes: names of the classes; a label is a position in it.
        splits: ``train``, ``val`` or ``test``, in this order -> the images of it: (path relative
            to ``root``, label), sorted by path.
        made: the splits that we made, because the data had none.
        notes: sentences on what was found and how it was understood.
    """

    root: Path
    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]
    made: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.splits = {name: self.splits[name] for name in SPLIT_NAMES if name in self.splits}

    def counts(self, split: str) -> list[int]:
        """(K,) images of each class in ``split``."""
        counts = [0] * len(self.classes)
        for _, label in self.splits.get(split, ()):
            counts[label] += 1
        return counts


def find(data_root: str | Path, options: ListOptions | None = None, least: int = 2) -> FoundImages:
    """Images, classes and splits below a folder, or in a list; no image is opened.

    Understood are a folder of class folders; a folder with ``train`` and perhaps ``val`` and
    ``test``, folders of class folders or lists (``.csv``, ``.tsv``, ``.txt``); and one list, whose
    table may have a column ``split``. A folder that holds nothing but one such folder is looked
    into. Hidden files and folders do not count.

    Args:
        data_root: the folder, or the list.
        options: how lists are to be read, and which splits are left out.
        least: classes that there must be.

    Raises:
        BCE3SError: nothing there, no image, less than ``least`` classes, a class of ``val`` or
            ``test`` that ``train`` does not have, or a list with bad lines.
    """
    from bce3s.own_data.listed import (
        WITH_IMAGES,
        ListOptions,
        from_list,
        from_lists,
        is_metadata,
        lists_in,
    )

    options = options or ListOptions()

    path = Path(data_root).expanduser()
    if not path.exists():
        raise BCE3SError(f'data_root: there is no folder or list {path}. Check the path.')
    if is_run(path):
        raise BCE3SError(f'data_root: {path} is the folder of a run, not of images.')
    if path.is_file():
        return _checked(from_list(path, options), path, least)
    try:
        if lists := lists_in(path, options):
            found = from_lists(path, lists, options)
        elif is_metadata(path / WITH_IMAGES):
            found = from_list(path / WITH_IMAGES, options)
        else:
            found = _from_folder(path, options.leave_out)
        return _checked(found, path, least)
    except OSError as error:
        raise BCE3SError(f'data_root: {path} cannot be listed ({error.strerror}).') from error


def _checked(found: FoundImages, path: Path, least: int) -> FoundImages:
    if len(found.classes) < least:
        raise BCE3SError(
            printable(
                f'{path} holds images of one class only ({found.classes[0]!r}): to tell classes '
                f'apart two are needed. {LAYOUTS}.'
            )
        )
    return found


# ---------------------------------------------------------------------------------------- folders
def _from_folder(folder: Path, leave_out: Sequence[str]) -> FoundImages:
    below, notes = look_below(folder), []
    if below.errors:
        raise below.errors[0]
    inside, level = _by_folder(below.images), ''
    used: Used = {}
    while not (splits := _split_folders(inside)):
        name = next(iter(inside), '')
        if len(inside) != 1 or not all('/' in image for image in inside[name]):
            break
        here = folder / level
        notes.append(f'{here} holds one folder only, {name!r}: its folders are the classes.')
        used[level] = {name}
        inside, level = _by_folder(inside[name]), f'{level}{name}/'
    splits = {split: name for split, name in splits.items() if split not in leave_out}
    if splits:
        found = _from_splits(folder / level, splits, inside, notes)
        used |= {f'{level}{name}/': set(_by_folder(inside[name])) for name in splits.values()}
        used[level] = set(splits.values())
    else:
        found = _from_classes(folder / level, inside, notes)
        used[level] = set(inside)
    found.notes += not_used(folder, used, below)
    return found


def _by_folder(images: list[str]) -> dict[str, list[str]]:
    """Name of a folder -> the images below it; without those in none."""
    found: dict[str, list[str]] = {}
    for image in images:
        name, _, rest = image.partition('/')
        if rest:
            found.setdefault(name, []).append(rest)
    return dict(sorted(found.items()))


def _split_folders(below: dict[str, list[str]]) -> dict[str, str]:
    """split -> name of its folder, where one is called ``train`` and has class folders.

    A folder ``train`` with images in it is a class: of vehicles, say.
    """
    found: dict[str, str] = {}
    for name, images in below.items():
        split = SPLIT_OF.get(name.casefold())
        if split and 2 * sum('/' in image for image in images) > len(images):
            if split in found:
                raise BCE3SError(
                    f'The folders {found[split]!r} and {name!r} both look like the split {split!r}:'
                    ' rename one of them.'
                )
            found[split] = name
    return found if 'train' in found else {}


def _from_splits(
    folder: Path, splits: dict[str, str], below: dict[str, list[str]], notes: list[str]
) -> FoundImages:
    """Takes the splits without class folders out of ``splits``."""
    classes = _by_folder(below[splits['train']])
    named = {}
    for split, name in dict(splits).items():
        of_class = _by_folder(below[name])
        if len(of_class) == 1 and _is_no_class(next(iter(of_class)), classes):
            notes.append(
                f'{name} has no folders of classes, only {next(iter(of_class))!r}, so that nothing '
                'says what its images show: it is passed over.'
            )
            del splits[split]
            continue
        loose = sum('/' not in image for image in below[name])
        if loose:
            notes.append(
                f'Passed over in {name}, for they are in no class folder: '
                f'{counted(loose, "image")}.'
            )
        named[split] = [
            (f'{name}/{known}/{image}', known)
            for known, images in of_class.items()
            for image in images
        ]
    return labelled(folder, named, notes)


def _is_no_class(name: str, classes: Container[str]) -> bool:
    return name not in classes and name.casefold() in {*NO_CLASS, *SPLIT_OF}


def _from_classes(folder: Path, below: dict[str, list[str]], notes: list[str]) -> FoundImages:
    entries = [entry for entry in os.scandir(folder) if not is_left_behind(entry.name)]
    loose = sum(os.path.isfile(e.path) and is_image(folder, e.name) for e in entries)
    if not below:
        raise BCE3SError(_nothing_in(folder, loose))
    if loose:
        notes.append(f'Passed over, for they are in no class folder: {counted(loose, "image")}.')
    if all('/' in image for images in below.values() for image in images):
        notes.append(
            f'All images lie in folders below those in {folder}, for instance '
            f'{next(iter(below.values()))[0]!r} in {next(iter(below))!r}: the upper folders are '
            'taken for the classes.'
        )
    images = [(f'{name}/{image}', name) for name, found in below.items() for image in found]
    return labelled(folder, {'train': images}, notes)


def _nothing_in(folder: Path, loose: int) -> str:
    tables = sorted(e.name for e in os.scandir(folder) if e.name.lower().endswith(('.csv', '.tsv')))
    if tables:
        hint = (
            f' If {tables[0]} says what the images show, give that: data_root={folder / tables[0]}'
        )
    else:
        hint = ''
    if loose:
        return (
            f'{folder} holds {counted(loose, "image")} but no folders of classes: put the images '
            f'of each class into a folder of its own, or give a table. {LAYOUTS}.{hint}'
        )
    return f'{folder} holds no image ({", ".join(EXTENSIONS)}). {LAYOUTS}.{hint}'


# -------------------------------------------------------------------------------------- both ways
def labelled(
    root: Path,
    named: dict[str, list[tuple[str, str]]],
    notes: list[str],
    order: Sequence[str] | None = None,
) -> FoundImages:
    """Numbers the classes of the training images in the natural order of their names.

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
    known = {tidy[name] for _, name in named['train']}
    classes = in_order(known)
    if order is not None:
        classes = [name for name in dict.fromkeys(map(tidy_name, order)) if name in known]
    numbers = {name: label for label, name in enumerate(classes)}
    for split, images in named.items():
        unknown = in_order({tidy[name] for _, name in images} - numbers.keys())
        if unknown:
            raise BCE3SError(
                f'{quoted(unknown)}: {"a class" if len(unknown) == 1 else "classes"} of {split!r} '
                f'that the training images do not have. Name them alike in both, add training '
                f'images, remove them, or leave the split out: own_data.leave_out={split}.'
            )
    splits = {
        split: sorted((path, numbers[tidy[name]]) for path, name in named[split])
        for split in SPLIT_NAMES
        if split in named
    }
    return FoundImages(root, classes, splits, notes=notes)


def tidy_name(name: str) -> str:
    """The name of a class as it stands in tables and reports."""
    tidy = ' '.join(unicodedata.normalize('NFC', name).split())
    if not tidy or printable(tidy) != tidy:
        raise BCE3SError(printable(f'{name!r} cannot name a class: give it a name in UTF-8.'))
    return tidy


def is_run(folder: str | Path) -> bool:
    """Whether a training run has written there: its figures are not images of a class."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in OF_A_RUN)


def _is_folder(entry: os.DirEntry) -> bool:
    """Not of a run; a link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir() and not is_run(entry.path)
    except OSError:
        return False


def _folders_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not is_left_behind(e.name) and _is_folder(e))


def subfolders(root: Path) -> list[str]:
    """The folders in ``root`` and in those, relative to it."""
    upper = _folders_in(root)
    return upper + [f'{name}/{below}' for name in upper for below in _folders_in(root / name)]


def not_used(folder: Path, used: Used, below: Below, unlisted: int = 0) -> list[str]:
    """One note, or none, on what lies in ``folder`` and is not used.

    Args:
        used: of what holds no images of classes itself: path relative to ``folder``, with ``/`` at
            its end -> what of it is used.
        below: all that is there.
        unlisted: images in what is used, which no list names.
    """
    entries = [
        (level, entry)
        for level in sorted(used)
        for entry in sorted(os.scandir(folder / level), key=lambda entry: entry.name)
    ]
    names = [
        level + entry.name
        for level, entry in entries
        if entry.name not in used[level]
        and not is_left_behind(entry.name)
        and not is_run(entry.path)
        and (os.path.isdir(entry.path) or not is_image(folder / level, entry.name))
    ]
    others = [path for path in (_in_class(path, used) for path in below.others) if path]
    said = passed_over(Below(others=others, left=below.left))
    said = [*([quoted(names)] if names else []), *said]
    said += [f'{counted(unlisted, "image")} in no list'] if unlisted else []
    return [printable(f'Passed over in {folder}: {"; ".join(said)}.')] if said else []


def _in_class(path: str, used: Used) -> str:
    """``CLASS/FILE`` of a path in a folder of a class; else nothing."""
    level = ''
    while level in used:
        name, _, rest = path.removeprefix(level).partition('/')
        if not rest or name not in used[level]:
            return ''
        upper, level = level, f'{level}{name}/'
    return path.removeprefix(upper)


def quoted(names: Sequence[str], most: int = 5) -> str:
    """The first ``most`` names in quotes, and how many more there are."""
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return printable(', '.join(map(repr, names[:most])) + more)
