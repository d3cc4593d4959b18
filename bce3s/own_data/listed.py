"""Images that somebody's own lists and tables name."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath

from bce3s.datasets.checks import printable
from bce3s.datasets.folders import look_below
from bce3s.datasets.lists import SUFFIXES, ImageEntries, decoded, list_content, read_list
from bce3s.datasets.tables import EXTENSIONS, LABEL_COLUMNS, NoLabels, called
from bce3s.errors import BCE3SError
from bce3s.own_data.found import SPLIT_NAMES, SPLIT_OF, FoundImages, labelled, not_used, subfolders
from bce3s.wording import counted

OPTION = "own_data.columns=('PATHS','LABELS')"
WHERE = 'own_data.images=FOLDER own_data.suffix=.jpg'
ENDINGS = tuple(case(ending) for ending in EXTENSIONS for case in (str.lower, str.upper))
SAMPLED = 20  # images of a list by which the folder and the ending of all are found
WITH_IMAGES = 'metadata.csv'  # lies beside the images of a split, as Hugging Face has it


@dataclass(frozen=True)
class ListOptions:
    """How lists are to be read.

    Attributes:
        columns: a table's columns of paths and of labels.
        images: the folder that paths are relative to, itself relative to that of the list; None:
            it is looked for.
        suffix: what follows every path; None: it is looked for.
        leave_out: splits that are there and not to be used.
    """

    columns: tuple[str, str] | None = None
    images: str | None = None
    suffix: str | None = None
    leave_out: Sequence[str] = ()


def lists_in(folder: Path, options: ListOptions) -> dict[str, Path]:
    """split -> its list, of those called like a split and of the ``metadata.csv`` in its folder;
    empty without one for the training.

    Raises:
        BCE3SError: two lists for one split.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.casefold().removesuffix('.gz')
        split = SPLIT_OF.get(Path(name).stem)
        if split and path.is_dir() and is_metadata(path / WITH_IMAGES):
            path = path / WITH_IMAGES
        elif not (name.endswith(SUFFIXES) and path.is_file()):
            continue
        if split in found:
            raise BCE3SError(
                f'{found[split]} and {path} both look like the list of the split {split!r}: '
                'rename one of them.'
            )
        if split:
            found[split] = path
    found = found if 'train' in found else {}
    return {s: found[s] for s in SPLIT_NAMES if s in found and s not in options.leave_out}


def is_metadata(path: Path) -> bool:
    """Whether a table names images and labels as Hugging Face does; beside folders of classes a
    table of this name may say other things.
    """
    if not path.is_file():
        return False
    header = next(csv.reader([decoded(list_content(path), path).partition('\n')[0]]), [])
    return 'file_name' in header and bool(called(header, LABEL_COLUMNS))


def from_lists(folder: Path, lists: dict[str, Path], options: ListOptions) -> FoundImages:
    """Of lists for each split; their paths are relative to the folder of the list."""
    train = _read(lists['train'], None, options)
    notes = [f'The images are those of {", ".join(_shown(p, folder) for p in lists.values())}.']
    named, names = {}, _class_names(train)
    for split, path in lists.items():
        try:
            entries = train if split == 'train' else _read(path, train.classes, options)
        except NoLabels:
            if split != 'test':
                raise
            notes.append(f'{_shown(path, folder)} has no labels: it is passed over.')
            continue
        named[split] = _images(folder, entries, names, options, notes)
    found = labelled(folder, named, notes, [names[name] for name in train.classes])
    images = [path for split in found.splits.values() for path, _ in split]
    used = {path.partition('/')[0] for path in images}
    used |= {_shown(path, folder).partition('/')[0] for path in lists.values()}
    below, listed = look_below(folder), {os.path.normpath(path) for path in images}
    below.others = [path for path in below.others if folder / path not in lists.values()]
    unlisted = sum(i.partition('/')[0] in used and i not in listed for i in below.images)
    found.notes += not_used(folder, {'': used}, below, unlisted)
    return found


def from_list(path: Path, options: ListOptions) -> FoundImages:
    """Of one list; paths are relative to its folder, a column ``split`` says what is what."""
    if not path.name.casefold().removesuffix('.gz').endswith(SUFFIXES):
        raise BCE3SError(
            f'data_root: {path} is neither a folder nor a list ({", ".join(SUFFIXES)}).'
        )
    entries, notes = _read(path, None, options), [f'The images are those of {path.name}.']
    names = _class_names(entries)
    parts: dict[str, list[tuple[str, str]]] = {}
    images = _images(path.parent, entries, names, options, notes)
    for split, image in zip(_splits_of(entries), images, strict=True):
        parts.setdefault(split, []).append(image)
    parts = {split: own for split, own in parts.items() if split not in options.leave_out}
    if 'train' not in parts:
        raise BCE3SError(f'{path}: no image is of the split train.')
    return labelled(path.parent, parts, notes, [names[name] for name in entries.classes])


