"""None of these: extremes, halves, thresholds and rates, against loops and closed forms."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.metric import LongTailedMetric
from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection import (
    Extremes,
    clopper_pearson,
    conformal,
    cross_fitted,
    fewest,
    halves,
    keeping_thresholds,
    measure_rejection,
    rejected,
    uniform_threshold,
)
from bce3s.evaluation.report import format_markdown
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
    assert (found.best == logits.argmax(1).numpy()).all()
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


def elsewhere(threshold, classes=4, split='val'):
    """What was found on another split: one threshold for all, also the uniform one."""
    return dict(
        thresholds=[threshold] * classes,
        **dict(rate=5.0, images=40, interval=None, groups=[], chosen_on=split, keep=[]),
        uniform=dict(threshold=threshold),
    )


def test_thresholds_chosen_elsewhere():
    logits, labels = data()
    given = elsewhere(0.4)
    found = measure_rejection(Extremes.of(logits, labels), COUNTS, LIMITS, 'test', given)
    false, right = by_loops(logits, labels, [0.4] * len(labels))
    others = np.where(np.eye(4)[labels] > 0, -np.inf, logits).max(1)
    own = logits[np.arange(len(labels)), labels]
    uniform = found['uniform']
    assert uniform['uniform_accuracy'] == pytest.approx(
        100 * ((own > 0.4) & (others <= 0.4)).mean()
    )
    for part in (found, uniform):
        assert part['false_rejection'] == pytest.approx(
            {
                'all': np.mean(false),
                'many': false[0],
                'medium': np.mean(false[1:3]),
                'few': false[3],
                'plain': 100 * (logits.max(1) <= 0.4).mean(),
            }
        )
        assert part['accuracy'] == pytest.approx(
            {
                'all': np.mean(right),
                'many': right[0],
                'medium': np.mean(right[1:3]),
                'few': right[3],
            }
        )
        assert part['at_threshold'] == part['false_rejection']
        number = int((logits.max(1) <= 0.4).sum())
        assert part['false_interval'] == clopper_pearson(number, len(labels))
    assert (found['thresholds'], found['chosen_on']) == ([0.4] * 4, 'val')
    assert (found['measured_on'], found['cross_fitted']) == ('test', False)


def test_each_image_is_held_to_the_threshold_of_the_class_that_it_is_taken_for():
    logits, labels = data()
    given = elsewhere(0.4) | dict(thresholds=[0.5, None, 1.0, 9.0])
    found = measure_rejection(Extremes.of(logits, labels), COUNTS, LIMITS, 'test', given)
    at = np.array([0.5, -np.inf, 1.0, 9.0])[logits.argmax(1)]
    false, right = by_loops(logits, labels, at)
    assert found['false_rejection']['all'] == pytest.approx(np.mean(false))
    assert found['accuracy']['few'] == pytest.approx(right[3])
    assert found['uniform']['false_rejection']['all'] != found['false_rejection']['all']


def test_without_another_split_each_half_has_the_threshold_of_the_other():
    logits, labels = data()
    half = halves(labels)
    chosen = [uniform_accuracy(logits[half == h], labels[half == h]).threshold for h in (0, 1)]
    assert chosen[0] != chosen[1]
    false, right = by_loops(logits, labels, [chosen[1 - h] for h in half])
    whole = measure_rejection(Extremes.of(logits, labels), COUNTS, LIMITS, 'test')
    found = whole['uniform']
    assert found['false_rejection']['all'] == pytest.approx(np.mean(false))
    assert found['accuracy']['few'] == pytest.approx(right[3])
    accuracy, threshold = uniform_accuracy(logits, labels)
    simply, _ = by_loops(logits, labels, [threshold] * len(labels))
    assert found['at_threshold']['all'] == pytest.approx(np.mean(simply))
    assert (found['threshold'], found['uniform_accuracy']) == (threshold, pytest.approx(accuracy))
    halves_at = []
    for h in (0, 1):
        rows = half != h
        of_half = conformal(logits[rows].max(1), labels[rows], logits[rows].argmax(1), 4)
        halves_at.append(np.array(of_half['thresholds'], float))
    at = [halves_at[half[i]][logits[i].argmax()] for i in range(len(labels))]
    false, _ = by_loops(logits, labels, at)
    assert whole['false_rejection']['all'] == pytest.approx(np.mean(false))
    assert whole['false_rejection'] != whole['at_threshold']
    assert (whole['chosen_on'], whole['measured_on']) == ('test', 'test')
    assert whole['cross_fitted'] is True
    json.dumps(whole, allow_nan=False)


def test_the_threshold_counts_as_rejected():
    extremes = Extremes.of([[1.0, 0.0], [2.0, 0.0]], [0, 0])
    found = measure_rejection(extremes, [5, 5], LIMITS, 'test', elsewhere(1.0, 2))
    assert found['false_rejection']['few'] == 50.0


def test_a_class_with_one_image_is_judged_without_it():
    # class 1 has one image, in half 1; the threshold for it is that of class 0's half
    logits = np.array([[4.0, -4.0], [5.0, -4.0], [6.0, -4.0], [-9.0, -8.0]])
    extremes = Extremes.of(logits, [0, 0, 0, 1])
    thresholds = cross_fitted(extremes, uniform_threshold)
    assert thresholds[3] == uniform_threshold(extremes.at([0, 2]))
    found = measure_rejection(extremes, [200, 5], LIMITS, 'test')['uniform']
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
    assert set(found['uniform']['false_rejection'].values()) == {None}
    assert set(found['uniform']['accuracy'].values()) == {None}
    json.dumps(found, allow_nan=False)


def test_one_class_has_a_threshold_that_rejects_nothing():
    found = measure_rejection(Extremes.of([[1.0], [2.0], [-3.0]], [0] * 3), [5], LIMITS, 'test')
    assert found['uniform']['uniform_accuracy'] == 100.0
    assert np.isfinite(found['uniform']['threshold'])


def test_no_scores_no_rejection():
    assert measure_rejection(None, COUNTS, LIMITS, 'test') is None
    empty = Extremes(*(np.empty(0, dtype=kind) for kind in ('f4', 'f4', 'i8', 'i8')))
    assert measure_rejection(empty, COUNTS, LIMITS, 'test') is None


# ------------------------------------------------------------------------------ at a stated rate
def rank_by_loops(scores, labels, rate):
    """k for images alike and for classes alike, the smaller one (but 1, where images allow it)."""
    order, found = np.argsort(scores, kind='stable'), []
    for weights in ([1.0] * len(scores), [1 / list(labels).count(y) for y in labels]):
        allowed, below, k = rate / 100 * (sum(weights) + max(weights)), 0.0, 0
        for i in order:
            below += weights[i]
            if below > allowed + 1e-9:
                break
            k += 1
        found.append(k)
    return min(found[0], max(found[1], 1))


@pytest.mark.parametrize('rate', [1.0, 5.0, 10.0, 33.0])
@pytest.mark.parametrize('seed', range(4))
def test_the_rank_of_one_class_against_a_loop(rate, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=150).astype(np.float32)
    labels = rng.choice(5, 150, p=[0.6, 0.2, 0.1, 0.08, 0.02])
    found = conformal(scores, labels, np.zeros(150, int), 5, rate)
    k = rank_by_loops(scores, labels, rate)
    assert (found['groups'] or [dict(rank=0)])[0]['rank'] == k
    if k:
        threshold = found['thresholds'][0]
        kth = np.sort(scores)[k - 1]
        assert np.nextafter(np.float32(threshold), np.float32(np.inf)) == kth
        assert rejected(scores, threshold).sum() == k - 1
    keep = keeping_thresholds(scores, labels)[round(100 - rate)]
    assert keep == (found['thresholds'][0])


def test_new_images_are_rejected_at_most_at_the_stated_rate():
    """Over many draws of validation images and a new one of the same distribution, of each class
    predicted, also with scores that are often equal.
    """
    rng, draws, n, false, taken = np.random.default_rng(0), 3000, 60, np.zeros(3), np.zeros(3)
    for _ in range(draws):
        best = rng.choice(3, n + 1, p=[0.5, 0.4, 0.1])
        scores = np.round(rng.normal(3 * best, 1), 1)
        found = conformal(scores[:n], best[:n], best[:n], 3, rate=10)
        threshold = found['thresholds'][best[n]]
        false[best[n]] += threshold is not None and rejected(scores[n], threshold)
        taken[best[n]] += 1
    shares, error = false / taken, 2.6 * np.sqrt(0.1 * 0.9 / taken)
    assert (shares <= 0.1 + error).all()
    assert shares[:2].min() > 0.05  # and not for nothing


def test_classes_with_few_images_have_a_threshold_together():
    best = np.repeat(np.arange(5), [100, 25, 7, 5, 0])
    scores = np.arange(137.0)[::-1]
    found = conformal(scores, best, best, 5)
    assert [group['classes'] for group in found['groups']] == [[1, 2, 3, 4], [0]]
    assert [group['images'] for group in found['groups']] == [37, 100]
    assert found['thresholds'][1:] == [found['thresholds'][1]] * 4
    assert all(t is None for t in conformal(scores[:18], best[:18], best[:18], 5)['thresholds'])
    assert fewest(5) == 19
    assert conformal(scores[:19], best[:19], best[:19], 5)['thresholds'][4] is not None


def test_a_class_of_one_image_weighs_as_much_as_one_of_a_hundred():
    """The mean over classes: the rare image that scores low is not turned away for the others."""
    labels = np.array([0] * 100 + [1] * 100 + [2])
    scores = np.concatenate([np.linspace(1, 2, 200), [0.0]])
    best = np.zeros(201, int)
    alike = conformal(scores, best, best, 3)
    assert alike['groups'][0]['rank'] == 10
    ours = conformal(scores, labels, best, 3)
    assert ours['groups'][0]['rank'] == 1
    assert not rejected(scores, ours['thresholds'][0]).any()


def test_equal_scores_are_all_kept():
    best = np.zeros(50, int)
    found = conformal(np.ones(50), best, best, 1)
    assert not rejected(np.ones(50), found['thresholds'][0]).any()


def test_the_interval_is_that_of_an_order_statistic():
    best = np.zeros(200, int)
    found = conformal(np.arange(200.0), best, best, 1)
    rng = np.random.default_rng(0)
    uniform = np.sort(rng.random((20000, 200)), axis=1)[:, 9]  # k = 10
    expected = 100 * np.quantile(uniform, [0.025, 0.975])
    assert found['interval']['plain'] == pytest.approx(expected, abs=0.15)
    assert found['interval']['all'] == pytest.approx(found['interval']['plain'])
    assert found['groups'][0]['interval'] == pytest.approx(found['interval']['plain'])
    # Clopper and Pearson's ends, of 10 and of 9 images
    ends = clopper_pearson(10, 200)[0], clopper_pearson(9, 200)[1]
    assert found['interval']['plain'] == pytest.approx(ends)


def test_the_interval_of_several_groups_covers_the_rate_of_all():
    rng, best = np.random.default_rng(0), np.repeat([0, 1, 2], [40, 60, 100])
    scores = rng.random(200)
    found = conformal(scores, best, best, 3)
    ranks = {g['classes'][0]: g['rank'] for g in found['groups']}
    drawn = [
        np.sort(rng.random((20000, n)), axis=1)[:, ranks[k] - 1]
        for k, n in enumerate((40, 60, 100))
    ]
    whole = 0.2 * drawn[0] + 0.3 * drawn[1] + 0.5 * drawn[2]
    low, high = (end / 100 for end in found['interval']['plain'])
    assert np.mean((whole >= low) & (whole <= high)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(('number', 'images'), [(0, 20), (3, 20), (20, 20)])
def test_clopper_pearson_against_scipy(number, images):
    found = binomtest(number, images).proportion_ci(0.95, 'exact')
    assert clopper_pearson(number, images) == pytest.approx([100 * found.low, 100 * found.high])


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
    for name in ('own', 'other', 'labels', 'best'):
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
    given = elsewhere(2.5, 2) | dict(interval=dict(plain=[1.25, 9.0], all=[0.5, 12.0]))
    given['groups'] = [dict(classes=[0], images=40), dict(classes=[1], images=30)]
    found = measure_rejection(extremes, [200, 5], LIMITS, 'test', given)
    text = format_markdown(report(found))
    assert '## None of these' in text
    assert 'threshold of that class, 2.5, chosen on 40 val images so that at most 5 %' in text
    assert '1.2 to 9.0 % (95 %), as a mean over the classes roughly 0.5 to 12.0 %.' in text
    assert 'uniform threshold, 2.5000' in text
    for name in ('at most 5 %', 'uniform'):
        assert f'| {name} | falsely rejected | 50.00 | 0.00 | - | 100.00 | 50.00 |' in text
        assert f'| {name} | not rejected and right | 50.00 | 100.00 | - | 0.00 | - |' in text
    fitted = format_markdown(report(measure_rejection(extremes, [200, 5], LIMITS, 'test')))
    assert 'cross-fitted' in fitted
    assert '4 test images are too few to reject 5 %' in fitted
    for unknown in (None, 'unknown'):
        assert 'None of these' not in format_markdown(report(unknown))


def test_the_text_says_which_classes_have_a_threshold_together():
    best = np.repeat(np.arange(5), [100, 25, 7, 5, 0])
    logits = np.eye(5)[best] * np.linspace(5, 1, 137)[:, None]
    found = measure_rejection(Extremes.of(logits, best), [5] * 5, LIMITS, 'test')
    text = format_markdown(report(found))
    assert '1 class has a threshold alone; the other 4, which 37 images were taken for' in text


# -------------------------------------------------------------------------------------------- ties
def tied(own, other, threshold):
    extremes = Extremes(np.float32([own]), np.float32([other]), np.array([0]), np.array([0]))
    return measure_rejection(extremes, [200], LIMITS, 'test', elsewhere(threshold, 1))


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
    assert found['uniform']['uniform_accuracy'] == uniform
