"""Several labels an image: how tables say it, and what is wrong with them."""

import pytest

from bce3s.datasets.lists import read_list
from bce3s.errors import BCE3SError

LISTS = [('a.jpg', (1, 0, 1)), ('b.jpg', (0, 1, 0)), ('c.jpg', (0, 0, 0))]


def read(folder, text, name='list.csv', classes=None, **options):
    path = folder / name
    path.write_text(text)
    entries = read_list(path, classes, **options)
    return list(zip(entries.paths, entries.labels, strict=True)), entries


@pytest.mark.parametrize(
    ('text', 'options'),
    [
        ('path,ant,bee,cat\na.jpg,1,0,1\nb.jpg,0,1,0\nc.jpg,0,0,0\n', {}),
        ('age;cat;image;bee;ant\n7;1.0;a.jpg;0;1\n30;0;b.jpg;1;0\n9;0;c.jpg;0;0\n', {}),
        ('foto,bee,cat,ant\na.jpg,0,1,1\nb.jpg,1,0,0\nc.jpg,0,0,0\n', {}),
        ('foto,bee,cat,ant\na.jpg,0,1,1\nb.jpg,1,0,0\nc.jpg,0,0,0\n', dict(columns=['foto'])),
        ('path,ant,bee,cat\na.jpg,True,0,true\nb.jpg,FALSE,1.0,0\nc.jpg,0,0,0\n', {}),
        ('path,label\na.jpg,cat;ant\nb.jpg,bee\nc.jpg,\n', {}),
        ('path,label\na.jpg,cat| ant\nb.jpg,bee|\nc.jpg,\n', {}),
        ('path,labels\na.jpg,"cat,ant,cat"\nb.jpg,bee\nc.jpg,\n', {}),
        ("path,tags\na.jpg,\"['cat', 'ant']\"\nb.jpg,['bee']\nc.jpg,[]\n", {}),
        ('path,labels\na.jpg,cat  ant\nb.jpg,bee\nc.jpg,\n', dict(separator=' ')),
        ('path,labels\na.jpg,cat\nb.jpg,bee\na.jpg,ant\nc.jpg,\n', {}),
        ('path,label\na.jpg,cat\nb.jpg,bee\na.jpg,ant\nc.jpg,\n', dict(multilabel=True)),
    ],
)
def test_every_form_says_the_same(tmp_path, text, options):
    found, entries = read(tmp_path, text, **options)
    assert found == LISTS
    assert entries.classes == ['ant', 'bee', 'cat']
    assert entries.multilabel
    assert '0 to 2, 1.00 in the mean; 1 image without any' in entries.notes[0]


def test_one_label_an_image_stays_so_unless_it_is_said(tmp_path):
    text = 'path,ant,bee\na.jpg,0,1\nb.jpg,1,0\n'
    assert read(tmp_path, text)[0] == [('a.jpg', 1), ('b.jpg', 0)]
    assert read(tmp_path, text, multilabel=True)[0] == [('a.jpg', (0, 1)), ('b.jpg', (1, 0))]
    text = 'path,label\na.jpg,big; red\nb.jpg,ant\n'
    assert read(tmp_path, text, multilabel=False)[1].classes == ['ant', 'big; red']
    text = 'path,label\na.jpg,"ant, small"\nb.jpg,big dog\n'  # as ever
    assert read(tmp_path, text)[1].classes == ['ant, small', 'big dog']


def test_blanks_that_may_separate_labels(tmp_path):
    text = 'path,labels\na.jpg,big dog\nb.jpg,cat dog\nc.jpg,dog\n'
    entries = read(tmp_path, text)[1]
    assert entries.classes == ['big dog', 'cat dog', 'dog']
    assert "labels like 'big dog'" in entries.notes[0]
    assert read(tmp_path, text.replace('dog', 'red dog'))[1].notes == []


def test_what_is_not_known(tmp_path):
    """An empty cell, and a class of the training set that another list does not name."""
    found, entries = read(tmp_path, 'path,ant,bee\na.jpg,1,\nb.jpg,,1\na.jpg,,0\n')
    assert found == [('a.jpg', (1, 0)), ('b.jpg', (-1, 1))]
    assert '1 row put together' in entries.notes[0]
    how = dict(classes=['ant', 'bee', 'cat'], multilabel=True)
    assert read(tmp_path, 'path,cat,ant\na.jpg,0,1\n', **how)[0] == [('a.jpg', (1, -1, 0))]
    assert read(tmp_path, 'path,labels\na.jpg,ant\n', **how)[0] == [('a.jpg', (1, 0, 0))]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('path,ant,bee\na.jpg,1,1\nb.jpg,0,2\nc.jpg,1,0\n', "csv:3: '2' in the column 'bee' is"),
        ('path,ant,bee\na.jpg,1,1\n./a.jpg,0,1\n', "csv:3: .* line 2, where 'ant' is the other"),
        ('path,ant,bee\na.jpg,1,1,0\nb.jpg,1,0\n', 'csv:2: has 4 cells where the header has 3'),
        ('path,ant,ant\na.jpg,1,1\nb.jpg,1,0\n', "csv:1: has 2 columns called 'ant'"),
        ('path,split,ant,bee\na.jpg,train,1,1\na.jpg,val,1,1\n', 'csv:3: .*with another split'),
        ('path,label\na.jpg,ant\na.jpg,bee\n', r'csv:3: .*another label .*multilabel=True'),
    ],
)
def test_mistakes(tmp_path, text, said):
    with pytest.raises(BCE3SError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize('text', ['path,ant,elk\na.jpg,1,1\n', 'path,labels\na.jpg,ant;elk\n'])
def test_a_label_that_the_training_images_lack(tmp_path, text):
    with pytest.raises(BCE3SError, match="csv:2: the label 'elk' is no class of the training set"):
        read(tmp_path, text, classes=['ant', 'bee'], multilabel=True)
