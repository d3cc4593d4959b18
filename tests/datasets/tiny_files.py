"""A small CIFAR in both layouts and a small MNIST, as files and as data sets that expect them."""

import gzip
import hashlib
import io
import pickle
import tarfile

import numpy as np

from bce3s.datasets import sources
from bce3s.datasets.in_memory import CIFAR10LT, MNISTLT

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


def binary_batch(images, labels):
    return np.concatenate([labels[:, None], images.reshape(len(images), -1)], 1).astype(np.uint8)


FILES = {
    'tiny-bin': {
        'data_1.bin': binary_batch(IMAGES['train'][:30], LABELS['train'][:30]).tobytes(),
        'data_2.bin': binary_batch(IMAGES['train'][30:], LABELS['train'][30:]).tobytes(),
        'test.bin': binary_batch(IMAGES['test'], LABELS['test']).tobytes(),
    },
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


def tiny(urls=('http://127.0.0.1:9/tiny.tar.gz',), archive_md5=''):
    """CIFAR10LT with the small files as the published ones."""

    def archive(name, folder, suffix, known, label_bytes):
        files = [
            sources.Published(n, md5(FILES[folder][n]) if known else None)
            for n in (f'data_1{suffix}', f'data_2{suffix}', f'test{suffix}')
        ]
        train, test = tuple(files[:2]), tuple(files[2:])
        return sources.Archive(name, tuple(urls), archive_md5, folder, train, test, label_bytes)

    class Tiny(CIFAR10LT):
        default_n_max = 6
        file_size = {'train': 30, 'test': 20}
        archives = [
            archive('tiny.tar.gz', 'tiny-bin', '.bin', False, 1),
            archive('tiny-py.tar.gz', 'tiny-py', '', True, None),
        ]

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
    source = sources.Idx(
        folders=('mnist/raw', 'MNIST/raw'),
        mirrors=('http://127.0.0.1:9/',),
        md5={name: md5(gzip.compress(content, mtime=0)) for name, content in IDX.items()},
        unpacked={name: md5(content) for name, content in IDX.items()},
        page='',
    )


def put_mnist(root, folder='mnist/raw', compress=True, files=IDX):
    (root / folder).mkdir(parents=True)
    for name, content in files.items():
        if compress:
            (root / folder / f'{name}.gz').write_bytes(gzip.compress(content, mtime=0))
        else:
            (root / folder / name).write_bytes(content)
