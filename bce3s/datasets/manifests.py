"""The manifests in ``data_lists/``: what a benchmark's lists hold, read and checked here only.

A manifest is a JSON object::

    {"benchmark": "places_lt", "num_classes": 365, "most_and_least": [4980, 5],
     "splits": {"train": {"list": "Places_LT_train.txt", "images": 62500,
                          "git_blob": "6392...", "class_counts": [219, 20, ...]}, ...}}

``git_blob``: what ``git hash-object`` prints for the list; ``class_counts``: images of each class,
or one number where all classes have as many. Both, and ``most_and_least``, are null where nobody
has verified them. Other keys are for people (``source``) and passed over here.
"""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError
from bce3s.packaged import DATA_LISTS

LARGEST_FILE = 64 << 20  # bytes: counts of some million classes
LARGEST = 1 << 40  # of any number
SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class SplitFacts:
    """What is known of one list; None: not verified by anybody."""

    list: str
    images: int
    git_blob: str | None
    class_counts: list[int] | int | None


@dataclass(frozen=True)
class Manifest:
    """What is known of the lists of a benchmark. ``most_and_least``: images of the most and of the
    least frequent class of the training set.
    """

    path: Path
    benchmark: str
    num_classes: int
    splits: dict[str, SplitFacts]
    most_and_least: tuple[int, int] | None

    def counts(self, split: str) -> list[int] | None:
        """(K,) images of each class of ``split``; None: not verified by anybody."""
        counts = self.splits[split].class_counts
        return [counts] * self.num_classes if isinstance(counts, int) else counts


def read_manifest(name: str | Path) -> Manifest:
    """The manifest ``data_lists/NAME.json``, or of the JSON file that a path names.

    A name has neither a slash nor the ending ``.json``.

    Raises:
        BCE3SError: no such file, no JSON, or not what the module's docstring describes.
    """
    path = Path(name)
    if isinstance(name, str) and not re.search(r'[/\\]|\.json$', name):
        path = DATA_LISTS / f'{name}.json'
    try:
        return _manifest(path, _load(path))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f'{error} is missing' if isinstance(error, KeyError) else error
        raise BCE3SError(
            f'{path} is no manifest of a benchmark with lists ({reason}): mend it or name another.'
        ) from error


def _load(path: Path) -> Any:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BCE3SError(f'{path} is no plain file: name a manifest, NAME.json.')
        if status.st_size > LARGEST_FILE:
            raise BCE3SError(
                f'{path} has {status.st_size} bytes, no manifest has more than {LARGEST_FILE}: '
                'name the right file.'
            )
        return json.loads(path.read_bytes().decode('utf-8-sig'))
    except OSError as error:
        known = ', '.join(sorted(p.stem for p in DATA_LISTS.glob('*.json')))
        raise BCE3SError(
            f'{path} cannot be read ({error.strerror}): name one of data_lists/ ({known}) or the '
            'path of a manifest.'
        ) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a NUL in the path
        raise BCE3SError(
            f'{str(path)!r} is no JSON file ({error}): restore it from the repository, or write it '
            'as the others in data_lists/ are.'
        ) from error


def _manifest(path: Path, content: dict[str, Any]) -> Manifest:
    classes = _number(content['num_classes'], 'num_classes', 1)
    splits = {
        name: _split(name, content['splits'][name], classes)
        for name in SPLITS
        if name in content['splits'] or name == 'train'
    }
    _require(len(splits) == len(content['splits']), f'splits are not of {", ".join(SPLITS)}')
    pair, counts = content.get('most_and_least'), splits['train'].class_counts
    if pair is not None:
        most, least = pair
        pair = _number(most, 'most_and_least'), _number(least, 'most_and_least')
        each = [counts] if isinstance(counts, int) else counts or pair
        _require(pair == (max(each), min(each)), 'most_and_least are not those of the training set')
    name = content.get('benchmark', path.stem)
    _require(isinstance(name, str), 'benchmark is no name')
    return Manifest(path, name, classes, splits, pair)


def _split(name: str, entry: dict[str, Any], classes: int) -> SplitFacts:
    file, images = entry['list'], _number(entry['images'], f'{name}.images', 1)
    _require(_is_file_name(file), f'{name}.list is not the name of a file, without a folder')
    blob, counts = entry.get('git_blob'), entry.get('class_counts')
    _require(
        blob is None or re.fullmatch('[0-9a-f]{40}', blob) is not None,
        f'{name}.git_blob is neither 40 hexadecimal digits nor null',
    )
    if counts is not None:
        many = isinstance(counts, list)
        each = [_number(n, f'{name}.class_counts') for n in (counts if many else [counts])]
        _require(not many or len(each) == classes, f'{name}.class_counts are not {classes:,}')
        total = sum(each) if many else counts * classes
        _require(total == images, f'{name}.class_counts sum to {total:,}, images is {images:,}')
    return SplitFacts(file, images, blob, counts)


def _number(value: Any, what: str, least: int = 0) -> int:
    fine = type(value) is int and least <= value <= LARGEST
    _require(fine, f'{what} is no whole number from {least}')
    return value


def _require(fine: bool, otherwise: str) -> None:
    if not fine:
        raise ValueError(otherwise)


def _is_file_name(name: str) -> bool:
    return name not in ('', '.', '..') and name.isprintable() and not set('/\\') & set(name)
