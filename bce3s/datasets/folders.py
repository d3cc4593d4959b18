"""What lies in a folder and below it: images, what is no image, and what is not looked at."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from bce3s.datasets.checks import printable
from bce3s.wording import counted

EXTENSIONS = (
    *('.jpg', '.jpeg', '.jfif', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp'),
    *('.gif', '.avif'),
)
BY_CONTENT = ('', '.heic', '.heif')  # endings of files that Pillow may know as images, or not
OF_SYSTEMS = (  # what they leave behind besides hidden files, in small letters
    *('__macosx', '@eadir', '@recycle', '#recycle', '$recycle.bin', 'system volume information'),
    *('lost+found', 'thumbs.db', 'ehthumbs.db', 'desktop.ini', '__pycache__'),
)
OWN_FIGURE = 'class_frequencies.png'  # how tools/prepare_data.py calls its figure, at the end
OF_A_RUN = ('report.json', 'last_checkpoint')  # a folder with one of these holds no pictures
MOST_CLASSES = 5  # that are named with the files of an ending


@dataclass
class Below:
    """What lies below a folder; paths are relative to it, with ``/``.

    Attributes:
        images: each folder's in the order of their names.
        others: files that are no images.
        left: files and folders that systems, training runs and our tools leave behind.
        circles: links to a folder above them, not followed.
        errors: why folders cannot be listed.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    circles: list[str] = field(default_factory=list)
    errors: list[OSError] = field(default_factory=list)


def look_below(folder: str | Path) -> Below:
    """Lists ``folder`` to its ends; links are followed. Of files that are not called like an image
    those with an ending in ``BY_CONTENT`` are looked into.
    """
    folder = str(folder)
    below, visited, above = Below(), [], {}
    for where, folders, files in os.walk(folder, onerror=below.errors.append, followlinks=True):
        prefix = '' if where == folder else f'{os.path.relpath(where, folder)}/'
        if prefix and not set(OF_A_RUN).isdisjoint(files):
            below.left.append(prefix)
            folders.clear()
            continue
        above[where] = {*above.get(os.path.dirname(where), ()), _identity(where)}
        for name in list(folders):
            path = os.path.join(where, name)
            circle = os.path.islink(path) and _identity(path) in above[where]
            if circle or is_left_behind(name):
                (below.circles if circle else below.left).append(f'{prefix}{name}/')
                folders.remove(name)
        visited.append((where, prefix, sorted(files)))
    for where, prefix, files in sorted(visited):
        for name in files:
            if is_left_behind(name):
                below.left.append(prefix + name)
            elif is_image(where, name):
                below.images.append(prefix + name)
            else:
                below.others.append(prefix + name)
    return below


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is hidden, a system's, or a figure of ours."""
    return name.startswith('.') or name.casefold() in OF_SYSTEMS or name.endswith(OWN_FIGURE)


def passed_over(below: Below, classes: Container[str] | None = None) -> list[str]:
    """What lies in a folder and is not used, a phrase each: files that are no images, by their
    ending and class (the uppermost folder), the most frequent first; images outside the folders
    of the ``classes``, if there are any; what was left behind.

    >>> found = Below(['1.png'], ['dog/1.heic', 'dog/2.heic', 'cat/3.heic', 'READ'], ['.DS_Store'])
    >>> passed_over(found, ['cat', 'dog'])  # doctest: +NORMALIZE_WHITESPACE
    ['3 .heic (dog 2, cat 1)', '1 without an ending', '1 image in no class folder',
     "left behind by systems and tools: '.DS_Store'"]
    """
    endings: dict[str, Counter[str]] = {}
    for path in below.others:
        name, _, rest = path.partition('/')
        ending = _ending(path) or 'without an ending'
        endings.setdefault(ending, Counter())[name if rest else ''] += 1
    said = [
        f'{found.total():,} {ending}{_in_classes(found)}'
        for ending, found in sorted(endings.items(), key=lambda e: (-e[1].total(), e[0]))
    ]
    if classes is not None:
        folders = (path.partition('/') for path in below.images)
        loose = sum(not rest or name not in classes for name, _, rest in folders)
        said += [f'{counted(loose, "image")} in no class folder'] if loose else []
    names = Counter(os.path.basename(path.rstrip('/')) for path in below.left)
    left = [
        repr(name) + (f' ({number:,} times)' if number > 1 else '')
        for name, number in sorted(names.items())
    ]
    said += [f'left behind by systems and tools: {", ".join(left)}'] if left else []
    return [printable(phrase) for phrase in said]


def _in_classes(classes: Counter[str]) -> str:
    if set(classes) == {''}:
        return ''
    if len(classes) == 1:
        return f' ({next(iter(classes))})'
    named = [
        f'{name or "in none"} {number:,}' for name, number in classes.most_common(MOST_CLASSES)
    ]
    if (rest := len(classes) - MOST_CLASSES) > 0:
        named.append(f'and {counted(rest, "class", "classes")} more')
    return f' ({", ".join(named)})'


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def is_image(folder: str | Path, name: str) -> bool:
    """Whether a file counts as an image: by its ending, or by its content where that is silent."""
    ending = _ending(name)
    return ending in EXTENSIONS or (ending in BY_CONTENT and _is_known(os.path.join(folder, name)))


def _is_known(path: str) -> bool:
    """Whether Pillow takes the beginning of a file for one of the formats of ``EXTENSIONS``."""
    from PIL import Image  # only where a file has to be looked into

    if not os.path.isfile(path):  # a pipe would be waited for
        return False
    known = Image.registered_extensions()
    formats = [known[ending] for ending in EXTENSIONS if ending in known]
    try:
        with Image.open(path, formats=formats):
            return True
    except Exception:  # a damaged image can raise anything
        return False


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
