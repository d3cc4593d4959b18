"""All measures at once: against the loops, whatever the batches, ranks and kinds of arrays."""

import math
import time

import measure_oracles as oracles
import numpy as np
import pytest
import torch
from measure_cases import COUNTS, D, K, close, expected_of, in_batches, made

from bce3s.datasets.long_tailed import SPLITS, Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation import arrays
from bce3s.evaluation.features import BINS, FirstPass, measure, measure_batches
from bce3s.evaluation.uniform_accuracy import uniform_accuracy, uniform_accuracy_at_thresholds

KEYS = {
    'accuracy', 'uniform_accuracy', 'uniform_threshold', 'uniform_accuracy_200', 'nc1', 'nc2',
    'nc2_uncentred', 'nc3', 'nc3_centred', 'nc4', 'e_com', 'e_dis', 'rho', 's_pos_mean',
    's_pos_std', 's_neg_mean', 's_neg_std', 'b_mean', 'b_std', 'samples', 'classes',
}  # fmt: skip


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_every_measure_matches_the_loops(seed):
    data = made(seed)
    result = measure(*data)
    assert result.keys() == KEYS
    threshold = result.pop('uniform_threshold')
    expected = expected_of(*data)
    assert 0 < expected['nc4'] < 1
    assert expected['uniform_accuracy'] < expected['accuracy'] < 100
    close(result, expected)
    scores = oracles.scores_of(data[0], *data[2:])
    reached = oracles.uniform_accuracy_at(threshold, scores, data[1])
    assert reached == pytest.approx(result['uniform_accuracy'])


def test_equals_the_functions_of_one_shot():
    features, labels, weight, bias = made()
    result, scores = measure(features, labels, weight, bias), features @ weight.T - bias
    exact = uniform_accuracy(scores, labels)
    assert result['uniform_accuracy'] == exact.accuracy
    assert result['uniform_threshold'] == pytest.approx(exact.threshold)
    paper = uniform_accuracy_at_thresholds(scores, labels)
    assert result['uniform_accuracy_200'] == paper.accuracy


@pytest.mark.parametrize('sizes', [[60], [1] * 60, [7, 0, 20, 33], [59, 1]])
def test_batches_do_not_matter(sizes):
    features, labels, weight, bias = made()
    batches = in_batches(torch.tensor(features), torch.tensor(labels), sizes)
    whole = measure(features, labels, weight, bias, COUNTS, distributions=True)
    result = measure_batches(lambda: batches, weight, bias, COUNTS, distributions=True)
    close(result, whole)
    again = iter([batches, batches[::-1]])  # another order in the second pass
    close(measure_batches(lambda: next(again), weight, bias, COUNTS, distributions=True), whole)


def test_blocks_do_not_matter(monkeypatch):
    features, labels, weight, bias = made()
    whole = measure(features, labels, weight, bias, COUNTS, distributions=True)
    monkeypatch.setattr(arrays, 'BLOCK', 4 * D)
    close(measure(features, labels, weight, bias, COUNTS, distributions=True), whole)
    features[38, 2] = np.nan
    with pytest.raises(BCE3SError, match='features of sample 38 are not finite'):
        measure(features, labels, weight, bias)


