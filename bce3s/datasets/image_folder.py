"""Images in folders, a folder a class: ImageNet, or anybody's own, balanced or not."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from bce3s.datasets.checks import Problems, agreed, printable
from bce3s.datasets.file_checks import check_how
from bce3s.datasets.image_files import ImageFiles, Images, check_split, warn
from bce3s.datasets.tables import EXTENSIONS
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS

LEFT_BY_MACS = ('._', '__MACOSX')
OWN_FIGURE = 'class_frequencies.png'  # how tools/prepare_data.py calls its figure, at the end


@DATASETS.register_module()
class ImageFolder(ImageFiles):
    """``DATA_ROOT/train/CLASS/*.jpg`` and ``DATA_ROOT/val/CLASS/*.jpg``, as torchvision's.

    How images are cropped, and what ``unreadable`` does: :class:`ImageFiles`.

    Args:
        data_root: the folder that holds both splits.
        split: ``train`` or ``test``.
        train_dir, test_dir: their names below ``data_root``.
        size: H = W of the images.
        resize: of the shorter side in the test, at least ``size``.
        check: how closely the images are looked at before the first step: ``'none'``, ``'files'``,
            ``'headers'`` or ``'pixels'``, see :func:`~bce3s.datasets.file_checks.look_at`.
        unreadable: ``'stop'`` or ``'skip'``.
        duplicates: whether a test image that is also a training image under another name is an
            error (``'stop'``) or a warning (``'warn'``).

    Attributes:
        labels: (N,) int64, classes numbered in the order of their names, those of the training set.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` (images of each class in the
            TRAINING folder, on the test set too) and ``subset`` (``size``, the number of images).

    Raises:
        BCE3SError: a folder that is missing or has fewer than two classes, a ``resize`` below
            ``size``; all of
            them at once: classes without a training image, classes that only the test has, folders
            that link to a folder above them; and then all images that the check finds fault with,
            each with its path; on access an image that cannot be read.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        train_dir: str = 'train',
        test_dir: str = 'val',
        size: int = 224,
        resize: int = 256,
        check: str = 'headers',
        unreadable: str = 'stop',
        duplicates: str = 'stop',
    ) -> None:
        if split not in ('train', 'test'):
            raise BCE3SError(f"ImageFolder: split is {split!r}; use 'train' or 'test'")
        check_how('ImageFolder', check)
        check_duplicates('ImageFolder', duplicates)
        root = Path(data_root).expanduser()
        folders = dict(train=root / train_dir, test=root / test_dir)
        train, classes, test = agreed(lambda: _scan(folders, split))
        counts = Counter(train.labels)
        metainfo = dict(
            dataset='ImageFolder',
            split=split,
            classes=classes,
            class_counts=[counts[k] for k in range(len(classes))],
            subset=dict(size=len(test.paths if split == 'test' else train.paths)),
        )
        images = train if split == 'train' else test
        super().__init__(images, split == 'train', metainfo, size, resize, unreadable)
        others = train if test else None
        check_split(images, others, check, duplicates, str(root), unreadable == 'skip')


def check_duplicates(name: str, duplicates: str) -> None:
    """Raises BCE3SError where ``duplicates`` of the data set ``name`` is no choice."""
    if duplicates not in ('stop', 'warn'):
        raise BCE3SError(f"{name}: duplicates is {duplicates!r}; use 'stop' or 'warn'.")


def _scan(folders: dict[str, Path], split: str) -> tuple[Images, list[str], Images | None]:
    """Training images, names of the classes, test images if they are asked for."""
    problems, passed_over = Problems(), Counter()
    classes = _classes(folders['train'])
    if len(classes) < 2:
        raise BCE3SError(_one_class(folders['train'], classes[0]))
    found = [images_below(folders['train'] / name, problems, passed_over) for name in classes]
    for name, paths in zip(classes, found, strict=True):
        if not paths:
            problems.add(folders['train'] / name, f'class {name!r} holds no image: {_remedy()}')
        if printable(name) != name:  # it goes into reports
            problems.add(folders['train'] / name, 'the name of a class must be UTF-8')
    train, test = _labelled(folders['train'], found, range(len(classes))), None
    if split == 'test':
        test = _test_set(folders['test'], classes, problems, passed_over)
    problems.raise_all('The folders of classes cannot be used: correct them')
    if test is not None and not test.paths:
        raise BCE3SError(f'{folders["test"]} holds no image ({", ".join(EXTENSIONS)}).')
    if passed_over:
        warn(
            f'{sum(passed_over.values()):,} files below {folders[split]} are passed over',
            [f'{number:,} {suffix}' for suffix, number in passed_over.most_common()],
        )
    return train, classes, test


def _one_class(folder: Path, name: str) -> str:
    """What to say where a folder holds one folder only: often it is the folder above the right
    one.
    """
    below: list[str] = []
    with suppress(OSError):
        below = [entry.name for entry in os.scandir(folder / name) if entry.is_dir()]
    if len(below) > 1:
        found = ', '.join(map(repr, sorted(below)[:3])) + (', ...' if len(below) > 3 else '')
        return printable(
            f'{folder} holds one folder only, {name!r}, which holds folders itself ({found}): '
            f'name that one, {folder / name}.'
        )
    return printable(
        f'{folder} holds one class only, {name!r}: to tell classes apart two are needed, each in a '
        'folder of its own.'
    )


def _remedy() -> str:
    return f'give it some ({", ".join(EXTENSIONS)}), or remove its folder'


def _test_set(folder: Path, classes: list[str], problems: Problems, passed_over: Counter) -> Images:
    """Images labelled as in the training set; a class may be missing."""
    numbers = {name: label for label, name in enumerate(classes)}
    names = _classes(folder)
    for name in names:
        if name not in numbers:
            problems.add(
                folder / name,
                'is a class that the training set does not have: name the folders of both alike, '
                'or remove it',
            )
    passed_over.clear()  # those of this split are told
    names = [name for name in names if name in numbers]
    found = [images_below(folder / name, problems, passed_over) for name in names]
    return _labelled(folder, found, [numbers[name] for name in names])


def _labelled(folder: Path, found: list[list[str]], labels: list[int] | range) -> Images:
    paths = [path for paths in found for path in paths]
    each = [label for paths, label in zip(found, labels, strict=True) for _ in paths]
    return Images(str(folder), paths, each, lambda i: (paths[i], ''))


def _classes(folder: Path) -> list[str]:
    """The names of the folders in ``folder``, sorted."""
    try:
        folders = (entry.name for entry in os.scandir(folder) if entry.is_dir())
        classes = sorted(name for name in folders if not name.startswith(LEFT_BY_MACS))
        if not classes:
            raise FileNotFoundError('there is no folder in it')
    except OSError as error:
        raise BCE3SError(
            f'{folder} is not a folder of classes ({error}): expected {folder}/CLASS/IMAGE.jpg; '
            'name the folder above it, --cfg-options train_dataloader.dataset.data_root=DIR'
        ) from error
    return classes


def images_below(folder: Path, problems: Problems, passed_over: Counter) -> list[str]:
    """The images in ``folder`` and below it, each folder's in the order of their names."""
    found, above = [], {}

    def unread(error: OSError) -> None:
        problems.add(error.filename or folder, f'cannot be listed ({error.strerror})')

    for where, below, names in os.walk(folder, onerror=unread, followlinks=True):
        above[where] = {*above.get(os.path.dirname(where), ()), _identity(where)}
        for name in list(below):
            path = os.path.join(where, name)
            if os.path.islink(path) and _identity(path) in above[where]:
                problems.add(path, 'links to a folder above it: remove the link')
                below.remove(name)
        found.append((where, sorted(names)))
    images = []
    for where, names in sorted(found):
        for name in names:
            if name.startswith(LEFT_BY_MACS):
                continue
            if name.lower().endswith(EXTENSIONS) and not name.endswith(OWN_FIGURE):
                images.append(os.path.join(where, name))
            else:
                passed_over[os.path.splitext(name)[1].lower() or name] += 1
    return images


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
