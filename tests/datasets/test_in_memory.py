"""Splits, content and batches of the in-memory data sets; the real files, where they are."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from bce3s.datasets import in_memory as plain
from bce3s.datasets.whole_batches import (
    CIFAR100LT,
    MNISTLT,
    DigitsCanvasLT,
    DigitsLT,
    passthrough,
)
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]


def test_digits_sizes_and_values():
    train, test = DigitsLT(), DigitsLT(split='test')
    assert train.images.shape == (405, 1, 8, 8)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.metainfo['class_counts'] == [120, 86, 61, 44, 31, 22, 16, 11, 8, 6]
    assert torch.bincount(train.labels).tolist() == train.metainfo['class_counts']
    assert torch.bincount(test.labels).tolist() == [50] * 10
    assert test.metainfo['class_counts'] == train.metainfo['class_counts']
    levels = {round(v * 255 / 16) for v in range(17)}
    assert set(train.images.unique().tolist()) | set(test.images.unique().tolist()) == levels


def test_digits_are_the_first_50_and_those_after():
    from sklearn.datasets import load_digits

    digits = load_digits()
    train, test = DigitsLT(imbalance_factor=1), DigitsLT(split='test')
    taken = []
    for k in range(10):
        rows = [i for i, label in enumerate(digits.target) if label == k]
        taken += rows[50:170]
    scaled = [[round(v * 255 / 16) for v in digits.data[i]] for i in taken]
    assert train.images.flatten(1).tolist() == scaled
    tests, seen = [], [0] * 10
    for i, label in enumerate(digits.target):
        if seen[label] < 50:
            tests.append(i)
        seen[label] += 1
    assert test.labels.tolist() == digits.target[tests].tolist()
    assert not set(tests) & set(taken)


def test_digits_are_reproducible_and_named_by_their_content():
    one, two, other = DigitsLT(), DigitsLT(), DigitsLT(rule='ldam')
    assert one.metainfo == two.metainfo
    assert torch.equal(one.images, two.images)
    expected = hashlib.sha256(one.images.numpy().tobytes() + one.labels.numpy().tobytes())
    assert one.metainfo['subset'] == dict(
        rule='first_n',
        imbalance='exp',
        imbalance_factor=20.0,
        n_max=120,
        keep_classes=None,
        test_per_class=None,
        val_per_class=None,
        size=405,
        sha256=expected.hexdigest(),
    )
    assert other.metainfo['subset']['sha256'] != expected.hexdigest()
    assert other.metainfo['class_counts'] == one.metainfo['class_counts']


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (dict(split='valid'), "DigitsLT: split is 'valid'; use 'train', 'val' or 'test'"),
        (dict(split='val'), 'DigitsLT has no validation images: set val_per_class'),
        (dict(imbalance_factor=0.5), 'imbalance_factor is 0.5'),
        (dict(imbalance_factor=121), r'class 9 \(9\) would have no training image'),
        (dict(n_max=126), r"class 8 \(8\) has 124 images in scikit-learn's digits, 126 are needed"),
        (dict(rule='random'), "rule is 'random'"),
        (dict(split='test', imbalance='cubic'), "imbalance is 'cubic'"),
        (dict(imbalance='none', n_max=20), "imbalance='none' keeps every image, but n_max is 20"),
        (dict(keep_classes=[]), r'keep_classes is \[\]: it must hold'),
        (dict(keep_classes=[1, 1]), r'keep_classes is \[1, 1\]: it must hold'),
        (dict(keep_classes=[0, 10]), r'integers in 0..9'),
        (dict(keep_classes=[3.0, '4']), r'integers in 0..9'),
        (dict(test_per_class=0), 'test_per_class is 0: it must be an integer >= 1'),
        (dict(split='test', test_per_class=51), r'class 0 \(0\) has 50 images'),
        (dict(val_per_class=-1), 'val_per_class is -1: it must be an integer >= 1'),
        (dict(val_per_class=125, n_max=9), r'class 8 \(8\) has 124 images'),
        (dict(val_per_class=20, n_max=106), r'class 8 \(8\) has 104 images'),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        DigitsLT(**{'imbalance_factor': 1, **arguments})


# ---- whole, some classes, fewer test images


def by_hand(split, keep):
    """Images and new labels of the classes ``keep``, in file order; 50 of each are the test's."""
    from sklearn.datasets import load_digits

    digits, seen, rows = load_digits(), [0] * 10, []
    for pixels, label in zip(digits.data, digits.target, strict=True):
        mine = (seen[label] < 50) == (split == 'test')
        seen[label] += 1
        if mine and label in keep:
            rows.append((keep.index(label), [round(v * 255 / 16) for v in pixels]))
    return rows


