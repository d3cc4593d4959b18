"""Lists and tables: what they say, and every mistake in them at once, by its line."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bce3s.datasets import lists
from bce3s.datasets.lists import git_blob_id, read_list
from bce3s.errors import BCE3SError

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT.parent / 'shared' / 'data' / 'lists'


def put(folder, content, name='list.txt'):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(entries):
    return list(zip(entries.paths, entries.labels, entries.lines, strict=True))


def problems(path, *args, **kwargs):
    """The lines of the message, without the file's name."""
    with pytest.raises(BCE3SError) as caught:
        read_list(path, *args, **kwargs)
    return [line.strip().removeprefix(f'{path}:') for line in str(caught.value).split('\n')[1:]]


# ------------------------------------------------------------------------------------- right ones


def test_paths_labels_and_lines(tmp_path):
    path = put(tmp_path, 'train/a.jpg 0\n\ntrain/b.jpg 1\n  \t\n/else/c.jpg 1')
    entries = read_list(path)
    assert pairs(entries) == [('train/a.jpg', 0, 1), ('train/b.jpg', 1, 3), ('/else/c.jpg', 1, 5)]
    assert (entries.source, entries.classes) == (path, None)
    assert read_list(str(path)) == entries


@pytest.mark.parametrize(
    'content',
    [
        b'\xef\xbb\xbfa.jpg 0\nb c.jpg 1\n',
        b'a.jpg 0\r\nb c.jpg 1\r\n',
        b'a.jpg 0\rb c.jpg 1',
        b'a.jpg\t0\nb c.jpg   \t1  \n',
    ],
    ids=['bom', 'crlf', 'cr', 'tabs'],
)
def test_the_same_list_written_otherwise(tmp_path, content):
    assert pairs(read_list(put(tmp_path, content))) == [('a.jpg', 0, 1), ('b c.jpg', 1, 2)]


NAMES = [
    'a  b.jpg',
    ' c.jpg',
    'ü/漢字.jpg',
    'x\u3000y.jpg',
    'x\u2028y\x85z.jpg',
    '1 2 3',
    'd\'e".jpg',
]


def test_names_of_any_kind(tmp_path):
    text = ''.join(f'{name} {k}\n' for k, name in enumerate(NAMES))
    assert pairs(read_list(put(tmp_path, text))) == [
        (name, k, k + 1) for k, name in enumerate(NAMES)
    ]


def test_git_blob_ids_are_gits(tmp_path):
    assert git_blob_id(b'hello\n') == 'ce013625030ba8dba906f756967f9e9ca394464a'
    path = put(tmp_path, 'a.jpg 0\n')
    found = subprocess.run(['git', 'hash-object', path], capture_output=True, text=True)
    if found.returncode:
        pytest.skip('there is no git')
    assert read_list(path).git_blob == found.stdout.strip()


# ------------------------------------------------------------------------------------------ tables


def test_a_table_of_numbers(tmp_path):
    text = (
        'id,Label, Image ,note\n7,0,a.jpg,x\n8,1,"b, ""c"".jpg",\n\n9,1,ü.jpg,"two\nlines"\n9,0,d,'
    )
    entries = read_list(put(tmp_path, text, 'l.csv'))
    expected = [('a.jpg', 0, 2), ('b, "c".jpg', 1, 3), ('ü.jpg', 1, 5), ('d', 0, 7)]
    assert (pairs(entries), entries.classes) == (expected, None)


def test_a_table_of_names(tmp_path):
    text = 'file\tclass\r\na.jpg\tdog\r\nb.jpg\tcat\r\nc.jpg\tdog\r\n'
    train = read_list(put(tmp_path, gzip.compress(text.encode()), 'train.TSV.gz'))
    assert train.classes == ['cat', 'dog']
    assert train.labels == [1, 0, 1]
    test = put(tmp_path, 'path,category\nx.jpg,dog\n', 'test.csv')
    assert read_list(test, train.classes).labels == [1]
    assert read_list(test).labels == [0]


def test_other_columns(tmp_path):
    path = put(tmp_path, 'img,note,Sorte\na.jpg,x,3\nb.jpg,y,0\n', 'l.csv')
    assert read_list(path, columns=('img', 'sorte')).paths == ['a.jpg', 'b.jpg']
    with pytest.raises(BCE3SError, match=r"no column called label or .*'Sorte'.*columns="):
        read_list(path)
    with pytest.raises(BCE3SError, match='columns is'):
        read_list(path, columns='img')
    path = put(tmp_path, 'image,path,label\na.jpg,x,3\n', 'l.csv')
    with pytest.raises(BCE3SError, match='more than one column called path'):
        read_list(path)


