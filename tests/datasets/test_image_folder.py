"""Folders of images: labels, counts, crops that follow from (seed, epoch, place), bad files."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import functional as tf

from bce3s import samplers
from bce3s.datasets import image_files
from bce3s.datasets.image_folder import ImageFolder
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS
from bce3s.samplers import (
    Draws,
    GlobalBatchSampler,
    NaturalSampler,
    PairedBatchSampler,
    PowerSampler,
)

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


def loader_of(batch_sampler, workers=0, **options):
    return DataLoader(
        batch_sampler.sampler.dataset,
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=default_collate,
        **options,
    )


def batches(dataset, workers, epoch=0, seed=0, size=4, kind=GlobalBatchSampler):
    sampler = kind(NaturalSampler(dataset, seed=seed), size)
    sampler.sampler.set_epoch(epoch)
    return list(loader_of(sampler, workers))


def inputs_of(found):
    return torch.cat([batch['inputs'] for batch in found])


def differ(a, b):
    return sum(not torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_crops_follow_from_seed_epoch_and_place(root):
    """Not from the number of workers, how the epoch is cut, or the global generator."""

    def crops(*args, **kwargs):
        return inputs_of(batches(build(root), *args, **kwargs))

    torch.manual_seed(1)
    plain = crops(0)
    torch.manual_seed(2)
    assert differ(plain, crops(2)) == 0
    assert differ(plain, crops(1, size=3)) == 0
    assert differ(plain, crops(0, epoch=1)) == 9
    assert differ(plain, crops(0, seed=1)) == 9


@pytest.mark.parametrize('kind', [GlobalBatchSampler, PairedBatchSampler])
def test_an_image_that_is_drawn_again_is_cropped_again(root, kind):
    """Class-balanced, a class of one image is drawn many times an epoch, and in both halves."""
    (root / 'val').rename(root / 'elsewhere')
    for i in range(5, 60):  # an epoch of 64 draws, a third of them of the one bee
        (root / f'train/cat/{i}.png').write_bytes((root / 'train/cat/0.png').read_bytes())
    dataset = build(root)
    sampler = kind(PowerSampler(dataset, 1, seed=0), 64)
    (batch,) = loader_of(sampler)
    crops = batch['inputs'][batch['data_samples']['labels'] == 1]
    assert len(crops) > 12
    assert len(crops.unique(dim=0)) == len(crops)


@pytest.mark.parametrize('kind', [GlobalBatchSampler, PairedBatchSampler])
def test_crops_of_two_processes_and_of_a_resumed_epoch_are_those_of_one(root, kind, monkeypatch):
    (root / 'val').rename(root / 'elsewhere')
    dataset = build(root)

    def halves(found):
        size = 1 + (kind is PairedBatchSampler)
        return [batch['inputs'].chunk(size) for batch in found]

    whole = halves(batches(dataset, 0, size=4, kind=kind))
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(samplers, 'rank_and_world_size', lambda rank=rank: (rank, 2))
        parts.append(halves(batches(dataset, 0, size=2, kind=kind)[:2]))  # the last has one image
    for one, first, second in zip(whole, *parts, strict=False):
        for half, a, b in zip(one, first, second, strict=True):
            assert torch.equal(half, torch.cat([a, b]))
    monkeypatch.undo()
    resumed = kind(NaturalSampler(dataset, seed=0), 4)
    resumed.first = 1
    for rest, expected in zip(halves(loader_of(resumed)), whole[1:], strict=True):
        assert all(map(torch.equal, rest, expected))


def test_without_a_batch_sampler_of_ours_crops_come_from_the_global_generator(root):
    dataset = build(root)
    torch.manual_seed(0)
    first, second = dataset[0]['inputs'], dataset[0]['inputs']
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    (again,) = dataset.__getitems__([0])
    assert torch.equal(again['inputs'], first)


def test_reading_leaves_the_global_generator_alone(root):
    dataset = build(root)
    before = torch.get_rng_state()
    _ = dataset.__getitems__(Draws([0], 0, 0, [0])), build(root, 'test')[0]
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------- bad input


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BCE3SError, match=r'train is not a folder of classes .*data_root=DIR'):
        build(tmp_path)
    (tmp_path / 'train').mkdir()
    with pytest.raises(BCE3SError, match='train is not a folder of classes'):
        build(tmp_path)


def damage(path, kind):
    whole = path.read_bytes()
    content = dict(empty=b'', truncated=whole[: len(whole) // 2], text=b'no image')[kind]
    path.write_bytes(content)


def test_a_test_without_images(root):
    for path in root.glob('val/*/*'):
        path.unlink()
    with pytest.raises(BCE3SError, match='val holds no image'):
        build(root, 'test')


def test_a_damaged_image_is_named_by_its_worker(root):
    dataset = build(root)
    damage(root / 'train/bee/0.png', 'truncated')
    with pytest.raises(BCE3SError, match=r'train/bee/0.png cannot be read as an image'):
        batches(dataset, 1)


def test_damaged_images_are_named_before_the_first_step(root):
    damage(root / 'train/ant/1.png', 'empty')
    damage(root / 'train/bee/0.png', 'text')
    damage(root / 'train/cat/4.png', 'truncated')
    with pytest.raises(BCE3SError) as caught:
        build(root)
    assert [line.replace(f'{root}/', '') for line in str(caught.value).split('\n')] == [
        'Images of train cannot be used: mend, replace or remove them (3):',
        '  train/ant/1.png: is empty',
        '  train/bee/0.png: cannot be read as an image (damaged, or no image)',
        '  train/cat/4.png: cannot be read as an image (image file is truncated)',
    ]
    with pytest.raises(BCE3SError, match=r'cannot be used.* \(1\)'):
        build(root, check='files')
    assert len(build(root, check='none')) == 9
    assert len(build(root, 'test')) == 4  # of the training images only the names are read


def test_everything_wrong_with_the_folders_at_once(root):
    for name in ('train/dog', 'train/emu', 'val/wasp', 'val/yak'):
        (root / name).mkdir()
    (root / 'train/cat/below').mkdir()
    (root / 'train/cat/below/up').symlink_to(root / 'train/cat')
    with pytest.raises(BCE3SError) as caught:
        build(root, 'test')
    places = [line.split(': ')[0].strip() for line in str(caught.value).split('\n')[1:]]
    names = ('train/cat/below/up', 'train/dog', 'train/emu', 'val/wasp', 'val/yak')
    assert sorted(places) == [str(root / name) for name in names]


@pytest.fixture
def log(monkeypatch):
    """Lines that are logged."""
    lines = []
    monkeypatch.setattr(image_files, 'print_log', lambda text, **_: lines.append(text))
    return lines


def test_pipes_and_other_files(root, log):
    os.mkfifo(root / 'train/bee/1.jpg')
    (root / 'train/bee/2.jpg').mkdir()
    (root / 'train/bee/notes.txt').write_text('none')
    with pytest.raises(BCE3SError, match=r'train/bee/1.jpg: is no regular file$'):
        build(root)
    assert log == [f'Passed over below {root}/train:\n  1 .txt (bee)']


def test_a_test_image_that_is_a_training_image(root, log):
    build(root)
    build(root, check='none')  # looks at nothing and forgets nothing
    (root / 'val/ant/copy.png').write_bytes((root / 'train/cat/2.png').read_bytes())
    (root / 'val/ant/link.png').symlink_to(root / 'train/bee/0.png')
    with pytest.raises(BCE3SError) as caught:
        build(root, 'test')
    assert [line.replace(f'{root}/', '') for line in str(caught.value).split('\n')[1:]] == [
        '  val/ant/copy.png: has the content of the training image train/cat/2.png',
        '  val/ant/link.png: has the content of the training image train/bee/0.png',
    ]
    assert not log
    assert len(build(root, 'test', duplicates='warn')) == 6
    assert log[0].startswith(f'Training images too, under other names: 2 images of {root}/val')
    with pytest.raises(BCE3SError, match=r'0\.png: is a training image too'):
        build(root, 'test', test_dir='train', duplicates='warn')


# --------------------------------------------------------------------------- unreadable='skip'


def skipping(root, split='train'):
    """After its images ant/0 and cat/1, cat/2 were damaged."""
    dataset = build(root, split, unreadable='skip')
    for name in ('ant/0.png', 'cat/1.png', 'cat/2.png'):
        path = root / dict(train='train', test='val')[split] / name
        if path.exists():
            damage(path, 'truncated')
    return dataset


def drawn(dataset, indices):
    """The items of a batch, each index at the place of its number."""
    return dataset.__getitems__(Draws(list(indices), 0, 0, list(indices)))


def cropped(dataset, index, place):
    """An image as it is cropped at a place of the first epoch."""
    (item,) = dataset.__getitems__(Draws([index], 0, 0, [place]))
    return item['inputs']


def test_skipped_training_images_are_replaced_by_the_next_of_their_class(root):
    dataset, whole = skipping(root), build(root, check='none')
    items = drawn(dataset, range(9))
    skipped = [int(item['data_samples']['skipped']) for item in items]
    assert skipped == [1, 0, 0, 0, 0, 1, 1, 0, 0]  # ants 0-2, bee 3, cats 4-8
    for i, item in enumerate(items):
        assert item['data_samples']['labels'] == whole.labels[i]
        assert item['data_samples']['indices'] == i
        stand_in = {0: 1, 5: 7, 6: 7}.get(i, i)
        assert torch.equal(item['inputs'], cropped(whole, stand_in, place=i))
    assert not torch.equal(items[5]['inputs'], items[6]['inputs'])  # their own crops of one image
    assert 'skipped' not in whole[1]['data_samples']


@pytest.mark.parametrize('workers', [2])
def test_skipping_does_not_depend_on_workers(root, workers):
    dataset = skipping(root)
    (batch,) = batches(dataset, workers, size=9)
    indices = batch['data_samples']['indices'].tolist()
    items = dataset.__getitems__(Draws(indices, 0, 0, list(range(9))))
    assert differ(batch['inputs'], [item['inputs'] for item in items]) == 0
    assert batch['data_samples']['skipped'].sum() == 3


def test_skipped_test_images_are_black_and_flagged(root):
    dataset = skipping(root, 'test')
    items = [dataset[i] for i in range(4)]
    assert [int(item['data_samples']['skipped']) for item in items] == [1, 0, 0, 1]
    assert not items[0]['inputs'].any()
    plain = skipping(root).unaugmented()[0]
    assert (plain['data_samples']['skipped'], plain['inputs'].sum()) == (True, 0)


def test_a_class_of_which_nothing_can_be_read(root):
    dataset = skipping(root)
    damage(root / 'train/bee/0.png', 'empty')
    with pytest.raises(BCE3SError, match=r'No training image of class 1 \(bee\) .*bee/0.png'):
        dataset[3]


# ------------------------------------------------------------------------------ several processes


def build_on(rank, folder, split):
    """What a rank says of the images; rank 1 has lost a folder."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet-{split}', rank=rank, world_size=2
    )
    try:
        root = folder / ('gone' if split == 'lost' and rank == 1 else '')
        dataset = build(root, 'test' if split == 'test' else 'train')
        said = f'{len(dataset)} images'
    except BCE3SError as error:
        said = str(error)
    (folder / f'{split}-{rank}.txt').write_text(said)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('split', ['train', 'test', 'lost'])