@pytest.mark.parametrize('order', [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_ranks_do_not_matter(order):
    """Four ranks, one without a sample, whose states are merged in any order."""
    features, labels, weight, bias = made()
    shares = in_batches(features, labels, [20, 0, 33, 7])

    def merged(part):
        states = []
        for rank in order:
            own = part.merged([])
            own.update(*shares[rank])
            states.append(own.state())
        return part.merged(states)

    options = {'class_counts': COUNTS, 'distributions': True}
    whole = measure(features, labels, weight, bias, **options)
    close(measure_batches(lambda: [], weight, bias, reduce=merged, **options), whole)


def test_a_state_is_a_snapshot():
    features, labels, weight, bias = made()
    part = FirstPass(torch.tensor(weight), torch.tensor(bias))
    part.update(features[:30], labels[:30])
    state = part.state()
    before = {name: value.clone() for name, value in state.items()}
    part.update(features[30:], labels[30:])
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_the_memory_of_a_batch_may_be_used_again():
    features, labels, weight, bias = (torch.tensor(part) for part in made())
    whole, part = FirstPass(weight, bias), FirstPass(weight, bias)
    whole.update(features, labels)
    rows, classes = torch.empty(30, D, dtype=torch.float64), torch.empty(30, dtype=torch.int64)
    for start in (0, 30):
        part.update(
            rows.copy_(features[start : start + 30]), classes.copy_(labels[start : start + 30])
        )
    torch.testing.assert_close(part.rows, whole.rows)


def test_scatter_of_1e_8_of_the_means():
    """Batching changes nothing where a difference of sums of squares would leave no digit."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(K), 12)
    features = 5 + rng.standard_normal((K, D))[labels] + 1e-8 * rng.standard_normal((60, D))
    weight = rng.standard_normal((K, D))
    result = measure(features, labels, weight)
    batches = in_batches(features, labels, [1] * 60)
    close(measure_batches(lambda: batches, weight), result)
    residuals = np.empty_like(features)
    for k in range(K):
        rows = features[labels == k].astype(np.longdouble)
        residuals[labels == k] = rows - rows.mean(axis=0)
    between = oracles.covariances(features, labels, K)[0]
    inverse = np.linalg.pinv(between, rcond=1e-12, hermitian=True)
    expected = np.trace(residuals.T @ residuals / 60 @ inverse) / K
    assert expected < 1e-13
    assert result['nc1'] == pytest.approx(expected, rel=1e-9)
    assert result['nc4'] == oracles.nc4(features, labels, weight, np.zeros(K))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_features_of_any_precision_are_summed_in_float64(dtype):
    features, labels, weight, bias = (torch.tensor(part) for part in made())
    rounded = features.to(dtype)
    result = measure(rounded, labels, weight, bias)
    close(result, measure(rounded.double(), labels, weight, bias), rel=1e-15)


@pytest.mark.gpu
def test_the_device_does_not_matter():
    features, labels, weight, bias = made()
    whole = measure(features, labels, weight, bias, COUNTS, distributions=True)
    on_gpu = [torch.tensor(part, device='cuda') for part in (features, labels, weight, bias)]
    close(measure(*on_gpu, COUNTS, distributions=True), whole)
    batches = in_batches(features, labels, [20, 40])
    close(measure_batches(lambda: batches, *on_gpu[2:], COUNTS, distributions=True), whole)


def test_splits_match_the_loops():
    features, labels, weight, bias = made()
    result = measure(features, labels, weight, bias, COUNTS)
    scores = np.array(oracles.scores_of(features, weight, bias))
    centre = oracles.global_mean(features)
    between = oracles.covariances(features, labels, K)[0]
    inverse = np.linalg.pinv(between, rcond=1e-12, hermitian=True)
    own = [[h for h, y in zip(features, labels, strict=True) if y == k] for k in range(K)]
    for name, classes in (('many', [0, 1]), ('medium', [2, 3]), ('few', [4])):
        rows = np.isin(labels, classes)
        split, members = dict(result['splits'][name]), labels[rows]
        threshold = split.pop('uniform_threshold')
        reached = oracles.uniform_accuracy_at(threshold, scores[rows].tolist(), members)
        assert reached == pytest.approx(split['uniform_accuracy'])
        compact, distinct, within = [], [], 0.0
        for k in classes:
            centred = [h - centre for h in own[k]]
            compact.append(np.mean([oracles.cosine(u, v) for u in centred for v in centred]))
            rivals = [j for j in range(K) if j != k]
            pairs = [[oracles.cosine(u, v) for u in own[k] for v in own[j]] for j in rivals]
            distinct.append(np.mean([np.mean(row) for row in pairs]))
            mean = oracles.class_mean(features, labels, k)
            within += sum((h - mean) @ inverse @ (h - mean) for h in own[k])
        subset = features[rows]
        means = [oracles.class_mean(features, labels, k) for k in range(K)]
        nearest = [np.argmin([np.linalg.norm(h - m) for m in means]) for h in subset]
        expected = {
            'accuracy': oracles.accuracy(scores[rows].tolist(), members),
            'uniform_accuracy': oracles.uniform_accuracy(scores[rows].tolist(), members),
            'e_com': 50 * (np.mean(compact) + 1),
            'e_dis': 50 * (1 - np.mean(distinct)),
            'nc1': within / K / rows.sum(),
            'nc4': np.mean(np.array(nearest) != scores[rows].argmax(axis=1)),
            **oracles.score_statistics(subset, members, weight),
            'samples': int(rows.sum()),
            'classes': len(classes),
        }
        close(split, expected)


def test_splits_give_the_whole():
    result = measure(*made(), COUNTS)
    splits = result['splits'].values()
    for key in ('accuracy', 'nc1', 'nc4', 's_pos_mean', 's_neg_mean'):
        mean = sum(split['samples'] * split[key] for split in splits) / result['samples']
        assert mean == pytest.approx(result[key]), key
    for key in ('e_com', 'e_dis'):
        mean = sum(split['classes'] * split[key] for split in splits) / result['classes']
        assert mean == pytest.approx(result[key]), key
    shares = [split['samples'] * split['uniform_accuracy'] for split in splits]
    assert sum(shares) / result['samples'] >= result['uniform_accuracy']


def test_a_split_without_classes_or_samples_is_none():
    features, labels, weight, bias = made()
    assert measure(features, labels, weight, bias, [500] * K)['splits']['few'] is None
    few = measure(features, labels, weight, bias, [500] * K, thresholds=Thresholds(600, 501))
    assert [few['splits'][name] is None for name in SPLITS] == [True, True, False]
    some = labels < 4
    result = measure(features[some], labels[some], weight, bias, COUNTS)
    assert result['splits']['few'] is None
    assert result['splits']['medium']['classes'] == 2


def test_histograms_count_every_score():
    features, labels, weight, bias = made()
    result = measure(features, labels, weight, bias, distributions=True)['distributions']
    scores = features @ weight.T
    own = np.arange(K) == labels[:, None]
    assert result['b'] == bias.tolist()
    for name, values in (('s_pos', scores[own]), ('s_neg', scores[~own])):
        histogram = result[name]
        assert histogram['low'] == pytest.approx(values.min())
        assert histogram['high'] == pytest.approx(values.max())
        ends = histogram['low'], histogram['high']
        expected = np.histogram(values.clip(*ends), BINS, ends)[0]
        assert histogram['counts'] == expected.tolist()
        assert sum(expected) == len(values)


def test_histograms_of_a_single_value():
    labels = np.array([0, 1, 0])
    result = measure(np.eye(2)[labels], labels, np.eye(2), distributions=True)['distributions']
    for name, value in (('s_pos', 1), ('s_neg', 0)):
        assert result[name]['low'] < value < result[name]['high']
        assert sum(result[name]['counts']) == 3


@pytest.mark.slow
@pytest.mark.parametrize(('width', 'classes', 'limit'), [(512, 100, 2), (2048, 100, 8)])
def test_50000_features_take_seconds(width, classes, limit):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (50_000,), generator=generator)
    weight = torch.randn(classes, width, generator=generator)
    features = weight[labels] + torch.randn(50_000, width, generator=generator)
    begun = time.process_time()  # one thread: what else the machine does is left out
    result = measure(features, labels, weight, None, [50] * classes)
    seconds = time.process_time() - begun
    print(f'd = {width}, K = {classes}: {seconds:.2f} s')
    assert math.isfinite(result['nc1'])
    assert seconds < limit
