"""Small long-tailed data sets, each ONE uint8 tensor: plain PyTorch data sets, without MMEngine.

Configs know the same classes, wrapped to give whole batches: :mod:`bce3s.datasets.whole_batches`.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bce3s.datasets.archives import extract, require_md5
from bce3s.datasets.download import once_per_node, try_fetch
from bce3s.datasets.long_tailed import (
    check_keep_classes,
    check_labels,
    check_number,
    class_counts,
    new_labels,
    select_subset,
)
from bce3s.errors import BCE3SError

Arrays = tuple[np.ndarray, np.ndarray, str]  # images (N, C, H, W), labels (N,), where they are from

ACCEPT = (
    ', or to use it all the same: verify=False, of a config --cfg-options '
    'train_dataloader.dataset.verify=False'
)
_CIFAR10 = 'airplane automobile bird cat deer dog frog horse ship truck'
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
    crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_FASHION = 'T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot'


class InMemoryLongTailed(Dataset):
    """A training set, long-tailed or whole, or the test set that belongs to it.

    An item is ``(image, label)``: with a ``transform`` what that makes of a PIL image, as in
    torchvision; without one the uint8 tensor (C, H, W).

    Args:
        imbalance_factor, imbalance, n_max: see :func:`~.long_tailed.class_counts`; ``n_max`` None
            is the data set's own. ``imbalance='none'`` keeps every image; then it must be None.
        rule: ``first_n`` or ``ldam``, see :func:`~.long_tailed.select_subset`; ``seed`` is that of
            ``ldam``, 0 in the literature.
        train: the (subsampled) training set, or the whole test set.
        transform: PIL image -> anything.
        keep_classes: indices of the classes to keep, in the order of their new labels 0, 1, ...;
            None keeps all. The number of classes of the model's head must follow.
        test_per_class: keep the first so many test images of each class; None keeps all.
        val_per_class: hold the last so many images of each class in file order out of the training
            files, before the long tail is cut from the others: a validation set, to choose numbers
            on without the test set; None holds none out.
        validation: give that set; ``train`` then says nothing.

    Attributes:
        images: (N, C, H, W) uint8. In the training set ordered by class.
        targets: (N,) int64, also called ``labels``.
        classes: names of the classes kept.
        class_counts: images of each class in the TRAINING set, on the test set too.
        metainfo: ``dataset``, ``split``, ``classes``, ``class_counts`` and ``subset``: ``rule``,
            ``imbalance``, ``imbalance_factor``, ``n_max`` of the training set (the last two None
            for ``none``), ``keep_classes``, ``test_per_class``, ``val_per_class``, ``size`` and
            ``sha256`` (the bytes of ``images``, then of ``targets`` as little-endian int64) of
            this split.

    Raises:
        BCE3SError: an argument out of its range, a class with too few images, a file that is
            missing, damaged or of another data set.
    """

    classes: tuple[str, ...]
    default_n_max: int

    def __init__(
        self,
        imbalance_factor: float = 100,
        rule: str = 'first_n',
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        seed: int = 0,
        *,
        imbalance: str = 'exp',
        n_max: int | None = None,
        keep_classes: Sequence[int] | None = None,
        test_per_class: int | None = None,
        val_per_class: int | None = None,
        validation: bool = False,
    ) -> None:
        self.transform, self._kept, self._held_out = transform, keep_classes, val_per_class
        if keep_classes is not None:
            check_keep_classes(keep_classes, len(self.classes))
            self.classes = tuple(self.classes[k] for k in keep_classes)
        for name, number in dict(
            test_per_class=test_per_class, val_per_class=val_per_class
        ).items():
            if number is not None:
                check_number(name, number)
        if validation and val_per_class is None:
            raise BCE3SError(
                f'{type(self).__name__} has no validation images: set val_per_class to hold some '
                'out of the training files, of a config train_dataloader.dataset.val_per_class=20.'
            )
        split = 'val' if validation else 'train' if train else 'test'
        counts = self._profile(imbalance, imbalance_factor, n_max)  # before anything is read
        images, labels, source = self._read(split)
        if counts is None:
            whole = labels if split == 'train' else self._read('train')[1]
            counts = np.bincount(whole, minlength=len(self.classes)).tolist()
        if split == 'train':
            kept = select_subset(labels, counts, rule, self.classes, source, seed)
        elif split == 'test' and test_per_class is not None:
            few = [test_per_class] * len(counts)
            kept = np.sort(select_subset(labels, few, 'first_n', self.classes, source))
        else:
            kept = np.arange(len(labels))
        images, labels = images[kept], labels[kept].astype('<i8')
        digest = hashlib.sha256(images)
        digest.update(labels)
        self.images, self.targets = torch.from_numpy(images), torch.from_numpy(labels)
        self.labels, self.class_counts = self.targets, counts
        self.metainfo = dict(
            dataset=type(self).__name__,
            split=split,
            classes=list(self.classes),
            class_counts=counts,
            subset=dict(
                rule=rule,
                imbalance=imbalance,
                imbalance_factor=None if imbalance == 'none' else float(imbalance_factor),
                n_max=None if imbalance == 'none' else max(counts),
                keep_classes=None if keep_classes is None else [int(k) for k in keep_classes],
                test_per_class=test_per_class,
                val_per_class=val_per_class,
                size=len(labels),
                sha256=digest.hexdigest(),
            ),
        )

    def read(self, train: bool) -> Arrays:
        """All images and labels of a split in file order, of all classes."""
        raise NotImplementedError

    def _read(self, split: str) -> Arrays:
        """Images, new labels and source of ``train``, ``val`` or ``test``, of the classes kept."""
        images, labels, source = self.read(split != 'test')
        every = len(type(self).classes)
        check_labels(labels, every, source)
        if self._kept is not None:
            labels = new_labels(labels, self._kept, every)
            images, labels = images[labels >= 0], labels[labels >= 0]
        if self._held_out is not None and split != 'test':
            few = [self._held_out] * len(self.classes)
            # the last of each class: the first of the reversed order
            last = select_subset(labels[::-1], few, 'first_n', self.classes, source)
            mine = np.isin(np.arange(len(labels)), len(labels) - 1 - last) == (split == 'val')
            images, labels = images[mine], labels[mine]
        return images, labels, source

    def _profile(self, imbalance: str, factor: float, n_max: int | None) -> list[int] | None:
        """The class counts that the arguments ask for; None: those of the files."""
        if imbalance != 'none':
            n_max = self.default_n_max - (self._held_out or 0) if n_max is None else n_max
            return class_counts(n_max, len(self.classes), factor, imbalance, self.classes)
        if n_max is not None:
            raise BCE3SError(
                f"imbalance='none' keeps every image, but n_max is {n_max}: for {n_max} images of "
                "each class use imbalance='exp', imbalance_factor=1"
            )
        return None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int | torch.Tensor]:
        image, label = self.images[index], self.targets[index]
        label = label if label.dim() else int(label)
        if self.transform is None:
            return image, label
        from PIL import Image

        pixels = image.permute(1, 2, 0).numpy()
        return self.transform(Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels)), label


class DigitsLT(InMemoryLongTailed):
    """scikit-learn's handwritten digits (UCI optdigits test part): 1,797 real images, 8 x 8, grey.

    Needs no download. Values 0..16 become uint8 ``round(v * 255 / 16)``. The first 50 images of
    each class in file order are the test set (500); the rest, at most 120 of a class, train.
    Arguments: see :class:`InMemoryLongTailed`.

    >>> train = DigitsLT()
    >>> len(train), train.class_counts
    (405, [120, 86, 61, 44, 31, 22, 16, 11, 8, 6])
    >>> image, label = train[0]
    >>> image.shape, image.dtype, train.classes[label]
    (torch.Size([1, 8, 8]), torch.uint8, '0')
    """

    classes = tuple('0123456789')
    default_n_max = 120
    held_out = 50  # of each class, for the test set

    def __init__(self, imbalance_factor: float = 20, *args: Any, **options: Any) -> None:
        super().__init__(imbalance_factor, *args, **options)

    def read(self, train: bool) -> Arrays:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        labels = digits.target.astype(np.int64)
        rank = np.zeros(len(labels), np.int64)  # how many of its class come before it in the file
        for k in range(10):
            rank[labels == k] = np.arange((labels == k).sum())
        mine = (rank >= self.held_out) == train
        return images[mine], labels[mine], "scikit-learn's digits"


class DigitsCanvasLT(DigitsLT):
    """Several digits a picture: scikit-learn's digits on canvases of 2 x 2 cells, 16 x 16, grey.

    Needs no download. The digits of the test pictures are those of :class:`DigitsLT`, the first 50
    of each class in file order, those of the validation pictures the last 25, and the others train:
    no digit is in two splits. How many pictures have class k is exact: in training 300 down to 6
    (:func:`~.long_tailed.class_counts`), in validation 50 and in the test 100 of each class.

    Which classes a picture has is dealt from a pack of so many cards of each class, with
    ``numpy.random.default_rng([0, s])``, s = 0, 1, 2 for train, val and test: 1, 2, 3 or 4 cards
    with probability 0.5, 0.3, 0.15, 0.05, all different; the first in proportion to the cards left,
    each further one in proportion to the cards left, doubled for each class of its parity that is
    in the picture already. So even digits come together, frequent with rare ones, and odd ones do.
    Then the cells are drawn of each picture, without replacement, and of each class the digit. Last
    come pictures without any digit, one for every 20 others.

    Args:
        imbalance_factor, imbalance, n_max: of the positives in training, see
            :func:`~.long_tailed.class_counts`.
        train, transform, validation: see :class:`InMemoryLongTailed`.

    Attributes:
        targets: (N, 10) int8, 1 where the picture has the class, also called ``labels``.
        class_counts: training pictures that have each class.
        metainfo: as of :class:`InMemoryLongTailed`, and ``multilabel=True``; ``sha256`` is of the
            bytes of ``images``, then of ``targets``.

    >>> train = DigitsCanvasLT()
    >>> len(train), train.class_counts
    (513, [300, 194, 125, 81, 52, 34, 22, 14, 9, 6])
    >>> image, labels = train[0]
    >>> image.shape, labels
    (torch.Size([1, 16, 16]), tensor([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], dtype=torch.int8))
    """

    default_n_max = 300
    dealt = dict(val=50, test=100)  # pictures that have each class
    _sizes = (0.5, 0.3, 0.15, 0.05)  # how often a picture has 1, 2, 3, 4 classes

    def __init__(
        self,
        imbalance_factor: float = 50,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        *,
        imbalance: str = 'exp',
        n_max: int | None = None,
        validation: bool = False,
    ) -> None:
        self.transform, self._kept, self._held_out = transform, None, 25
        n_max = self.default_n_max if n_max is None else n_max
        self.class_counts = class_counts(
            n_max, len(self.classes), imbalance_factor, imbalance, self.classes
        )
        split = 'val' if validation else 'train' if train else 'test'
        dealt = self.class_counts
        if split != 'train':
            dealt = [self.dealt[split]] * len(self.classes)
        rng = np.random.default_rng([0, ('train', 'val', 'test').index(split)])
        labels = self._deal(dealt, rng)
        images = self._paint(labels, rng, *self._read(split)[:2])
        digest = hashlib.sha256(images)
        digest.update(labels)
        self.images, self.targets = torch.from_numpy(images), torch.from_numpy(labels)
        self.labels = self.targets
        self.metainfo = dict(
            dataset=type(self).__name__,
            split=split,
            multilabel=True,
            classes=list(self.classes),
            class_counts=self.class_counts,
            subset=dict(
                rule='dealt',
                imbalance=imbalance,
                imbalance_factor=float(imbalance_factor),
                n_max=n_max,
                test_per_class=self.dealt['test'],
                val_per_class=self.dealt['val'],
                size=len(labels),
                sha256=digest.hexdigest(),
            ),
        )

    def _deal(self, counts: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """(N, K) int8, class k in ``counts[k]`` pictures."""
        left, parity, rows = np.array(counts), np.arange(len(counts)) % 2, []
        while left.any():
            row, weight = np.zeros(len(counts), np.int8), left.astype(float)
            for _ in range(1 + rng.choice(len(self._sizes), p=self._sizes)):
                if weight.any():
                    k = rng.choice(len(counts), p=weight / weight.sum())
                    row[k], weight[k] = 1, 0
                    weight[parity == parity[k]] *= 2
            left -= row
            rows.append(row)
        return np.concatenate([rows, np.zeros((len(rows) // 20, len(counts)), np.int8)])

    def _paint(
        self, labels: np.ndarray, rng: np.random.Generator, digits: np.ndarray, of: np.ndarray
    ) -> np.ndarray:
        """(N, 1, 16, 16) uint8, from digits (M, 1, 8, 8) of classes ``of`` (M,)."""
        pools = [digits[of == k] for k in range(labels.shape[1])]
        images = np.zeros((len(labels), 1, 16, 16), np.uint8)
        for image, row in zip(images, labels, strict=True):
            cells = rng.permutation(4)
            for cell, k in zip(cells, np.flatnonzero(row), strict=False):
                top, left = 8 * (cell // 2), 8 * (cell % 2)
                image[:, top : top + 8, left : left + 8] = pools[k][rng.integers(len(pools[k]))]
        return images


class DownloadedLongTailed(InMemoryLongTailed):
    """A data set whose files are found below ``root`` or downloaded to it.

    Names, addresses and checksums are those of torchvision's class ``published``. Pickles are read
    through an allow-list: reading executes nothing.

    Args:
        root: the folder of the data sets.
        download: fetch what is missing; in several processes, one of each node does.
        verify: insist on the published checksums; ``False`` accepts other copies, such as one that
            was packed anew.
        The others: see :class:`InMemoryLongTailed`.
    """

    published: str

    def __init__(
        self,
        root: str | Path,
        imbalance_factor: float = 100,
        rule: str = 'first_n',
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        download: bool = False,
        seed: int = 0,
        *,
        verify: bool = True,
        **options: Any,
    ) -> None:
        self.root = Path(root).expanduser()
        self.download, self.verify = download, verify
        super().__init__(imbalance_factor, rule, train, transform, seed, **options)

    @classmethod
    def source(cls) -> Any:
        """torchvision's class, which knows the files."""
        import torchvision

        return getattr(torchvision.datasets, cls.published)

    def files(self, train: bool) -> list[tuple[list[Path], str]]:
        """Of each file of a split: where it may lie, last where it is put, and the MD5 of that."""
        raise NotImplementedError

    def address(self, path: Path, md5: str) -> tuple[list[str], Path, str]:
        """For a file: addresses of what is fetched, where that is put, and its MD5."""
        raise NotImplementedError

    def obtained(self, train: bool) -> list[Path]:
        """The files of a split, fetched where they are missing.

        Raises:
            BCE3SError: one is missing (says where to get it and where to put it), or is not the
                published one.
        """
        files = self.files(train)

        def fetch() -> None:
            for places, md5 in files:
                if not any(path.is_file() for path in places):
                    self._fetch(places[-1], md5)

        once_per_node(fetch)
        found = []
        for places, md5 in files:
            path = next((path for path in places if path.is_file()), None)
            if path is None:
                raise self._missing(places[-1], md5)
            if self.verify and path.suffix == places[-1].suffix:
                require_md5(path, md5, ACCEPT)
            found.append(path)
        return found

    def _fetch(self, path: Path, md5: str) -> None:
        urls, target, published = self.address(path, md5)
        if target.is_file():
            if self.verify:
                require_md5(target, published, ACCEPT)
        elif not self.download:
            return
        elif failures := try_fetch(urls, target, published):
            raise self._missing(path, md5, failures)
        if target != path:
            wanted = [
                str(p[-1].relative_to(self.root)) for t in (True, False) for p, _ in self.files(t)
            ]
            if lacking := extract(target, {name: name for name in wanted}, self.root).missing:
                raise BCE3SError(
                    f'{target} cannot be unpacked: it has no {lacking[0]}; delete it and fetch '
                    f'{urls[0]} again'
                )

    def _missing(self, path: Path, md5: str, failures: Sequence[str] = ()) -> BCE3SError:
        urls, target, _ = self.address(path, md5)
        why = f' Downloading failed: {"; ".join(failures)}.' if failures else ''
        return BCE3SError(
            f'{path} is missing.{why} Download {" or ".join(urls)} and put it at {target}, or name '
            'the folder that has the data: root=DIR, of a config --cfg-options '
            'train_dataloader.dataset.data_root=DIR'
        )


