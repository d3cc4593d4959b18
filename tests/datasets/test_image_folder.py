"""Folders of images: labels, counts, crops that follow from (seed, epoch, index), bad files."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import functional as tf

from bce3s.datasets.image_folder import ImageFolder
from bce3s.datasets.in_memory import DigitsLT
from bce3s.datasets.samplers import NaturalSampler, PairedBatchSampler
from bce3s.engine.run_state import RunStateHook
from bce3s.errors import BCE3SError
from bce3s.models import LongTailedPreprocessor
from bce3s.registry import DATASETS

TRAIN, TEST = dict(cat=5, ant=3, bee=1), dict(ant=2, cat=2)


def write(folder, images, seed=0):
    rng = np.random.default_rng(seed)
    for name, number in images.items():
        (folder / name).mkdir(parents=True)
        for i in range(number):
            size = rng.integers(20, 40, 2)
            pixels = rng.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{i}.png')


@pytest.fixture
def root(tmp_path):
    write(tmp_path / 'train', TRAIN)
    write(tmp_path / 'val', TEST, seed=1)
    return tmp_path


def build(root, split='train', **options):
    return ImageFolder(str(root), split, **dict(size=16, resize=20) | options)


def test_classes_and_counts(root):
    train, test = build(root), build(root, 'test')
    assert train.labels.tolist() == [0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert test.labels.tolist() == [0, 0, 2, 2]  # as in the training set, which has bees
    for dataset, split, size in ((train, 'train', 9), (test, 'test', 4)):
        assert len(dataset) == size
        assert dataset.metainfo == dict(
            dataset='ImageFolder',
            split=split,
            classes=['ant', 'bee', 'cat'],
            class_counts=[3, 1, 5],
            subset=dict(size=size),
        )
    assert DATASETS.get('ImageFolder') is ImageFolder


def close(out, expected):
    """To rounding."""
    return out.shape == expected.shape and (out.int() - expected.int()).abs().max() <= 1


def test_the_test_sees_the_centre(root):
    dataset = build(root, 'test')
    for i, path in enumerate(dataset.paths):
        item = dataset[i]
        image = tf.center_crop(tf.resize(Image.open(path), 20), 16)
        assert close(item['inputs'], torch.tensor(np.array(image)).permute(2, 0, 1))
        assert item['data_samples']['labels'] == dataset.labels[i]
        assert item['data_samples']['indices'] == i


def test_training_images_without_augmentation(root):
    dataset = build(root)
    plain = dataset.unaugmented()
    for i, path in enumerate(dataset.paths):
        image = tf.center_crop(tf.resize(Image.open(path), 20), 16)
        expected = torch.tensor(np.array(image)).permute(2, 0, 1)
        assert close(plain[i]['inputs'], expected)
        assert not close(dataset[i]['inputs'], expected)
    assert plain.metainfo == dataset.metainfo


def test_images_in_folders_of_a_class_and_in_capitals(root):
    (root / 'train/bee/more').mkdir()
    picture = Image.fromarray(np.full((30, 30, 3), 7, np.uint8))
    picture.save(root / 'train/bee/more/A.JPG')
    picture.save(root / 'train/bee/.b.jpeg')
    (root / 'train/bee/notes.txt').write_text('none')
    paths = [path.removeprefix(str(root)) for path in build(root).paths if 'bee' in path]
    bees = ['/train/bee/.b.jpeg', '/train/bee/0.png', '/train/bee/more/A.JPG']
    assert paths == bees


def test_grey_images_have_three_channels(root):
    Image.fromarray(np.full((30, 30), 7, np.uint8)).save(root / 'train/ant/grey.jpg')
    dataset = build(root)
    inputs = dataset[[path.endswith('grey.jpg') for path in dataset.paths].index(True)]['inputs']
    assert inputs.shape == (3, 16, 16)
    assert inputs.dtype == torch.uint8
    assert (inputs == 7).all()


def batches(dataset, workers, epoch=0, seed=0, size=4):
    sampler = NaturalSampler(dataset, seed=seed)
    sampler.set_epoch(epoch)
    dataset.set_epoch(seed, epoch)
    loader = DataLoader(
        dataset,
        batch_sampler=torch.utils.data.BatchSampler(sampler, size, drop_last=False),
        num_workers=workers,
        collate_fn=default_collate,
    )
    return list(loader)


def test_crops_follow_from_seed_epoch_and_index(root):
    """Not from the number of workers, the order of access or the global generator."""

    def by_index(*args, **kwargs):
        out = {}
        for batch in batches(build(root), *args, **kwargs):
            rows = zip(batch['data_samples']['indices'].tolist(), batch['inputs'], strict=True)
            out.update(rows)
        return [out[i] for i in range(9)]

    def differ(a, b):
        return sum(not torch.equal(x, y) for x, y in zip(a, b, strict=True))

    torch.manual_seed(1)
    plain = by_index(0)
    torch.manual_seed(2)
    assert differ(plain, by_index(2)) == 0
    assert differ(plain, by_index(1, size=3)) == 0
    dataset = build(root)
    assert differ(plain, [dataset[i]['inputs'] for i in range(9)]) == 0
    assert differ(plain, by_index(0, epoch=1)) == 9
    assert differ(plain, by_index(0, seed=1)) == 9


def test_the_run_tells_seed_and_epoch(root):
    dataset = build(root)
    runner = SimpleNamespace(seed=3, epoch=5, train_dataloader=SimpleNamespace(dataset=dataset))
    RunStateHook().before_train_epoch(runner)
    assert (dataset.seed, dataset.epoch) == (3, 5)
    runner.train_dataloader.dataset = DigitsLT()  # has no crops of its own
    RunStateHook().before_train_epoch(runner)


def test_reading_leaves_the_global_generator_alone(root):
    dataset = build(root)
    before = torch.get_rng_state()
    _ = dataset[0], build(root, 'test')[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_random_crops_have_the_size_and_are_mirrored_half_the_time(root):
    """A picture that is dark on the left: mirrored ones are dark on the right."""
    half = np.zeros((40, 40, 3), np.uint8)
    half[:, 20:] = 200
    Image.fromarray(half).save(root / 'train/bee/0.png')
    dataset, mirrored, told = build(root), 0, 0
    for epoch in range(200):
        dataset.set_epoch(0, epoch)
        image = dataset[3]['inputs'].float()
        assert image.shape == (3, 16, 16)
        left, right = image[:, :, :4].mean(), image[:, :, -4:].mean()
        told += left != right  # else the crop lies on one side
        mirrored += left > right
    assert told > 80
    assert abs(mirrored - told / 2) < 5 * (told / 4) ** 0.5


def test_batches_for_the_preprocessor(root):
    (batch,) = batches(build(root), 0, size=9)
    assert batch['inputs'].shape == (9, 3, 16, 16)
    assert batch['inputs'].dtype == torch.uint8
    assert set(batch['data_samples']) == {'labels', 'indices'}
    module = LongTailedPreprocessor((0.5,) * 3, (0.2,) * 3)
    assert module(batch, training=True)['inputs'].shape == (9, 3, 16, 16)


def test_paired_batches(root):
    dataset = build(root)
    sampler = PairedBatchSampler(NaturalSampler(dataset, seed=0), 4)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=default_collate)
    module = LongTailedPreprocessor((0.5,) * 3, (0.2,) * 3, mix=[dict(type='PairedMixUp')])
    indices = list(sampler)
    for batch, expected in zip(loader, indices, strict=True):
        assert batch['data_samples']['indices'].tolist() == expected
        out = module(batch, training=True)
        assert len(out['inputs']) == len(expected)  # two views of half as many
        assert torch.equal(
            out['data_samples'].partners, dataset.labels[expected[len(expected) // 2 :]]
        )


# ------------------------------------------------------------------------------- bad input


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BCE3SError, match=r'train is not a folder of classes .*data_root=DIR'):
        build(tmp_path)
    (tmp_path / 'train').mkdir()
    with pytest.raises(BCE3SError, match='train is not a folder of classes'):
        build(tmp_path)


def test_a_class_without_images(root):
    (root / 'train/dog').mkdir()
    (root / 'train/dog/readme.txt').write_text('none')
    for split in ('train', 'test'):
        with pytest.raises(BCE3SError, match=r"train/dog holds no image .* class 'dog'"):
            build(root, split)


def test_a_class_that_only_the_test_has(root):
    (root / 'val/wasp').mkdir()
    with pytest.raises(BCE3SError, match='val/wasp is a class that the training set does not have'):
        build(root, 'test')


def test_a_test_without_images(root):
    for path in root.glob('val/*/*'):
        path.unlink()
    with pytest.raises(BCE3SError, match='val holds no image'):
        build(root, 'test')


def test_an_unknown_split(root):
    with pytest.raises(BCE3SError, match="split is 'val'; use 'train' or 'test'"):
        build(root, 'val')


@pytest.mark.parametrize(('size', 'resize'), [(21, 20), (0, 20)])
def test_sizes_out_of_range(root, size, resize):
    with pytest.raises(BCE3SError, match=f'size={size} must be .* resize={resize}'):
        build(root, size=size, resize=resize)


@pytest.mark.parametrize('damage', ['empty', 'truncated', 'text'])
@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_image_is_named(root, damage, workers):
    path = root / 'train/bee/0.png'
    whole = path.read_bytes()
    path.write_bytes(dict(empty=b'', truncated=whole[: len(whole) // 2], text=b'no image')[damage])
    with pytest.raises(BCE3SError, match=r'train/bee/0.png cannot be read as an image'):
        batches(build(root), workers)
