"""Copies are found whatever was done to them, and nothing else is."""

import cv2
import numpy as np
import pytest

from bce3s.datasets.in_memory import CIFAR100LT
from bce3s.own_data import near_duplicates as near
from bce3s.own_data.near_duplicates import (
    bit_counts,
    close_pairs,
    difference_codes,
    frequency_codes,
    near_duplicates,
)


def scenes(number, seed=0, side=32):
    """Grey pictures of soft shapes, no two alike."""
    rng = np.random.default_rng(seed)
    grids = rng.normal(size=(number, 8, 8)).astype(np.float32)
    large = np.stack([cv2.resize(g, (side, side), interpolation=cv2.INTER_CUBIC) for g in grids])
    return np.clip(128 + 60 * large, 0, 255).astype(np.uint8)


def bits_apart(a, b):
    return bin(int(a) ^ int(b)).count('1')


# ------------------------------------------------------------------------------------------ search
def test_bit_counts():
    values = np.random.default_rng(0).integers(0, 1 << 64, 100, np.uint64, endpoint=False)
    values[:3] = 0, 1, (1 << 64) - 1
    assert bit_counts(values).tolist() == [bin(int(v)).count('1') for v in values]


@pytest.mark.parametrize('most', [3, 7, 11])
@pytest.mark.parametrize('block', [1, 50, 1 << 20])
def test_close_pairs_are_those_of_a_full_comparison(monkeypatch, most, block):
    monkeypatch.setattr(near, 'BLOCK', block)
    rng = np.random.default_rng(most)
    codes = rng.integers(0, 1 << 64, 60, np.uint64, endpoint=False)
    for i in range(30):  # within 0 to 14 bits of another one
        flips = rng.choice(64, rng.integers(15), replace=False)
        codes[30 + i] = codes[i] ^ np.uint64(sum(1 << int(b) for b in flips))
    expected = {
        (i, j) for j in range(60) for i in range(j) if bits_apart(codes[i], codes[j]) <= most
    }
    found = {
        (int(a), int(b)) for i, j in close_pairs(codes, most) for a, b in zip(i, j, strict=True)
    }
    assert found == expected
    assert len(found) > 2


def test_difference_codes_by_loops():
    pictures = scenes(2)
    codes = difference_codes(pictures)
    bits = []
    for picture in pictures:
        small = cv2.resize(picture, (9, 8), interpolation=cv2.INTER_AREA)
        bits.append([small[r, c] < small[r, c + 1] for r in range(8) for c in range(8)])
    assert bits_apart(*codes) == sum(a != b for a, b in zip(*bits, strict=True))
    assert bit_counts(codes).tolist() == [sum(each) for each in bits]


def test_frequency_codes_by_opencv():
    pictures = scenes(3)
    frequencies = sorted(
        ((u, v) for u in range(9) for v in range(9)), key=lambda f: (f[0] + f[1], f)
    )
    bits = []
    for picture in pictures:
        waves = cv2.dct(picture.astype(np.float32))
        # OpenCV's transform is orthonormal: the first row and column are sqrt(1/2) of ours
        waves[0] *= np.sqrt(2)
        waves[:, 0] *= np.sqrt(2)
        low = np.array([waves[f] for f in frequencies[1:65]])
        bits.append(low > np.median(low))
    codes = frequency_codes(pictures)
    for i in range(3):
        for j in range(3):
            assert bits_apart(codes[i], codes[j]) == (bits[i] != bits[j]).sum()
    assert bit_counts(codes).tolist() == [32, 32, 32]


