"""Wrong labels are found by what a model says of the images."""

import numpy as np
import pytest
from scipy.special import log_softmax

from bce3s.errors import BCE3SError
from bce3s.evaluation.label_suspects import Suspect, label_suspects


def made(n=600, k=6, flips=30, seed=0):
    """Logits of a fair model, labels of which the first ``flips`` are wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += 5
    labels = truth.copy()
    labels[:flips] = (truth[:flips] + rng.integers(1, k, flips)) % k
    return logits, labels, truth


def by_loops(logits, labels):
    """The definition, a sample at a time."""
    scores = [log_softmax(row) for row in logits]
    mean = {}
    for k in set(labels.tolist()):
        own = [s[k] for s, y in zip(scores, labels, strict=True) if y == k]
        mean[k] = sum(own) / len(own)
    found = []
    for i, (s, y) in enumerate(zip(scores, labels.tolist(), strict=True)):
        margins = {k: (s[k] - mean[k]) - (s[y] - mean[y]) for k in mean if k != y}
        if margins:
            other = max(margins, key=margins.get)
            if margins[other] > 0:
                found.append((i, y, other, margins[other]))
    return sorted(found, key=lambda each: -each[3])


def test_the_definition():
    logits, labels, _ = made(80, 5, 6)
    labels[labels == 4] = 3  # a class without an image
    found = label_suspects(logits, labels, None)
    expected = by_loops(logits, labels)
    assert [(s.index, s.label, s.other) for s in found] == [each[:3] for each in expected]
    assert [s.margin for s in found] == pytest.approx([each[3] for each in expected])
    assert all(s.other != 4 for s in found)


def test_flipped_labels_are_found():
    logits, labels, truth = made()
    found = label_suspects(logits, labels, 30)
    hits = [s for s in found if s.index < 30]
    assert len(hits) >= 28
    assert all(s.other == truth[s.index] and s.label == labels[s.index] for s in hits)
    assert label_suspects(logits, labels) == found[:20]


def test_a_rare_class_is_not_suspected_as_a_whole():
    """The model sees half as much of class 0 as of the others."""
    logits, labels, _ = made(flips=0)
    rare = np.flatnonzero(labels == 0)
    logits[rare, 0] -= 4.5
    logits[rare, 1] += 2
    suspected = {s.index for s in label_suspects(logits, labels, None)}
    plain = set(np.flatnonzero(logits.argmax(1) != labels))
    assert len(suspected & set(rare)) < len(plain & set(rare)) / 2


def test_what_softmax_ignores_is_ignored():
    logits, labels, _ = made(100)
    shifted = logits + np.random.default_rng(1).normal(size=(100, 1)) * 50
    found, again = label_suspects(logits, labels), label_suspects(shifted, labels)
    assert [s.index for s in found] == [s.index for s in again]
    assert label_suspects(logits.astype(np.float32) * 300, labels)  # no overflow


def test_an_image_that_looks_as_much_like_its_own_class_is_not_suspected():
    assert label_suspects(np.zeros((4, 2)), [0, 1, 0, 1]) == []


def test_edges():
    assert label_suspects([[2.0, 1.0]], [0]) == []
    assert label_suspects([[1.0], [5.0]], [0, 0]) == []  # one class
    assert label_suspects([[3.0, 0.0], [0.0, 3.0]], [0, 1]) == []
    logits, labels, _ = made()
    assert label_suspects(logits, labels, 0) == []
    tied = [[0.0, 4.0], [0.0, 4.0], [4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 0.0]]
    found = label_suspects(tied, [0, 0, 0, 1, 0, 0])
    assert [s.index for s in found] == [0, 1]  # ties: in the order of the images
    assert isinstance(found[0], Suspect)


@pytest.mark.parametrize(
    ('logits', 'labels', 'sentence'),
    [
        (np.zeros((0, 3)), np.zeros(0, int), 'There is no sample'),
        (np.zeros((2, 3)), [0, 3], 'must be classes 0..2'),
        (np.zeros((2, 3)), [0], 'one label for each sample'),
        (np.zeros(3), [0, 1, 2], 'must be a matrix'),
        ([[np.nan, 0.0]], [0], 'not finite'),
    ],
)
def test_mistakes(logits, labels, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        label_suspects(logits, labels)