def content(dataset):
    return list(zip(dataset.labels.tolist(), dataset.images.flatten(1).tolist(), strict=True))


@pytest.mark.parametrize('keep', [None, [7, 2, 9], [4]])
def test_every_image_of_the_classes_kept(keep):
    options = dict(imbalance='none', keep_classes=keep)
    train, test = DigitsLT(**options), DigitsLT(split='test', **options)
    kept = keep or list(range(10))
    expected = by_hand('train', kept)
    counts = [sum(label == k for label, _ in expected) for k in range(len(kept))]
    # the training set is ordered by class, and within a class as the file
    assert content(train) == sorted(expected, key=lambda row: row[0])
    assert content(test) == by_hand('test', kept)
    assert sum(counts) == (1297 if keep is None else len(expected))
    for dataset in (train, test):
        assert dataset.metainfo['class_counts'] == counts
        assert dataset.metainfo['classes'] == [str(k) for k in kept]
        assert dataset.classes == tuple(str(k) for k in kept)
        subset = dataset.metainfo['subset']
        assert subset['imbalance'] == 'none'
        assert subset['imbalance_factor'] is subset['n_max'] is None
        assert subset['keep_classes'] == keep
    assert DigitsLT.classes == tuple('0123456789')


def test_a_long_tail_over_the_classes_kept():
    options = dict(keep_classes=[7, 2, 9], imbalance_factor=9, n_max=90)
    train, test = DigitsLT(**options), DigitsLT(split='test', **options)
    assert torch.bincount(train.labels).tolist() == [90, 30, 10]
    assert train.metainfo['class_counts'] == test.metainfo['class_counts'] == [90, 30, 10]
    rows = by_hand('train', [7, 2, 9])
    first = [row for k, n in enumerate([90, 30, 10]) for row in [r for r in rows if r[0] == k][:n]]
    assert content(train) == first


# ---- batches


def test_one_gather_equals_item_by_item():
    dataset = DigitsLT()
    indices = [5, 404, 0, 5, 77]
    batch = dataset.__getitems__(indices)
    items = [dataset[i] for i in indices]
    assert torch.equal(batch['inputs'], torch.stack([item['inputs'] for item in items]))
    for key in ('labels', 'indices'):
        singles = [item['data_samples'][key] for item in items]
        assert all(s.ndim == 0 and s.dtype == torch.int64 for s in singles)
        assert torch.equal(batch['data_samples'][key], torch.stack(singles))
    assert batch['data_samples']['indices'].tolist() == indices
    assert batch['inputs'].dtype == torch.uint8


@pytest.mark.parametrize('workers', [0, 1])
def test_loader_yields_the_batches(workers):
    dataset = DigitsLT(split='test')
    loader = DataLoader(dataset, 128, collate_fn=passthrough, num_workers=workers)
    batches = list(loader)
    assert [len(b['inputs']) for b in batches] == [128, 128, 128, 116]
    assert torch.equal(torch.cat([b['inputs'] for b in batches]), dataset.images)
    assert torch.equal(torch.cat([b['data_samples']['labels'] for b in batches]), dataset.labels)


