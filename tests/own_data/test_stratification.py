"""The validation split of images with several labels."""

import shutil

import numpy as np
import pytest

from bce3s.datasets.checks import check_images
from bce3s.own_data.found import FoundImages
from bce3s.own_data.splits import held_out, hold_out
from bce3s.own_data.stratification import iterative_stratification


def long_tailed(seed, images=600, classes=15):
    """(N, K) marks, 40 % of the images down to a few; labels come together more than by chance."""
    rng = np.random.default_rng(seed)
    share = 0.4 * 80.0 ** (-np.arange(classes) / (classes - 1))
    busy = rng.gamma(2.0, 0.5, (images, 1))
    marks = (rng.random((images, classes)) < share * busy).astype(int)
    marks[np.arange(classes), np.arange(classes)] = 1
    return marks


def made(marks, root='.'):
    images = [(f'{i:04d}.png', tuple(row.tolist())) for i, row in enumerate(marks)]
    return FoundImages(root, [f'c{k}' for k in range(marks.shape[1])], dict(train=images))


def slow(counts, images, wanted, share):
    """Algorithm 1 as it is written, with sets and loops; draws are replaced by the order."""
    labels = range(len(wanted))
    todo = list(range(len(counts)))
    total = [sum(row[k] for row in counts) for k in labels]
    c = [[total[k] - wanted[k] for k in labels], list(wanted)]
    size = [(1 - share) * sum(images), share * sum(images)]
    held = []
    while todo:
        number = {k: sum(counts[g][k] for g in todo) for k in labels}
        rarest = min((k for k in labels if number[k]), key=lambda k: (number[k], k))
        for g in [g for g in todo if counts[g][rarest]]:
            best = [j for j in (0, 1) if c[j][rarest] == max(c[0][rarest], c[1][rarest])]
            if len(best) > 1:
                best = [j for j in best if size[j] == max(size)]
            m = best[0]
            others = [x for x in range(len(counts)) if x != g and x not in held]
            lost = [k for k in labels if counts[g][k] and not sum(counts[x][k] for x in others)]
            if m == 1 and lost:
                m = 0
            todo.remove(g)
            held += [g] if m == 1 else []
            for k in labels:
                c[m][k] -= counts[g][k]
            size[m] -= images[g]
    return sorted(held)


@pytest.mark.parametrize('seed', range(5))
def test_it_is_the_published_algorithm(seed):
    marks = long_tailed(seed, images=80, classes=7)
    images = np.random.default_rng(seed).integers(1, 4, len(marks)).tolist()
    marks = np.column_stack([marks, marks.sum(1) == 0]) * np.array(images)[:, None]
    wanted = [held_out(int(n)) for n in marks.sum(0)]
    expected = slow(marks.tolist(), images, wanted, 0.2)
    assert expected == iterative_stratification(marks, images, wanted, 0.2)
    assert 5 < len(expected) < 40


@pytest.mark.parametrize('seed', range(3))
def test_each_label_has_its_share_where_drawing_misses_it(seed):
    marks = long_tailed(seed)
    found = hold_out(made(marks), most=1000)
    totals, val = marks.sum(0), np.array(found.counts('val'))
    assert (totals - val == found.counts('train')).all()
    assert min(found.counts('train')) > 0
    off = np.abs(val - totals / 5)
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(100):
        chosen = rng.permutation(len(marks))[: len(found.splits['val'])]
        drawn.append(np.abs(marks[chosen].sum(0) - totals / 5))
    assert off.max() < 2
    assert off.mean() < 0.4 * np.mean(drawn)
    without = sum(not any(label) for _, label in found.splits['val'])
    assert without == pytest.approx((marks.sum(1) == 0).sum() / 5, abs=1)


def test_it_follows_from_paths_and_contents(tmp_path):
    """Not from the order; equal files stay together, and each label keeps an image to train on."""
    marks = long_tailed(0, images=60, classes=5)
    for i in range(30):
        (tmp_path / f'{i:04d}.png').write_bytes(b'%d' % i * 50)
        shutil.copy(tmp_path / f'{i:04d}.png', tmp_path / f'{i + 30:04d}.png')
    found = made(marks, tmp_path)
    paths = [str(tmp_path / path) for path, _ in found.splits['train']]
    seen = check_images(paths, 'pixels', lambda *_: None)
    once = hold_out(found, seen)
    sides = [{(tmp_path / p).read_bytes() for p, _ in once.splits[s]} for s in ('train', 'val')]
    assert sides[1]
    assert not sides[0] & sides[1]
    again = made(marks, tmp_path)
    again.splits['train'].reverse()
    assert set(hold_out(again, seen[::-1]).splits['val']) == set(once.splits['val'])
    alone = hold_out(made(np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1]])))
    assert min(alone.counts('train')) == 1
    assert alone.counts('val') != [0, 0, 0]