class CIFAR10LT(DownloadedLongTailed):
    """Long-tailed CIFAR-10, 3 x 32 x 32: 5,000 images of class 0 at most, 10,000 test images."""

    classes = tuple(_CIFAR10.split())
    default_n_max = 5000
    published = 'CIFAR10'

    def files(self, train: bool) -> list[tuple[list[Path], str]]:
        source = self.source()
        names = source.train_list if train else source.test_list
        return [([self.root / source.base_folder / name], md5) for name, md5 in names]

    def address(self, path: Path, md5: str) -> tuple[list[str], Path, str]:
        source = self.source()
        return [source.url], self.root / source.filename, source.tgz_md5

    def read(self, train: bool) -> Arrays:
        paths = self.obtained(train)
        parts = [read_cifar(path) for path in paths]
        source = str(paths[0] if len(paths) == 1 else paths[0].parent)
        return *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)), source


class CIFAR100LT(CIFAR10LT):
    """Long-tailed CIFAR-100 (fine labels): 500 images of class 0 at most, 10,000 test images."""

    classes = tuple(_CIFAR100.split())
    default_n_max = 500
    published = 'CIFAR100'


class MNISTLT(DownloadedLongTailed):
    """Long-tailed MNIST, 1 x 28 x 28: 5,000 images of class 0 at most (the smallest of the ten
    classes has 5,421, so a round number below it serves every class), 10,000 test images.

    Files lie in ``mnist/raw`` or ``MNIST/raw``, gzipped or not; only gzipped ones have checksums.
    """

    classes = tuple('0123456789')
    default_n_max = 5000
    published = 'MNIST'
    folders = ('MNIST/raw', 'mnist/raw')

    def files(self, train: bool) -> list[tuple[list[Path], str]]:
        folders, prefix = [self.root / name for name in self.folders], 'train' if train else 't10k'
        return [
            ([d / n for n in (name.removesuffix('.gz'), name) for d in folders], md5)
            for name, md5 in self.source().resources
            if name.startswith(prefix)
        ]

    def address(self, path: Path, md5: str) -> tuple[list[str], Path, str]:
        return [f'{mirror}{path.name}' for mirror in self.source().mirrors], path, md5

    def read(self, train: bool) -> Arrays:
        paths = self.obtained(train)
        images, labels = map(read_idx, paths)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise BCE3SError(
                f'{paths[0]} {images.shape} and {paths[1]} {labels.shape} do not belong together: '
                'delete both and fetch them again'
            )
        return images[:, None], labels.astype(np.int64), str(paths[1])


