"""The decode section: that what it compares sees the same crops, and that it runs."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from bce3s.datasets.decoding import read_centre
from benchmarks import decode
from benchmarks.timing import Options

STD = 255 * torch.tensor(decode.STD).view(3, 1, 1)
MEAN = 255 * torch.tensor(decode.MEAN).view(3, 1, 1)


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
    return decode.write_photos(tmp_path_factory.mktemp('photos'), 4)


def test_photos_are_of_imagenets_size(paths):
    sizes = {Image.open(path).size for path in paths}
    assert sizes <= {(500, 375), (375, 500)}


def test_the_plain_test_crop_is_ours_normalised(paths):
    _, plain = decode.plain_transforms()
    for path in paths:
        pixels = plain(path) * STD + MEAN
        ours = read_centre(path, decode.SIZE, decode.RESIZE)
        assert (pixels - ours).abs().max() < 1.01


def test_the_plain_training_crop_is_normalised_and_random(paths):
    plain, _ = decode.plain_transforms()
    a, b = plain(paths[0]), plain(paths[0])
    assert a.shape == b.shape == (3, decode.SIZE, decode.SIZE)
    assert a.dtype == torch.float32
    assert not torch.equal(a, b)


def test_decoders_agree(paths):
    pillow = decode.DECODERS['Pillow']()(paths[0]).astype(int)
    opencv = decode.DECODERS['OpenCV']()(paths[0])[..., ::-1]
    assert abs(pillow - opencv).max() <= 2


def test_a_library_that_is_missing_is_left_out():
    def missing():
        raise ImportError('no such library')

    assert decode._installed(missing) is None


def test_the_section_runs():
    threads = torch.get_num_threads()
    tables = list(decode.run(Options(quick=True, seconds=0.01)))
    assert torch.get_num_threads() == threads
    assert len(tables) == 4
    train, test, decoders, loader = tables
    for table in (train, test):
        assert table.rows[0]['ratio'] == 1
        assert len(table.rows) == 2
    assert {'Pillow', 'OpenCV'} <= {row['library'] for row in decoders.rows}
    assert [row['workers'] for row in loader.rows] == [0, 1, 2]
    for table in tables:
        assert all(row['images/s'] > 0 for row in table.rows)
        assert table.text()
