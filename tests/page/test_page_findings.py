"""What the sections that need outputs say, against figures computed apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from page_cases import changed, column, four_runs, run, table, with_unknown
from sklearn.metrics import roc_auc_score

from bce3s.evaluation.calibration import Sigmoid, Softmax, expected_calibration_error
from bce3s.evaluation.features import score_statistics
from bce3s.evaluation.uniform_accuracy import uniform_accuracy
from bce3s.page import calibration as calibration_module
from bce3s.page.calibration import calibration, probabilities
from bce3s.page.classifier import classifier_angles
from bce3s.page.confusion import confusion
from bce3s.page.embedding import embedding, stratified, tsne
from bce3s.page.levels import levels
from bce3s.page.open_set import open_set_curves
from bce3s.page.scores import score_distributions
from bce3s.plotting import style


@pytest.fixture(autouse=True)
def _style(monkeypatch):
    """The page's style, and a loss for runs whose folders do not exist."""
    monkeypatch.setattr(calibration_module, 'probabilities', lambda _: Sigmoid())
    with style():
        yield


# ---------------------------------------------------------------------------------------- confusion
def test_the_flow_is_told_in_numbers(tmp_path):
    one = run('a', tmp_path, full=True, classes=4)  # training counts 120, 44, 16, 6
    labels = np.repeat(np.arange(4), 10)
    called = labels.copy()
    called[20:23], called[23:25], called[30:35] = 0, 1, 0  # of class 2: 3 Many, 2 Medium; of 3: 5
    logits = np.eye(4, dtype=np.float32)[called]
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    section = confusion([changed(one, labels=labels, logits=logits, features=features)])
    flow = table(section, 'Flow')
    assert column(flow, 'Called Many') == ['100.0', '0.0', '40.0']
    assert column(flow, 'Called Medium') == ['0.0', '100.0', '10.0']
    assert '40 % a Many class, 10 % a Medium class, 50 % a Few class' in section.figures[-1].caption
    worst = table(section, 'Most frequent')
    assert [row[0] + row[2] for row in worst.rows] == ['30', '20', '21']
    assert column(worst, 'Share') == ['50 %', '30 %', '20 %']
    assert column(worst, 'Images') == ['5', '3', '2']
    assert '100 % of the confusions' in section.figures[0].caption


def test_one_heat_map_a_group_and_the_seed_is_said(tmp_path):
    section = confusion(four_runs(tmp_path, full=True))
    assert [figure.caption.split(':')[0] for figure in section.figures[:2]] == [
        'ours, seed 0',
        'other, seed 0',
    ]
    assert len(section.figures) == 3
    assert '±' in table(section, 'Flow').rows[0][2]


# --------------------------------------------------------------------------------------- classifier
def test_a_simplex_has_no_spread_and_equal_lengths_are_no_figure(tmp_path):
    simplex = (np.eye(10) - 0.1).astype(np.float32)
    features = np.zeros((200, 10), np.float32)
    even = changed(run('even', tmp_path, full=True), weight=simplex, features=features)
    section = classifier_angles([even])
    assert {*column(section.tables[0], 'Std of cosines')} == {'0.000'}
    assert {*column(section.tables[0], 'Mean angle (°)')} == {'96.4'}
    assert '96.38°' in section.tables[0].caption
    assert len(section.figures) == 2
    assert any('0.949 long' in note for note in section.notes)
    longer = changed(even, weight=simplex * np.linspace(2, 1, 10, dtype=np.float32)[:, None])
    assert len(classifier_angles([longer]).figures) == 3


# ------------------------------------------------------------------------------------------- scores
def test_scores_are_without_bias_and_the_bias_has_the_papers_sign(tmp_path):
    one, rng = run('a', tmp_path, full=True), np.random.default_rng(0)
    bias = np.linspace(-2, 2, 10, dtype=np.float32)
    features, weight = rng.normal(size=(200, 6)), rng.normal(size=(10, 6))
    logits = (features @ weight.T + bias).astype(np.float32)
    section = score_distributions([changed(one, logits=logits, bias=bias)])
    found, splits = table(section, 'without bias'), one.outputs.class_counts
    few = np.array(splits) < 20
    assert column(found, 'Mean b')[-1] == f'{-bias[few].mean():.2f}'
    scores, own = features @ weight.T, np.eye(10, dtype=bool)[one.outputs.labels]
    assert column(found, 'Positive')[-1] == f'{np.median(scores[own & few]):.2f}'
    assert column(found, 'Negative')[-1] == f'{np.median(scores[~own & few]):.2f}'
    told = score_statistics(features, one.outputs.labels, weight)
    assert told['s_neg_mean'] == pytest.approx(scores[~own].mean())