def test_all_processes_say_the_same(root, split):
    for name in ('train/ant/1.png', 'train/bee/0.png', 'train/cat/3.png'):
        if split == 'train':
            damage(root / name, 'empty')
    torch.multiprocessing.start_processes(
        build_on, (root, split), nprocs=2, start_method='fork', join=True
    )
    first, second = ((root / f'{split}-{rank}.txt').read_text() for rank in (0, 1))
    assert first == second
    if split == 'train':
        assert first.count('is empty') == 3
    else:
        assert ('4 images' if split == 'test' else 'gone/train is not a folder') in first


def test_our_own_figure_is_passed_over(root, log):
    (root / 'train/bee/mine_class_frequencies.png').write_bytes(
        (root / 'train/bee/0.png').read_bytes()
    )
    assert len(build(root)) == 9
    assert log == [
        f'Passed over below {root}/train:\n  left behind by systems and tools: '
        "'mine_class_frequencies.png'"
    ]


def test_one_class(root):
    for name in ('ant', 'bee'):
        shutil.rmtree(root / 'train' / name)
    with pytest.raises(BCE3SError, match="train holds one class only, 'cat': to tell classes"):
        build(root)
    for name in ('a', 'b', 'c', 'd'):
        (root / 'train/cat' / name).mkdir()
    with pytest.raises(
        BCE3SError, match=r"folders itself \('a', 'b', 'c', ...\): name .*train/cat\."
    ):
        build(root)


