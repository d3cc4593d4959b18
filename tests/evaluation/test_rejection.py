"""None of these: extremes, halves, thresholds and rates, against loops and closed forms."""

import json

import numpy as np
import pytest
import torch

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.metric import LongTailedMetric
from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection import (
    Extremes,
    cross_fitted_thresholds,
    halves,
    keeping_thresholds,
    measure_rejection,
    uniform_threshold,
)
from bce3s.evaluation.report import default_threshold, format_markdown
from bce3s.evaluation.uniform_accuracy import uniform_accuracy

COUNTS, LIMITS = [200, 50, 50, 5], Thresholds()


def data(n=203, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) + 2 * np.eye(4)[labels] - [0, 0.5, 1, 1.5]
    return logits.astype(np.float32), labels


# ------------------------------------------------------------------------------------------- halves
def test_halves_share_every_class():
    labels = np.array([2, 0, 0, 2, 1, 0, 2, 0, 3, 4])
    half = halves(labels)
    for k in (0, 2):
        assert abs(2 * half[labels == k].sum() - (labels == k).sum()) <= 1
    # of classes with one sample, every other one is in the same half
    assert half[labels == 1] == 1
    assert half[labels == 3] == 1
    assert half[labels == 4] == 0
    assert half[labels == 0].tolist() == [0, 1, 0, 1]


def test_halves_follow_the_order_alone():
    _, labels = data()
    assert (halves(labels) == halves(torch.from_numpy(labels))).all()
    seen = dict.fromkeys(range(4), 0)
    for y, half in zip(labels, halves(labels), strict=True):
        assert half == (seen[y] + y) % 2
        seen[y] += 1
    assert len(halves([])) == 0


# ----------------------------------------------------------------------------------------- extremes
@pytest.mark.parametrize('classes', [1, 2, 5])
def test_extremes_are_the_own_and_the_largest_other_logit(classes, monkeypatch):
    monkeypatch.setattr('bce3s.evaluation.arrays.BLOCK', 3 * classes)  # three rows a block
    logits = torch.randn(20, classes, generator=torch.Generator().manual_seed(classes))
    labels = torch.arange(20) % classes
    found = Extremes.of(logits, labels)
    for i, y in enumerate(labels.tolist()):
        assert found.own[i] == logits[i, y]
        others = [-float('inf'), *(logits[i, j].item() for j in range(classes) if j != y)]
        assert found.other[i] == max(others)
    assert (found.largest == logits.amax(1).numpy()).all()
    assert found.finite


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('column', [0, 1])
def test_scores_that_are_not_finite_are_seen(value, column):
    logits = torch.randn(4, 3)
    logits[2, column] = value
    assert not Extremes.of(logits, [0, 0, 0, 0]).finite
    assert measure_rejection(Extremes.of(logits, [0] * 4), COUNTS[:3], LIMITS, 'test') is None


# ------------------------------------------------------------------------------------------- report
def by_loops(logits, labels, thresholds):
    """Means over classes of the share that is rejected, and of what is accepted and right."""
    false, right = [], []
    for k in range(4):
        of_class = [i for i in range(len(labels)) if labels[i] == k]
        kept = [i for i in of_class if max(logits[i]) > thresholds[i]]
        false.append(100 * (1 - len(kept) / len(of_class)))
        right.append(100 * sum(logits[i].argmax() == k for i in kept) / len(of_class))
    return false, right


def test_a_threshold_chosen_elsewhere():
    logits, labels = data()
    found = measure_rejection(Extremes.of(logits, labels), COUNTS, LIMITS, 'test', ('val', 0.4))
    false, right = by_loops(logits, labels, [0.4] * len(labels))
    assert found['false_rejection'] == pytest.approx(
        {
            'all': np.mean(false),
            'many': false[0],
            'medium': np.mean(false[1:3]),
            'few': false[3],
            'plain': 100 * (logits.max(1) <= 0.4).mean(),
        }
    )
    assert found['accuracy'] == pytest.approx(
        {'all': np.mean(right), 'many': right[0], 'medium': np.mean(right[1:3]), 'few': right[3]}
    )
    others = np.where(np.eye(4)[labels] > 0, -np.inf, logits).max(1)
    own = logits[np.arange(len(labels)), labels]
    assert found['uniform_accuracy'] == pytest.approx(100 * ((own > 0.4) & (others <= 0.4)).mean())
    assert (found['threshold'], found['chosen_on'], found['measured_on']) == (0.4, 'val', 'test')
    assert found['cross_fitted'] is False
    assert found['at_threshold'] == found['false_rejection']


