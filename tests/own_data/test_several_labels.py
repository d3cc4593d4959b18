"""Somebody's images with several labels: found, split, written down, read back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_folders import put

from bce3s import cli
from bce3s.datasets.image_list import ImageList
from bce3s.errors import BCE3SError
from bce3s.own_data.find import ListOptions, find
from bce3s.own_data.found import read_splits, write_splits
from bce3s.own_data.images import OwnImages
from bce3s.own_data.inspection import inspect
from bce3s.own_data.later import matched
from bce3s.own_data.settings import Facts
from bce3s.own_data.splits import hold_out, usable

CLASSES = ['bee', 'label', 'path', 'split']  # which columns are called, too
OURS = str(Path(__file__).resolve().parents[2] / 'configs/bce3s/my_folder.py')
FACTS = Facts(6, 3, 4, 8, 'cpu')


def table(folder, rows, name='train.csv', classes=CLASSES):
    """``rows``: path -> a letter a class."""
    lines = [f'{path},{",".join(marks.replace("-", " "))}' for path, marks in rows.items()]
    folder.mkdir(exist_ok=True)
    text = '\n'.join([f'image,{",".join(classes)}', *lines]).replace(' ', '')
    (folder / name).write_text(f'{text}\n')
    return folder / name


def own(folder, number=6):
    put(folder, *(f'{i}.png' for i in range(number)))
    return folder


def test_written_down_and_read_back(tmp_path):
    root = own(tmp_path / 'pictures')
    rows = {'0.png': '1-01', '1.png': '0100', '2.png': '0000', '3.png': '1110', '4.png': '1---'}
    table(root, rows, classes=['cat', 'dog', 'elk', 'fox'])
    table(root, {'5.png': '001-'}, 'val.csv', ['cat', 'dog', 'elk', 'fox'])
    found = find(root)
    assert found.splits['train'][0] == ('0.png', (1, -1, 0, 1))
    found.classes = CLASSES
    write_splits(tmp_path / 'data', found, FACTS)
    assert read_splits(tmp_path / 'data')[0].splits == found.splits
    train = OwnImages(str(root), str(tmp_path / 'data'), size=8, resize=8)
    val = OwnImages(str(root), str(tmp_path / 'data'), 'val', size=8, resize=8)
    assert train.labels.dtype == torch.int8
    assert train.labels.tolist() == [list(label) for _, label in found.splits['train']]
    assert val[0]['data_samples']['labels'].tolist() == [0, 0, 1, -1]
    for dataset in (train, val):
        assert dataset.metainfo['multilabel'] is True
        assert dataset.metainfo['classes'] == CLASSES
        assert dataset.metainfo['class_counts'] == [3, 2, 1, 1]


def test_a_column_that_says_the_split(tmp_path):
    root = own(tmp_path)
    text = 'image,labels,split\n0.png,cat;dog,train\n1.png,dog,train\n2.png,,val\n3.png,cat,test\n'
    (root / 'all.csv').write_text(text)
    found = find(root / 'all.csv')
    assert found.splits == dict(
        train=[('0.png', (1, 1)), ('1.png', (0, 1))],
        val=[('2.png', (0, 0))],
        test=[('3.png', (1, 0))],
    )
    assert find(root / 'all.csv', ListOptions(leave_out=('val',))).splits.keys() == {
        'train',
        'test',
    }


def test_a_list_of_another_form_for_another_split(tmp_path):
    """Labels that a list does not name its images lack; classes without a column are not known."""
    root = own(tmp_path)
    table(root, {'0.png': '11', '1.png': '01'}, classes=['cat', 'dog'])
    (root / 'val.csv').write_text('image,labels\n2.png,dog\n3.png,\n')
    (root / 'test.csv').write_text('image,dog,elk\n4.png,1,0\n')
    found = find(root)
    assert [label for _, label in found.splits['val']] == [(0, 1), (0, 0)]
    assert [label for _, label in found.splits['test']] == [(-1, 1)]


def test_one_label_each_unless_it_is_said(tmp_path):
    root = own(tmp_path)
    path = table(root, {'0.png': '10', '1.png': '01'}, classes=['cat', 'dog'])
    assert [label for _, label in find(path).splits['train']] == [0, 1]
    several = find(path, ListOptions(multilabel=True))
    assert [label for _, label in several.splits['train']] == [(1, 0), (0, 1)]
    put(root / 'folders', 'cat/0.png', 'dog/1.png')
    with pytest.raises(BCE3SError, match='folders, which say one label an image'):
        find(root / 'folders', ListOptions(multilabel=True))


def test_labels_of_no_image_and_of_all(tmp_path):
    root = own(tmp_path, 4)
    names = ['ant', 'bee', 'cat', 'dog']
    rows = {'0.png': '1011', '1.png': '1000', '2.png': '1011', '3.png': '1000'}
    found, marks = usable(find(table(root, rows, classes=names)))
    assert found.classes == ['ant', 'cat', 'dog']
    assert "No training image has these labels, so they are left out: 'bee'." in found.notes
    kinds = {finding.kind: finding.lines for finding in inspect(hold_out(found, marks['train']))}
    assert kinds['same_labels'] == ["'cat' = 'dog'"]
    table(root, dict.fromkeys(rows, '0000'), classes=names)
    with pytest.raises(BCE3SError, match='no training image has a label'):
        find(root / 'train.csv')
    table(root, {'0.png': '1100', '1.png': '0010'}, classes=names)
    table(root, {'2.png': '0001'}, 'val.csv', names)
    with pytest.raises(BCE3SError, match="'dog': a class of 'val' that the training images"):
        find(root)
    table(root, {'2.png': '0001'}, 'val.csv', ['ant', 'bee', 'cat', 'elk'])
    with pytest.raises(BCE3SError, match=r"val\.csv:2: the label 'elk' is no class of the train"):
        find(root)


@pytest.mark.parametrize('listed', [True, False])
def test_labelled_images_that_come_later(tmp_path, listed):
    root = own(tmp_path)
    if listed:
        (root / 'l.csv').write_text('image,labels\n0.png,dog;elk\n1.png,\n2.png,cat;dog\n')
    else:
        table(
            root, {'0.png': '011', '1.png': '000', '2.png': '110'}, 'l.csv', ['cat', 'dog', 'elk']
        )
    found = matched(find(root / 'l.csv'), ['ant', 'dog', 'cat'])
    other = 0 if listed else -1
    labels = [label for _, label in found.splits['test']]
    assert labels == [(other, 1, 0), (other, 0, 0), (other, 1, 1)]
    assert found.notes[-2:] == [
        "1 label of classes that the model does not know ('elk') will be left out.",
        "Without an image, so not measured: 'ant'.",
    ]


def test_lists_of_a_config(tmp_path):
    root = own(tmp_path)
    table(root, {'0.png': '11', '1.png': '0-'}, classes=['cat', 'dog'])
    (root / 'test.csv').write_text('image,labels\n2.png,dog\n3.png,\n')
    lists = dict(train='train.csv', test='test.csv')
    sets = [ImageList(str(root), lists, split, size=8, resize=8) for split in lists]
    assert [each.labels.tolist() for each in sets] == [[[1, 1], [0, -1]], [[0, 1], [0, 0]]]
    assert all(each.metainfo['class_counts'] == [1, 1] for each in sets)
    table(root, {'0.png': '10', '1.png': '00'}, classes=['cat', 'dog'])
    with pytest.raises(BCE3SError, match=r'1 class without a training image \(dog\): remove'):
        ImageList(str(root), lists, size=8, resize=8)


def test_an_image_that_cannot_be_read_is_replaced_by_the_one_most_like_it(tmp_path):
    root = own(tmp_path)
    rows = {'0.png': '110', '1.png': '001', '2.png': '111', '3.png': '011', '4.png': '100'}
    table(root, rows, classes=['ant', 'bee', 'cat'])
    lists = dict(train='train.csv')
    data = ImageList(str(root), lists, size=8, resize=8, unreadable='skip', random_crop=False)
    (root / '0.png').write_bytes(b'gone')
    item = data[0]
    assert item['data_samples']['skipped']
    assert torch.equal(item['inputs'], data[2]['inputs'])
    assert item['data_samples']['labels'].tolist() == [1, 1, 1]
    data.set_vectors(torch.eye(5)[:, None], {0: 'gone'})
    assert data[0]['inputs'].tolist() == data[2]['inputs'].tolist()
    assert data[0]['data_samples']['labels'].tolist() == [1, 1, 1]


def test_from_a_table_to_a_report_and_its_resumption(tmp_path):
    """By the command line: trained, resumed with the splits that were written, tested on others."""
    rng = np.random.default_rng(0)
    rows = [''.join(map(str, (rng.random(3) < (0.7, 0.4, 0.3)).astype(int))) for _ in range(30)]
    root = own(tmp_path / 'pictures', len(rows))
    classes = ['ant', 'bee', 'cat']
    marks = {f'{i}.png': f'{row[:2]}-' if i == 3 else row for i, row in enumerate(rows)}
    table(root, marks, 'all.csv', classes)
    small = ['own_data.network=cifar_resnet20', 'own_data.size=16', 'own_data.batch_size=8']
    small += ['own_data.epochs=2', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
    small += ['visualizer=None', 'default_hooks.progress=None', f'data_root={root / "all.csv"}']
    work = ['--work-dir', str(tmp_path / 'run'), '--cfg-options', *small]
    assert cli.main('train', [OURS, *work]) == 0
    found = json.loads((tmp_path / 'run/report.json').read_text())
    counts = [sum(row[k] == '1' for row in marks.values()) for k in range(3)]
    assert all(0 < n < m for n, m in zip(found['class_counts'], counts, strict=True))
    assert len(found['decisions']['thresholds']) == 3
    (tmp_path / 'run/epoch_4.pth').unlink()
    assert cli.main('train', [OURS, '--resume', *work]) == 0
    assert json.loads((tmp_path / 'run/report.json').read_text())['per_class'] == found['per_class']
    (root / 'later.csv').write_text('image,labels\n0.png,bee\n1.png,ant;cat\n2.png,\n')
    assert cli.main('test', [str(tmp_path / 'run'), '--data', str(root / 'later.csv')]) == 0
    tested = json.loads((tmp_path / 'run/test_later/report.json').read_text())
    assert tested['samples'] == 3
    assert 'were trained on' in tested['data_notes'][-1]
