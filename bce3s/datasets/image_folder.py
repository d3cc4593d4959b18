"""Images in folders, a folder a class: ImageNet, or anybody's own, balanced or not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bce3s.datasets.checks import Problems, agreed, bits_used, printable
from bce3s.datasets.file_checks import check_how
from bce3s.datasets.folders import Below, is_left_behind, look_below, passed_over
from bce3s.datasets.image_files import ImageFiles, Images, check_split, warn
from bce3s.datasets.pixels import WHITE
from bce3s.datasets.tables import EXTENSIONS
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS
from bce3s.wording import in_order


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
        bits: that images of more than 8 bits a value use, of which the upper 8 are kept; None: as
            many as the largest value in the training images needs.
        ground: R, G, B of what shows behind transparent parts.
        duplicates: whether a test image that is also a training image under another name is an
            error (``'stop'``) or a warning (``'warn'``).

    Attributes:
        labels: (N,) int64, classes numbered in the natural order of their names, those of the
            training set.
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
        bits: int | None = None,
        ground: Sequence[int] = WHITE,
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
        bits = bits_used(train.paths) if bits is None else bits
        colours = dict(bits=bits, ground=ground)
        super().__init__(images, split == 'train', metainfo, size, resize, unreadable, **colours)
        others = train if test else None
        check_split(images, others, check, duplicates, str(root), unreadable == 'skip')


def check_duplicates(name: str, duplicates: str) -> None:
    """Raises BCE3SError where ``duplicates`` of the data set ``name`` is no choice."""
    if duplicates not in ('stop', 'warn'):
        raise BCE3SError(f"{name}: duplicates is {duplicates!r}; use 'stop' or 'warn'.")


def _scan(folders: dict[str, Path], split: str) -> tuple[Images, list[str], Images | None]:
    """Training images, names of the classes, test images if they are asked for."""
    problems = Problems()
    classes = _classes(folders['train'])
    if len(classes) < 2:
        raise BCE3SError(_one_class(folders['train'], classes[0]))
    found, below = _of_classes(folders['train'], classes, problems)
    for name, paths in zip(classes, found, strict=True):
        if not paths:
            problems.add(folders['train'] / name, f'class {name!r} holds no image: {_remedy()}')
        if printable(name) != name:  # it goes into reports
            problems.add(folders['train'] / name, 'the name of a class must be UTF-8')
    train, test = _labelled(folders['train'], found, range(len(classes))), None
    if split == 'test':
        test, below = _test_set(folders['test'], classes, problems)
    problems.raise_all('The folders of classes cannot be used: correct them')
    if test is not None and not test.paths:
        raise BCE3SError(f'{folders["test"]} holds no image ({", ".join(EXTENSIONS)}).')
    lines = passed_over(below, classes)
    if lines:
        warn(f'Passed over below {folders[split]}', lines)
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


def _test_set(folder: Path, classes: list[str], problems: Problems) -> tuple[Images, Below]:
    """Images labelled as in the training set, and all that is there; a class may be missing."""
    numbers = {name: label for label, name in enumerate(classes)}
    names = _classes(folder)
    for name in names:
        if name not in numbers:
            problems.add(
                folder / name,
                'is a class that the training set does not have: name the folders of both alike, '
                'or remove it',
            )
    names = [name for name in names if name in numbers]
    found, below = _of_classes(folder, names, problems)
    return _labelled(folder, found, [numbers[name] for name in names]), below


def _of_classes(
    folder: Path, classes: list[str], problems: Problems
) -> tuple[list[list[str]], Below]:
    """The images of each class, each folder's in the order of their names; and what is there."""
    below = look_below(folder)
    for error in below.errors:
        problems.add(error.filename or folder, f'cannot be listed ({error.strerror})')
    for link in below.circles:
        problems.add(folder / link, 'links to a folder above it: remove the link')
    found: dict[str, list[str]] = {name: [] for name in classes}
    for path in below.images:
        name, _, rest = path.partition('/')
        if rest and name in found:
            found[name].append(os.path.join(folder, path))
    return list(found.values()), below


def _labelled(folder: Path, found: list[list[str]], labels: list[int] | range) -> Images:
    paths = [path for paths in found for path in paths]
    each = [label for paths, label in zip(found, labels, strict=True) for _ in paths]
    return Images(str(folder), paths, each, lambda i: (paths[i], ''))


def _classes(folder: Path) -> list[str]:
    """The names of the folders in ``folder``, in natural order."""
    try:
        folders = (entry.name for entry in os.scandir(folder) if entry.is_dir())
        classes = in_order(name for name in folders if not is_left_behind(name))
        if not classes:
            raise FileNotFoundError('there is no folder in it')
    except OSError as error:
        raise BCE3SError(
            f'{folder} is not a folder of classes ({error}): expected {folder}/CLASS/IMAGE.jpg; '
            'name the folder above it, --cfg-options train_dataloader.dataset.data_root=DIR'
        ) from error
    return classes
