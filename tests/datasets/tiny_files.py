"""A small CIFAR in both layouts and a small MNIST, as files and as data sets that expect them; and
small JPEGs for every path of a list, for runs of a benchmark's shape without its images:

    python tests/datasets/tiny_files.py data/places_lt/Places_LT_train.txt data/places_lt --size 96
"""

import argparse
import gzip
import hashlib
import io
import pickle
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bce3s.datasets.lists import read_list
from bce3s.datasets.whole_batches import CIFAR10LT, MNISTLT

RNG = np.random.default_rng(0)
IMAGES = {
    s: RNG.integers(0, 256, (n, 3, 32, 32), np.uint8) for s, n in [('train', 60), ('test', 20)]
}
LABELS = {s: np.arange(len(x)) * 7 % 10 for s, x in IMAGES.items()}  # 6 and 2 of each class


def md5(content):
    return hashlib.md5(content).hexdigest()


def python_batch(images, labels):
    entry = {'data': images.reshape(len(images), -1), 'labels': labels.tolist()}
    return pickle.dumps(entry, protocol=4)


FILES = {
    'tiny-py': {
        'data_1': python_batch(IMAGES['train'][:30], LABELS['train'][:30]),
        'data_2': python_batch(IMAGES['train'][30:], LABELS['train'][30:]),
        'test': python_batch(IMAGES['test'], LABELS['test']),
    },
}


def tar(folder, extra=()):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz') as archive:
        for name, content in [*((f'{folder}/{n}', c) for n, c in FILES[folder].items()), *extra]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def tiny(url='http://127.0.0.1:9/tiny-py.tar.gz', archive_md5=''):
    """CIFAR10LT with the small files as the published ones."""
    known = [(name, md5(content)) for name, content in FILES['tiny-py'].items()]
    files = SimpleNamespace(
        base_folder='tiny-py',
        filename='tiny-py.tar.gz',
        url=url,
        tgz_md5=archive_md5,
        train_list=known[:2],
        test_list=known[2:],
    )

    class Tiny(CIFAR10LT):
        default_n_max = 6
        source = staticmethod(lambda: files)

    return Tiny


def put(root, folder):
    (root / folder).mkdir(parents=True)
    for name, content in FILES[folder].items():
        (root / folder / name).write_bytes(content)


def idx(array):
    shape = b''.join(n.to_bytes(4, 'big') for n in array.shape)
    return b'\0\0\x08' + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes()


GREY = IMAGES['train'][:, 0, :28, :28]
IDX = {'train-images-idx3-ubyte': idx(GREY), 'train-labels-idx1-ubyte': idx(LABELS['train'])}


class TinyMNIST(MNISTLT):
    default_n_max = 6
    mirrors = ('http://127.0.0.1:9/',)

    @classmethod
    def source(cls):
        packed = {f'{n}.gz': md5(gzip.compress(content, mtime=0)) for n, content in IDX.items()}
        return SimpleNamespace(mirrors=cls.mirrors, resources=list(packed.items()))


def put_mnist(root, folder='mnist/raw', compress=True, files=IDX):
    (root / folder).mkdir(parents=True)
    for name, content in files.items():
        if compress:
            (root / folder / f'{name}.gz').write_bytes(gzip.compress(content, mtime=0))
        else:
            (root / folder / name).write_bytes(content)


# ------------------------------------------------------------------------- images that a list names
def class_picture(label, variant, size):
    """A JPEG whose colours and stripes tell its class, with some noise."""
    rng = np.random.default_rng([label, 1])
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(2 * np.pi * (rng.normal() * 3 * x + rng.normal() * 3 * y)) for _ in range(3)]
    pixels = rng.integers(60, 196, 3) + 50 * np.stack(waves, 2)
    pixels += np.random.default_rng([label, variant, 2]).normal(0, 12, pixels.shape)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, 'jpeg', quality=80)
    return stream.getvalue()


def put_listed(path, root, size=96, variants=2):
    """Writes a JPEG for every path of a list, ``variants`` pictures a class; returns their number.

    The path is a comment in its file: no two files are equal.
    """
    entries, pictures, folders = read_list(path), {}, set()
    for number, (name, label) in enumerate(zip(entries.paths, entries.labels, strict=True)):
        key = label, number % variants
        if key not in pictures:
            pictures[key] = class_picture(*key, size)
        file, comment = Path(root, name), name.encode()
        if file.parent not in folders:
            file.parent.mkdir(parents=True, exist_ok=True)
            folders.add(file.parent)
        head = b'\xff\xd8\xff\xfe' + (len(comment) + 2).to_bytes(2, 'big') + comment
        file.write_bytes(head + pictures[key][2:])
    return len(entries.paths)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Write a small JPEG for every path of a list.')
    parser.add_argument('list')
    parser.add_argument('root', help='what the paths are relative to')
    parser.add_argument('--size', type=int, default=96, help='pixels a side (96)')
    arguments = parser.parse_args()
    written = put_listed(arguments.list, arguments.root, arguments.size)
    print(f'{written} images below {arguments.root}')
