"""Nobody pays for what he does not use: what is imported, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = sorted(path.name for path in (ROOT / 'tools').glob('*.py'))
FRAMEWORK = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain'}
OPTIONAL = {'matplotlib', 'sklearn', 'scipy', 'faiss', 'tensorboard', 'cv2', 'PIL', 'tqdm', 'rich'}
CALL = """
import json, runpy, sys
sys.argv = {arguments!r}
sys.path.insert(0, sys.argv[0].rpartition('/')[0])  # as `python tools/NAME.py` has it
status = 0
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as stop:
    status = stop.code
print('\\n' + json.dumps([status, sorted(sys.modules)]))
"""


def run(code, folder=None):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def call(tool, *arguments, folder=None):
    """Exit status and imported modules of a tool that runs in a process of its own."""
    code = CALL.format(arguments=[str(ROOT / 'tools' / tool), *map(str, arguments)])
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return status or 0, set(modules)


def test_the_package_imports_nothing():
    done = run(
        f'import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules)\n'
        'import bce3s; print(sorted(set(sys.modules) - before))'
    )
    assert done.stdout.strip() == "['bce3s']", done.stderr


@pytest.mark.parametrize('module', ['bce3s.samplers'])
def test_the_plain_modules_import_torch_alone(module):
    done = run(
        f'import sys; sys.path.insert(0, {str(ROOT)!r}); import torch; before = set(sys.modules)\n'
        f'import {module}; print({FRAMEWORK | OPTIONAL!r} & (set(sys.modules) - before))'
    )
    assert done.stdout.strip() == 'set()', done.stderr


@pytest.mark.parametrize('tool', TOOLS)
def test_help_and_a_wrong_argument_import_no_framework(tool):
    for argument, expected in (('--help', 0), ('--no-such-argument', 2)):
        status, modules = call(tool, argument)
        assert status == expected
        assert not (FRAMEWORK | OPTIONAL) & modules


def test_a_table_of_reports_needs_no_framework_but_torch(tmp_path):
    splits = dict(all=50.0, many=60.0, medium=None, few=40.0)
    report = dict(
        splits, config='c', seed=0, epoch=1, selection='last', tta=False, other=[], split='test'
    )
    report |= dict(dataset='d', subset=None, imbalance_factor=10, class_counts=[2, 1])
    report |= dict(classes=['a', 'b'], per_class=[50.0, 50.0], thresholds=dict(many=1, few=1))
    (tmp_path / 'report.json').write_text(json.dumps(report))
    status, modules = call('summarize.py', tmp_path)
    assert status == 0
    assert not (FRAMEWORK - {'torch'} | OPTIONAL - {'tqdm'}) & modules


def test_a_table_of_jobs_needs_no_framework(tmp_path):
    status, modules = call('reproduce.py', 'table4', '--dry-run', '--work-dir', tmp_path)
    assert status == 0
    assert not {'mmpretrain', 'torchvision', 'mmengine.runner', *OPTIONAL - {'rich'}} & modules


def test_a_training_imports_only_what_it_uses(tmp_path):
    """The digits come with scikit-learn; torch looks which of its neighbours are there."""
    options = ['train_cfg.max_epochs=2', 'train_cfg.finetune_epochs=1']
    options += ['visualizer.vis_backends=[]', 'default_hooks.report=None']
    status, modules = call(
        'train.py',
        ROOT / 'configs/bce3s/digits.py',
        *('--work-dir', tmp_path / 'run'),
        *('--cfg-options', *options),
        folder=tmp_path,
    )
    assert status == 0
    unused = {'faiss', 'sklearn.manifold', 'sklearn.ensemble', 'matplotlib.pyplot', 'timm', 'pooch'}
    unused |= {'tensorboard', 'transformers', 'bce3s.theory'}
    unused |= {'bce3s.engine.feature_quality'}
    assert not unused & modules