def test_the_plain_data_sets_are_those_of_the_configs():
    """A process of its own: neither MMEngine nor OpenCV is imported."""
    code = """if True:
        import sys
        from torch.utils.data import DataLoader
        from bce3s.datasets import DigitsLT
        train = DigitsLT(imbalance_factor=10)
        images, labels = next(iter(DataLoader(train, 64)))
        shown, label = DigitsLT(imbalance_factor=10, transform=lambda image: image)[70]
        assert (shown.mode, shown.size) == ('L', (8, 8))
        assert list(shown.getdata()) == train[70][0].flatten().tolist()
        assert not {'mmengine', 'mmpretrain', 'mmcv', 'cv2', 'torchvision'} & sys.modules.keys()
        print(len(train), images.shape, labels.tolist() == [0] * 64)
        print(train.metainfo)
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    ours = DATASETS.build(dict(type='DigitsLT', imbalance_factor=10))
    shape, metainfo = done.stdout.splitlines()
    assert shape == '486 torch.Size([64, 1, 8, 8]) True'
    assert metainfo == str(ours.metainfo)
    assert ours.class_counts == ours.metainfo['class_counts']


@pytest.mark.parametrize('seed', [0, 1])
def test_the_seed_of_the_rule_of_ldam(seed):
    one, first_n = (plain.DigitsLT(rule=rule, seed=seed) for rule in ('ldam', 'first_n'))
    assert torch.equal(one.images, plain.DigitsLT(rule='ldam').images) == (seed == 0)
    assert torch.equal(first_n.images, plain.DigitsLT().images)


@pytest.mark.parametrize('name', ['digits', 'cifar10', 'cifar100', 'mnist', 'fashionmnist'])
def test_base_configs(name):
    config = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}lt.py')
    for loader, split in ((config.train_dataloader, 'train'), (config.val_dataloader, 'test')):
        assert loader.dataset.split == split
        assert DATASETS.get(loader.dataset.type) is not None
    if name == 'digits':
        assert len(DATASETS.build(config.train_dataloader.dataset)) == 405


# ---- the real files, where they are


@pytest.fixture(scope='module')
def cifar100(data_root):
    if not (data_root / 'cifar-100-python/train').is_file():
        pytest.skip('no data/cifar-100-python')
    return dict(data_root=str(data_root), verify=False, download=False)


def test_real_cifar100(cifar100):
    train = CIFAR100LT(**cifar100)
    assert torch.bincount(train.labels).tolist() == train.metainfo['class_counts']
    assert len(train) == 10847
    indices = [0, 10846, 4000]
    batch = train.__getitems__(indices)
    assert torch.equal(batch['inputs'], torch.stack([train[i]['inputs'] for i in indices]))
    test = CIFAR100LT(split='test', **cifar100)
    assert torch.bincount(test.labels).tolist() == [100] * 100
    assert 100 < test.images.float().mean() < 140


def test_real_cifar100_agrees_with_plain_unpickling(cifar100):
    with (Path(cifar100['data_root']) / 'cifar-100-python/test').open('rb') as file:
        entry = pickle.load(file, encoding='latin1')
    test = CIFAR100LT(split='test', **cifar100)
    assert test.labels.tolist() == entry['fine_labels']
    assert (test.images.numpy().reshape(-1, 3072) == entry['data']).all()


def test_real_mnist(data_root):
    if not (data_root / 'mnist/raw/train-images-idx3-ubyte').is_file():
        pytest.skip('no data/mnist/raw')
    train = MNISTLT(data_root=str(data_root), download=False)  # checksums verified
    assert len(train) == 12406
    assert torch.bincount(train.labels).tolist() == train.metainfo['class_counts']
    options = dict(data_root=str(data_root), download=False, imbalance='none')
    test = MNISTLT(split='test', **options)
    assert test.metainfo['class_counts'] == MNISTLT(**options).metainfo['class_counts']
    assert sum(test.metainfo['class_counts']) == 60000
    assert torch.bincount(test.labels).tolist()[:2] == [980, 1135]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


# ---- a validation part of the training files


@pytest.mark.parametrize('options', [dict(), dict(keep_classes=[7, 2, 9]), dict(rule='ldam')])
def test_validation_images_are_the_last_of_each_class_and_no_training_images(options):
    train, val, test = (
        DigitsLT(split, val_per_class=20, **options) for split in ('train', 'val', 'test')
    )
    whole = by_hand('train', options.get('keep_classes', list(range(10))))
    last = {k: [row for row in whole if row[0] == k][-20:] for k in range(len(val.classes))}
    assert sorted(content(val)) == sorted(row for rows in last.values() for row in rows)
    images = {tuple(pixels) for _, pixels in content(val)}
    assert not images & {tuple(pixels) for _, pixels in content(train)}
    assert train.class_counts[0] == 100  # 120 less 20, as the imbalance factor is kept
    assert train.class_counts == val.class_counts == test.class_counts
    assert torch.equal(test.images, DigitsLT('test', **options).images)
    assert [part.metainfo['split'] for part in (train, val, test)] == ['train', 'val', 'test']
    assert val.metainfo['subset']['val_per_class'] == 20


# ------------------------------------------------------------------------ several labels a picture
CANVASES = {
    'train': 'f9d0fc0d4c0736e3b5531cd213d51c8dcc8afb2ef1480f669f71b8727441f585',
    'val': 'b67167ac5eb946b8d85b103b6dec43ff1ab10836c591459ee2bc2f96f57c77fe',
    'test': 'ac8f5ee4955803b48eed90a0c95f757cdfeef5fe23e165f1f5394e81bb2f48a8',
}


def cells(images):
    """The digits in the cells (N, 4, 64)."""
    return images.unfold(2, 8, 8).unfold(3, 8, 8).reshape(len(images), 4, 64)


def test_canvases_are_these_very_pictures():
    found = {split: DigitsCanvasLT(split=split) for split in CANVASES}
    for split, one in found.items():
        content = one.images.numpy().tobytes() + one.labels.numpy().tobytes()
        assert hashlib.sha256(content).hexdigest() == CANVASES[split]
        assert one.metainfo['subset']['sha256'] == CANVASES[split]
        assert one.labels.dtype == torch.int8
        assert one.metainfo['multilabel']
        assert one.metainfo['class_counts'] == [300, 194, 125, 81, 52, 34, 22, 14, 9, 6]
        per_class = dict(train=one.class_counts, val=[50] * 10, test=[100] * 10)[split]
        assert one.labels.sum(0).tolist() == per_class
        # as many digits as labels, one of each class; a few pictures have none
        filled = cells(one.images).any(2).sum(1)
        assert torch.equal(filled, one.labels.sum(1))
        assert 0 < (filled == 0).sum() < 0.06 * len(filled)
    digits = [
        {bytes(cell) for cell in cells(one.images).flatten(0, 1).numpy() if cell.any()}
        for one in found.values()
    ]
    assert all(len(some) > 200 for some in digits)
    assert not digits[0] & digits[1] | digits[0] & digits[2] | digits[1] & digits[2]


def test_every_cell_shows_a_digit_of_its_labels():
    """Of pictures with one label, the digit is one of that class."""
    one, digits = DigitsCanvasLT(), DigitsLT(imbalance='none')
    named = {
        bytes(image.flatten().numpy()): int(label)
        for image, label in zip(digits.images, digits.labels, strict=True)
    }
    alone = one.labels.sum(1) == 1
    for picture, label in zip(cells(one.images[alone]), one.labels[alone].argmax(1), strict=True):
        (digit,) = (cell for cell in picture.numpy() if cell.any())
        assert named[bytes(digit)] == label


def test_classes_of_one_parity_come_together():
    labels = DigitsCanvasLT(split='test').labels.long()  # where all classes are as frequent
    together, even = labels.T @ labels, torch.arange(10) % 2
    same = even == even[:, None]
    assert together[same & ~torch.eye(10, dtype=bool)].double().mean() > 1.5 * (
        together[~same].double().mean()
    )
