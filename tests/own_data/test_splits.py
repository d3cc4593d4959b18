"""The validation split: how much, which images, and that they stay the same."""

import shutil
import zlib

import numpy as np
import pytest

from bce3s.datasets.checks import check_images
from bce3s.errors import BCE3SError
from bce3s.own_data.found import FoundImages
from bce3s.own_data.splits import held_out, hold_out


def made(counts, root='.'):
    images = [(f'{k}/{i:04d}.png', k) for k, n in enumerate(counts) for i in range(n)]
    return FoundImages(root, [str(k) for k in range(len(counts))], dict(train=sorted(images)))


def test_a_share_of_each_class():
    counts = [1, 2, 3, 5, 9, 10, 100, 250, 600]
    found = hold_out(made(counts))
    assert found.counts('val') == [0, 1, 1, 1, 1, 2, 20, 50, 50]
    assert (np.add(found.counts('train'), found.counts('val')) == counts).all()
    assert found.made == ['val']
    assert not set(found.splits['train']) & set(found.splits['val'])
    assert found.splits['val'] == sorted(found.splits['val'])


@pytest.mark.parametrize('n', range(1, 40))
@pytest.mark.parametrize('fraction', [0.01, 0.5, 0.99])
def test_training_keeps_one_and_validation_gets_one(n, fraction):
    found = hold_out(made([n, 2]), fraction=fraction)
    assert found.counts('train')[0] >= 1
    assert (found.counts('val')[0] >= 1) == (n > 1)


def test_a_share_that_is_whole_is_not_rounded_down():
    assert [held_out(n, 0.1) for n in (10, 20, 30, 70)] == [1, 2, 3, 7]


def test_it_follows_from_the_paths_alone():
    """Not from their order; an added image moves at most one other."""
    once = set(hold_out(made([100, 37])).splits['val'])
    shuffled = made([100, 37])
    shuffled.splits['train'] = shuffled.splits['train'][::-1]
    assert set(hold_out(shuffled).splits['val']) == once
    for i in range(30):
        more = made([100, 37])
        more.splits['train'].append((f'0/new{i}.png', 0))
        assert len(once ^ set(hold_out(more).splits['val']) - {(f'0/new{i}.png', 0)}) <= 1
    assert set(hold_out(made([100])).splits['val']) == {x for x in once if x[1] == 0}


def test_files_with_the_same_bytes_stay_together(tmp_path):
    """40 pictures, each saved twice; and a class of one picture, saved four times."""
    for i in range(40):
        (tmp_path / 'a').mkdir(exist_ok=True)
        (tmp_path / f'a/{i}.png').write_bytes(b'%d' % i * 50)
        shutil.copy(tmp_path / f'a/{i}.png', tmp_path / f'a/copy of {i}.png')
    (tmp_path / 'b').mkdir()
    for i in range(4):
        (tmp_path / f'b/{i}.png').write_bytes(b'one picture')
    images = sorted(
        (str(p.relative_to(tmp_path)), int('b/' in str(p.relative_to(tmp_path))))
        for p in tmp_path.rglob('*.png')
    )
    found = FoundImages(tmp_path, ['a', 'b'], dict(train=images))
    marks = np.array([zlib.crc32((tmp_path / p).read_bytes()) for p, _ in images], np.uint64)
    split = hold_out(found, marks)
    sides = [{(tmp_path / p).read_bytes() for p, _ in split.splits[s]} for s in ('train', 'val')]
    assert not sides[0] & sides[1]
    assert split.counts('val') == [16, 0]


def test_marks_may_be_unknown(tmp_path):
    found = made([4, 4], tmp_path)
    marks = check_images([str(tmp_path / p) for p, _ in found.splits['train']], 'none', print)
    assert hold_out(found, marks).counts('val') == [1, 1]


def test_bad_shares():
    for bad in (dict(fraction=0), dict(fraction=1.0), dict(most=0)):
        with pytest.raises(BCE3SError, match=r'own_data\.val_fraction'):
            hold_out(made([4, 4]), **bad)
    with pytest.raises(BCE3SError, match=r'No class .* has two different images'):
        hold_out(made([1, 1]))
