"""Which classes a batch is compared with: the rule, and the distribution of what is drawn."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import oracles
import pytest
import torch

from bce3s.losses.resampling import draw_classes, resample_classes, sample_classes


@pytest.mark.parametrize('drop', [True, False])
@pytest.mark.parametrize('r', [0.001, 0.1, 0.29, 0.4, 0.999, 1.0])
def test_resampled_classes_follow_the_rule(r, drop):
    rng = np.random.default_rng(0)
    for size in (1, 3, 64, 300):
        labels = torch.from_numpy(rng.integers(100, size=size))
        chosen = resample_classes(labels, 100, r, rng, drop)
        assert chosen.dtype == torch.bool
        oracles.check_resampled(chosen.nonzero().flatten().tolist(), labels.tolist(), 100, r, drop)


@pytest.mark.parametrize('r', [0.001, 0.1, 0.29, 1.0])
@pytest.mark.parametrize('size', [1, 3, 64, 300])
def test_sampled_classes_follow_the_rule(size, r):
    """Distinct, ascending, with every label, and of a length that the labels' values do not change;
    with the same draws as the mask where both keep ``int(K r)``.
    """
    gen = np.random.default_rng(0)
    for high in (1, 5, 100):
        labels = torch.from_numpy(gen.integers(high, size=size))
        classes = sample_classes(labels, 100, r, np.random.default_rng(7))
        assert len(classes) == min(100, max(int(100 * r), 1, size))
        assert (classes.diff() > 0).all()
        assert 0 <= classes[0] <= classes[-1] < 100
        assert set(labels.tolist()) <= set(classes.tolist())
        if len(classes) == int(100 * r):
            mask = resample_classes(labels, 100, r, np.random.default_rng(7))
            assert torch.equal(mask.nonzero().flatten(), classes)


@pytest.mark.parametrize('labels', [[3, 3, 8], [8], [3, 8, 0, 1, 3]])
def test_sampled_classes_are_every_choice_equally_often(labels):
    """All subsets of the others, chi-square: mean n - 1, variance 2 (n - 1)."""
    rng, trials, counts = np.random.default_rng(1), 3000, Counter()
    for _ in range(trials):
        counts[tuple(sample_classes(torch.tensor(labels), 9, 0.6, rng).tolist())] += 1
    present, others = set(labels), [k for k in range(9) if k not in labels]
    subsets = [{*c, *present} for c in combinations(others, 5 - len(present))]
    assert {frozenset(c) for c in counts} == {frozenset(c) for c in subsets}
    expected, free = trials / len(subsets), len(subsets) - 1
    chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
    assert abs(chi_square - free) < 5 * (2 * max(free, 1)) ** 0.5


def test_classes_are_filled_up_and_dropped_uniformly():
    """Five standard deviations of a binomial count."""
    rng, trials = np.random.default_rng(1), 4000
    few, many = torch.tensor([3, 3, 8]), torch.tensor([5, 0, 1, 2, 3, 4, 5, 6, 7, 5])
    filled = sum(resample_classes(few, 10, 0.5, rng).long() for _ in range(trials))
    kept = sum(resample_classes(many, 10, 0.5, rng, True).long() for _ in range(trials))
    others = [k for k in range(10) if k not in (3, 8)]
    for counts, share in ((filled[others], 3 / 8), (kept[:8], 5 / 8)):
        deviation = (trials * share * (1 - share)) ** 0.5
        assert (counts - trials * share).abs().max() < 5 * deviation
    assert filled[[3, 8]].tolist() == [trials, trials]
    assert kept[8:].tolist() == [0, 0]


def test_the_number_of_labels_comes_with_them():
    classes, present = draw_classes(torch.tensor([7, 2, 7, 7]), 9, 0.7, np.random.default_rng(0))
    assert present.item() == 2
    assert set(classes[:2].tolist()) == {2, 7}
    assert len(set(classes.tolist())) == len(classes) == 6
