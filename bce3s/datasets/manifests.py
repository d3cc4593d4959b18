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

from bce3s.datasets.checks import Problems
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
        BCE3SError: no such file, no JSON, or not what the module's docstring describes; every
            problem is named.
    """
    path = Path(name)
    if isinstance(name, str) and not re.search(r'[/\\]|\.json$', name):
        path = DATA_LISTS / f'{name}.json'
    problems = Problems()
    manifest = _manifest(path, _load(path), problems)
    problems.raise_all(f'{path} is no manifest of a benchmark with lists: mend it or name another')
    return manifest


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


def _manifest(path: Path, content: Any, problems: Problems) -> Manifest | None:
    """None, or something with holes, where ``problems`` was added to."""
    if not isinstance(content, dict):
        problems.add('the file', f'holds {_shown(content)}, not an object')
        return None
    if 'splits' not in content and 'dataset' in content:
        problems.add('dataset', f'{_shown(content["dataset"])} lies in memory and has no lists')
        return None
    classes = _number(content, '', 'num_classes', problems)
    splits = _splits(content, classes, problems)
    pair = _most_and_least(content, splits.get('train'), problems)
    name = content.get('benchmark', path.stem)
    if not isinstance(name, str):
        problems.add('benchmark', f'is {_shown(name)}, not a name')
    return Manifest(path, name, classes or 0, splits, pair)


def _splits(content: dict, classes: int | None, problems: Problems) -> dict[str, SplitFacts]:
    splits = content.get('splits')
    if not isinstance(splits, dict) or 'train' not in splits:
        problems.add('splits', 'is no object with a split "train"')
        return {}
    for name in splits.keys() - set(SPLITS):
        problems.add(f'splits.{_shown(name)}', f'is none of {", ".join(SPLITS)}')
    return {
        name: _split(f'splits.{name}.', splits[name], classes, problems)
        for name in SPLITS
        if name in splits
    }


def _split(where: str, entry: Any, classes: int | None, problems: Problems) -> SplitFacts:
    if not isinstance(entry, dict):
        problems.add(where[:-1], f'is {_shown(entry)}, not an object')
        return SplitFacts('', 0, None, None)
    file, blob = entry.get('list'), entry.get('git_blob')
    if not isinstance(file, str) or not _is_file_name(file):
        problems.add(f'{where}list', f'is {_shown(file)}, not the name of a file (no folder)')
    if blob is not None and not (isinstance(blob, str) and re.fullmatch('[0-9a-f]{40}', blob)):
        problems.add(
            f'{where}git_blob', f'is {_shown(blob)}, neither 40 hexadecimal digits nor null'
        )
    images = _number(entry, where, 'images', problems)
    counts = entry.get('class_counts')
    if counts is not None:
        _check_counts(counts, classes, images, f'{where}class_counts', problems)
    return SplitFacts(file, images, blob, counts)


def _check_counts(
    counts: Any, classes: int | None, images: int | None, where: str, problems: Problems
) -> None:
    each = counts if isinstance(counts, list) else [counts]
    bad = [i for i, count in enumerate(each) if not _is_count(count)]
    for i in bad:
        problems.add(f'{where}[{i}]', f'is {_shown(each[i])}, not a count')
    if bad or classes is None:
        return
    if isinstance(counts, list) and len(counts) != classes:
        problems.add(where, f'has {len(counts)} entries for {classes} classes')
        return
    total = sum(counts) if isinstance(counts, list) else counts * classes
    if images is not None and total != images:
        problems.add(where, f'sum to {total}, images is {images}')


def _most_and_least(
    content: dict, train: SplitFacts | None, problems: Problems
) -> tuple[int, int] | None:
    pair = content.get('most_and_least')
    if pair is None:
        return None
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_count, pair)):
        problems.add('most_and_least', f'is {_shown(pair)}, neither two counts nor null')
        return None
    counts = train.class_counts if train else None
    each = counts if isinstance(counts, list) else [counts]
    if each and all(map(_is_count, each)) and pair != [max(each), min(each)]:
        found = [max(each), min(each)]
        problems.add('most_and_least', f'is {pair}, the training set has {found}')
    return pair[0], pair[1]


def _number(entry: dict, where: str, key: str, problems: Problems) -> int | None:
    """An integer >= 1."""
    value = entry.get(key)
    if _is_count(value) and value:
        return value
    problems.add(f'{where}{key}', f'is {_shown(value)}, not an integer >= 1')
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_file_name(name: str) -> bool:
    return name not in ('', '.', '..') and name.isprintable() and not set('/\\') & set(name)


def _shown(value: Any) -> str:
    """A value as JSON has it; of a list or an object only what it is."""
    if isinstance(value, dict | list):
        return 'an object' if isinstance(value, dict) else 'a list'
    text = json.dumps(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