# ------------------------------------------------------------------------ how images become RGB
def write_wide(root, highest):
    """Grey levels of 16 bits up to ``highest``, in training; the test images are darker."""
    for name in ('train/ant/0', 'train/cat/1', 'val/ant/0', 'val/cat/1'):
        values = np.zeros((30, 30), np.uint16)
        values[10:] = 100 if name.startswith('val') else highest
        Image.fromarray(values).save(root / f'{name}.png')


def test_the_training_images_say_how_many_bits_are_used(root):
    assert 'bits' not in build(root).metainfo  # all of them have 8
    write_wide(root, 1023)
    train, test = build(root), build(root, 'test')
    assert train.metainfo['bits'] == test.metainfo['bits'] == 10
    assert train.unaugmented()[0]['inputs'].max() == 255
    assert test[0]['inputs'].max() == 100 >> 2  # not by its own range
    assert build(root, 'test', bits=16)[0]['inputs'].max() == 0


def test_a_transparent_image_has_the_ground_that_is_asked_for(root):
    Image.new('RGBA', (30, 30), (0, 0, 0, 0)).save(root / 'train/bee/0.png')
    assert (build(root)[3]['inputs'] == 255).all()
    assert (build(root).unaugmented()[3]['inputs'] == 255).all()
    found = build(root, ground=[9, 8, 7])[3]['inputs']
    assert found.flatten(1).unique(dim=1).flatten().tolist() == [9, 8, 7]


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(split='val'), "split is 'val'; use one of train, test"),
        (dict(check='all'), "check is 'all'; use one of"),
        (dict(unreadable=1), 'unreadable is 1; use one of'),
        (dict(duplicates='no'), "duplicates is 'no'; use one of"),
        (dict(size=21), 'size=21 must be .* resize=20'),
        (dict(bits=7), 'bits is 7; give 8 to 16'),
        (dict(ground=(0, 0)), r'ground is \(0, 0\); give'),
    ],
)
def test_options_out_of_range(root, options, words):
    with pytest.raises(BCE3SError, match=f'ImageFolder: {words}'):
        build(root, **options)
