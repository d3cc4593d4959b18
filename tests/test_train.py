"""Whole runs of tools/train.py and tools/test.py on digits, as a user starts them."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from trained_runs import ROOT, check_learning, train

from bce3s.config import load_config

BRANCH = "model.head.contrastive=dict(type='BCEContrastive')"  # with the bank, all there is to save
SHORT = (
    'train_cfg.max_epochs=4',
    'train_cfg.val_interval=2',
    'train_cfg.finetune_epochs=2',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.checkpoint.max_keep_ckpts=4',
)


def command(tool: str, *args: object) -> list[str]:
    return [sys.executable, str(ROOT / 'tools' / f'{tool}.py'), *map(str, args)]


def start(*args: object) -> subprocess.Popen:
    env = dict(os.environ, OMP_NUM_THREADS='1')
    return subprocess.Popen(
        command(*args),
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(*args: object) -> str:
    process = start(*args)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def train_short(work_dir: Path, *args: object, options: tuple[str, ...] = SHORT) -> str:
    config = 'configs/bce3s/digits.py'
    options = ('--cfg-options', BRANCH, *options)
    return run('train', config, '--work-dir', work_dir, *args, *options)


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True, map_location='cpu')


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('undisturbed')
    output = train_short(work_dir)
    check_learning(work_dir)
    (work_dir / 'console').write_text(output)
    return work_dir


def test_the_console_shows_the_run_and_the_log_file_everything(undisturbed):
    console = (undisturbed / 'console').read_text()
    (log,) = undisturbed.glob('*/*.log')
    for dump in ('System environment', 'Hooks will be executed', 'Exp name:'):
        assert dump not in console
        assert dump in log.read_text()
    assert console.count('Epoch(train)') == 4
    assert 'Warning' not in console
    assert console.rstrip().endswith('report.md')


def test_two_stage_run_reports(undisturbed):
    report = json.loads((undisturbed / 'report.json').read_text())
    assert report['epoch'] == 4
    assert report['selection'] == 'last'
    assert report['tta'] is False
    assert report['class_counts'] == [120, 86, 61, 44, 31, 22, 16, 11, 8, 6]
    assert len(report['per_class']) == 10
    means = [report[split] for split in ('many', 'medium', 'few')]
    weighted = sum(m * n for m, n in zip(means, (1, 5, 4), strict=True)) / 10
    assert report['all'] == pytest.approx(weighted, abs=1e-6)
    assert (undisturbed / 'report.md').read_text().count('|') > 10
    assert list(undisturbed.glob('*/vis_data/events.out.tfevents.*'))


def test_second_stage_leaves_every_bit_of_the_backbone(undisturbed):
    """Epochs 3 and 4 train the classifier alone: not a bit of anything else may change."""
    weights = [load(undisturbed / f'epoch_{e}.pth')['state_dict'] for e in (2, 3, 4)]
    for before, after in pairwise(weights):
        changed = {k for k in before if not torch.equal(before[k], after[k])}
        assert changed == {'head.classifier.weight', 'head.classifier.bias'}


def kill_when(work_dir: Path, checkpoint: str) -> None:
    """Start the run and kill it without warning as soon as it has written ``checkpoint``."""
    process = start(
        'train', 'configs/bce3s/digits.py', '--work-dir', work_dir, '--cfg-options', BRANCH, *SHORT
    )
    try:
        deadline = time.time() + 200
        while not (work_dir / checkpoint).exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.time() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_resumed_equals_never_stopped(undisturbed, tmp_path):
    """Killed in the second stage; tests/faults has the first, and other ways to stop."""
    kill_when(tmp_path / 'run', 'epoch_3.pth')
    train_short(tmp_path / 'run', '--resume')
    want, got = (load(d / 'epoch_4.pth') for d in (undisturbed, tmp_path / 'run'))
    for key, value in want['state_dict'].items():
        assert torch.equal(value, got['state_dict'][key]), key
    momenta = [c['optimizer']['state'] for c in (want, got)]
    assert momenta[0].keys() == momenta[1].keys()
    for key, state in momenta[0].items():
        assert torch.equal(state['momentum_buffer'], momenta[1][key]['momentum_buffer'])
    reports = [json.loads((d / 'report.json').read_text()) for d in (undisturbed, tmp_path / 'run')]
    for name in ('all', 'many', 'medium', 'few', 'per_class', 'history'):
        assert reports[0][name] == reports[1][name], name


def test_the_test_tool_gives_the_report_of_training(undisturbed, tmp_path):
    options = ('--work-dir', tmp_path, '--cfg-options', BRANCH)
    run('test', 'configs/bce3s/digits.py', undisturbed / 'epoch_4.pth', *options)
    reports = [json.loads((d / 'report.json').read_text()) for d in (undisturbed, tmp_path)]
    assert reports[0]['per_class'] == reports[1]['per_class']


def test_second_stage_alone_equals_the_one_run(undisturbed, tmp_path):
    """Stage 2 from stage 1's checkpoint: frozen features, classifier trained."""
    first = undisturbed / 'epoch_2.pth'
    options = ('train_cfg.max_epochs=2', 'train_cfg.finetune_epochs=2', f'load_from={first}')
    train_short(tmp_path, options=options)
    before, after = load(first)['state_dict'], load(tmp_path / 'epoch_2.pth')['state_dict']
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {'head.classifier.weight', 'head.classifier.bias'}


def test_a_config_that_did_not_fit_on_the_disk_is_not_left_in_part(tmp_path, monkeypatch):
    """A resumed run would read it."""

    def full(_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('bce3s.files.os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        train(load_config(str(ROOT / 'configs/baselines/digits_bce.py'), []), tmp_path)
    assert not list(tmp_path.glob('*.py'))