class FashionMNISTLT(MNISTLT):
    """Long-tailed Fashion-MNIST, 1 x 28 x 28: 6,000 images of class 0 at most, 10,000 test."""

    classes = tuple(_FASHION.split(','))
    default_n_max = 6000
    published = 'FashionMNIST'
    folders = ('FashionMNIST/raw', 'fashion-mnist/raw')


# ------------------------------------------------------------------------------------------- files
_NUMPY_GLOBALS = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    # NumPy's own name for it moved in version 2; the published files have the old one
    ('numpy.core.multiarray', '_reconstruct'): np.empty(0).__reduce__()[0],
    ('numpy._core.multiarray', '_reconstruct'): np.empty(0).__reduce__()[0],
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds containers, numbers, strings and NumPy arrays; anything else is refused, not called.

    Raises:
        BCE3SError: the pickle asks for another global (named).
    """

    def find_class(self, module: str, name: str) -> object:
        try:
            return _NUMPY_GLOBALS[module, name]
        except KeyError:
            raise BCE3SError(
                f'it asks for {module}.{name}, which no CIFAR file needs; nothing of it was '
                'executed. Remove it and fetch the data set again'
            ) from None


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch file of CIFAR -> images (N, 3, 32, 32) uint8, labels (N,) int64."""
    try:
        with path.open('rb') as file:
            entry = _ArrayUnpickler(file, encoding='bytes').load()
        entry = {k.decode() if isinstance(k, bytes) else k: v for k, v in entry.items()}
        images = np.asarray(entry['data'])
        labels = np.asarray(entry['fine_labels' if 'fine_labels' in entry else 'labels'])
        if images.dtype != np.uint8 or labels.dtype.kind not in 'iu':
            raise ValueError(f'pixels are {images.dtype}, labels {labels.dtype}')
        return images.reshape(len(labels), 3, 32, 32), labels.astype(np.int64)
    except BCE3SError as error:
        raise BCE3SError(f'{path} is not safe to read: {error}') from None
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, error) from error


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped or not -> uint8 array of its shape."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
        if content[:3] != b'\0\0\x08' or content[3:4] not in (b'\x01', b'\x03'):
            raise ValueError('no IDX file of bytes')
        shape = np.frombuffer(content, '>u4', content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)
    except Exception as error:  # damaged data can raise anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> BCE3SError:
    return BCE3SError(
        f'{path} is truncated or damaged ({type(error).__name__}: {error}): delete it and fetch it '
        'again'
    )
