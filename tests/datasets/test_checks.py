"""Files that are looked at before the first step: what is found, how much is read, and where."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from bce3s.datasets import checks, pixels
from bce3s.datasets.checks import Problems, agreed, check_images, look_at, same_content
from bce3s.errors import BCE3SError


def encoded(suffix='jpg', size=(60, 80), seed=0, **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    stream = io.BytesIO()
    kind = dict(jpg='jpeg', tif='tiff', ppm='ppm').get(suffix, suffix)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def put(folder, content, name='a.jpg'):
    (folder / name).write_bytes(content)
    return str(folder / name)


KINDS = ('jpg', 'png', 'gif', 'webp', 'bmp', 'tif', 'ppm')


# -------------------------------------------------------------------------------------- one file


@pytest.mark.parametrize('suffix', KINDS)
@pytest.mark.parametrize('how', ['files', 'headers', 'pixels'])
def test_whole_images_pass(tmp_path, suffix, how):
    for content in (encoded(suffix), encoded(suffix, (1, 1))):
        assert look_at(put(tmp_path, content), how).problem is None


@pytest.mark.parametrize('suffix', KINDS)
@pytest.mark.parametrize('kept', [1, 0.02, 0.3, 0.6, 0.97])
def test_cut_images_are_found(tmp_path, suffix, kept):
    content = encoded(suffix)
    path = put(tmp_path, content[: 1 if kept == 1 else int(len(content) * kept)])
    for how in ('headers', 'pixels'):
        assert 'cannot be read as an image' in look_at(path, how).problem
    assert look_at(path, 'files').problem is None


def test_jpegs_with_large_metadata_and_cut_in_it(tmp_path, monkeypatch):
    """The thumbnail of a cut one ends like an image."""
    exif = b'Exif\0\0' + b'\0' * 30_000 + encoded(size=(20, 20))
    content = encoded(exif=exif)
    assert look_at(put(tmp_path, content), 'pixels').problem is None
    end = content.index(b'\xff\xd9') + 2
    cut = put(tmp_path, content[:end], 'cut.jpg')
    assert 'cannot be read' in look_at(cut, 'headers').problem
    monkeypatch.setattr(pixels, 'pixels_of_file', None)  # nothing is decoded
    assert look_at(put(tmp_path, content), 'headers').problem is None


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_nothing_is_decoded_without_doubt(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(pixels, 'pixels_of_file', None)
    assert look_at(put(tmp_path, encoded(suffix)), 'headers').problem is None


@pytest.mark.parametrize('how', ['headers', 'pixels'])
def test_damage_in_the_middle_of_a_png_is_found(tmp_path, how):
    content = bytearray(encoded('png'))
    content[len(content) // 2] ^= 0xFF
    assert 'cannot be read as an image' in look_at(put(tmp_path, content), how).problem


def test_what_is_no_image(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'loop.jpg').symlink_to('loop.jpg')
    (tmp_path / 'gone.jpg').symlink_to('nowhere.jpg')
    put(tmp_path, b'', 'empty.jpg')
    put(tmp_path, b'no image', 'text.jpg')
    found = {
        name: look_at(str(tmp_path / name), 'headers').problem
        for name in ('pipe.jpg', 'folder.jpg', 'loop.jpg', 'gone.jpg', 'empty.jpg', 'text.jpg')
    }
    assert found == {
        'pipe.jpg': 'is no regular file',
        'folder.jpg': 'is a folder, not an image',
        'loop.jpg': 'cannot be opened (Too many levels of symbolic links)',
        'gone.jpg': 'links to a file that is not there',
        'empty.jpg': 'is empty',
        'text.jpg': 'cannot be read as an image (damaged, or no image)',
    }
    assert look_at('/dev/zero', 'files').problem == 'is no regular file'
    assert look_at('a\0b', 'files').problem == 'cannot be opened (embedded null byte)'
    assert look_at(str(tmp_path / 'text.jpg' / 'x'), 'files').problem.startswith('cannot be opened')

    def refused(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(checks.os, 'stat', refused)  # root may open anything
    problem = look_at(str(tmp_path / 'text.jpg'), 'headers').problem
    assert problem == 'cannot be opened (Permission denied)'


def test_marks_are_equal_for_equal_files_only(tmp_path):
    content = encoded(size=(150, 150))
    assert len(content) > 2 * checks.BLOCK
    other = bytearray(content)
    other[-10] ^= 1
    marks = [
        look_at(put(tmp_path, data, f'{i}.jpg'), 'headers').mark
        for i, data in enumerate([content, content, bytes(other), content[:-2] + b'\0\xff\xd9'])
    ]
    assert marks[0] == marks[1] != 0
    assert len(set(marks)) == 3


# ------------------------------------------------------------------------------------ all of them


def check(paths, how='headers', **options):
    found = []
    marks = check_images(paths, how, lambda i, what: found.append((i, what)), **options)
    return found, marks


def test_every_problem_in_order(tmp_path):
    content = encoded()
    paths = [put(tmp_path, b'' if i % 7 == 3 else content, f'{i}.jpg') for i in range(500)]
    found, marks = check(paths)
    assert found == [(i, 'is empty') for i in range(500) if i % 7 == 3]
    assert ((marks == 0) == [i % 7 == 3 for i in range(500)]).all()
    assert check(paths, 'none')[0] == []
    assert check([])[0] == []


def test_an_unexpected_error_ends_the_threads(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise MemoryError

    monkeypatch.setattr(checks, 'look_at', broken)
    with pytest.raises(MemoryError):
        check([str(tmp_path)] * 10_000)


def test_equal_content(tmp_path):
    """Of files whose mark is equal the content decides."""
    content = [encoded(seed=s, size=(150, 150)) for s in range(4)]
    middle = bytearray(content[3])
    middle[len(middle) // 2] ^= 1  # same size, beginning and end
    train = [put(tmp_path, content[s], f'train{s}.jpg') for s in (0, 1, 2, 3)]
    others = [content[2], content[0], bytes(middle), encoded(seed=9)]
    test = [put(tmp_path, data, f'test{i}.jpg') for i, data in enumerate(others)]
    marks = [check(paths, 'headers')[1] for paths in (test, train)]
    assert marks[0][2] == marks[1][3]
    assert same_content(test, marks[0], train, marks[1]) == [(0, 2), (1, 0)]
    os.remove(train[2])
    assert same_content(test, marks[0], train, marks[1]) == [(1, 0)]


# --------------------------------------------------------------------------------- the message


def test_problems_are_one_error():
    problems = Problems()
    problems.raise_all('never raised')
    assert not problems
    for i in range(103):
        problems.add(f'list.txt:{i}', f'{i}.jpg is missing', 'is missing' if i > 1 else '')
    with pytest.raises(BCE3SError) as caught:
        problems.raise_all('Images cannot be used')
    lines = str(caught.value).split('\n')
    assert lines[0] == 'Images cannot be used (103):'
    assert lines[1:3] == [f'  list.txt:{i}: {i}.jpg is missing' for i in range(2)]
    assert lines[3:] == [
        *(f'  list.txt:{i}: {i}.jpg is missing' for i in range(2, 5)),
        '  and 98 more: is missing',
    ]


def test_names_that_are_not_utf8_can_be_printed(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b'/\xff.jpg')
    problems = Problems()
    problems.add(name, look_at(name, 'headers').problem)
    with pytest.raises(BCE3SError, match=r'/\\udcff.jpg: is missing'):
        problems.raise_all('Images')
    with open(name, 'wb') as file:
        file.write(encoded())
    assert look_at(name, 'pixels').problem is None


def test_agreed_is_what_one_process_does():
    assert agreed(lambda: 3) == 3

    def wrong():
        raise BCE3SError('no such list')

    with pytest.raises(BCE3SError, match='no such list'):
        agreed(wrong)