def _read(path: Path, classes: Sequence[str] | None, options: ListOptions) -> ImageEntries:
    return read_list(path, classes, options.columns, names=True, option=OPTION)


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _class_names(train: ImageEntries) -> dict[str, str]:
    """label -> name of the class: the label itself; but where labels are the numbers 0 .. K-1, the
    folder of its images, if each class has one of its own.
    """
    names = dict(zip(train.classes, train.classes, strict=True))
    if train.classes != [str(k) for k in range(len(train.classes))]:
        return names
    folders: dict[str, set[str]] = {}
    for path, label in zip(train.paths, train.labels, strict=True):
        folders.setdefault(str(label), set()).add(PurePosixPath(path).parent.name)
    alone = {label: next(iter(found)) for label, found in folders.items() if len(found) == 1}
    own = len(set(alone.values()) - {''}) == len(names)
    return alone if own else names


def _splits_of(entries: ImageEntries) -> list[str]:
    """The split of each entry: that of the table's column, or ``train``."""
    if entries.splits is None:
        return ['train'] * len(entries.paths)
    splits = [SPLIT_OF.get(split.casefold(), '') for split in entries.splits]
    if '' in splits:
        i = splits.index('')
        raise BCE3SError(
            f'{entries.source}:{entries.lines[i]}: the split {entries.splits[i]!r} is unknown: use '
            'train, val or test.'
        )
    return splits


# ----------------------------------------------------------------------------- where the images are
def _images(
    folder: Path,
    entries: ImageEntries,
    names: dict[str, str],
    options: ListOptions,
    notes: list[str],
) -> list[tuple[str, str]]:
    """(path relative to ``folder``, class); absolute paths stay so where they lie elsewhere."""
    found, note = located(entries.paths, entries.source, options)
    notes += [note] if note else []
    inside, below = f'{folder.resolve()}/', entries.source.parent.relative_to(folder)
    paths = (path.removeprefix(inside) for path in found)
    return [
        (str(below / path), names[entries.classes[label]])
        for path, label in zip(paths, entries.labels, strict=True)
    ]


def located(paths: Sequence[str], source: Path, options: ListOptions) -> tuple[list[str], str]:
    r"""The paths as they lie below the folder of the list, and a note on what was done to them.

    Where none of a sample is there, back slashes are taken for ``/``, and the folder below that of
    the list and the ending are looked for that make files of them.

    Raises:
        BCE3SError: nothing or more than one thing does; or none of the images is there.
    """
    sample = paths[:: max(1, -(-len(paths) // SAMPLED))]
    slashed = sum('\\' in path for path in paths)

    def under(written: str, folder: str, suffix: str, slash: bool) -> str:
        written = written.replace('\\', '/') if slash else written
        return os.path.join(folder, written + suffix)

    def hits(way: tuple[str, str, bool]) -> int:
        return sum(os.path.isfile(source.parent / under(path, *way)) for path in sample)

    for folders, suffixes in _searched(source.parent, options):
        ways = product(folders, suffixes, [False, True] if slashed else [False])
        rated = {under(sample[0], *way): (hits(way), way) for way in ways}
        most = max(hit for hit, _ in rated.values())
        best = _of_the_split([way for hit, way in rated.values() if hit == most > 0], source)
        best = [way for way in best if not way[2]] or best  # as written, if that is there
        if len(best) > 1:
            places = ' and '.join(repr(under(sample[0], *way)) for way in best[:2])
            raise BCE3SError(
                printable(f'The images that {source} names may be {places}: say which, {WHERE}.')
            )
        if best:
            return [under(path, *best[0]) for path in paths], _note(source, best[0], slashed)
    there = next((path for path in paths if os.path.isfile(source.parent / path)), None)
    if there is not None:
        return list(paths), ''
    raise BCE3SError(
        printable(
            f'None of the {counted(len(paths), "image")} that {source} names was found, for '
            f'instance {sample[0]!r}; paths are relative to {source.parent}. Name the folder of '
            f'the images, or the ending that paths lack, {WHERE}.'
        )
    )


def _searched(root: Path, options: ListOptions) -> list[tuple[list[str], list[str]]]:
    """Folders and endings, as given, or in the order in which they are tried."""
    images, suffix = options.images, options.suffix
    first = [images or ''], [suffix or '']
    if images is not None and suffix is not None:
        return [first]
    return [
        first,
        (
            [images] if images is not None else ['', *subfolders(root)],
            [suffix] if suffix is not None else ['', *ENDINGS],
        ),
    ]


def _of_the_split(ways: list[tuple[str, str, bool]], source: Path) -> list[tuple[str, str, bool]]:
    """Those whose folder is called after the list's split, if there are any."""
    split = SPLIT_OF.get(source.name.casefold().partition('.')[0])
    own = [way for way in ways if split and split in way[0].casefold()]
    return own or ways


def _note(source: Path, way: tuple[str, str, bool], slashed: int) -> str:
    folder, suffix, slash = way
    done = [f'lie in {folder!r}'] if folder else []
    done += [f'end in {suffix!r}'] if suffix else []
    done += [f'have / for the back slashes of {counted(slashed, "line")}'] if slash else []
    return f'The images of {source.name} {" and ".join(done)}.' if done else ''
