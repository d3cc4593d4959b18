"""Lists of images as a data set: right pixels, counts, manifests, and mistakes by list and line."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from PIL import Image
from test_decoding import OTHERS, photo
from tiny_files import put_listed
from torch.utils.data import DataLoader

from bce3s.datasets import image_files
from bce3s.datasets.image_list import ImageList
from bce3s.datasets.lists import git_blob_id
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS

TRAIN = ''.join(f'train/c{k}/{i}.jpg {k}\n' for k, n in enumerate((5, 3, 2)) for i in range(n))
TEST = ''.join(f'val/{k}-{i}.jpg {k}\n' for k in range(3) for i in range(2))
LISTS = dict(train='train.txt', test='test.txt')


@pytest.fixture
def root(tmp_path):
    for name, text in dict(train=TRAIN, test=TEST).items():
        (tmp_path / f'{name}.txt').write_text(text)
        put_listed(tmp_path / f'{name}.txt', tmp_path, size=32)
    return tmp_path


def build(root, split='train', lists=LISTS, **options):
    return ImageList(str(root), lists, split, **dict(size=16, resize=20) | options)


def problems(root, *args, **kwargs):
    with pytest.raises(BCE3SError) as caught:
        build(root, *args, **kwargs)
    return str(caught.value).replace(f'{root}/', '').split('\n')


# ---------------------------------------------------------------------------------------- right


def test_counts_labels_and_names(root):
    train, test = build(root), build(root, 'test')
    assert train.labels.tolist() == [0] * 5 + [1] * 3 + [2] * 2
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.paths[0] == str(root / 'train/c0/0.jpg')
    for dataset, split, text in ((train, 'train', TRAIN), (test, 'test', TEST)):
        subset = dataset.metainfo.pop('subset')
        assert subset['git_blob'] == git_blob_id(text.encode())
        assert (subset['size'], subset['list']) == (len(dataset), f'{split}.txt')
        assert len(subset['sha256']) == 64
        assert dataset.metainfo == dict(
            dataset='ImageList',
            split=split,
            classes=['c0', 'c1', 'c2'],
            class_counts=[5, 3, 2],
        )
    assert DATASETS.get('ImageList') is ImageList


def test_classes_without_folders_of_their_own_are_numbers(root):
    (root / 'train.txt').write_text(TRAIN.replace('train/c1/0.jpg 1', 'train/c0/4.jpg 1').replace(
        'train/c0/4.jpg 0\n', ''))  # fmt: skip
    assert build(root).metainfo['classes'] == ['0', '1', '2']


def test_absolute_paths_packed_lists_and_tables(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    rows = [line.rpartition(' ')[0] for line in TRAIN.splitlines()]
    (elsewhere / 'own.csv').write_text(
        'file,Sorte,x\n' + ''.join(f'{root / row},animal {row[7]},\n' for row in rows)
    )
    (root / 'test.csv').write_text('path,class\nval/2-0.jpg,animal 2\n')
    os.rename(root / 'train.txt', root / 'plain')
    import gzip

    (root / 'train.txt.gz').write_bytes(gzip.compress(TRAIN.encode()))
    assert build(root).metainfo['class_counts'] == [5, 3, 2]
    lists = dict(train=str(elsewhere / 'own.csv'), test=str(root / 'test.csv'))
    with pytest.raises(BCE3SError, match='no column called label'):
        build(root, lists=lists)
    columns = ('file', 'Sorte')
    assert build('/nowhere', lists=lists, columns=columns).metainfo['class_counts'] == [5, 3, 2]
    (root / 'test.csv').write_text('file,Sorte\nval/2-0.jpg,animal 2\n')
    test = build(root, 'test', lists, columns=columns)
    assert test.labels.tolist() == [2]
    assert test.metainfo['classes'] == ['animal 0', 'animal 1', 'animal 2']


def test_a_list_of_windows(root):
    text = TEST.replace('/', '\\').replace('\n', '\r\n')
    (root / 'test.txt').write_bytes(text.encode('utf-16'))
    assert build(root, 'test').paths[0] == str(root / 'val/0-0.jpg')


KINDS = dict(OTHERS)
KINDS['grey_jpeg'] = lambda: ('jpg', Image.fromarray(photo()[..., 0]))
KINDS['16_bits'] = lambda: ('png', Image.fromarray(photo()[..., 0].astype(np.uint16) * 256))


# --------------------------------------------------------------------------------- the manifest


def write_manifest(root, **changes):
    splits = {
        split: dict(list=f'{split}.txt', images=images, git_blob=blob)
        for split, images, blob in [
            ('train', 10, git_blob_id(TRAIN.encode())),
            ('test', 6, git_blob_id(TEST.encode())),
        ]
    }
    facts = dict(benchmark='tiny_lt', num_classes=3, splits=splits)
    path = root / 'tiny_lt.json'
    path.write_text(json.dumps(facts | changes))
    return str(path)


def test_the_published_lists_pass(root):
    path = write_manifest(root)
    for split in ('train', 'test'):
        assert build(root, split, manifest=path).metainfo['dataset'] == 'tiny_lt'


def test_other_lists_than_the_published_ones(root):
    path = write_manifest(root)
    (root / 'train.txt').write_text(TRAIN.replace('c2/1.jpg 2', 'c2/1.jpg 1'))
    (root / 'test.txt').write_text(TEST + 'val/x.jpg 7\nval/y.jpg 8')
    found = problems(root, 'test', manifest=path)
    assert found[0] == 'The lists cannot be used: correct them (2):'
    for line, name in zip(found[1:], ('train', 'test'), strict=True):
        start = f'{name}.txt: is not the published list: its git blob id is '
        assert line.strip().startswith(start)
    manifest = json.loads((root / 'tiny_lt.json').read_text())
    for split in manifest['splits'].values():
        del split['git_blob']
    (root / 'tiny_lt.json').write_text(json.dumps(manifest))
    assert problems(root, 'test', manifest=path)[1:] == [
        '  test.txt: names 8 images, the published one 6'
    ]


@pytest.mark.parametrize(
    'content',
    ['{', '[' * 100_000, '[]', '{"num_classes": 3}', '{"num_classes": 3, "splits": {"test": 3}}'],
)
def test_what_is_no_manifest(root, content):
    (root / 'tiny_lt.json').write_text(content)
    with pytest.raises(BCE3SError, match=r'tiny_lt\.json is no manifest'):
        build(root, manifest=str(root / 'tiny_lt.json'))


def test_what_only_a_manifest_knows(root):
    path = write_manifest(root)
    with pytest.raises(BCE3SError, match=r"has no split 'val', only train, test"):
        build(root, 'val', dict(LISTS, val='test.txt'), manifest=path)
    os.remove(root / 'test.txt')
    with pytest.raises(BCE3SError, match=r'test.txt is not there: .*prepare_data.py tiny_lt'):
        build(root, 'test', manifest=path)
    with pytest.raises(BCE3SError, match='nowhere'):
        build(root, manifest='nowhere')


def test_copies_in_a_published_benchmark_are_a_warning(root, monkeypatch):
    lines = []
    monkeypatch.setattr(image_files, 'print_log', lambda text, **_: lines.append(text))
    (root / 'val/0-0.jpg').write_bytes((root / 'train/c1/2.jpg').read_bytes())
    path = write_manifest(root)
    for manifest in (None, path):
        build(root, manifest=manifest)
    assert len(build(root, 'test', manifest=path)) == 6
    copy = 'test.txt:1: val/0-0.jpg has the content of the training image train/c1/2.jpg'
    assert copy in lines[0].replace(f'{root}/', '')
    assert problems(root, 'test')[1:] == [f'  {copy}']
    assert problems(root, 'test', manifest=path, duplicates='stop')[1:] == [f'  {copy}']


# ------------------------------------------------------------------------------------- mistakes


def test_everything_wrong_with_images_at_once(root):
    (root / 'train/c0/1.jpg').unlink()
    (root / 'train/c0/3.jpg').write_bytes(b'')
    (root / 'train/c1/0.jpg').unlink()
    (root / 'train/c1/0.jpg').mkdir()
    (root / 'train/c1/1.jpg').write_text('no image')
    whole = (root / 'train/c2/0.jpg').read_bytes()
    (root / 'train/c2/0.jpg').write_bytes(whole[:100])
    os.rename(root / 'train/c2/1.jpg', root / 'train/c2/1.JPG')
    assert problems(root) == [
        'Images of train.txt cannot be used: mend, replace or remove them (6):',
        '  train.txt:2: train/c0/1.jpg is missing',
        '  train.txt:4: train/c0/3.jpg is empty',
        '  train.txt:6: train/c1/0.jpg is a folder, not an image',
        '  train.txt:7: train/c1/1.jpg cannot be read as an image (damaged, or no image)',
        '  train.txt:9: train/c2/0.jpg cannot be read as an image (Truncated File Read)',
        '  train.txt:10: train/c2/1.jpg is missing',
    ]


def test_images_that_are_elsewhere(root):
    with pytest.raises(BCE3SError, match=r'None of the 10 images of .*train.txt was found.*elsewh'):
        build(root / 'elsewhere', lists=dict(train=str(root / 'train.txt')))


def test_labels_with_gaps(root):
    (root / 'train.txt').write_text('a 1\nb 4\nc 9\n')
    assert problems(root) == [
        'The lists cannot be used: correct them (1):',
        '  train.txt: 7 classes without a training image (0, 2, 3, 5, 6, 7, 8): labels must be '
        '0..K-1 without gap',
    ]
    (root / 'train.txt').write_text('a 0\nb 9999999\n')
    assert '9,999,998 classes without' in problems(root)[1]


def test_labels_that_the_training_set_does_not_have(root):
    (root / 'test.txt').write_text(TEST + '\nx.jpg 3\ny.jpg 12\n')
    reason = 'is outside 0..2, the classes of the training set'
    expected = [f'  test.txt:8: the label 3 {reason}', f'  test.txt:9: the label 12 {reason}']
    assert problems(root, 'test')[1:] == expected


def test_an_image_in_train_and_test(root):
    (root / 'test.txt').write_text(TEST + 'train/./c0/1.jpg 0\nval/../train/c2/0.jpg 2\n')
    assert problems(root, 'test')[1:] == [
        '  test.txt:7: train/./c0/1.jpg is a training image too',
        '  test.txt:8: val/../train/c2/0.jpg is a training image too',
    ]
    assert len(problems(root, 'test', check='none')) == 3


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(split='all'), "split is 'all'"),
        (dict(split='val'), 'lists is .*val=...'),
        (dict(lists=dict(test='test.txt')), 'lists is'),
        (dict(lists=dict(LISTS, tset='x')), 'lists is'),
        (dict(lists='train.txt'), 'lists is'),
        (dict(check='all'), "check is 'all'; use one of none, files, headers, pixels"),
        (dict(unreadable='ignore'), "unreadable is 'ignore'"),
        (dict(duplicates='ignore'), "duplicates is 'ignore'"),
        (dict(size=30), 'size=30 must be'),
    ],
)
def test_wrong_arguments(root, options, sentence):
    with pytest.raises(BCE3SError, match=f'ImageList: {sentence}'):
        build(root, **options)


def test_an_image_lost_after_the_check_stops_with_its_path(root):
    dataset = build(root)
    (root / 'train/c1/1.jpg').unlink()
    with pytest.raises(BCE3SError, match=r'c1/1.jpg cannot be read .*No such file or directory\)'):
        list(DataLoader(dataset, 4, collate_fn=default_collate))
    skipping = build(root, unreadable='skip', check='none')
    flags = [batch['data_samples']['skipped'] for batch in DataLoader(skipping, 4, num_workers=1)]
    assert torch.cat(flags).nonzero().tolist() == [[6]]