def test_shares_beyond_the_uniform_threshold_are_exact(tmp_path):
    one = run('a', tmp_path, full=True)
    found = one.outputs
    best = uniform_accuracy(found.logits, found.labels)
    own = np.eye(10, dtype=bool)[found.labels]
    section = score_distributions([one])
    told, few = table(section, 'without bias'), np.array(found.class_counts) < 20
    over = found.logits > best.threshold
    assert column(told, 'Positive > b + t')[-1] == f'{100 * over[own & few].mean():.1f}'
    assert column(told, 'Negative ≤ b + t')[-1] == f'{100 - 100 * over[~own & few].mean():.1f}'
    assert table(section, 'one threshold').rows[0][1:3] == [
        f'{best.threshold:.2f}',
        f'{best.accuracy:.1f}',
    ]


def test_no_uniform_threshold_where_nothing_is_right(tmp_path):
    one = run('a', tmp_path, full=True)
    wrong = np.eye(10, dtype=np.float32)[(one.outputs.labels + 1) % 10]
    changed(one, logits=wrong)
    assert 'no uniform threshold' in score_distributions([one]).figures[0].caption
    section = open_set_curves([with_unknown(one)])
    assert section.tables[-2].rows[1][3:] == ['-'] * 6
    assert section.tables[-1].rows[1][2:] == ['-'] * 4


# ---------------------------------------------------------------------------------------- embedding
def test_rare_and_common_classes_are_drawn_alike():
    labels = np.repeat(np.arange(5), [1000, 500, 300, 40, 3])
    rows = stratified(np.random.default_rng(0).permutation(labels), 500)
    assert len({*rows.tolist()}) == len(rows) <= 500
    shuffled = np.random.default_rng(0).permutation(labels)
    sizes = np.bincount(shuffled[rows])
    assert sizes[3:].tolist() == [40, 3]
    assert sizes[0] == sizes[1] == sizes[2] == 152
    assert len(stratified(np.arange(3000), 500)) == 500
    assert stratified(np.array([2, 2, 7])).tolist() == [0, 1, 2]


def test_clusters_stay_apart(monkeypatch):
    monkeypatch.setattr('bce3s.page.embedding.ITERATIONS', 500)  # with fewer they are still dense
    centres = np.eye(3).repeat(30, axis=0) * 20
    places = tsne(centres + np.random.default_rng(0).normal(size=(90, 3)))
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 30 == np.arange(90) // 30).all()


def test_one_dot_for_each_image(tmp_path):
    svg = embedding([run('a', tmp_path, full=True)]).figures[0].svg
    assert svg.count('<use xlink:href="#C') + svg.count('<use xlink:href="#m') - 3 == 200  # the key


@pytest.mark.parametrize('width', [1, 2])
def test_narrow_features(width, tmp_path):
    features = np.random.default_rng(0).normal(size=(200, width)).astype(np.float32)
    weight = np.ones((10, width), np.float32)
    one = changed(run('a', tmp_path, full=True), features=features, weight=weight)
    assert embedding([one]).figures


def test_equal_features_have_no_map(tmp_path):
    one = changed(run('a', tmp_path, full=True), features=np.ones((200, 6), np.float32))
    assert embedding([one]) is None


# -------------------------------------------------------------------------------------- calibration
def test_ece_by_split_over_all_images(tmp_path):
    one = run('a', tmp_path, full=True)
    found = one.outputs
    sure = 1 / (1 + np.exp(-found.logits.max(axis=1).astype(float)))
    right = found.logits.argmax(axis=1) == found.labels
    few = (np.array(found.class_counts) < 20)[found.labels]
    row = calibration([one]).tables[0].rows[0]
    assert row[2] == f'{expected_calibration_error(sure, right):.1f}'
    assert row[5] == f'{expected_calibration_error(sure[few], right[few]):.1f}'


BCE, CE = dict(joint=dict(type='BCEJoint')), dict(joint=dict(type='CEJoint'))


