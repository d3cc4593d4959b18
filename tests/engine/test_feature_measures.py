"""The hook that measures the features, in small real runs on digits."""

import itertools
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from bce3s.config import load_config
from bce3s.engine import checkpoint as _atomic_backend  # noqa: F401  (registers it)
from bce3s.engine import feature_measures
from bce3s.engine.feature_measures import FeatureMeasuresHook
from bce3s.engine.runner import QuietRunner
from bce3s.errors import BCE3SError
from bce3s.evaluation.disturbance import disturbed_accuracy

ROOT = Path(__file__).resolve().parents[2]
COUNTER = itertools.count()


def make_runner(
    work_dir, epochs=2, measured=True, decay=None, resume_from=None, evaluator=(), **measures
):
    options = [f'train_cfg.max_epochs={epochs}', 'train_cfg.val_interval=1']
    cfg = load_config(str(ROOT / 'configs/baselines/digits_bce.py'), options)
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'measures{next(COUNTER)}'
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    cfg.default_hooks.progress, cfg.default_hooks.checkpoint.interval = None, 1
    cfg.model.backbone.depth = 8
    cfg.model.head.decay = decay
    cfg.val_evaluator.update(dict(evaluator))
    hook = dict(type='FeatureMeasuresHook', **measures) if measured else None
    cfg.default_hooks.measures = hook
    if resume_from:
        cfg.resume, cfg.load_from = True, str(resume_from)
    return QuietRunner.from_cfg(cfg)


def rows(work_dir):
    return json.loads((work_dir / 'measures.json').read_text())


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('measured')
    decay = dict(weight=5e-4, feature=5e-4, bias=5e-4)
    runner = make_runner(work_dir, decay=decay)
    runner.train()
    return work_dir, runner


def test_the_rows_are_the_measures_of_the_final_network(trained):
    work_dir, runner = trained
    content = rows(work_dir)
    assert [row['epoch'] for row in content['epochs']] == [1, 2]
    last = content['epochs'][-1]
    model = runner.model.eval()
    report = json.loads((work_dir / 'report.json').read_text())
    assert last['test']['accuracy'] == pytest.approx(report['accuracy'])
    for name, dataset in (
        ('train', runner.train_dataloader.dataset),
        ('test', runner.val_dataloader.dataset),
    ):
        with torch.no_grad():  # the definitions, on the whole set at once
            feats = model.features(model.data_preprocessor.normalize(dataset.images)).double()
            weight = model.head.classifier.weight.double()
            bias = -model.head.classifier.bias.double()
        scores, labels = feats @ weight.T, dataset.labels
        own = torch.nn.functional.one_hot(labels, 10).bool()
        assert last[name]['samples'] == len(labels)
        assert last[name]['rho'] == pytest.approx(weight.square().sum().item(), rel=1e-6)
        assert last[name]['s_pos_mean'] == pytest.approx(scores[own].mean().item(), rel=1e-4)
        assert last[name]['s_neg_std'] == pytest.approx(
            scores[~own].std(correction=0).item(), rel=1e-4
        )
        assert last[name]['b_mean'] == pytest.approx(bias.mean().item(), rel=1e-5)
        right = ((scores - bias).argmax(1) == labels).double().mean().item()
        assert last[name]['accuracy'] == pytest.approx(100 * right)
        means = torch.stack([feats[labels == k].mean(0) for k in range(10)])
        within = feats - means[labels]
        between = means - feats.mean(0)
        inverse = torch.linalg.pinv(between.T @ between / 10, hermitian=True)
        nc1 = torch.trace(within.T @ within / len(labels) @ inverse) / 10
        assert last[name]['nc1'] == pytest.approx(nc1.item(), rel=1e-3)


def test_the_splits_are_those_of_the_report(tmp_path):
    runner = make_runner(tmp_path, epochs=1, evaluator=dict(many=60, few=40), sets=['test'])
    runner.train()
    report = json.loads((tmp_path / 'report.json').read_text())
    splits = rows(tmp_path)['epochs'][-1]['test']['splits']
    assert report['thresholds'] == dict(many=60, few=40)
    assert sum(part['classes'] for part in splits.values()) == 10
    for name in ('many', 'medium', 'few'):
        assert splits[name]['accuracy'] == pytest.approx(report[name]), name  # 50 images a class


def test_alpha_is_the_right_side_of_equation_12_at_the_mean_bias(trained):
    work_dir, _ = trained
    content = rows(work_dir)
    assert content['batch_size'] == 32
    for row in content['epochs']:
        values = row['train']
        difference = values['alpha_defined'] - values['alpha']
        assert difference == pytest.approx(5e-4 * values['b_mean'], abs=1e-12)
        assert -0.9 < values['alpha'] < 0.1