# --------------------------------------------------------------------------------------- mistakes


def test_all_mistakes_of_a_list_at_once(tmp_path):
    text = 'a.jpg 0|b.jpg|d.jpg -1||e.jpg 10000000|./a.jpg 1|x y.jpg|3|i.jpg ' + '9' * 5000
    assert problems(put(tmp_path, text.replace('|', '\n'))) == [
        '2: \'b.jpg\' has no label: expected "path label"',
        '7: \'x y.jpg\' has no label: expected "path label"',
        '8: \'3\' has no label: expected "path label"',
        "3: the label '-1' is not in 0..9,999,999",
        "5: the label '10000000' is not in 0..9,999,999",
        f"9: the label '{'9' * 80}...' is not in 0..9,999,999",
        "6: 'a.jpg' is listed already in line 1, with another label",
    ]


def test_all_mistakes_of_a_table_at_once(tmp_path):
    text = 'path,label\na.jpg,0\nb.jpg\n,1\nc.jpg,\nd.jpg,-1\na.jpg,1\n"e.jpg",2,3\nf,"1'
    assert problems(put(tmp_path, text, 'l.csv')) == [
        '9: is no row of a table (unexpected end of data)',
        '3: has 1 cell where the header has 2',
        '4: has no path',
        '8: has 3 cells where the header has 2',
        '5: has no label',
        "6: the label '-1' is not in 0..9,999,999",
        "7: 'a.jpg' is listed already in line 2, with another label (if images may have several: "
        'dataset.multilabel=True)',
    ]
    path = put(tmp_path, 'path,label\na.jpg,cow\nb.jpg,\n', 'l.csv')
    unknown = "2: the label 'cow' is no class of the training set"
    assert problems(path, ['cat', 'dog']) == [unknown, '3: has no label']


def test_many_mistakes_of_one_cause_are_counted(tmp_path):
    text = ''.join(f'x{i}\n' for i in range(250)) + 'a.jpg -1\n'
    assert problems(put(tmp_path, text)) == [
        *(f'{i + 1}: \'x{i}\' has no label: expected "path label"' for i in range(3)),
        'and 247 more: no label, expected "path label"',
        "251: the label '-1' is not in 0..9,999,999",
    ]
    with pytest.raises(BCE3SError, match=r'cannot be used.* \(251\)'):
        read_list(tmp_path / 'list.txt')


def test_rows_that_are_there_twice_do_no_harm(tmp_path):
    entries = read_list(put(tmp_path, 'a.jpg 0\nb.jpg 1\n./a.jpg 0\na.jpg 0\n'))
    assert pairs(entries) == [('a.jpg', 0, 1), ('b.jpg', 1, 2)]
    text = 'path,label,split\na.jpg,0,train\na.jpg,0,train\na.jpg,0,test\n'
    assert problems(put(tmp_path, text, 'l.csv')) == [
        "4: 'a.jpg' is listed already in line 2, with another split"
    ]


# ------------------------------------------------------------------------------ names as labels


@pytest.mark.parametrize(
    ('labels', 'classes', 'numbers'),
    [
        (['dog', 'cat', 'dog'], ['cat', 'dog'], [1, 0, 1]),
        (['golden retriever', 'pug', 'pug'], ['golden retriever', 'pug'], [0, 1, 1]),
        (['7', 'A', '10'], ['7', '10', 'A'], [0, 2, 1]),
        (['010', '001', '002'], ['001', '002', '010'], [2, 0, 1]),
        (['7', '07', '007'], ['007', '07', '7'], [2, 1, 0]),
        (['1.0', '0.0', '1.0'], ['0.0', '1.0'], [1, 0, 1]),
        (['2', '10', '0'], None, [2, 10, 0]),
    ],
)
@pytest.mark.parametrize('separator', [' ', '\t', ','])
def test_labels_are_names_as_written_unless_all_are_numbers(
    tmp_path, separator, labels, classes, numbers
):
    text = ''.join(f'a b{i}.jpg{separator}{label}\n' for i, label in enumerate(labels))
    entries = read_list(put(tmp_path, text, 'l.csv' if separator == ',' else 'l.txt'))
    assert (entries.classes, entries.labels) == (classes, numbers)
    assert entries.paths == ['a b0.jpg', 'a b1.jpg', 'a b2.jpg']


def test_a_path_without_an_ending_ends_at_a_tab_or_the_last_blank(tmp_path):
    text = 'a b\tgolden retriever\nc d pug\n'
    entries = read_list(put(tmp_path, text))
    assert entries.paths == ['a b', 'c d']
    assert entries.classes == ['golden retriever', 'pug']


