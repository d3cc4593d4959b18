"""Runs through the shell scripts of ``tools/``: short ones, on digits."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/bce3s/digits.py'
EPOCHS = 12
SHORT = (
    '--cfg-options',
    f'train_cfg.max_epochs={EPOCHS}',
    'train_cfg.finetune_epochs=3',
    "model.head.contrastive=dict(type='BCEContrastive')",
    'default_hooks.checkpoint.interval=1',
)
NOT_OURS = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'PORT', 'NNODES')


def start(script, *arguments, before=(), **environ):
    """Starts ``tools/SCRIPT``; stdout and stderr in one pipe."""
    kept = {k: v for k, v in os.environ.items() if k not in NOT_OURS and 'SLURM' not in k}
    kept |= dict(PYTHON=sys.executable, OMP_NUM_THREADS='1') | environ
    command = [*before, str(ROOT / 'tools' / script), *map(str, arguments)]
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen(command, cwd=ROOT, env=kept, **pipe)


def finish(process, timeout=300):
    """(exit status, what it printed)"""
    printed, _ = process.communicate(timeout=timeout)
    return process.returncode, printed


def train(work_dir, *arguments, processes=2, **environ):
    process = start(
        'dist_train.sh', CONFIG, processes, '--work-dir', work_dir, *arguments, **environ
    )
    status, printed = finish(process)
    assert status == 0, printed
    return printed


def children(pid):
    """The processes that ``pid`` started, oldest first."""
    done = subprocess.run(['ps', '-A', '-o', 'pid=,ppid='], capture_output=True, text=True)
    pairs = [map(int, line.split()) for line in done.stdout.splitlines()]
    return sorted(child for child, parent in pairs if parent == pid)


def wait_for(path, process, seconds=120):
    """Until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end, f'{path} did not come'
        time.sleep(0.02)


def same_end(one, *others):
    """The last checkpoint of runs: the same bits."""
    last = f'epoch_{EPOCHS}.pth'
    expected = torch.load(one / last, weights_only=True)
    for other in others:
        found = torch.load(other / last, weights_only=True)
        for key, value in expected['state_dict'].items():
            assert torch.equal(found['state_dict'][key], value), key
        moments = [checkpoint['optimizer']['state'] for checkpoint in (expected, found)]
        for key, value in moments[0].items():
            assert torch.equal(moments[1][key]['momentum_buffer'], value['momentum_buffer']), key
