"""Images in folders, a folder a class: ImageNet, or anybody's own, balanced or not."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from bce3s.datasets.checks import Problems, agreed, bits_used, one_of, printable
from bce3s.datasets.folders import EXTENSIONS, Below, is_left_behind, look_below, passed_over
from bce3s.datasets.image_files import ImageFiles, Images, warn
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS
from bce3s.wording import in_order


@DATASETS.register_module()
class ImageFolder(ImageFiles):
    """``DATA_ROOT/train/CLASS/*.jpg`` and ``DATA_ROOT/val/CLASS/*.jpg``, as torchvision's.

    Args:
        data_root: the folder that holds both splits.
        split: ``train`` or ``test``.
        train_dir, test_dir: their names below ``data_root``.
        bits: see :class:`ImageFiles`; None: as many as the largest value in the training images
            needs.
        options: of :class:`ImageFiles`.

    Attributes:
        labels: (N,) int64, classes numbered in the natural order of their names, those of the
            training set.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` (images of each class in the
            TRAINING folder, on the test set too) and ``subset`` (``size``, the number of images).

    Raises:
        BCE3SError: a folder that is missing or has fewer than two classes; all of them at once:
            classes without a training image, classes that only the test has, folders that link to
            a folder above them; then as :class:`ImageFiles`.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        train_dir: str = 'train',
        test_dir: str = 'val',
        check: str = 'headers',
        bits: int | None = None,
        **options: Any,
    ) -> None:
        one_of('ImageFolder: split', split, ('train', 'test'))
        root = Path(data_root).expanduser()
        folders = dict(train=root / train_dir, test=root / test_dir)
        train, classes, test = agreed(lambda: _scan(folders, split))
        images, counts = test or train, Counter(train.labels)
        metainfo = dict(
            dataset='ImageFolder',
            split=split,
            classes=classes,
            class_counts=[counts[k] for k in range(len(classes))],
            subset=dict(size=len(images.paths)),
        )
        options |= dict(check=check, bits=bits_used(train.paths) if bits is None else bits)
        super().__init__(images, not test, metainfo, train=train if test else None, **options)


def _scan(folders: dict[str, Path], split: str) -> tuple[Images, list[str], Images | None]:
    """Training images, names of the classes, test images if they are asked for."""
    problems = Problems()
    classes = _classes(folders['train'])
    if len(classes) < 2:
        raise BCE3SError(_one_class(folders['train'], classes[0]))
    train, below = _of_classes(folders['train'], classes, classes, problems)
    counts = Counter(train.labels)
    for label, name in enumerate(classes):
        if not counts[label]:
            remedy = f'give it some ({", ".join(EXTENSIONS)}), or remove its folder'
            problems.add(folders['train'] / name, f'class {name!r} holds no image: {remedy}')
        if printable(name) != name:  # it goes into reports
            problems.add(folders['train'] / name, 'the name of a class must be UTF-8')
    test = None
    if split == 'test':
        names = _classes(folders['test'])  # a class may be missing
        for name in (name for name in names if name not in classes):
            problems.add(
                folders['test'] / name,
                'is a class that the training set does not have: name the folders of both alike, '
                'or remove it',
            )
        names = [name for name in names if name in classes]
        test, below = _of_classes(folders['test'], names, classes, problems)
    problems.raise_all('The folders of classes cannot be used: correct them')
    if test is not None and not test.paths:
        raise BCE3SError(f'{folders["test"]} holds no image ({", ".join(EXTENSIONS)}).')
    if lines := passed_over(below, classes):
        warn(f'Passed over below {folders[split]}', lines)
    return train, classes, test


def _one_class(folder: Path, name: str) -> str:
    """What to say where a folder holds one folder only: often it is above the right one."""
    below: list[str] = []
    with suppress(OSError):
        below = sorted(entry.name for entry in os.scandir(folder / name) if entry.is_dir())
    if len(below) > 1:
        found = ', '.join(map(repr, below[:3])) + (', ...' if len(below) > 3 else '')
        return printable(
            f'{folder} holds one folder only, {name!r}, which holds folders itself ({found}): '
            f'name that one, {folder / name}.'
        )
    return printable(
        f'{folder} holds one class only, {name!r}: to tell classes apart two are needed, each in a '
        'folder of its own.'
    )


def _of_classes(
    folder: Path, names: list[str], classes: list[str], problems: Problems
) -> tuple[Images, Below]:
    """The images of the classes ``names``, each folder's in the order of their names, labelled by
    their positions in ``classes``; and all that is there.
    """
    below = look_below(folder)
    for error in below.errors:
        problems.add(error.filename or folder, f'cannot be listed ({error.strerror})')
    for link in below.circles:
        problems.add(folder / link, 'links to a folder above it: remove the link')
    found: dict[str, list[str]] = {name: [] for name in names}
    for path in below.images:
        name, _, rest = path.partition('/')
        if rest and name in found:
            found[name].append(os.path.join(folder, path))
    numbers = {name: label for label, name in enumerate(classes)}
    paths = [path for own in found.values() for path in own]
    labels = [numbers[name] for name, own in found.items() for _ in own]
    return Images(str(folder), paths, labels), below


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
