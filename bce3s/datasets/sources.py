"""The published files of the in-memory data sets: names, addresses, checksums, class names.

Checksums and addresses are those of torchvision's data sets and of the CIFAR page
(https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One file as it lies in its folder. ``md5`` None: no checksum of it is published."""

    name: str
    md5: str | None = None


@dataclass(frozen=True)
class Archive:
    """A tar archive that unpacks to ``folder`` with the files of one layout of a data set.

    ``label_bytes``: bytes before the pixels of a record of the binary layout, the class being the
    last of them; None for the Python layout (pickles).
    """

    name: str
    urls: tuple[str, ...]
    md5: str
    folder: str
    train: tuple[Published, ...]
    test: tuple[Published, ...]
    label_bytes: int | None = None


@dataclass(frozen=True)
class Idx:
    """Four gzipped IDX files in one of ``folders``. ``unpacked``: MD5 of the unpacked content."""

    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: dict[str, str]
    unpacked: dict[str, str]
    page: str


CIFAR_PAGE = 'https://www.cs.toronto.edu/~kriz/cifar.html'
_CIFAR = 'https://www.cs.toronto.edu/~kriz/'

# first the layout that is downloaded: the binary one needs no pickle
CIFAR10 = [
    Archive(
        'cifar-10-binary.tar.gz',
        (_CIFAR + 'cifar-10-binary.tar.gz',),
        'c32a1d4ab5d03f1284b67883e8d87530',
        'cifar-10-batches-bin',
        train=tuple(Published(f'data_batch_{i}.bin') for i in range(1, 6)),
        test=(Published('test_batch.bin'),),
        label_bytes=1,
    ),
    Archive(
        'cifar-10-python.tar.gz',
        (_CIFAR + 'cifar-10-python.tar.gz',),
        'c58f30108f718f92721af3b95e74349a',
        'cifar-10-batches-py',
        train=(
            Published('data_batch_1', 'c99cafc152244af753f735de768cd75f'),
            Published('data_batch_2', 'd4bba439e000b95fd0a9bffe97cbabec'),
            Published('data_batch_3', '54ebc095f3ab1f0389bbae665268c751'),
            Published('data_batch_4', '634d18415352ddfa80567beed471001a'),
            Published('data_batch_5', '482c414d41f54cd18b22e5b47cb7c3cb'),
        ),
        test=(Published('test_batch', '40351d587109b95175f43aff81a1287e'),),
    ),
]

CIFAR100 = [
    Archive(
        'cifar-100-binary.tar.gz',
        (_CIFAR + 'cifar-100-binary.tar.gz',),
        '03b5dce01913d631647c71ecec9e9cb8',
        'cifar-100-binary',
        train=(Published('train.bin'),),
        test=(Published('test.bin'),),
        label_bytes=2,
    ),
    Archive(
        'cifar-100-python.tar.gz',
        (_CIFAR + 'cifar-100-python.tar.gz',),
        'eb9058c3a382ffc7106e4002c42a8d85',
        'cifar-100-python',
        train=(Published('train', '16019d7e3df5f24257cddd939b257f8d'),),
        test=(Published('test', 'f0ef6b0ae62326f3e7ffdfab6717acfc'),),
    ),
]

MNIST = Idx(
    folders=('mnist/raw', 'MNIST/raw'),
    mirrors=(
        'https://ossci-datasets.s3.amazonaws.com/mnist/',
        'http://yann.lecun.com/exdb/mnist/',
    ),
    md5={
        'train-images-idx3-ubyte': 'f68b3c2dcbeaaa9fbdd348bbdeb94873',
        'train-labels-idx1-ubyte': 'd53e105ee54ea40749a09fcbcd1e9432',
        't10k-images-idx3-ubyte': '9fb629c4189551a2d022fa330f9573f3',
        't10k-labels-idx1-ubyte': 'ec29112dd5afa0611ce80d1b7f02629c',
    },
    unpacked={
        'train-images-idx3-ubyte': '6bbc9ace898e44ae57da46a324031adb',
        'train-labels-idx1-ubyte': 'a25bea736e30d166cdddb491f175f624',
        't10k-images-idx3-ubyte': '2646ac647ad5339dbf082846283269ea',
        't10k-labels-idx1-ubyte': '27ae3e4e09519cfbb04c329615203637',
    },
    page='http://yann.lecun.com/exdb/mnist/',
)

FASHION_MNIST = Idx(
    folders=('fashion-mnist/raw', 'FashionMNIST/raw'),
    mirrors=(
        'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
        'https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/',
    ),
    md5={
        'train-images-idx3-ubyte': '8d4fb7e6c68d591d4c3dfef9ec88bf0d',
        'train-labels-idx1-ubyte': '25c81989df183df01b3e8a0aad5dffbe',
        't10k-images-idx3-ubyte': 'bef4ecab320f06d8554ea6380940ec79',
        't10k-labels-idx1-ubyte': 'bb300cfdad3c16e7a12a480ee83cd310',
    },
    unpacked={},
    page='https://github.com/zalandoresearch/fashion-mnist',
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
CIFAR10_CLASSES = tuple(_CIFAR10.split())
CIFAR100_CLASSES = tuple(_CIFAR100.split())
DIGIT_CLASSES = tuple('0123456789')
FASHION_MNIST_CLASSES = (
    'T-shirt/top',
    'Trouser',
    'Pullover',
    'Dress',
    'Coat',
    'Sandal',
    'Shirt',
    'Sneaker',
    'Bag',
    'Ankle boot',
)
