"""Post-hoc methods against loops, their invariances, and the choice of their parameters."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.calibration import Sigmoid, Softmax
from bce3s.evaluation.posthoc import (
    HOTTEST,
    LogitAdjustment,
    LogOddsAdjustment,
    MultiplicativeAdjustment,
    Scores,
    TauNormalization,
    Temperature,
    figures,
    posthoc_rows,
)
from bce3s.evaluation.posthoc_report import format_posthoc, posthoc_table, write_posthoc
from bce3s.evaluation.rejection import halves

COUNTS = [500, 90, 30, 4]
LIMITS = Thresholds()


def model(n=300, seed=0, bias=1.0):
    """Features, a classifier whose weights are longer for common classes, and its logits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    weight = rng.normal(size=(4, 8)) * np.array([[4.0], [2.0], [1.0], [0.5]])
    directions = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    features = 1.5 * directions[labels] + rng.normal(size=(n, 8)) * 0.7
    b = bias * rng.normal(size=4)
    return features, weight, b, torch.from_numpy(features @ weight.T + b), torch.from_numpy(labels)


# ---------------------------------------------------------------------------------------- equations
@pytest.mark.parametrize('tau', [0.5, 1.0, 2.0])
def test_logit_adjustment_is_the_papers_but_for_a_constant(tau):
    logits = model()[3]
    found = LogitAdjustment(COUNTS).apply(logits, tau)
    paper = logits.clone()
    for j, count in enumerate(COUNTS):
        paper[:, j] -= tau * math.log(count / sum(COUNTS))
    shift = found - paper
    assert shift.std() < 1e-12
    assert (found.argmax(1) == paper.argmax(1)).all()
    assert found.mean() == pytest.approx(float(logits.mean()))  # the level stays


@pytest.mark.parametrize('tau', [0.5, 1.0, 2.0])
def test_log_odds_are_subtracted_and_those_of_equal_classes_added(tau):
    logits, expected = model()[3], model()[3].clone()
    for j, count in enumerate(COUNTS):
        pi = count / sum(COUNTS)
        expected[:, j] -= tau * (math.log(pi / (1 - pi)) - math.log(0.25 / 0.75))
    torch.testing.assert_close(LogOddsAdjustment(COUNTS).apply(logits, tau), expected)
    same = LogOddsAdjustment([7] * 4).apply(logits, tau)
    torch.testing.assert_close(same, logits, rtol=0, atol=1e-12)
    with pytest.raises(BCE3SError, match='there is one class only'):
        LogOddsAdjustment([7])


@pytest.mark.parametrize('tau', [0.0, 0.3, 1.0])
def test_a_multiplicative_adjustment_predicts_as_the_papers(tau):
    logits, expected = model()[3], model()[3].clone()
    for j, count in enumerate(COUNTS):
        expected[:, j] *= (count / sum(COUNTS)) ** -tau
    found = MultiplicativeAdjustment(COUNTS).apply(logits, tau)
    ratio = found / expected
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))
    assert ratio[0, 0] > 0
    assert torch.equal(found, logits) == (tau == 0)


