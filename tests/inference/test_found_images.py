"""Which images folders and lists mean."""

import gzip
import os
from pathlib import Path

import pytest

from bce3s.errors import BCE3SError
from bce3s.inference.found_images import find_images


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_read_to_their_ends_in_order(tmp_path):
    make(tmp_path, 'b.JPG', 'a.png', 'x/c.tiff', 'x/._c.tiff', 'x/y/d.webp', 'e.txt')
    (tmp_path / 'x/y/loop').symlink_to(tmp_path / 'x', target_is_directory=True)
    expected = ['a.png', 'b.JPG', 'x/c.tiff', 'x/y/d.webp']
    assert find_images([tmp_path]) == [str(tmp_path / name) for name in expected]
    several = find_images([tmp_path / 'x', tmp_path / 'a.png'])
    assert several == [str(tmp_path / name) for name in ('x/c.tiff', 'x/y/d.webp', 'a.png')]


def test_what_a_folder_has_besides_images_is_told(tmp_path):
    make(tmp_path, 'a.png', 'dog/b.gif', 'dog/c.heic', 'dog/.DS_Store')
    said = []
    assert len(find_images([tmp_path], say=said.append)) == 2
    assert said == [
        f'note: Passed over in {tmp_path}: 1 .heic (dog); left behind by systems and tools: '
        "'.DS_Store'."
    ]


def test_patterns_are_expanded(tmp_path):
    make(tmp_path, 'x/b.png', 'x/a.png', 'y/c.png', '[1].png')
    found = find_images([f'{tmp_path}/x/*.png', f'{tmp_path}/?/c.png', f'{tmp_path}/[1].png'])
    names = ('x/a.png', 'x/b.png', 'y/c.png', '[1].png')
    assert found == [str(tmp_path / name) for name in names]
    with pytest.raises(BCE3SError, match='is not there'):
        find_images([f'{tmp_path}/*.jpg'])


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ('https://example.org/a.jpg', 'https://example.org/a.jpg is an address: download'),
        ('-', 'nothing is read from a pipe'),
    ],
)
def test_what_is_no_path(given, said):
    with pytest.raises(BCE3SError, match=said):
        find_images([given])


def test_links_in_circles_are_passed_over_and_other_faults_are_not(tmp_path, monkeypatch):
    make(tmp_path, 'a/x.png', 'b/y.png')
    (tmp_path / 'a/b').symlink_to(tmp_path / 'b', target_is_directory=True)
    (tmp_path / 'b/a').symlink_to(tmp_path / 'a', target_is_directory=True)
    expected = [str(tmp_path / name) for name in ('a/x.png', 'a/b/y.png')]
    assert find_images([tmp_path / 'a']) == expected
    scandir = os.scandir

    def closed(path):
        if Path(path).name == 'b':
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', closed)
    with pytest.raises(BCE3SError, match=r'a/b: cannot be listed \(Permission denied\)'):
        find_images([tmp_path / 'a'])


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('l.txt', 'a b.png\nc.png\n'),
        ('l.txt', 'a b.png 3\r\n\r\nc.png 12\r\n'),
        ('l.txt', '\ufeffa b.png\tcat\nc.png dog\n'),
        ('l.txt', 'path label\na b.png\ttabby cat\nc.png dog\n'),
        ('l.csv', 'path,label\na b.png,cat\nc.png,dog\n'),
        ('l.csv', 'Label;x,IMAGE\n1,a b.png\n2,c.png\n'),
        ('l.csv', 'path;label\na b.png;cat, or dog\nc.png;dog\n'),
        ('l.csv', 'label\tpath\ncat\ta b.png\ndog\tc.png\n'),
        ('l.csv', '"path",label\n"a b.png","a ""cat"""\nc.png,dog\n'),
        ('l.csv', 'a b.png;0\nc.png;1\n'),
        ('l.csv', '0,a b.png\n1,c.png\n'),
        ('l.csv', 'a b.png\nc.png\n'),
        ('l.csv', 'a b.png,0\n\nc.png,1\n'),
        ('l.tsv', 'filename\tlabel\na b.png\t0\nc.png\t1\n'),
        ('l.csv.gz', 'path\na b.png\nc.png\n'),
    ],
)
def test_lists_of_every_kind(tmp_path, name, text):
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith('.gz') else content)
    make(tmp_path, 'a b.png', 'c.png')
    expected = [str(tmp_path / path) for path in ('a b.png', 'c.png')]
    assert find_images([tmp_path / name]) == expected


