"""All measures at once, at the edges: undefined is None, bad input is named, never a NaN."""

import json
import warnings

import measure_oracles as oracles
import numpy as np
import pytest
import torch
from measure_cases import COUNTS, D, K, close, expected_of, in_batches, made

from bce3s.errors import BCE3SError
from bce3s.evaluation.features import measure, measure_batches


def without_nan(result):
    """Reports are JSON, which has no NaN."""
    return json.loads(json.dumps(result, allow_nan=False))


def test_a_class_without_features():
    features, labels, weight, bias = made()
    some = labels != 2
    result = without_nan(measure(features[some], labels[some], weight, bias, COUNTS, True))
    assert result['classes'] == K - 1
    relabelled = labels[some] - (labels[some] > 2)
    kept = np.delete(weight, 2, axis=0), np.delete(bias, 2)
    fewer = measure(features[some], relabelled, *kept)
    # the classifier keeps its row: accuracy, scores and NC2 know all K classes
    for key in ('nc1', 'nc3', 'nc3_centred', 'e_com', 'e_dis', 's_pos_mean', 's_pos_std'):
        assert result[key] == pytest.approx(fewer[key]), key
    assert result['nc2'] == pytest.approx(oracles.nc2(weight, centred=True))
    assert result['s_neg_mean'] != pytest.approx(fewer['s_neg_mean'])


def test_one_class_only():
    features, _, weight, bias = made()
    labels = np.zeros(len(features), dtype=int)
    bias[0] = -100  # class 0 is predicted
    result = without_nan(measure(features, labels, weight, bias, COUNTS, True))
    undefined = {key for key, value in result.items() if value is None}
    assert undefined == {'nc1', 'nc3', 'nc3_centred', 'nc4', 'e_dis'}  # W still has K classes
    single = without_nan(measure(features, labels, weight[:1], bias[:1], [9], True))
    undefined = {key for key, value in single.items() if value is None}
    assert undefined == {
        'nc1', 'nc2', 'nc2_uncentred', 'nc3', 'nc3_centred', 'nc4', 'e_dis', 's_neg_mean',
        's_neg_std',
    }  # fmt: skip
    assert single['accuracy'] == single['uniform_accuracy'] == single['uniform_accuracy_200'] == 100
    assert single['splits']['many'] is None
    assert single['distributions']['s_neg'] is None


def test_zero_features():
    features, labels, weight, bias = made()
    features[3] = 0
    result = measure(features, labels, weight, bias)
    result.pop('uniform_threshold')
    close(result, expected_of(features, labels, weight, bias))
    zero = without_nan(measure(0 * features, labels, weight, bias, COUNTS, True))
    assert (zero['e_com'], zero['e_dis'], zero['nc1'], zero['nc3']) == (50, 50, None, None)
    constant = without_nan(measure(0 * features, labels, 0 * weight, None, COUNTS, True))
    assert constant['uniform_accuracy'] == 0
    assert constant['uniform_threshold'] is None
    assert constant['nc2'] is None
    assert constant['accuracy'] == pytest.approx(100 * (labels == 0).mean())


def test_more_classes_than_dimensions():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(K), rng.integers(0, K, 30)])
    weight, bias = rng.standard_normal((K, 3)), rng.standard_normal(K)
    features = weight[labels] + 0.4 * rng.standard_normal((35, 3))
    result = measure(features, labels, weight, bias)
    result.pop('uniform_threshold')
    close(result, expected_of(features, labels, weight, bias))


def test_no_bias_is_a_bias_of_zero():
    features, labels, weight, _ = made()
    assert measure(features, labels, weight) == measure(features, labels, weight, np.zeros(K))


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_non_finite_features_name_their_sample(bad):
    features, labels, weight, bias = made()
    features[[41, 45], 2] = bad
    with pytest.raises(BCE3SError, match='features of sample 41 are not finite'):
        measure(features, labels, weight, bias)
    batches = in_batches(features, labels, [20, 20, 20])
    with pytest.raises(BCE3SError, match='features of sample 41 are not finite'):
        measure_batches(lambda: batches, weight, bias)
    with pytest.raises(BCE3SError, match='scores of sample 0 are not finite'):
        measure(np.full((1, D), 1e120), [0], np.full((K, D), 1e50))


def test_bad_input():
    features, labels, weight, bias = made()
    with pytest.raises(BCE3SError, match='no sample to measure'):
        measure(features[:0], labels[:0], weight, bias)
    with pytest.raises(BCE3SError, match='no sample to measure'):
        measure_batches(lambda: [], weight, bias)
    with pytest.raises(BCE3SError, match='60 samples but the labels have the shape'):
        measure(features, labels[1:], weight, bias)
    with pytest.raises(BCE3SError, match=r'classes 0\.\.4, but sample 9 has 5'):
        measure(features, np.where(np.arange(60) == 9, 5, labels), weight, bias)
    with pytest.raises(BCE3SError, match='must be integers'):
        measure(features, labels.astype(float), weight, bias)
    with pytest.raises(BCE3SError, match='features must be a matrix'):
        measure(features[:, :, None], labels, weight, bias)
    with pytest.raises(BCE3SError, match='7 numbers each, the classifier takes 6'):
        measure(features, labels, weight[:, 1:], bias)
    with pytest.raises(BCE3SError, match='one bias for each class'):
        measure(features, labels, weight, bias[1:])
    with pytest.raises(BCE3SError, match='weights or biases are not finite'):
        measure(features, labels, weight, bias * np.nan)
    with pytest.raises(BCE3SError, match='4 class counts but the classifier has 5'):
        measure(features, labels, weight, bias, COUNTS[1:])


def test_batches_that_run_out_are_noticed():
    features, labels, weight, bias = made()
    once = iter(in_batches(features, labels, [30, 30]))
    with pytest.raises(BCE3SError, match='first pass over the features saw 60 samples, the second'):
        measure_batches(lambda: once, weight, bias)


def test_arguments_are_not_changed():
    data = [torch.tensor(part) for part in made()]
    before = [part.clone() for part in data]
    data[2].requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        measure(*data, COUNTS, distributions=True)
    assert all(torch.equal(old, new) for old, new in zip(before, data, strict=True))