@pytest.mark.parametrize(
    ('head', 'second', 'kind'),
    [
        (BCE, 0, Sigmoid),
        (CE, 0, Softmax),
        (dict(joint=dict(type='BalancedBCE')), 0, Sigmoid),
        (dict(joint=dict(type='FocalBCE')), 0, Sigmoid),
        (dict(joint=dict(type='FocalCE')), 0, Softmax),
        (BCE | dict(finetune=CE['joint']), 10, Softmax),  # what the second stage has made of it
        (BCE | dict(finetune=CE['joint']), 0, Sigmoid),
        (BCE, 10, Sigmoid),
        (dict(joint=[dict(type='BalancedBCE'), BCE['joint']]), 0, Sigmoid),  # of two experts
    ],
)
def test_the_loss_of_the_config_decides_what_a_confidence_is(head, second, kind, tmp_path):
    one = run('a', tmp_path, full=True)
    assert probabilities(one) is None  # no folder
    one.folder.mkdir()
    text = f'model = dict(head={head})\ntrain_cfg = dict(finetune_epochs={second})\n'
    (one.folder / 'c.py').write_text(text)
    torch.save(
        {'state_dict': {'w': torch.zeros(1)}, 'meta': {'iter': 1}}, one.folder / 'epoch_1.pth'
    )
    assert type(probabilities(one)) is kind


def test_a_config_that_cannot_be_read_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration_module, 'probabilities', lambda _: None)
    assert calibration([run('a', tmp_path, full=True)]) is None


# ----------------------------------------------------------------------------------------- open set
def test_auroc_of_all_images_is_the_usual_one(tmp_path):
    one = with_unknown(run('a', tmp_path, full=True))
    known, unknown = (o.logits.max(axis=1) for o in (one.outputs, one.unknown))
    expected = roc_auc_score([1] * len(known) + [0] * len(unknown), [*known, *unknown])
    found = table(open_set_curves([one]), '60 unknown')
    assert found.rows[0][:3] == ['a', 'AUROC', f'{100 * expected:.1f}']


def test_a_logit_at_the_threshold_is_rejected_and_the_reports_figures_are_taken(tmp_path):
    one = with_unknown(run('a', tmp_path, full=True))
    largest = np.sort(one.unknown.logits.max(axis=1))
    false = dict(all=1.0, many=2.0, medium=3.0, few=4.0, plain=5.0)
    effects = dict(false_rejection=false, accuracy=dict(all=6.0, many=7.0, medium=None, few=9.0))
    one.report['rejection'] = dict(
        thresholds=[float(largest[14])] * 10,
        **dict(rate=5.0, chosen_on='val', cross_fitted=False),
        **effects,
        uniform=dict(threshold=float(largest[29]), **effects),
    )
    section = open_set_curves([one])
    rows, shares = table(section, 'at the thresholds').rows, ['1.0', '2.0', '3.0', '4.0']
    assert rows[0] == ['a', 'val', 'of the classes, at most 5 %', '-', *shares, '25.0']
    assert rows[1] == ['a', 'val', 'uniform', f'{largest[29]:.2f}', *shares, '50.0']
    assert section.tables[-1].rows[1] == ['a', 'uniform', '6.0', '7.0', '-', '9.0']


def test_without_unknown_images_there_is_rejection_only(tmp_path):
    section = open_set_curves([run('a', tmp_path, full=True)])
    assert len(section.figures) == 1
    assert len(section.tables) == 2
    assert {*column(section.tables[0], 'Unknown')} == {'-'}
    assert any('half' in note for note in section.notes)


def test_one_run_with_unknown_images_beside_one_without(tmp_path):
    one = with_unknown(run('a', tmp_path, full=True))
    other = run('b', tmp_path, full=True, config='b.py')
    section = open_set_curves([one, other])
    assert len(section.figures) == 4
    assert [row[0] for row in section.tables[0].rows] == ['a'] * 3
    one.unknown = replace(one.unknown, logits=np.full((60, 10), np.nan, np.float32))
    assert any('unknown images are not finite' in note for note in open_set_curves([one]).notes)


# ------------------------------------------------------------------------------------------- levels
def test_accuracy_is_told_of_classes_and_of_their_parents(tmp_path):
    one = run('a', tmp_path, full=True)
    assert levels([one]) is None
    one.folder.mkdir()
    rows = [f'{k},{"low" if k < 5 else "high"}' for k in range(10)]
    (one.folder / 'parents.csv').write_text('\n'.join(['class,parent', *rows]))
    labels, shares = one.outputs.labels, np.exp(one.outputs.logits)
    called_low = shares[:, :5].sum(1) > shares[:, 5:].sum(1)
    right = called_low == (labels < 5)
    all_alike = f'{100 * right.mean():.2f}'
    mean = f'{50 * (right[labels < 5].mean() + right[labels >= 5].mean()):.2f}'
    (found,) = levels([one]).tables
    own = f'{one.report["all"]:.2f}'
    assert found.rows == [
        ['a', '10 classes', own, f'{one.report["accuracy"]:.2f}'],
        ['a', '2 parents', mean, all_alike],
    ]