def test_names_in_lists_that_have_no_extension(tmp_path):
    (tmp_path / 'l.txt').write_text('one\nthe second 2\n/abs/x.png 1\n')
    make(tmp_path, 'one', 'the second')
    found = find_images([tmp_path / 'l.txt'])
    assert found == [str(tmp_path / 'one'), str(tmp_path / 'the second'), '/abs/x.png']


def test_where_the_images_of_a_list_are(tmp_path):
    make(tmp_path, 'data/in/a.png', 'run/l.csv', 'other/in/a.png')
    (tmp_path / 'run/l.csv').write_text('path,label\nin/a.png,cat\nin/b.png,cat\n')
    lists, data, other = [tmp_path / 'run/l.csv'], tmp_path / 'data', tmp_path / 'other'
    said = []

    def roots(*arguments):
        found = find_images(lists, *arguments, say=said.append)
        return {Path(path).parents[1] for path in found}

    assert roots() == {tmp_path / 'run'}  # each image will be told to be missing
    assert 'None of the 2 images' in said[-1]
    assert said[-1].endswith('--data-root FOLDER.')
    assert roots(None, str(data)) == {data}
    assert said[-1] == f'note: The images of l.csv are those in {data}, of the training.'
    assert roots(other, str(data)) == {other}
    make(tmp_path, 'run/in/a.png')
    assert roots(None, str(data)) == {tmp_path / 'run'}


def test_a_list_of_names_is_read_as_for_a_training(tmp_path):
    make(tmp_path, 'test_images/n1.jpg', 'test_images/n2.jpg')
    (tmp_path / 'test.csv').write_text('id\nn1\nn2\n')
    said = []
    found = find_images([tmp_path / 'test.csv'], say=said.append)
    assert found == [str(tmp_path / f'test_images/n{i}.jpg') for i in (1, 2)]
    assert said == ["note: The images of test.csv lie in 'test_images' and end in '.jpg'."]
    make(tmp_path, 'train_images/n1.jpg', 'train_images/n2.jpg')
    (tmp_path / 'test.csv').rename(tmp_path / 'ids.csv')  # which of them, nothing says
    find_images([tmp_path / 'ids.csv'], say=said.append)
    assert 'say which, --data-root FOLDER' in said[1]
    assert find_images([tmp_path / 'ids.csv'], tmp_path / 'test_images') == found


@pytest.mark.parametrize(
    ('name', 'content', 'said'),
    [
        ('l.csv', b'a,b\n1,2\n', 'no column called path or file'),
        ('l.csv', b'path,label\n,cat\n', 'csv:2: has no path'),
        ('l.csv', b'path\n"a.png\n', 'is no row of a table'),
        ('l.csv', b'path,label\n', 'names no image'),
        ('l.txt', b'\n \n', 'names no image'),
        ('l.txt', b'caf\xe9.png\n', 'is not UTF-8'),
        ('l.txt.gz', b'no gzip', 'cannot be read'),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BCE3SError, match=said):
        find_images([tmp_path / name])


@pytest.mark.parametrize('name', ['l.txt', 'l.csv'])
def test_a_list_of_windows(tmp_path, name):
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/a b.png').write_bytes(b'')
    header = 'Image ID;label\r\n' if name == 'l.csv' else ''
    text = f'{header}x\\a b.png{";3" if header else ""}\r\n'
    (tmp_path / name).write_bytes(text.encode('utf-16'))
    assert find_images([tmp_path / name]) == [str(tmp_path / 'x/a b.png')]


def test_a_list_in_the_working_directory_names_images_as_it_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, 'pics/x.png')
    (tmp_path / 'list.txt').write_text('pics/x.png\n')
    assert find_images(['list.txt']) == find_images(['pics/x.png']) == ['pics/x.png']
