"""Copies are found whatever was done to them, and nothing else is."""

import cv2
import numpy as np
import pytest

from bce3s.datasets.in_memory import CIFAR100LT
from bce3s.own_data import duplicates as near
from bce3s.own_data.duplicates import frequency_codes, near_duplicates


def scenes(number, seed=0, side=32):
    """Grey pictures of soft shapes, no two alike."""
    rng = np.random.default_rng(seed)
    grids = rng.normal(size=(number, 8, 8)).astype(np.float32)
    large = np.stack([cv2.resize(g, (side, side), interpolation=cv2.INTER_CUBIC) for g in grids])
    return np.clip(128 + 60 * large, 0, 255).astype(np.uint8)


def test_frequency_codes_by_opencv():
    for picture, code in zip(scenes(3), frequency_codes(scenes(3)), strict=True):
        low = cv2.dct(picture.astype(np.float32))[:8, :8].flatten()
        assert np.unpackbits(code).tolist() == (low > np.median(low[1:])).tolist()


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
    assert near_duplicates(pictures, np.arange(30))[0] == found
    monkeypatch.setattr(near, 'MOST', 4)
    found, complete = near_duplicates(pictures, np.arange(30))
    assert (len(found), complete) == (4, False)


@pytest.fixture(scope='module')
def cifar(data_root):
    if not (data_root / 'cifar-100-python').is_dir():
        pytest.skip('CIFAR-100 is not there')
    images = CIFAR100LT(data_root, train=False, verify=False).images[:2000].numpy()
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
