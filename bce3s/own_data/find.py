"""Images, classes and splits in a folder or a list of somebody's own."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bce3s.datasets.checks import printable
from bce3s.datasets.folders import (
    EXTENSIONS,
    OF_A_RUN,
    Below,
    is_image,
    is_left_behind,
    look_below,
    passed_over,
)
from bce3s.datasets.label_sets import UNKNOWN, Marks
from bce3s.datasets.lists import (
    SUFFIXES,
    ImageEntries,
    decoded,
    folders_of_classes,
    list_content,
    read_list,
)
from bce3s.datasets.parents import FILE as PARENTS
from bce3s.datasets.tables import LABEL_COLUMNS, NoLabels, called
from bce3s.errors import BCE3SError
from bce3s.own_data.found import SPLIT_NAMES, FoundImages, labelled, marked, quoted
from bce3s.wording import counted

SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
OF_SPLITS = re.compile(r'[ _-]?(set|split|data|images|imgs)$')  # behind the name of one
NO_CLASS = ('images', 'image', 'imgs', 'img', 'jpegimages', 'data', 'all', 'unknown', 'unlabelled')
LAYOUTS = (
    'Expected PATH/CLASS/IMAGE.jpg, PATH/train/CLASS/IMAGE.jpg (and val, test), '
    'PATH/train.csv (and val.csv, test.csv), or PATH itself a table with the columns path and '
    'label or, of several labels, a column for each class'
)
OPTION = 'own_data'
WHERE = 'own_data.images=FOLDER own_data.suffix=.jpg'
ENDINGS = tuple(case(ending) for ending in EXTENSIONS for case in (str.lower, str.upper))
SAMPLED = 20  # images of a list by which the folder and the ending of all are found
WITH_IMAGES = 'metadata.csv'  # lies beside the images of a split, as Hugging Face has it

Named = dict[str, list[tuple[str, str]]]  # split -> (path, name of the class)


def split_of(name: str) -> str | None:
    """``train`` of ``Training``, ``train_set``, ``train-images``; None: no split is called so."""
    return SPLIT_OF.get(OF_SPLITS.sub('', name.casefold()))


@dataclass(frozen=True)
class ListOptions:
    """How lists are to be read.

    Attributes:
        columns: a table's columns of paths and of labels, or of paths alone.
        images: the folder that paths are relative to, itself relative to that of the list; None:
            it is looked for.
        suffix: what follows every path; None: it is looked for.
        leave_out: splits that are there and not to be used.
        nested: whether a class is a folder in the folder of its parent, and called PARENT/CLASS.
        multilabel: whether images may have several labels, or none; None: if not each has one.
        separator: of several labels in one cell of a table; None: it is looked for.
    """

    columns: tuple[str, ...] | None = None
    images: str | None = None
    suffix: str | None = None
    leave_out: Sequence[str] = ()
    nested: bool = False
    multilabel: bool | None = None
    separator: str | None = None


def find(
    data_root: str | Path, options: ListOptions = ListOptions(), later: bool = False
) -> FoundImages:
    """Images, classes and splits below a folder, or in a list; no image is opened.

    Understood are a folder of class folders; a folder with ``train`` and perhaps ``val`` and
    ``test``, or ``train_set`` and so on, folders of class folders or lists (``.csv``, ``.tsv``,
    ``.txt``); and one list, whose table may have a column ``split``. A folder that holds nothing
    but one such folder is looked into. Hidden files and folders do not count.

    Args:
        data_root: the folder, or the list.
        options: how lists are to be read, and which splits are left out.
        later: whether they are for a trained model: one class, and splits without ``train``, will
            do.

    Raises:
        BCE3SError: nothing there, no image, one class only, a class of ``val`` or
            ``test`` that ``train`` does not have, or a list with bad lines.
    """
    path = Path(data_root).expanduser()
    if not path.exists():
        raise BCE3SError(f'data_root: there is no folder or list {path}. Check the path.')
    if _is_run(path):
        raise BCE3SError(f'data_root: {path} is the folder of a run, not of images.')
    try:
        if path.is_file():
            found = _from_list(path, options)
        elif lists := _lists_in(path, options):
            found = _from_lists(path, lists, options)
        elif _is_metadata(path / WITH_IMAGES):
            found = _from_list(path / WITH_IMAGES, options)
        elif options.multilabel:
            raise BCE3SError(
                f'{path} has folders, which say one label an image: where images may have several, '
                'give a table with a column for each class, or with lists of labels.'
            )
        else:
            found = _from_folder(path, options, later)
    except OSError as error:
        raise BCE3SError(f'data_root: {path} cannot be listed ({error.strerror}).') from error
    if len(found.classes) < 2 and not later:
        raise BCE3SError(
            printable(
                f'{path} holds images of one class only ({found.classes[0]!r}): to tell classes '
                f'apart two are needed. {LAYOUTS}.'
            )
        )
    return found


# ---------------------------------------------------------------------------------------- folders
def _from_folder(folder: Path, options: ListOptions, later: bool) -> FoundImages:
    below, notes = look_below(folder), []
    if below.errors:
        raise below.errors[0]
    inside, level = _by_folder(below.images), ''
    used: dict[str, set[str]] = {}
    while not (splits := _split_folders(inside, later)):
        name = next(iter(inside), '')
        if len(inside) != 1 or not all('/' in image for image in inside[name]):
            break
        notes.append(
            f'{folder / level} holds one folder only, {name!r}: its folders are the classes.'
        )
        used[level] = {name}
        inside, level = _by_folder(inside[name]), f'{level}{name}/'
    splits = {split: name for split, name in splits.items() if split not in options.leave_out}
    if splits:
        named = _of_splits(splits, inside, notes, options.nested)
        used |= {
            f'{level}{splits[split]}/': set(_by_folder(inside[splits[split]])) for split in named
        }
        for name in (splits[split] for split in named):
            upper, _, inner = name.partition('/')
            used.setdefault(level, set()).add(upper)
            if inner:
                used[f'{level}{upper}/'] = {inner}
    else:
        of_class = _nested(inside, notes) if options.nested else inside
        named = {'train': _of_classes(folder / level, of_class, notes)}
        used[level] = set(inside)
    found = labelled(folder / level, named, notes)
    found.notes += _not_used(folder, used, below)
    return found


def _by_folder(images: list[str]) -> dict[str, list[str]]:
    """Name of a folder -> the images below it; without those in none."""
    found: dict[str, list[str]] = {}
    for image in images:
        name, _, rest = image.partition('/')
        if rest:
            found.setdefault(name, []).append(rest)
    return dict(sorted(found.items()))


def _nested(upper: dict[str, list[str]], notes: list[str]) -> dict[str, list[str]]:
    """``PARENT/CLASS`` -> the images below it."""
    if loose := [image for images in upper.values() for image in images if '/' not in image]:
        notes.append(
            f'Passed over, for they are in the folder of a parent, and of no class: '
            f'{counted(len(loose), "image")}.'
        )
    return {
        f'{parent}/{name}': images
        for parent, below in upper.items()
        for name, images in _by_folder(below).items()
    }


def _split_folders(below: dict[str, list[str]], later: bool) -> dict[str, str]:
    """split -> path of its folder, where there is one for the training; or where nothing but
    splits is there, of images that came later.
    """
    found = _called_folders(below)
    if 'train' not in found and not (later and {*found.values()} == {*below}):
        return {}
    for split, name in found.items():
        only, images = next(iter(_by_folder(below[name]).items()))
        alone = len(images) == len(below[name]) and all('/' in image for image in images)
        if alone and split_of(only) == split:  # training_set/training_set/CLASS
            found[split] = f'{name}/{only}'
            below[found[split]] = images
    return found


def _called_folders(below: dict[str, list[str]]) -> dict[str, str]:
    """split -> name of the folder that is called so and has class folders; ``train`` goes before
    ``train_set``.

    A folder ``train`` with images in it is a class: of vehicles, say.
    """
    found: dict[str, str] = {}
    for called_so in (SPLIT_OF.get, split_of):
        now: dict[str, str] = {}
        for name, images in below.items():
            split = called_so(name.casefold())
            is_new = split and split not in found
            if is_new and 2 * sum('/' in image for image in images) > len(images):
                _once(now, split, name)
        found |= now
    return found


def _once(found: dict, split: str, what: str | Path) -> None:
    if split in found:
        raise BCE3SError(
            f'{str(found[split])!r} and {str(what)!r} both look like the split {split!r}: rename '
            'one of them.'
        )
    found[split] = what


def _of_splits(
    splits: dict[str, str], below: dict[str, list[str]], notes: list[str], nested: bool
) -> Named:
    found = {name: _by_folder(below[name]) for name in splits.values()}
    if nested:
        found = {name: _nested(upper, notes) for name, upper in found.items()}
    classes, named = found[splits['train']] if 'train' in splits else {}, {}
    for split, name in splits.items():
        of_class = found[name]
        only = next(iter(of_class), '')
        if len(of_class) == 1 and only not in classes and _says_no_class(only):
            notes.append(
                f'{name} has no folders of classes, only {only!r}, so that nothing says what its '
                'images show: it is passed over.'
            )
            continue
        if loose := sum('/' not in image for image in below[name]):
            notes.append(
                f'Passed over in {name}, for they are in no class folder: '
                f'{counted(loose, "image")}.'
            )
        named[split] = [
            (f'{name}/{known}/{image}', known)
            for known, images in of_class.items()
            for image in images
        ]
    return named


def _says_no_class(folder: str) -> bool:
    return folder.casefold() in NO_CLASS or split_of(folder) is not None


def _of_classes(
    folder: Path, below: dict[str, list[str]], notes: list[str]
) -> list[tuple[str, str]]:
    entries = [entry for entry in os.scandir(folder) if not is_left_behind(entry.name)]
    loose = sum(os.path.isfile(e.path) and is_image(folder, e.name) for e in entries)
    if not below:
        tables = sorted(e.name for e in entries if e.name.lower().endswith(('.csv', '.tsv')))
        held = f'{counted(loose, "image")} but no folders of classes' if loose else 'no image'
        hint = ''
        if tables:
            hint = f' If {tables[0]} says what the images show: data_root={folder / tables[0]}'
        raise BCE3SError(f'{folder} holds {held} ({", ".join(EXTENSIONS)}). {LAYOUTS}.{hint}')
    if loose:
        notes.append(f'Passed over, for they are in no class folder: {counted(loose, "image")}.')
    if all('/' in image for images in below.values() for image in images):
        notes.append(
            f'All images lie in folders below those in {folder}, for instance '
            f'{next(iter(below.values()))[0]!r} in {next(iter(below))!r}: the upper folders are '
            'taken for the classes.'
        )
    return [(f'{name}/{image}', name) for name, found in below.items() for image in found]


def _not_used(
    folder: Path, used: dict[str, set[str]], below: Below, unlisted: int = 0
) -> list[str]:
    """One note, or none, on what lies in ``folder`` and is not used.

    Args:
        used: of what holds no images of classes itself: path relative to ``folder``, with ``/`` at
            its end -> what of it is used.
        below: all that is there.
        unlisted: images in what is used, which no list names.
    """
    names = [
        level + entry.name
        for level in sorted(used)
        for entry in sorted(os.scandir(folder / level), key=lambda entry: entry.name)
        if entry.name not in used[level]
        and not is_left_behind(entry.name)
        and entry.name != PARENTS
        and not _is_run(entry.path)
        and (os.path.isdir(entry.path) or not is_image(folder / level, entry.name))
    ]
    others = [path for path in (_in_class(path, used) for path in below.others) if path]
    said = [
        *([quoted(names)] if names else []),
        *passed_over(Below(others=others, left=below.left)),
    ]
    said += [f'{counted(unlisted, "image")} in no list'] if unlisted else []
    return [printable(f'Passed over in {folder}: {"; ".join(said)}.')] if said else []


def _in_class(path: str, used: dict[str, set[str]]) -> str:
    """``CLASS/FILE`` of a path in a folder of a class; else nothing."""
    level = ''
    while level in used:
        name, _, rest = path.removeprefix(level).partition('/')
        if not rest or name not in used[level]:
            return ''
        upper, level = level, f'{level}{name}/'
    return path.removeprefix(upper)


def _is_run(folder: str | Path) -> bool:
    """Whether a training run has written there: its figures are not images of a class."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in OF_A_RUN)


