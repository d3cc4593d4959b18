"""The benchmarks as data: which lists and archives they consist of, where these are published, and
how an image's path in a list follows from its name in an archive.

Verified facts of the lists (counts, git blob ids) are in ``data_lists/``, see
:mod:`bce3s.datasets.manifests`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bce3s.datasets import sources
from bce3s.datasets.manifests import Manifest, SplitFacts, read_manifest

__all__ = ['IN_MEMORY', 'ON_DISK', 'Manifest', 'SplitFacts', 'read_manifest']

LISTS_PAGE = 'https://github.com/facebookresearch/classifier-balancing'
_LISTS = (
    'https://raw.githubusercontent.com/facebookresearch/classifier-balancing/'
    '22370c64141cc662f62ead89447c838c4a7977b5/data/'
)
_PLACES = 'http://data.csail.mit.edu/places/places365/'
_INATURALIST = 'https://ml-inat-competition-datasets.s3.amazonaws.com/2018/'
# of Liu et al. (arXiv 1904.05160), who drew ImageNet-LT and Places-LT
_SHARED_DRIVE = 'https://drive.google.com/drive/folders/1j7Nkfe6ZhzKFXePHdsseeeGI877Xu1yf'


@dataclass(frozen=True)
class Annotations:
    """A JSON file from which a list is made, and the archive that has it."""

    file: str
    archive: str
    url: str
    md5: str


@dataclass(frozen=True)
class PublishedList:
    """``NAME.txt``. ``git_blob``: as published elsewhere, None where only the list itself says it.
    ``url`` None: not to be had without a browser; ``by_hand`` then says where it is.
    """

    name: str
    images: int
    git_blob: str | None = None
    url: str | None = None
    by_hand: str = ''
    annotations: Annotations | None = None

    @property
    def file(self) -> str:
        return f'{self.name}.txt'


@dataclass(frozen=True)
class ImageArchive:
    """An archive of images.

    Attributes:
        member: path in a list -> name in the archive; None: this archive does not have it. For
            ``X.tar/NAME`` see :func:`bce3s.datasets.archives.extract`.
        url, md5: None where the address is behind a login, or nobody has published a checksum.
        size: as published, for people.
        instead: whether it may be used in place of the others, which are asked for first.
    """

    file: str
    member: Callable[[str], str | None]
    url: str | None
    md5: str | None
    size: str
    instead: bool = False


@dataclass(frozen=True)
class Benchmark:
    """A data set that lists define. ``most_and_least``: as published, see :class:`Manifest`."""

    num_classes: int
    lists: Mapping[str, PublishedList]
    archives: tuple[ImageArchive, ...]
    page: str
    most_and_least: tuple[int, int] | None = None
    terms: str = ''


@dataclass(frozen=True)
class InMemory:
    """A data set of :mod:`bce3s.datasets.in_memory`: the name of its class (importing it takes
    seconds), (C, H, W), images before subsampling, the usual imbalance factors, a page.
    """

    dataset: str
    image: tuple[int, int, int]
    full: tuple[int, int]
    page: str
    factors: tuple[int, ...] = field(default=(10, 50, 100, 200))


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


def _places_easy(path: str) -> str | None:
    return f'places365_standard/{path}'


def _as_listed(path: str) -> str | None:
    return path


# ------------------------------------------------------------ benchmarks
def _inaturalist(split: str, images: int, md5: str, **facts: str) -> PublishedList:
    name = f'{split}2018.json'
    archive = Annotations(name, f'{name}.tar.gz', f'{_INATURALIST}{name}.tar.gz', md5)
    return PublishedList(f'iNaturalist18_{split}', images, annotations=archive, **facts)


ON_DISK = {
    'imagenet_lt': Benchmark(
        num_classes=1000,
        lists=dict(
            train=PublishedList(
                'ImageNet_LT_train',
                115846,
                'a063f095fcd475db4cf8b0658c4b73955535bbf9',
                by_hand=f'open {_SHARED_DRIVE} in a browser, folder ImageNet_LT',
            ),
            val=PublishedList(
                'ImageNet_LT_val', 20000, url=f'{_LISTS}ImageNet_LT/ImageNet_LT_val.txt'
            ),
            test=PublishedList(
                'ImageNet_LT_test', 50000, url=f'{_LISTS}ImageNet_LT/ImageNet_LT_test.txt'
            ),
        ),
        archives=(
            ImageArchive(
                'ILSVRC2012_img_train.tar',
                _imagenet_train,
                None,
                '1d675b47d978889d74fa0da5fadfb00e',
                '138 GB',
            ),
            ImageArchive(
                'ILSVRC2012_img_val.tar',
                _imagenet_val,
                None,
                '29b22e2961454d5413ddabcf34fc5622',
                '6.3 GB',
            ),
        ),
        page='https://image-net.org/challenges/LSVRC/2012/2012-downloads.php',
        most_and_least=(1280, 5),
        terms='ImageNet asks you to log in and to agree to its terms: this tool never fetches it',
    ),
    'inaturalist2018': Benchmark(
        num_classes=8142,
        lists=dict(
            train=_inaturalist(
                'train',
                437513,
                'bfa29d89d629cbf04d826a720c0a68b0',
                git_blob='4accdb7584d2f0a5106c40a33ed6afa392189bcc',
            ),
            val=_inaturalist(
                'val',
                24426,
                'f2ed8bfe3e9901cdefceb4e53cd3775d',
                url=f'{_LISTS}iNaturalist18/iNaturalist18_val.txt',
            ),
        ),
        archives=(
            ImageArchive(
                'train_val2018.tar.gz',
                _as_listed,
                f'{_INATURALIST}train_val2018.tar.gz',
                'b1c6952ce38f31868cc50ea72d066cc3',
                '120 GB',
            ),
        ),
        page='https://github.com/visipedia/inat_comp',
    ),
    'places_lt': Benchmark(
        num_classes=365,
        lists={
            split: PublishedList(
                f'Places_LT_{split}', images, url=f'{_LISTS}Places_LT/Places_LT_{split}.txt'
            )
            for split, images in (('train', 62500), ('val', 7300), ('test', 36500))
        },
        archives=(
            ImageArchive(
                'train_256_places365standard.tar',
                _places_train,
                f'{_PLACES}train_256_places365standard.tar',
                '53ca1c756c3d1e7809517cc47c5561c5',
                '24 GB',
            ),
            ImageArchive(
                'val_256.tar',
                _places_val,
                f'{_PLACES}val_256.tar',
                'e27b17d8d44f4af9a78502beb927f808',
                '501 MB',
            ),
            ImageArchive(
                'places365standard_easyformat.tar',
                _places_easy,
                f'{_PLACES}places365standard_easyformat.tar',
                None,
                '21 GB',
                instead=True,
            ),
        ),
        page='http://places2.csail.mit.edu/',
        most_and_least=(4980, 5),
    ),
}

_SKLEARN = 'https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html'

IN_MEMORY = {
    'digits_lt': InMemory('DigitsLT', (1, 8, 8), (1297, 500), _SKLEARN, (1, 10, 20)),
    'cifar10_lt': InMemory('CIFAR10LT', (3, 32, 32), (50000, 10000), sources.CIFAR_PAGE),
    'cifar100_lt': InMemory('CIFAR100LT', (3, 32, 32), (50000, 10000), sources.CIFAR_PAGE),
    'mnist_lt': InMemory('MNISTLT', (1, 28, 28), (60000, 10000), sources.MNIST.page),
    'fashion_mnist_lt': InMemory(
        'FashionMNISTLT', (1, 28, 28), (60000, 10000), sources.FASHION_MNIST.page
    ),
}
