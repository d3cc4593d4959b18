"""How tables are written: separators, with and without a header."""

import pytest

from bce3s.datasets.lists import read_list
from bce3s.errors import BCE3SError


def put(folder, text, name='list.csv'):
    path = folder / name
    path.write_text(text)
    return path


def read(folder, text, name='list.csv', **options):
    entries = read_list(put(folder, text, name), **options)
    return list(zip(entries.paths, entries.labels, entries.lines, strict=True)), entries.classes


@pytest.mark.parametrize('separator', [',', ';', '\t'])
def test_separators(tmp_path, separator):
    text = f'label{separator}path\ncat{separator}"a{separator}1.jpg"\ndog{separator}b.jpg\n'
    expected = [(f'a{separator}1.jpg', 0, 2), ('b.jpg', 1, 3)], ['cat', 'dog']
    assert read(tmp_path, text) == expected


def test_other_signs_in_cells_do_not_separate(tmp_path):
    text = 'path;label\na, b.jpg;cat, small\nc\td.jpg;dog\n'
    assert read(tmp_path, text)[0] == [('a, b.jpg', 0, 2), ('c\td.jpg', 1, 3)]
    text = ' path , label\n "a.jpg", big cat \n b.jpg , dog\n'
    assert read(tmp_path, text) == ([('a.jpg', 0, 2), ('b.jpg', 1, 3)], ['big cat', 'dog'])
    text = 'path,label,note;s\na;b.jpg,cat,x\n'
    assert read(tmp_path, text)[0] == [('a;b.jpg', 0, 2)]
    with pytest.raises(BCE3SError, match='no column called path'):
        read(tmp_path, 'path;label\na.jpg;cat\n', 'list.tsv')


@pytest.mark.parametrize('separator', [',', ';', '\t'])
def test_without_a_header(tmp_path, separator):
    text = f'\nx/a.JPG{separator}cat\n\nb.png{separator}ant\n'
    expected = [('x/a.JPG', 1, 2), ('b.png', 0, 4)], ['ant', 'cat']
    assert read(tmp_path, text) == expected
    swapped = f'3{separator}a.jpg\n0{separator}b.jpg\n'
    assert read(tmp_path, swapped) == ([('a.jpg', 3, 1), ('b.jpg', 0, 2)], None)
    assert read(tmp_path, f'a.jpg{separator}0\n', 'list.csv')[0] == [('a.jpg', 0, 1)]


def test_a_row_of_another_width(tmp_path):
    with pytest.raises(BCE3SError, match='csv:2: has 3 cells where the first row has 2'):
        read(tmp_path, 'a.jpg,cat\nb.jpg,dog,x\n')
    with pytest.raises(BCE3SError, match='csv:3: has 1 cell where the header has 2'):
        read(tmp_path, 'path,label\nb.jpg,dog\nc.jpg\n')


@pytest.mark.parametrize(
    'text',
    [
        'a,cat\nb,dog\n',  # neither looks like an image
        'a.jpg,b.jpg\n',  # both do
        'a.jpg,cat,train\n',  # three columns
        'a.jpg\n',
        'a.jpg,\n',
        'a.jpg;1,b.jpg\n',  # `a.jpg` and `1,b.jpg`, or `a.jpg;1` and `b.jpg`
        'photo,note,label,class\na.jpg,x,cat,dog\n',
        '"a.jpg,cat\n',
    ],
)
def test_what_is_not_clear_is_asked(tmp_path, text):
    with pytest.raises(BCE3SError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    assert 'column called' in said or 'is no row of a table' in said
    assert 'list.csv' in said


@pytest.mark.parametrize(
    ('header', 'row'),
    [
        ('Width,ClassId,Path', '32,cat,a.jpg'),
        ('id,breed', 'a.jpg,cat'),
        ('image_id,label', 'a.jpg,cat'),
        ('id,Image Path,target', '7,a.jpg,cat'),
        ('file_name,category', 'a.jpg,cat'),
        ('filename,class_id,class_name', 'a.jpg,7,cat'),
        ('image-id,Sorte', 'a.jpg,cat'),
        ('Bild,label', 'a,cat'),
    ],
)
def test_headers_of_common_spellings(tmp_path, header, row):
    entries, classes = read(tmp_path, f'{header}\n{row}\n')
    assert entries == [('a' if header.startswith('Bild') else 'a.jpg', 0, 2)]
    assert classes == ['cat']


def test_one_column_of_zeros_and_ones_for_each_class(tmp_path):
    text = 'image,split,NV,MEL\na.jpg,train,1.0,0.0\nb.jpg,test,0.0,1.0\n'
    assert read(tmp_path, text) == ([('a.jpg', 1, 2), ('b.jpg', 0, 3)], ['MEL', 'NV'])
    text = 'image,cat,dog\na.jpg,1,1\nb.jpg,0,1\nc.jpg,0,0\n'
    with pytest.raises(BCE3SError, match=r'csv:2: has not one 1 .*\n.*csv:4: has not one 1'):
        read(tmp_path, text, multilabel=False)