# ------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-8'])
@pytest.mark.parametrize('name', ['l.csv', 'l.txt'])
def test_encodings_of_windows(tmp_path, encoding, name):
    text = 'path,label\r\nä/1.jpg,ä\r\nb/1.jpg,b\r\n'
    if name == 'l.txt':
        text = 'ä/1.jpg ä\r\nb/1.jpg b\r\n'
    entries = read_list(put(tmp_path, text.encode(encoding), name))
    assert (entries.paths, entries.classes) == (['ä/1.jpg', 'b/1.jpg'], ['b', 'ä'])


@pytest.mark.parametrize(
    ('content', 'what'),
    [
        ('x.jpg b\n' + 'ä.jpg ä\n' * 90, r'is not UTF-8 \(line 2, byte 0xe4\)'),
        (('a.jpg b\n' * 90).encode('utf-16-le'), r'holds a NUL \(line 1\)'),
        ('a.jpg b\n'.encode('utf-16') + b'a', 'is not UTF-8'),
    ],
)
def test_other_encodings_are_one_sentence(tmp_path, content, what):
    content = content if isinstance(content, bytes) else content.encode('cp1252')
    with pytest.raises(BCE3SError, match=f'{what}.*save it as UTF-8') as caught:
        read_list(put(tmp_path, content))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['list.txt', 'list.csv'])
@pytest.mark.parametrize('content', [b'', b'\n\n', b'\xef\xbb\xbf', b'path,label\n'])
def test_an_empty_list(tmp_path, name, content):
    if name == 'list.txt' and content.startswith(b'path'):
        content = b' \t'
    with pytest.raises(BCE3SError, match='names no image'):
        read_list(put(tmp_path, content, name))


def test_files_that_are_no_list(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'pipe.txt')
    whole = gzip.compress(b'a.jpg 0\n' * 1000)
    put(tmp_path, whole[: len(whole) // 2], 'cut.txt.gz')
    put(tmp_path, b'a.jpg 0\n', 'plain.txt.gz')
    put(tmp_path, gzip.compress(b'\0' * 10_000), 'large.txt.gz')
    monkeypatch.setattr(lists, 'MAX_BYTES', 9_999)
    for name, reason in {
        'missing.txt': 'there is no such file',
        'pipe.txt': 'it is no regular file',
        '.': 'it is no regular file',
        'cut.txt.gz': 'ended before',
        'plain.txt.gz': 'Not a gzipped file',
        'large.txt.gz': 'more than 0 MiB',
        'nul\0.txt': 'cannot be read',
    }.items():
        with pytest.raises(BCE3SError, match=reason):
            read_list(tmp_path / name)


# ---------------------------------------------------------------------------- the published lists


def published(name):
    path = PUBLISHED / f'{name}.gz'
    if not path.is_file():
        pytest.skip(f'{name} is not beside the project')
    return read_list(path)


BENCHMARKS = {
    name: json.loads((ROOT / 'data_lists' / f'{name}.json').read_text())
    for name in ('imagenet_lt', 'inaturalist2018', 'places_lt')
}
SPLITS = [(name, split) for name, facts in BENCHMARKS.items() for split in facts['splits']]


@pytest.mark.parametrize(('name', 'split'), SPLITS)
def test_published_lists_are_those_of_the_manifests(name, split):
    """``read_list`` itself refuses an image that is listed twice."""
    facts = BENCHMARKS[name]['splits'][split]
    entries = published(facts['list'])
    assert entries.git_blob == facts['git_blob']
    assert len(set(entries.paths)) == len(entries.paths) == facts['images']
    counts = facts['class_counts']
    if isinstance(counts, int):
        counts = [counts] * BENCHMARKS[name]['num_classes']
    assert counts is None or np.bincount(entries.labels).tolist() == counts


def test_published_lists_do_not_overlap():
    """Val lists name images of the folder of the training set, which the train lists leave out."""
    splits = {}
    for split in ('train', 'val', 'test'):
        splits[split] = set(published(f'Places_LT_{split}.txt').paths)
    assert len(set.union(*splits.values())) == sum(map(len, splits.values()))
    assert all(path.startswith('train/') for path in splits['train'] | splits['val'])
    val, test = (published(f'ImageNet_LT_{split}.txt').paths for split in ('val', 'test'))
    assert not set(val) & set(test)
    assert {path.split('/')[0] for path in val} == {'train'}
    assert {path.split('/')[0] for path in test} == {'val'}


def test_a_header_of_lines_is_no_image(tmp_path):
    entries = read_list(put(tmp_path, 'path label\na.jpg dog\nb.jpg cat\n'))
    assert pairs(entries) == [('a.jpg', 1, 2), ('b.jpg', 0, 3)]