def two_features(counts, per_class, seed):
    """Overlapping Gaussians, one a class, of which n_k are seen."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts if per_class is None else per_class)
    means = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    return means[labels] + rng.normal(size=(len(labels), 2)), labels


@pytest.mark.parametrize(('kind', 'least'), [('softmax', 0.93), ('sigmoid', 0.85)])
def test_an_adjusted_regression_is_that_of_balanced_classes(kind, least):
    """scikit-learn's on a long tail, adjusted with tau = 1, predicts as the one on equal classes:
    the prior stands in its intercepts. The sign the other way round would do worse than nothing.
    Of sigmoids nearly: the others of a class are mixed as in the tail, which no intercept mends.
    """
    counts = (6000, 600, 60)
    tail, equal = two_features(counts, None, 0), two_features(counts, 4000, 1)
    images, labels = two_features(counts, 2000, 2)

    def scores(x, y):
        if kind == 'softmax':
            return LogisticRegression(C=1e6).fit(x, y).decision_function(images)
        one = [LogisticRegression(C=1e6).fit(x, y == k).decision_function(images) for k in range(3)]
        return np.stack(one, 1)

    logits, best = torch.tensor(scores(*tail)), scores(*equal).argmax(1)
    method = (LogOddsAdjustment if kind == 'sigmoid' else LogitAdjustment)(counts)
    agreement = {
        tau: (method.apply(logits, tau).argmax(1).numpy() == best).mean() for tau in (-1, 0, 1)
    }
    assert agreement[1] > least
    assert agreement[1] > agreement[0] + 0.2 > agreement[-1] + 0.2
    accuracy = (method.apply(logits, 1.0).argmax(1).numpy() == labels).mean()
    assert accuracy == pytest.approx((best == labels).mean(), abs=0.05)


@pytest.mark.parametrize('tau', [0.5, 1.0, 2.0])
def test_tau_normalisation_predicts_as_the_papers(tau):
    features, weight, b, logits, _ = model(bias=0.0)  # the paper drops the bias
    found = TauNormalization(weight, b).apply(logits, tau)
    for x, row in zip(features, found, strict=True):
        scores = [float(w @ x) / np.linalg.norm(w) ** tau for w in weight]
        assert int(row.argmax()) == int(np.argmax(scores))


def test_tau_normalisation_leaves_the_biases():
    features, weight, b, logits, _ = model()
    found = TauNormalization(weight, b).apply(logits, 1.0)
    norms = np.linalg.norm(weight, axis=1)
    mean = np.exp(np.log(norms).mean())
    expected = features @ (weight * (mean / norms)[:, None]).T + b
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize('kind', [Softmax(), Sigmoid()])
def test_temperature_is_the_minimum_of_a_grid(kind):
    scores = Scores(*model()[3:])
    best = Temperature(kind).choose(scores)
    grid = np.geomspace(best / 3, best * 3, 121)
    values = [kind.nll(scores.logits / t, scores.labels) for t in grid]
    assert min(values) >= kind.nll(scores.logits / best, scores.labels) - 1e-12
    assert grid[int(np.argmin(values))] == pytest.approx(best, rel=0.02)


# -------------------------------------------------------------------------------------- invariances
def methods(kind=None):
    _, weight, b, *_ = model()
    return LogitAdjustment(COUNTS), TauNormalization(weight, b), Temperature(kind or Softmax())


@pytest.mark.parametrize('index', range(3))
def test_the_neutral_value_changes_nothing_at_all(index):
    logits, method = model()[3], methods()[index]
    assert torch.equal(method.apply(logits, method.neutral), logits)


def test_temperature_changes_no_prediction():
    logits = model()[3]
    for value in (0.01, 0.5, 100.0):
        changed = methods()[2].apply(logits, value)
        assert torch.equal(changed.argmax(1), logits.argmax(1))


def test_equal_counts_and_equal_norms_change_nothing():
    *_, logits, labels = model()
    adjustment = LogitAdjustment([7] * 4)
    assert torch.equal(adjustment.apply(logits, 2.0), logits)
    weight = torch.nn.functional.normalize(torch.randn(4, 8)) * 16
    normalization = TauNormalization(weight, torch.randn(4))
    assert normalization.changes_nothing
    assert torch.equal(normalization.apply(logits, 2.0), logits)
    for method in (adjustment, normalization):
        assert method.choose(Scores(logits, labels)) == 0.0  # of equals, the one that does nothing


def test_temperature_of_scaled_logits_is_scaled():
    scores = Scores(*model()[3:])
    for kind in (Softmax(), Sigmoid()):
        method = Temperature(kind)
        one = method.choose(scores)
        assert method.choose(Scores(3 * scores.logits, scores.labels)) == pytest.approx(
            3 * one, rel=1e-4
        )


# ------------------------------------------------------------------------------------------- choice
@pytest.mark.parametrize('index', [0, 1])
def test_tau_has_the_highest_mean_accuracy_of_the_grid(index):
    *_, logits, labels = model()
    method = methods()[index]
    found = {}
    for tau in method.taus:
        preds = method.apply(logits, tau).argmax(1)
        found[tau] = np.mean([(preds[labels == k] == k).double().mean() for k in range(4)])
    best = [tau for tau in method.taus if found[tau] > max(found.values()) - 1e-9]
    assert method.choose(Scores(logits, labels)) == min(best)
    assert min(best) > 0


def test_float32_and_blocks_do_not_matter(monkeypatch):
    *_, logits, labels = model()
    logits = logits.float()
    chosen = [method.choose(Scores.of(logits, labels)) for method in methods()]
    monkeypatch.setattr('bce3s.evaluation.arrays.BLOCK', 100)
    again = [method.choose(Scores.of(logits.double(), labels)) for method in methods()]
    assert again == pytest.approx(chosen)


def test_separable_and_hopeless_data_have_a_temperature():
    method, eye = Temperature(Softmax()), 4 * torch.eye(4, dtype=torch.float64)
    right, wrong = torch.arange(4), (torch.arange(4) + 1) % 4
    assert method.choose(Scores(eye, right)) == pytest.approx(1 / HOTTEST, rel=1e-3)
    assert method.choose(Scores(eye, wrong)) == pytest.approx(HOTTEST, rel=1e-3)


# --------------------------------------------------------------------------------------------- rows
def rows(measured, tuning, kind=None):
    def describe(logits):
        return figures(logits, measured.labels, COUNTS, LIMITS, kind or Softmax())

    return list(posthoc_rows(measured, tuning, methods(kind), describe))


def test_parameters_come_from_the_other_data():
    measured, tuning = Scores(*model(seed=1)[3:]), Scores(*model(seed=2)[3:])
    found = rows(measured, tuning)
    assert [row['method'] for row in found] == [
        'As trained',
        'Logit adjustment',
        'tau-normalisation',
        'Temperature',
    ]
    for row, method in zip(found[1:], methods(), strict=True):
        assert row['values'] == [method.choose(tuning)]
        preds = method.apply(measured.logits, row['values'][0]).argmax(1)
        right = (preds == measured.labels).double()
        assert row['few'] == pytest.approx(100 * float(right[measured.labels == 3].mean()))
    assert found[0]['all'] == found[3]['all']
    assert found[3]['nll'] < found[0]['nll']


@pytest.mark.parametrize('tuning', [None, 2])
def test_a_fixed_value_is_not_chosen(tuning):
    measured = Scores(*model(seed=1)[3:])
    tuning = tuning and Scores(*model(seed=tuning)[3:])
    method = LogitAdjustment(COUNTS, [1.0])

    def describe(logits):
        return figures(logits, measured.labels, COUNTS, LIMITS, Softmax())

    _, row = posthoc_rows(measured, tuning, [method], describe)
    assert (row['method'], row['values']) == ('Logit adjustment, tau 1', [1.0])
    assert row['all'] == describe(LogitAdjustment(COUNTS).apply(measured.logits, 1.0))['all']
    assert LogitAdjustment(COUNTS).fixed is None


def test_cross_fitted_halves():
    measured = Scores(*model(seed=1)[3:])
    half = halves(measured.labels)
    for row, method in zip(rows(measured, None)[1:], methods(), strict=True):
        assert row['values'] == [method.choose(measured.at(half == h)) for h in (0, 1)]
        changed = [
            method.apply(z, row['values'][1 - h]).tolist()
            for z, h in zip(measured.logits, half, strict=True)
        ]
        expected = Softmax().nll(np.array(changed), measured.labels)
        assert row['nll'] == pytest.approx(expected)


def test_an_image_has_no_part_in_the_choice_for_it():
    """Labels of one half that are turned round change nothing of what is chosen on the other."""
    measured = Scores(*model(seed=1)[3:])
    first = torch.from_numpy(halves(measured.labels) == 0)
    values = rows(measured, None)[1]['values']
    logits = torch.where(first[:, None], measured.logits.flip(1), measured.logits)
    again = rows(Scores(logits, measured.labels), None)[1]['values']
    assert again[1] == values[1]
    assert again[0] != values[0]


# ----------------------------------------------------------------------------------------- mistakes
def test_one_image_is_a_sentence():
    one = Scores.of([[1.0, 2.0, 3.0, 4.0]], [3])
    with pytest.raises(BCE3SError, match='There are 1 images'):
        rows(one, None)


@pytest.mark.parametrize(
    ('logits', 'labels', 'sentence'),
    [
        ([[1.0, float('nan')]], [0], 'sample 0'),
        ([[1.0, 2.0]], [2], r'0\.\.1'),
        (np.empty((0, 2)), [], 'no sample'),
    ],
)
def test_broken_scores_are_sentences(logits, labels, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        Temperature(Softmax()).choose(Scores.of(logits, labels))


def test_weights_of_length_0_are_a_sentence():
    weight = np.ones((3, 2))
    weight[1] = 0
    with pytest.raises(BCE3SError, match='class 1'):
        TauNormalization(weight, np.zeros(3))


def test_one_training_image_and_two_are_not_alike():
    prior = LogitAdjustment([1, 2, 4]).prior
    assert (prior[1:] - prior[:-1]).tolist() == pytest.approx([math.log(2)] * 2)


def test_a_class_without_training_images_is_as_one_with_a_single_one():
    assert torch.equal(LogitAdjustment([9, 0]).prior, LogitAdjustment([9, 1]).prior)


# -------------------------------------------------------------------------------------------- texts
def report(cross_fitted, score='softmax'):
    measured = Scores(*model(seed=1)[3:])
    tuning = None if cross_fitted else Scores(*model(seed=2)[3:])
    return {
        'config': 'configs/a.py',
        'checkpoint': 'epoch_3.pth',
        'seed': 0,
        'score': score,
        'tuned_on': 'test' if cross_fitted else 'val',
        'measured_on': 'test',
        'cross_fitted': cross_fitted,
        'samples': 300,
        'class_counts': COUNTS,
        'thresholds': {'many': 100, 'few': 20},
        'rows': rows(measured, tuning),
        'notes': ['A note.'],
        'versions': {'torch': '2'},
    }


@pytest.mark.parametrize('cross_fitted', [False, True])
def test_texts_say_what_was_chosen_where(cross_fitted, tmp_path):
    found = report(cross_fitted)
    text = format_posthoc(found)
    assert 'A note.' in text
    assert ('cross-fitted; both are given' in text) == cross_fitted
    assert ('chosen on the val set alone' in text) != cross_fitted
    values = found['rows'][1]['values']
    assert f'| tau = {" and ".join(f"{value:.3g}" for value in values)}' in text
    assert write_posthoc(found, tmp_path / 'new').read_text() == text
    saved = json.loads((tmp_path / 'new/posthoc.json').read_text(), parse_constant=pytest.fail)
    assert saved == found


def test_empty_splits_and_rows_without_likelihood_have_dashes():
    found = report(False)
    row = {**found['rows'][0], 'ece': None, 'nll': None, 'medium': None}
    line = posthoc_table({**found, 'rows': [row]}).splitlines()[2]
    cells = [cell.strip() for cell in line.split('|')[1:-1]]
    assert cells[:2] == ['As trained', '-']
    assert cells[4] == '-'
    assert cells[6:] == ['-'] * 5
