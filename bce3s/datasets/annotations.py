"""iNaturalist's annotations (JSON in the format of COCO) as lines ``path label``.

Format: https://github.com/visipedia/inat_comp/tree/master/2018. One line an image, in the order of
``images``: ``train_val2018/Plantae/7477/HASH.jpg 7477``, the category's id being the label. The
published lists of Kang et al. (arXiv 1910.09217) have this order and form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bce3s.datasets.checks import Problems
from bce3s.errors import BCE3SError

LARGEST_FILE = 1 << 30  # bytes; the training set of 2018 has about a hundred million


def list_of_annotations(path: Path, num_classes: int) -> bytes:
    """The list that a JSON file of annotations describes.

    Args:
        path: an object with ``images`` (each with ``id`` and ``file_name``) and ``annotations``
            (each with ``image_id`` and ``category_id``), one annotation an image.
        num_classes: categories are 0..num_classes-1.

    Raises:
        BCE3SError: the file cannot be read or is no JSON; or, all of them at once, what is missing,
            of another type, out of range, twice there, or an unsafe or ambiguous file name.
    """
    content = _load(path)
    problems = Problems()
    images = _objects(content, 'images', problems)
    annotations = _objects(content, 'annotations', problems)
    categories = _categories(annotations, num_classes, problems)
    lines = _lines(images, categories, problems)
    problems.raise_all(
        f'{path} does not hold the annotations of one class an image: fetch it again'
    )
    if not lines:
        raise BCE3SError(f'{path} names no image: fetch it again.')
    return ''.join(lines).encode()


def _load(path: Path) -> dict:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BCE3SError(f'{path} has more than {LARGEST_FILE >> 20} MiB: fetch it again.')
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise BCE3SError(f'{path} cannot be read ({error.strerror}).') from error
    except (ValueError, RecursionError) as error:
        raise BCE3SError(
            f'{path} is no JSON file ({error}): it is damaged or of another data set; fetch it '
            'again.'
        ) from error
    if not isinstance(content, dict):
        raise BCE3SError(f'{path} holds no object with images and annotations: fetch it again.')
    return content


def _objects(content: dict, key: str, problems: Problems) -> list[tuple[int, dict]]:
    """(position, object) of those entries of ``content[key]`` that are objects."""
    entries = content.get(key)
    if not isinstance(entries, list):
        problems.add(key, 'is missing or no list')
        return []
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.add(f'{key}[{i}]', 'is no object')
    return [(i, entry) for i, entry in enumerate(entries) if isinstance(entry, dict)]


def _categories(
    annotations: Sequence[tuple[int, dict]], num_classes: int, problems: Problems
) -> dict[int, int]:
    """Category of each annotated image."""
    categories: dict[int, int] = {}
    for i, entry in annotations:
        image, category = entry.get('image_id'), entry.get('category_id')
        where = f'annotations[{i}]'
        if not _is_integer(image):
            problems.add(where, 'has no integer image_id')
        elif image in categories:
            problems.add(where, f'is a second annotation of image {image}')
        else:
            categories[image] = category
            if not _is_integer(category) or not 0 <= category < num_classes:
                problems.add(where, f'has no category_id in 0..{num_classes - 1}')
    return categories


def _lines(
    images: Sequence[tuple[int, dict]], categories: dict[int, int], problems: Problems
) -> list[str]:
    lines, ids, names = [], set(), set()
    for i, entry in images:
        number, name = entry.get('id'), entry.get('file_name')
        where = f'images[{i}]'
        if not _is_integer(number):
            problems.add(where, 'has no integer id')
        elif number in ids:
            problems.add(where, f'has the id {number} of another image')
        elif number not in categories:
            problems.add(where, f'(id {number}) has no annotation')
        fault = _fault(name)
        if fault or name in names:
            problems.add(where, fault or f'has the file_name {name!r} of another image')
        else:
            names.add(name)
            if _is_integer(number):
                lines.append(f'{name} {categories.get(number)}\n')
        if _is_integer(number):
            ids.add(number)
    for number in categories.keys() - ids:
        problems.add('annotations', f'name image {number}, which images does not have')
    return lines


def _fault(name: Any) -> str:
    """What is wrong with a file name, or nothing."""
    if not isinstance(name, str) or not name:
        return 'has no file_name'
    path = PurePosixPath(name)
    if path.is_absolute() or '..' in path.parts:
        return f'has the file_name {name[:80]!r}, which leads out of the folder of the data set'
    if re.search(r'[\0-\x1f\x7f\x85\u2028\u2029]|^\s|\s$', name):
        return f'has the file_name {name[:80]!r} with a control character or blanks at an end'
    try:
        name.encode()
    except UnicodeEncodeError:
        return f'has the file_name {name[:80]!r}, which is no text'
    return ''


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
