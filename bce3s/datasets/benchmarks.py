"""The benchmarks that lists define: what ``data_lists/NAME.json`` says of them, and how an image's
path in a list follows from its name in an archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError
from bce3s.packaged import DATA_LISTS

ON_DISK = ('imagenet_lt', 'inaturalist2018', 'places_lt', 'voc_lt', 'coco_lt')
IN_MEMORY = {  # name -> class of bce3s.datasets
    'digits_lt': 'DigitsLT',
    'cifar10_lt': 'CIFAR10LT',
    'cifar100_lt': 'CIFAR100LT',
    'mnist_lt': 'MNISTLT',
    'fashion_mnist_lt': 'FashionMNISTLT',
}


@dataclass(frozen=True)
class Annotations:
    """A JSON file from which a list is made, and the archive that has it."""

    file: str
    archive: str
    url: str
    md5: str


@dataclass(frozen=True)
class PublishedList:
    """The list of a split. ``images``: how many it names; ``git_blob``: what ``git hash-object``
    prints for it; None: not known. ``url`` None: not to be had without a browser, ``by_hand`` then
    says where it is.
    """

    file: str
    images: int | None
    git_blob: str | None
    url: str | None
    by_hand: str
    annotations: Annotations | None


@dataclass(frozen=True)
class ImageArchive:
    """An archive of images. ``url``, ``md5`` None: the address is behind a login, or nobody has
    published a checksum; ``size``: for people; ``instead``: it may be used in place of the others,
    which are asked for first.
    """

    file: str
    url: str | None
    md5: str | None
    size: str
    instead: bool = False

    def member(self, path: str) -> str | None:
        """The name in the archive of the image that a list calls ``path``; None: it is not in this
        archive. For ``X.tar/NAME`` see :func:`bce3s.datasets.archives.extract`.
        """
        return MEMBERS[self.file](path)


@dataclass(frozen=True)
class Manifest:
    """What is known of a benchmark. ``splits``: train, val, test -> list."""

    path: Path
    benchmark: str
    num_classes: int
    splits: dict[str, PublishedList]
    archives: tuple[ImageArchive, ...] = ()
    page: str = ''
    terms: str = ''


def read_manifest(name: str | Path) -> Manifest:
    """The manifest ``data_lists/NAME.json``, or of the JSON file that a path names.

    Raises:
        BCE3SError: no such file, or not like those in ``data_lists/``.
    """
    named = '/' not in str(name) and not str(name).endswith('.json')
    path = DATA_LISTS / f'{name}.json' if named else Path(name)
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
        splits = {split: _list(entry) for split, entry in content['splits'].items()}
        if not {'train'} <= splits.keys() <= {'train', 'val', 'test'}:
            raise ValueError('its splits are not train, val and test')
        archives = tuple(ImageArchive(**each) for each in content.get('archives', ()))
        texts = {key: content[key] for key in ('page', 'terms') if key in content}
        benchmark, classes = content.get('benchmark', path.stem), int(content['num_classes'])
        return Manifest(path, benchmark, classes, splits, archives, **texts)
    except OSError as error:
        known = ', '.join(ON_DISK)
        raise BCE3SError(
            f'{path} cannot be read ({error.strerror}): name one of data_lists/ ({known}) or the '
            'path of a manifest.'
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BCE3SError(
            f'{path} is no manifest of a benchmark with lists ({type(error).__name__}: {error}): '
            'write it as those in data_lists/ are.'
        ) from error


def _list(entry: dict[str, Any]) -> PublishedList:
    made = entry.get('annotations')
    return PublishedList(
        entry['list'],
        None if entry['images'] is None else int(entry['images']),
        entry.get('git_blob'),
        entry.get('url'),
        entry.get('by_hand', ''),
        made and Annotations(**made),
    )


# ------------------------------------------------------------ path in a list -> name in an archive
def _imagenet_train(path: str) -> str | None:
    """``train/n01440764/X.JPEG`` is X.JPEG in the n01440764.tar inside."""
    split, _, rest = path.partition('/')
    wnid, _, name = rest.partition('/')
    return f'{wnid}.tar/{name}' if split == 'train' else None


def _imagenet_val(path: str) -> str | None:
    """``val/n01440764/X.JPEG``: the archive is flat, the class is the list's knowledge."""
    return path.rpartition('/')[2] if path.startswith('val/') else None


def _places_train(path: str) -> str | None:
    """``train/bakery-shop/X.jpg`` is ``data_256/b/bakery/shop/X.jpg``: the folders are sorted by
    their first letter, and a hyphen stands for a folder below (category names have underscores).
    """
    split, _, rest = path.partition('/')
    scene, _, name = rest.rpartition('/')
    known = split == 'train' and scene
    return f'data_256/{scene[0]}/{scene.replace("-", "/")}/{name}' if known else None


def _places_val(path: str) -> str | None:
    """``val/airfield/X.jpg`` is ``val_256/X.jpg``."""
    return f'val_256/{path.rpartition("/")[2]}' if path.startswith('val/') else None


def _voc(year: int) -> Callable[[str], str | None]:
    """``VOC2012/JPEGImages/X.jpg`` is ``VOCdevkit/VOC2012/JPEGImages/X.jpg``."""
    return lambda path: f'VOCdevkit/{path}' if path.startswith(f'VOC{year}/') else None


MEMBERS = {
    'ILSVRC2012_img_train.tar': _imagenet_train,
    'ILSVRC2012_img_val.tar': _imagenet_val,
    'train_256_places365standard.tar': _places_train,
    'val_256.tar': _places_val,
    'places365standard_easyformat.tar': lambda path: f'places365_standard/{path}',
    'train_val2018.tar.gz': lambda path: path,
    'VOCtrainval_11-May-2012.tar': _voc(2012),
    'VOCtest_06-Nov-2007.tar': _voc(2007),
}
