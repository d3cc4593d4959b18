"""tools/posthoc.py on small real runs: the parameters, the table, the files, mistakes."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trained_runs import check_learning

from bce3s import cli
from bce3s.engine.outputs import run_outputs
from bce3s.engine.posthoc_run import posthoc
from bce3s.engine.run_directory import RunDirectory
from bce3s.evaluation.posthoc import LogitAdjustment, Scores
from bce3s.registry import MODELS
from bce3s.run_commands import main

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / 'tools' / 'posthoc.py'
SHORT = ('train_cfg.max_epochs=2', 'train_cfg.val_interval=2', 'model.backbone.depth=8')


def train(config, folder, *options):
    environment = pytest.MonkeyPatch()
    environment.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # the tool sets it for good
    args = [str(ROOT / config), '--work-dir', str(folder), '--seed', '0']
    status = cli.main('train', [*args, '--cfg-options', *SHORT, *options])
    environment.undo()
    assert status == 0
    check_learning(folder)
    return folder


@pytest.fixture(scope='module')
def ce(tmp_path_factory):
    return train('configs/baselines/digits_ce.py', tmp_path_factory.mktemp('posthoc') / 'ce')


@pytest.fixture(scope='module')
def bce3s(tmp_path_factory):
    folder = tmp_path_factory.mktemp('posthoc') / 'bce3s'
    return train('configs/bce3s/digits.py', folder, 'train_cfg.finetune_epochs=1')


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    return lambda *args: main('posthoc', [*map(str, args)])


def test_the_tool_prints_the_table_and_writes_files(tool, ce, capsys):
    assert tool(ce) == 0
    printed = capsys.readouterr()
    assert not printed.err
    assert 'val: what the network says' in printed.out  # progress
    saved = json.loads((ce / 'posthoc/posthoc.json').read_text(), parse_constant=pytest.fail)
    assert saved['rows'][0]['method'] == 'As trained'
    for row in saved['rows']:
        line = next(x for x in printed.out.splitlines() if x.startswith(f'| {row["method"]} '))
        assert f'{row["all"]:.2f}' in line
        assert line in (ce / 'posthoc/posthoc.md').read_text()
    report = json.loads((ce / 'report.json').read_text())
    for name in ('all', 'many', 'medium', 'few'):
        assert saved['rows'][0][name] == pytest.approx(report[name])
    assert (saved['score'], saved['cross_fitted'], saved['tuned_on']) == ('softmax', True, 'test')
    assert saved['notes'] == []
    assert str(ce) not in json.dumps(saved['rows'])


def test_class_means_are_of_the_training_images(ce):
    run = RunDirectory.open(ce)
    found = {row['method']: row for row in posthoc(run)['rows']}
    train, test = run_outputs(run, 'train'), run_outputs(run, 'val')
    means = np.stack([train.features[train.labels == k].mean(0) for k in range(10)])
    distances = ((test.features[:, None] - means[None]) ** 2).sum(2)
    right = distances.argmin(1) == test.labels
    assert found['Nearest class mean, Euclidean']['all'] == pytest.approx(
        100 * np.mean([right[test.labels == k].mean() for k in range(10)])
    )


def test_a_classifier_that_normalises_its_weights(bce3s):
    found = posthoc(RunDirectory.open(bce3s))
    assert found['score'] == 'sigmoid'
    assert 'changes nothing' in found['notes'][0]
    rows = {row['method']: row for row in found['rows']}
    same = ('all', 'many', 'medium', 'few', 'ece', 'nll')
    assert all(rows['As trained'][key] == rows['tau-normalisation'][key] for key in same)


@pytest.mark.parametrize('loss', ['CEJoint', 'LogitAdjustedCE'])
def test_what_the_loss_has_done_is_not_done_twice_in_silence(ce, loss, monkeypatch):
    run = RunDirectory.open(ce)
    run_outputs(run, 'val'), run_outputs(run, 'train')  # kept, of this network
    monkeypatch.setattr(RunDirectory, 'loss', MODELS.get(loss))
    assert [note[:22] for note in posthoc(run)['notes']] == ['The loss of this run h'] * (
        loss == 'LogitAdjustedCE'
    )


def test_with_validation_data_parameters_are_chosen_on_them(ce, tmp_path, tool):
    """The config as it is, but for images that are held out of the training files."""
    folder = tmp_path / 'run'
    folder.mkdir()
    for path in ce.glob('*.pth'):
        (folder / path.name).write_bytes(path.read_bytes())
    cfg = RunDirectory.open(ce).config
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.test_evaluator, cfg.test_cfg = dict(cfg.val_evaluator, many=60, few=40), {}
    cfg.val_dataloader.dataset.split = 'val'
    cfg.train_dataloader.dataset.val_per_class = 5
    cfg.dump(str(folder / 'digits_ce.py'))
    assert tool(folder, '--out', tmp_path / 'out') == 0
    saved = json.loads((tmp_path / 'out/posthoc.json').read_text())
    assert (saved['tuned_on'], saved['measured_on']) == ('val', 'test')
    assert saved['cross_fitted'] is False
    assert saved['thresholds'] == dict(many=60, few=40)  # of the evaluator of the test images
    assert [len(row['values']) for row in saved['rows']] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert 'chosen on the val set alone' in (tmp_path / 'out/posthoc.md').read_text()
    run = RunDirectory.open(folder)
    outputs = run_outputs(run, 'val')
    assert len(outputs.labels) == 50
    tau = LogitAdjustment(outputs.class_counts).choose(Scores.of(outputs.logits, outputs.labels))
    assert saved['rows'][2]['values'] == [tau]


def test_mistakes_are_sentences(tool, ce, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    for args, sentence in (
        ((tmp_path / 'nowhere',), 'is no work dir of a run'),
        ((tmp_path,), 'holds no config'),
        ((ce, 'none.pth'), 'Checkpoint none.pth does not exist'),
        ((ce, '--out', tmp_path / 'file' / 'out'), 'cannot write to'),
    ):
        assert tool(*args) == 1
        printed = capsys.readouterr()
        assert sentence in printed.err
        assert printed.err.count('\n') == 1
        assert 'Traceback' not in printed.err


def test_wrong_arguments_are_2(tool, ce):
    with pytest.raises(SystemExit) as ended:
        tool(ce, '--batch-size', 0)
    assert ended.value.code == 2


def test_help_is_quick_and_runs_from_any_folder(tmp_path):
    code = (
        f'import runpy, sys; sys.argv = ["posthoc.py", "--help"]\n'
        f'try: runpy.run_path({str(TOOL)!r}, run_name="__main__")\n'
        'except SystemExit as e: assert e.code == 0\n'
        'heavy = {"torch", "numpy", "mmengine", "matplotlib"} & set(sys.modules)\n'
        'assert not heavy, heavy\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert 'RUN' in done.stdout
