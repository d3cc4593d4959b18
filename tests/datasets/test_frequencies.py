"""Figures of a long tail, as numbers, text and picture."""

import io

import numpy as np
import pytest
from PIL import Image

from bce3s.datasets.frequencies import (
    bin_edges,
    draw_frequencies,
    gini,
    images_of_classes,
    imbalance_factor,
    summary,
)
from bce3s.datasets.long_tailed import class_counts


def test_gini():
    assert gini([5, 5, 5]) == 0
    assert gini([0, 0, 0, 8]) == pytest.approx(3 / 4)
    counts = np.random.default_rng(0).integers(1, 500, 60)
    # half the relative mean absolute difference, a pair at a time
    pairs = sum(abs(int(a) - int(b)) for a in counts for b in counts)
    assert gini(counts) == pytest.approx(pairs / (2 * len(counts) ** 2 * counts.mean()))
    assert imbalance_factor([10, 4]) == 2.5
    assert imbalance_factor([10, 0]) == np.inf


def test_bins():
    assert bin_edges(0) == [0, 1]
    assert bin_edges(4980) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert bin_edges(5000)[-1] == 10000


def test_summary():
    counts = class_counts(500, 100, 100)
    images = images_of_classes(counts, dict(train=np.repeat(np.arange(100), counts), test=[3, 3]))
    assert images['train'] == counts
    assert images['test'] == [0, 0, 0, 2] + [0] * 96
    lines = summary(images, [f'name{k}' for k in range(100)]).splitlines()
    text = '\n'.join(' '.join(line.split()) for line in lines)
    assert 'train 10,847 images, 5 to 500 a class' in text
    assert 'test 2 images, 0 to 2 a class' in text
    assert 'imbalance factor 100 (500 / 5)' in text
    assert 'Many (> 100) 35 classes' in text
    assert 'Medium (20 to 100) 35 classes' in text
    assert 'Few (< 20) 30 classes' in text
    assert 'most frequent 0 (name0): 500, 1 (name1): 477' in text
    assert 'rarest 99 (name99): 5, 98 (name98): 5' in text
    bars = [line.split() for line in lines if line.endswith('#')]
    assert sum(int(bar[-2]) for bar in bars) == 100  # every class is in one bar
    assert max(len(bar[-1]) for bar in bars) == 40


@pytest.mark.parametrize('counts', [[3], [10**7, 1, 0]])
def test_small_and_strange_ones(counts):
    images = dict(train=counts)
    expected = '1 class' if len(counts) == 1 else f'{len(counts)} classes'
    assert summary(images).splitlines()[0] == expected
    assert Image.open(io.BytesIO(draw_frequencies('few', images))).size == (1300, 598)


def test_the_figure_has_the_colours_of_the_splits():
    images = dict(train=class_counts(500, 100, 100), test=[100] * 100)
    picture = Image.open(io.BytesIO(draw_frequencies('CIFAR-100-LT', images))).convert('RGB')
    colours = {colour: number for number, colour in picture.getcolors(1 << 20)}
    areas = [
        colours.get(c, 0) for c in ((0xA3, 0xBF, 0xDC), (0xE6, 0xDD, 0x9F), (0xF6, 0xB5, 0xBC))
    ]
    assert areas[0] > areas[1] > areas[2] > 5000