# ------------------------------------------------------------------------------------------ copies
def changed(picture, how):
    if how == 'jpeg':
        return cv2.imdecode(cv2.imencode('.jpg', picture, [1, 40])[1], 0)
    if how == 'halved':
        return cv2.resize(cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA), (32, 32))
    if how == 'darker':
        return (picture * 0.6).astype(np.uint8)
    if how == 'brighter':
        return np.clip(picture * 1.1 + 20, 0, 255).astype(np.uint8)
    return cv2.resize(picture[1:-1, 1:], (32, 32), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize('how', ['jpeg', 'halved', 'darker', 'brighter', 'cropped'])
def test_copies(how):
    pictures = scenes(200)
    copies = np.stack([changed(p, how) for p in pictures[:40]])
    groups = np.repeat([0, 1], [200, 40])
    found, complete = near_duplicates(np.concatenate([pictures, copies]), groups)
    hits = [(i, 200 + i) for i in range(40) if (i, 200 + i) in found]
    assert found == hits  # nothing but copies, in order
    assert len(hits) >= (34 if how == 'cropped' else 39)
    assert complete


def test_pairs_of_one_group_and_pictures_to_pass_over_are_not_looked_for():
    picture = scenes(1)[0]
    alike = np.stack([picture] * 4)
    assert near_duplicates(alike, np.array([0, 0, 1, -1]))[0] == [(0, 2), (1, 2)]
    assert near_duplicates(alike, np.array([0, 0, 0, 0])) == ([], True)
    assert near_duplicates(alike[:1], np.array([0])) == ([], True)
    assert near_duplicates(alike[:0], np.array([], int)) == ([], True)


def test_pictures_without_content_are_not_alike():
    rng = np.random.default_rng(0)
    dull = np.clip(rng.normal(20, 2, (30, 32, 32)), 0, 255).astype(np.uint8)
    assert near_duplicates(dull, np.arange(30)) == ([], True)
    slopes = np.stack([np.tile(np.linspace(a, a + 90, 32), (32, 1)) for a in range(0, 60, 10)])
    skies = (slopes + rng.normal(0, 3, slopes.shape)).astype(np.uint8)
    assert near_duplicates(skies, np.arange(6)) == ([], True)  # their low frequencies are the same


def test_the_order_of_the_pictures_does_not_matter():
    pictures = np.concatenate([scenes(60), scenes(60)[::2]])
    groups, order = np.repeat([0, 1], [60, 30]), np.random.default_rng(0).permutation(90)
    expected = near_duplicates(pictures, groups)[0]
    found = near_duplicates(pictures[order], groups[order])[0]
    assert sorted(tuple(sorted((order[i], order[j]))) for i, j in found) == expected
    assert len(expected) == 30


def test_too_many_candidates_are_told(monkeypatch):
    pictures = np.stack([scenes(1)[0]] * 30)
    found, complete = near_duplicates(pictures, np.arange(30))
    assert (len(found), complete) == (435, True)
    monkeypatch.setattr(near, 'BLOCK', 20)
    monkeypatch.setattr(near, 'MOST', 4)
    found, complete = near_duplicates(pictures, np.arange(30))
    assert (len(found), complete) == (4, False)
    monkeypatch.undo()
    monkeypatch.setattr(near, 'CLOSE', 3)
    found, complete = near_duplicates(pictures, np.arange(30))
    assert found
    assert not complete


def test_the_likeliest_are_kept(monkeypatch):
    rng = np.random.default_rng(0)
    pictures = scenes(60)
    noisy = np.clip(pictures + rng.normal(0, 20, pictures.shape), 0, 255).astype(np.uint8)
    both = np.concatenate([pictures, noisy[:30], pictures[30:]])
    groups = np.repeat([0, 1], 60)
    monkeypatch.setattr(near, 'MOST', 30)
    found, complete = near_duplicates(both, groups)
    assert found == [(i, i + 60) for i in range(30, 60)]  # the exact ones
    assert not complete


@pytest.fixture(scope='module')
def cifar(data_root):
    if not (data_root / 'cifar-100-python').is_dir():
        pytest.skip('CIFAR-100 is not there')
    images = CIFAR100LT('test', data_root=str(data_root), verify=False).images[:2000].numpy()
    return [
        cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        for image in images.transpose(0, 2, 3, 1)
    ]


def test_real_pictures(cifar):
    """Of 2,000 photographs, 40 copies of each kind."""
    hows = ['jpeg', 'halved', 'darker', 'brighter', 'cropped']
    copies = [changed(cifar[40 * k + i], how) for k, how in enumerate(hows) for i in range(40)]
    groups = np.repeat([0, 1], [2000, 200])
    found = near_duplicates(np.stack([*cifar, *copies]), groups)[0]
    right = sum(j == i + 2000 for i, j in found)
    assert right >= 190
    assert len(found) - right <= 10  # some are in CIFAR-100 twice
