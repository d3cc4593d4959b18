"""Files as they may lie on a disk: layouts, checksums, damage, pickles that are not data."""

import gzip
import os
import pickle

import numpy as np
import pytest
import torch
from tiny_files import (
    FILES,
    GREY,
    IDX,
    IMAGES,
    LABELS,
    TinyMNIST,
    idx,
    md5,
    put,
    put_mnist,
    python_batch,
    tiny,
)

from bce3s.errors import BCE3SError


def test_cifar(tmp_path):
    put(tmp_path, 'tiny-py')
    train = tiny()(imbalance_factor=3, data_root=str(tmp_path))
    test = tiny()(split='test', imbalance_factor=3, data_root=str(tmp_path))
    assert torch.bincount(train.labels).tolist() == train.metainfo['class_counts']
    assert test.metainfo['class_counts'] == train.metainfo['class_counts']
    first = int(np.flatnonzero(LABELS['train'] == 3)[0])
    assert torch.equal(train.images[train.labels == 3][0], torch.tensor(IMAGES['train'][first]))
    assert torch.equal(test.images, torch.tensor(IMAGES['test']))


def test_labels_of_another_data_set(tmp_path):
    put(tmp_path, 'tiny-py')
    content = python_batch(IMAGES['test'], LABELS['test'] + 1)
    (tmp_path / 'tiny-py/test').write_bytes(content)
    with pytest.raises(BCE3SError, match=r'label 10 at index 7 of .*is not in 0\.\.9'):
        tiny()(split='test', data_root=str(tmp_path), verify=False, imbalance_factor=3)


@pytest.mark.parametrize('compress', [True, False])
@pytest.mark.parametrize('folder', ['mnist/raw', 'MNIST/raw'])
def test_mnist_layouts(tmp_path, folder, compress):
    put_mnist(tmp_path, folder, compress)
    train = TinyMNIST(imbalance_factor=2, data_root=str(tmp_path))
    assert train.images.shape == (sum(train.metainfo['class_counts']), 1, 28, 28)
    first = int(np.flatnonzero(LABELS['train'] == 9)[0])
    assert torch.equal(train.images[train.labels == 9][0, 0], torch.tensor(GREY[first]))


def test_another_checksum_is_refused_unless_told(tmp_path):
    put(tmp_path, 'tiny-py')
    swapped = IMAGES['train'][:30][::-1], LABELS['train'][:30][::-1]
    content = python_batch(swapped[0].copy(), swapped[1].copy())
    (tmp_path / 'tiny-py/data_1').write_bytes(content)
    sentence = rf'data_1: MD5 {md5(content)}, published is {md5(FILES["tiny-py"]["data_1"])}'
    with pytest.raises(BCE3SError, match=sentence + '.*verify=False'):
        tiny()(imbalance_factor=3, data_root=str(tmp_path))
    accepted = tiny()(imbalance_factor=3, data_root=str(tmp_path), verify=False)
    assert torch.bincount(accepted.labels).tolist() == accepted.metainfo['class_counts']


def test_mnist_checksum(tmp_path):
    put_mnist(tmp_path)
    path = tmp_path / 'mnist/raw/train-images-idx3-ubyte.gz'
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=5))
    with pytest.raises(BCE3SError, match=r'train-images-idx3-ubyte\.gz: MD5 .*verify=False'):
        TinyMNIST(imbalance_factor=2, data_root=str(tmp_path))
    TinyMNIST(imbalance_factor=2, data_root=str(tmp_path), verify=False)


@pytest.mark.parametrize('keep', [0, 1, 1000, -1])
def test_truncated_cifar(tmp_path, keep):
    put(tmp_path, 'tiny-py')
    path = tmp_path / 'tiny-py/data_2'
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BCE3SError, match=r'data_2 is truncated or damaged .*delete it and fetch'):
        tiny()(imbalance_factor=3, data_root=str(tmp_path), verify=False)


@pytest.mark.parametrize('compress', [True, False])
@pytest.mark.parametrize('keep', [0, 3, 9, 1000, -1])
def test_truncated_mnist(tmp_path, compress, keep):
    put_mnist(tmp_path, compress=compress)
    path = next((tmp_path / 'mnist/raw').glob('train-images*'))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BCE3SError, match=f'{path.name} is truncated or damaged'):
        TinyMNIST(imbalance_factor=2, data_root=str(tmp_path), verify=False)


def test_mnist_files_that_do_not_belong_together(tmp_path):
    put_mnist(tmp_path, files={**IDX, 'train-labels-idx1-ubyte': idx(LABELS['train'][:-1])})
    with pytest.raises(BCE3SError, match='do not belong together'):
        TinyMNIST(imbalance_factor=2, data_root=str(tmp_path), verify=False)


@pytest.mark.parametrize(
    'entry',
    [
        {'data': np.zeros((30, 3072), np.float32), 'labels': [0] * 30},
        {'data': np.zeros((30, 3072), np.uint8), 'labels': [0.5] * 30},
        {'data': np.zeros((30, 3072), np.uint8), 'labels': [0] * 29},
        {'data': np.zeros((30, 100), np.uint8), 'labels': [0] * 30},
        {'labels': [0] * 30},
        [1, 2],
    ],
)
def test_pickle_of_something_else(tmp_path, entry):
    put(tmp_path, 'tiny-py')
    (tmp_path / 'tiny-py/data_1').write_bytes(pickle.dumps(entry, protocol=4))
    with pytest.raises(BCE3SError, match='tiny-py/data_1 is truncated or damaged'):
        tiny()(imbalance_factor=3, data_root=str(tmp_path), verify=False)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_pickle_that_would_run_a_command_is_refused(tmp_path, protocol):
    put(tmp_path, 'tiny-py')
    marker = tmp_path / 'ran'
    entry = {'data': Malicious(marker), 'labels': [0]}
    (tmp_path / 'tiny-py/data_1').write_bytes(pickle.dumps(entry, protocol=protocol))
    with pytest.raises(BCE3SError, match=r'data_1 is not safe to read: it asks for \w+\.system'):
        tiny()(imbalance_factor=3, data_root=str(tmp_path), verify=False)
    assert not marker.exists()


@pytest.mark.parametrize('call', [b'cbuiltins\neval\n', b'cnumpy\nload\n', b'cnumpy.core\nx.y\n'])
def test_other_globals_are_refused(tmp_path, call):
    put(tmp_path, 'tiny-py')
    (tmp_path / 'tiny-py/data_1').write_bytes(call + b'(tR.')
    with pytest.raises(BCE3SError, match='nothing of it was executed'):
        tiny()(imbalance_factor=3, data_root=str(tmp_path), verify=False)