def test_without_another_split_each_half_has_the_threshold_of_the_other():
    logits, labels = data()
    half = halves(labels)
    chosen = [uniform_accuracy(logits[half == h], labels[half == h]).threshold for h in (0, 1)]
    assert chosen[0] != chosen[1]
    false, right = by_loops(logits, labels, [chosen[1 - h] for h in half])
    found = measure_rejection(Extremes.of(logits, labels), COUNTS, LIMITS, 'test')
    assert found['false_rejection']['all'] == pytest.approx(np.mean(false))
    assert found['accuracy']['few'] == pytest.approx(right[3])
    accuracy, threshold = uniform_accuracy(logits, labels)
    simply, _ = by_loops(logits, labels, [threshold] * len(labels))
    assert found['at_threshold']['all'] == pytest.approx(np.mean(simply))
    assert (found['threshold'], found['uniform_accuracy']) == (threshold, pytest.approx(accuracy))
    assert (found['chosen_on'], found['measured_on'], found['cross_fitted']) == (
        'test',
        'test',
        True,
    )
    json.dumps(found, allow_nan=False)


def test_the_threshold_counts_as_rejected():
    extremes = Extremes.of([[1.0, 0.0], [2.0, 0.0]], [0, 0])
    found = measure_rejection(extremes, [5, 5], LIMITS, 'test', ('val', 1.0))
    assert found['false_rejection']['few'] == 50.0


def test_a_class_with_one_image_is_judged_without_it():
    # class 1 has one image, in half 1; the threshold for it is that of class 0's half
    logits = np.array([[4.0, -4.0], [5.0, -4.0], [6.0, -4.0], [-9.0, -8.0]])
    extremes = Extremes.of(logits, [0, 0, 0, 1])
    thresholds = cross_fitted_thresholds(extremes)
    assert thresholds[3] == uniform_threshold(extremes.at([0, 2]))
    found = measure_rejection(extremes, [200, 5], LIMITS, 'test')
    assert found['false_rejection']['few'] == 100.0
    assert found['false_rejection']['medium'] is None


@pytest.mark.parametrize(
    ('logits', 'labels'),
    [
        ([[1.0, 2.0], [1.0, 2.0]], [0, 0]),  # no image is right
        ([[2.0, 1.0]], [0]),  # one half is empty
        ([[1.0, 1.0], [1.0, 1.0]], [0, 1]),  # collapsed
    ],
)
def test_nothing_to_choose_from(logits, labels):
    found = measure_rejection(Extremes.of(logits, labels), [5, 5], LIMITS, 'test')
    assert set(found['false_rejection'].values()) == {None}
    assert set(found['accuracy'].values()) == {None}
    json.dumps(found, allow_nan=False)


def test_one_class_has_a_threshold_that_rejects_nothing():
    found = measure_rejection(Extremes.of([[1.0], [2.0], [-3.0]], [0] * 3), [5], LIMITS, 'test')
    assert found['uniform_accuracy'] == 100.0
    assert np.isfinite(found['threshold'])


def test_no_scores_no_rejection():
    assert measure_rejection(None, COUNTS, LIMITS, 'test') is None
    empty = Extremes(*(np.empty(0, dtype=kind) for kind in ('f4', 'f4', 'i8')))
    assert measure_rejection(empty, COUNTS, LIMITS, 'test') is None


@pytest.mark.parametrize(
    'values', [[3.0, 1.0, 1.0, 2.0, 5.0], [7.0], np.random.default_rng(0).normal(size=203)]
)
def test_a_share_of_the_images_is_kept(values):
    values = np.float32(values)
    found = keeping_thresholds(values)
    for percent, threshold in enumerate(found):
        kept = [v for v in values if not v <= threshold]
        assert 100 * len(kept) >= percent * len(values)
        fewer = [v for v in kept if v > min(kept)]  # without the lowest, and those alike
        assert not kept or 100 * len(fewer) < percent * len(values)


@pytest.mark.parametrize(('share', 'used'), [(None, True), (20.0, True), (20.5, False)])
def test_the_threshold_that_is_used_unasked(share, used):
    simply = dict(all=10.0)
    found = dict(threshold=1.5, false_rejection=dict(all=share), at_threshold=simply)
    assert default_threshold(found) == (1.5 if used else None)
    assert default_threshold(dict(threshold=None)) is None


# ------------------------------------------------------------------------------------------- metric
def evaluated(logits, labels, order, scores=True):
    metric = LongTailedMetric()
    metric.dataset_meta = {'class_counts': COUNTS}
    for start in range(0, len(order), 10):
        rows = [
            {'index': i, 'label': int(labels[i]), 'pred': int(logits[i].argmax())}
            | ({'scores': torch.from_numpy(logits[i])} if scores else {})
            for i in order[start : start + 10]
        ]
        metric.process(None, rows)
    metric.evaluate(len(labels))
    return metric