def test_only_the_last_row_has_the_distributions(trained):
    first, last = rows(trained[0])['epochs']
    assert 'distributions' not in first['train']
    for name, number in (('train', 405), ('test', 500)):
        histograms = last[name]['distributions']
        assert len(histograms['b']) == 10
        assert sum(histograms['s_pos']['counts']) == number
        assert sum(histograms['s_neg']['counts']) == 9 * number


def test_measuring_changes_nothing(trained, tmp_path):
    plain = make_runner(tmp_path, measured=False, decay=dict(weight=5e-4, feature=5e-4, bias=5e-4))
    plain.train()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, trained[1].model.state_dict()[name]), name
    assert not (tmp_path / 'measures.json').exists()


def test_a_resumed_run_has_the_rows_of_one_that_was_never_stopped(trained, tmp_path):
    work_dir, _ = trained
    resumed = make_runner(
        tmp_path,
        resume_from=work_dir / 'epoch_1.pth',
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    )
    resumed.train()
    assert rows(tmp_path)['epochs'] == rows(work_dir)['epochs']


def test_features_that_do_not_fit_the_cache_are_computed_twice_with_the_same_result(trained):
    runner = trained[1]
    loader, results = runner.val_dataloader, []
    for size in (0, 1e9):
        hook = FeatureMeasuresHook(batch_size=7, cache_bytes=size)
        batches = hook._batches(runner, loader)
        results.append(hook._measure(runner, loader.dataset, batches, True))
    assert results[0] == results[1]


def test_two_ranks_that_share_a_set_measure_what_one_does(trained, monkeypatch):
    """Two threads stand for two processes; what they gather goes through pickle as it would."""
    runner, hook = trained[1], FeatureMeasuresHook(batch_size=50)
    loader, here = runner.val_dataloader, threading.local()
    barrier, sent = threading.Barrier(2), [None, None]

    def gather(state):
        sent[here.rank] = pickle.dumps(state)
        barrier.wait()
        states = [pickle.loads(data) for data in sent]
        barrier.wait()
        return states

    whole = hook._measure(runner, loader.dataset, hook._batches(runner, loader), True)
    monkeypatch.setattr(feature_measures, 'all_gather_object', gather)
    monkeypatch.setattr(feature_measures, 'get_dist_info', lambda: (here.rank, 2))
    batches = []
    for here.rank in range(2):
        batches.append(hook._batches(runner, loader))
    assert [sum(len(y) for _, y in share()) for share in batches] == [250, 250]

    def work(rank):
        here.rank = rank
        return hook._measure(runner, loader.dataset, batches[rank], True)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, range(2))
    assert first == second
    assert first.pop('distributions') == whole.pop('distributions')
    splits, expected = first.pop('splits'), whole.pop('splits')
    for figures in (first, whole):  # n = B / K, and two ranks take twice the batch
        del figures['alpha'], figures['alpha_defined']
    assert first == pytest.approx(whole, rel=1e-9)
    for name in ('many', 'medium', 'few'):
        shared = {k: v for k, v in splits[name].items() if v is not None}
        assert shared == pytest.approx({k: expected[name][k] for k in shared}, rel=1e-9)


def test_interval_and_sets(tmp_path):
    make_runner(tmp_path, epochs=5, interval=2, sets=['test']).train()
    content = rows(tmp_path)
    assert [row['epoch'] for row in content['epochs']] == [2, 4, 5]
    assert all(set(row) == {'epoch', 'test'} for row in content['epochs'])
    assert content['decay'] is None
    assert 'alpha' not in content['epochs'][0]['test']


def test_splits_go_by_training_counts(trained):
    splits = rows(trained[0])['epochs'][-1]['test']['splits']
    report = json.loads((trained[0] / 'report.json').read_text())
    assert splits['many']['accuracy'] == pytest.approx(report['many'])


@pytest.mark.parametrize('arguments', [dict(sets=['val']), dict(sets=[]), dict(interval=0)])
def test_wrong_arguments_end_as_a_sentence(arguments):
    with pytest.raises(BCE3SError, match='FeatureMeasuresHook'):
        FeatureMeasuresHook(**arguments)


def test_disturbances_of_the_test_set_stand_in_the_last_row(tmp_path):
    runner = make_runner(tmp_path, disturbances=True)
    runner.train()
    first, last = rows(tmp_path)['epochs']
    classifier, dataset = runner.model.eval().head.classifier, runner.val_dataloader.dataset
    with torch.no_grad():
        features = runner.model.features(runner.model.data_preprocessor.normalize(dataset.images))
        weight, bias = classifier.linear()
    expected = disturbed_accuracy(features, dataset.labels, weight, -bias)
    assert {name: last['test'].get(name) for name in expected} == pytest.approx(expected, abs=0.1)
    assert not expected.keys() & (first['test'].keys() | last['train'].keys())