# ------------------------------------------------------------------------------------------ lists
def _lists_in(folder: Path, options: ListOptions) -> dict[str, Path]:
    """split -> its list, of those called like a split and of the ``metadata.csv`` in its folder;
    empty without one for the training.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.casefold().removesuffix('.gz')
        split = SPLIT_OF.get(Path(name).stem)  # TrainImages.txt may be a list without labels
        if split and path.is_dir() and _is_metadata(path / WITH_IMAGES):
            _once(found, split, path / WITH_IMAGES)
        elif split and name.endswith(SUFFIXES) and path.is_file():
            _once(found, split, path)
    found = found if 'train' in found else {}
    return {s: found[s] for s in SPLIT_NAMES if s in found and s not in options.leave_out}


def _is_metadata(path: Path) -> bool:
    """Whether a table names images and labels as Hugging Face does; beside folders of classes a
    table of this name may say other things.
    """
    if not path.is_file():
        return False
    header = next(csv.reader([decoded(list_content(path), path).partition('\n')[0]]), [])
    return 'file_name' in header and bool(called(header, LABEL_COLUMNS))


def _from_lists(folder: Path, lists: dict[str, Path], options: ListOptions) -> FoundImages:
    """Of lists for each split; their paths are relative to the folder of the list."""
    shown = {split: path.relative_to(folder).as_posix() for split, path in lists.items()}
    train = _read(lists['train'], None, options)
    notes = [f'The images are those of {", ".join(shown.values())}.']
    named, names = {}, _class_names(train, notes)
    for split, path in lists.items():
        try:
            entries = train if split == 'train' else _read(path, train, options)
        except NoLabels:
            if split != 'test':
                raise
            notes.append(f'{shown[split]} has no labels: it is passed over.')
            continue
        named[split] = _images(folder, entries, names, options, notes)
    found = _found(folder, named, notes, train, names)
    listed = {os.path.normpath(path) for split in found.splits.values() for path, _ in split}
    used = {path.partition('/')[0] for path in (*listed, *shown.values())}
    below = look_below(folder)
    below.others = [path for path in below.others if path not in shown.values()]
    unlisted = sum(i.partition('/')[0] in used and i not in listed for i in below.images)
    found.notes += _not_used(folder, {'': used}, below, unlisted)
    return found


def _from_list(path: Path, options: ListOptions) -> FoundImages:
    """Of one list; paths are relative to its folder, a column ``split`` says what is what."""
    if not path.name.casefold().removesuffix('.gz').endswith(SUFFIXES):
        raise BCE3SError(
            f'data_root: {path} is neither a folder nor a list ({", ".join(SUFFIXES)}).'
        )
    entries, notes = _read(path, None, options), [f'The images are those of {path.name}.']
    names, parts = _class_names(entries, notes), {}
    images = _images(path.parent, entries, names, options, notes)
    for i, image in enumerate(images):
        written = 'train' if entries.splits is None else entries.splits[i]
        split = split_of(written)
        if split is None:
            raise BCE3SError(
                f'{path}:{entries.lines[i]}: the split {written!r} is unknown: use train, val or '
                'test.'
            )
        if split not in options.leave_out:
            parts.setdefault(split, []).append(image)
    if 'train' not in parts:
        raise BCE3SError(f'{path}: no image is of the split train.')
    return _found(path.parent, parts, notes, entries, names)


def _read(path: Path, train: ImageEntries | None, options: ListOptions) -> ImageEntries:
    """``train``: that of the training images, which the others are like; None: this is it."""
    return read_list(
        path,
        train and train.classes,
        options.columns,
        names=True,
        option=OPTION,
        multilabel=train.multilabel if train else options.multilabel,
        separator=options.separator or (train and train.separator),
    )


def _found(
    root: Path, named: Any, notes: list[str], train: ImageEntries, names: dict[str, str]
) -> FoundImages:
    """``named``: of each split the paths, with the name of the class or with marks."""
    if train.multilabel:
        return marked(root, named, notes, train.classes, 0 if train.separator else UNKNOWN)
    return labelled(root, named, notes, [names[name] for name in train.classes])


def _class_names(train: ImageEntries, notes: list[str]) -> dict[str, str]:
    """label -> name of the class: the label itself; but where labels are the numbers 0 .. K-1, the
    folder of its images, if each class has one of its own.
    """
    names = train.classes
    numbered = not train.multilabel and names == [str(k) for k in range(len(names))]
    folders = folders_of_classes(train, len(names)) if numbered else None
    if folders and folders != names:
        notes.append(
            f'The labels of {train.source.name} are numbers: a class is called after the folder '
            f'that has its images (0: {folders[0]!r}).'
        )
        names = folders
    return dict(zip(train.classes, names, strict=True))


# ----------------------------------------------------------------------------- where the images are
def _images(
    folder: Path,
    entries: ImageEntries,
    names: dict[str, str],
    options: ListOptions,
    notes: list[str],
) -> list[tuple[str, str | Marks]]:
    """(path relative to ``folder``, class or marks); absolute paths stay so where they lie
    elsewhere.
    """
    found, note = located(entries.paths, entries.source, options)
    notes += [*entries.notes, note] if note else entries.notes
    inside, below = f'{folder.resolve()}/', entries.source.parent.relative_to(folder)
    return [
        (
            str(below / path.removeprefix(inside)),
            label if isinstance(label, tuple) else names[entries.classes[label]],
        )
        for path, label in zip(found, entries.labels, strict=True)
    ]


def located(
    paths: Sequence[str], source: Path, options: ListOptions, where: str = WHERE
) -> tuple[list[str], str]:
    r"""The paths as they lie below the folder of the list, and a note on what was done to them.

    Where none of a sample is there, back slashes are taken for ``/``, and the folder below that of
    the list and the ending are looked for that make files of them.

    Args:
        paths, source: of a list, as written.
        options: the folder and the ending, where they are given.
        where: they are given, for messages.

    Raises:
        BCE3SError: nothing or more than one thing does; or none of the images is there.
    """
    sample = paths[:: max(1, -(-len(paths) // SAMPLED))]
    slashed = sum('\\' in path for path in paths)
    split = split_of(source.name.partition('.')[0])

    def under(written: str, folder: str, suffix: str, slash: bool) -> str:
        written = written.replace('\\', '/') if slash else written
        return os.path.join(folder, written + suffix)

    def hits(way: tuple[str, str, bool]) -> int:
        return sum(os.path.isfile(source.parent / under(path, *way)) for path in sample)

    for folders, suffixes in _searched(source.parent, options):
        ways = product(folders, suffixes, [False, True] if slashed else [False])
        rated = {under(sample[0], *way): (hits(way), way) for way in ways}
        most = max(hit for hit, _ in rated.values())
        best = [way for hit, way in rated.values() if hit == most > 0]
        # first those whose folder is called after the list's split, and those as written
        best = [way for way in best if split and split in way[0].casefold()] or best
        best = [way for way in best if not way[2]] or best
        if len(best) > 1:
            places = ' and '.join(repr(under(sample[0], *way)) for way in best[:2])
            raise BCE3SError(
                printable(f'The images that {source} names may be {places}: say which, {where}.')
            )
        if best:
            return [under(path, *best[0]) for path in paths], _note(source, best[0], slashed)
    if any(os.path.isfile(source.parent / path) for path in paths):
        return list(paths), ''
    raise BCE3SError(
        printable(
            f'None of the {counted(len(paths), "image")} that {source} names was found, for '
            f'instance {sample[0]!r}; paths are relative to {source.parent}. Name the folder of '
            f'the images, or the ending that paths lack, {where}.'
        )
    )


def _searched(root: Path, options: ListOptions) -> Iterator[tuple[list[str], list[str]]]:
    """Folders and endings, as given, or in the order in which they are tried."""
    images, suffix = options.images, options.suffix
    yield [images or ''], [suffix or '']
    if images is None or suffix is None:
        folders = ['', *_subfolders(root)] if images is None else [images]
        yield folders, ['', *ENDINGS] if suffix is None else [suffix]


def _subfolders(root: Path, depth: int = 2) -> list[str]:
    """The folders in ``root`` and in those, relative to it; none of a run."""
    try:
        with os.scandir(root) as entries:
            names = sorted(e.name for e in entries if not is_left_behind(e.name) and _is_folder(e))
    except OSError:  # somebody else's, beside the list
        return []
    below = [f'{n}/{b}' for n in names if depth > 1 for b in _subfolders(root / n, depth - 1)]
    return names + below


def _is_folder(entry: os.DirEntry) -> bool:
    """A link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir() and not _is_run(entry.path)
    except OSError:
        return False


def _note(source: Path, way: tuple[str, str, bool], slashed: int) -> str:
    folder, suffix, slash = way
    done = [f'lie in {folder!r}'] if folder else []
    done += [f'end in {suffix!r}'] if suffix else []
    done += [f'have / for the back slashes of {counted(slashed, "line")}'] if slash else []
    return f'The images of {source.name} {" and ".join(done)}.' if done else ''