def test_the_metric_keeps_them_in_the_order_of_the_data():
    logits, labels = data(45)
    expected = Extremes.of(logits, labels)
    order = [*np.random.default_rng(0).permutation(45).tolist(), 3, 3]  # padded
    found = evaluated(logits, labels, order).extremes
    for name in ('own', 'other', 'labels'):
        assert (getattr(found, name) == getattr(expected, name)).all()


def test_a_model_without_scores():
    logits, labels = data(45)
    assert evaluated(logits, labels, list(range(45)), scores=False).extremes is None


def test_nan_logits_do_not_stop_the_report():
    logits, labels = data(45)
    logits[7] = np.nan
    extremes = evaluated(logits, labels, list(range(45))).extremes
    assert measure_rejection(extremes, COUNTS, LIMITS, 'test') is None


def test_a_label_of_other_data_is_still_the_sentence_of_the_accuracy():
    metric = LongTailedMetric()
    metric.dataset_meta = {'class_counts': [5, 5]}
    metric.process(None, [{'index': 0, 'label': 7, 'pred': 0, 'scores': torch.zeros(2)}])
    with pytest.raises(BCE3SError, match=r'0\.\.1'):
        metric.evaluate(1)


def evaluate_share(rank, folder, logits, labels):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    metric = evaluated(logits, labels, list(range(rank, len(labels), 2)))
    found = measure_rejection(metric.extremes, COUNTS, LIMITS, 'test')
    (folder / f'{rank}.json').write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_numbers_of_one(tmp_path):
    logits, labels = data(45)
    torch.multiprocessing.start_processes(
        evaluate_share, (tmp_path, logits, labels), nprocs=2, start_method='fork'
    )
    expected = measure_rejection(Extremes.of(logits, labels), COUNTS, LIMITS, 'test')
    for rank in (0, 1):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected


# --------------------------------------------------------------------------------------------- text
def report(rejection):
    cell = {'all': 1.0, 'many': 1.0, 'medium': None, 'few': 1.0}
    found = {
        **cell,
        **{'accuracy': 1.0, 'macro_f1': 1.0, 'per_class': [1.0, 1.0]},
        **{'samples': 2, 'dataset': 'Toy', 'split': 'test', 'classes': ['a', 'b']},
        **{'class_counts': [200, 5], 'thresholds': {'many': 100, 'few': 20}, 'subset': None},
        **{'epoch': 1, 'stage': 1, 'selection': 'last', 'tta': False, 'other': [], 'seed': 0},
        **{'config': 'c.py', 'versions': {}},
    }
    return found if rejection == 'unknown' else {**found, 'rejection': rejection}


def test_markdown():
    extremes = Extremes.of([[3.0, 1.0], [4.0, 1.0], [0.0, 2.0], [1.0, 2.0]], [0, 0, 1, 1])
    given = measure_rejection(extremes, [200, 5], LIMITS, 'test', ('val', 2.5))
    text = format_markdown(report(given))
    assert '## None of these' in text
    assert 'threshold, 2.5000' in text
    assert 'chosen on the val set' in text
    assert '| Falsely rejected | 50.00 | 0.00 | - | 100.00 |' in text
    assert '| Not rejected and right | 50.00 | 100.00 | - | 0.00 |' in text
    assert 'only where it is asked for' in text
    fitted = format_markdown(report(measure_rejection(extremes, [200, 5], LIMITS, 'test')))
    assert 'cross-fitted' in fitted
    for unknown in (None, 'unknown'):
        assert 'None of these' not in format_markdown(report(unknown))
    nothing = measure_rejection(Extremes.of([[2.0, 1.0]], [0]), [200, 5], LIMITS, 'test')
    assert 'too few images' in format_markdown(report(nothing))


# -------------------------------------------------------------------------------------------- ties
def tied(own, other, threshold):
    extremes = Extremes(np.float32([own]), np.float32([other]), np.array([0]))
    return measure_rejection(extremes, [200], LIMITS, 'test', ('val', threshold))


@pytest.mark.parametrize(
    ('own', 'other', 'rejections', 'hits', 'uniform'),
    [
        (1.0, 0.0, 100.0, 0.0, 0.0),  # at the threshold: max_j z_j <= t
        (2.0, 1.0, 0.0, 100.0, 100.0),  # the others may be at the threshold
        (3.0, 2.0, 0.0, 100.0, 0.0),  # and not above it
        (2.0, 2.0, 0.0, 0.0, 0.0),  # the own is not strictly the largest
    ],
)
def test_scores_at_the_threshold(own, other, rejections, hits, uniform):
    found = tied(own, other, 1.0)
    assert found['false_rejection']['all'] == found['at_threshold']['all'] == rejections
    assert found['accuracy']['all'] == hits
    assert found['uniform_accuracy'] == uniform
