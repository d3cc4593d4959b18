"""A run of one epoch on digits, and what resumes it from another checkpoint."""

from __future__ import annotations

import atexit
import functools
import logging
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from bce3s.evaluation.selection import add_to_history, history_row, other_selections

SUMMARY = {'plain': dict.fromkeys(('all', 'many', 'medium', 'few'), 50.0)}
ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def resume() -> tuple[Callable[[Path], None], dict]:
    """(what resumes from a path, the content of a real checkpoint)."""
    warnings.simplefilter('ignore')
    from bce3s.config import load_config
    from bce3s.engine.checkpoint import load_from_disk
    from bce3s.engine.runner import QuietRunner

    work_dir = tempfile.mkdtemp(prefix='fuzz_run_')
    atexit.register(shutil.rmtree, work_dir, ignore_errors=True)
    options = [
        'train_cfg.max_epochs=1',
        'model.backbone.depth=8',
        'default_hooks.progress=None',
        'log_level=CRITICAL',
    ]
    cfg = load_config(str(ROOT / 'configs/baselines/digits_bce.py'), options)
    cfg.work_dir, cfg.experiment_name = work_dir, uuid.uuid4().hex
    cfg.visualizer.vis_backends = []
    runner = QuietRunner.from_cfg(cfg)
    runner.train()
    content = torch.load(Path(work_dir, 'epoch_1.pth'), weights_only=True)
    logging.disable(logging.CRITICAL)
    object.__setattr__(runner.cfg, '_format_python_code', False)  # 0.1 s a resume
    start = load_from_disk(Path(work_dir, 'epoch_1.pth'))['state_dict']

    groups = [
        {key: value for key, value in group.items() if key != 'params'}
        for group in runner.optim_wrapper.param_groups
    ]

    def again(path: Path) -> None:
        hub = runner.message_hub
        hub.log_scalars.clear()
        hub.runtime_info.clear()
        runner.model.load_state_dict(start)
        for group, values in zip(runner.optim_wrapper.param_groups, groups, strict=True):
            group.update(values)
        runner.resume(str(path), map_location='cpu')
        _use(runner)

    return again, content


def _use(runner) -> None:
    """What the first steps, the next save and the next report do with what was loaded."""
    runner.optim_wrapper.zero_grad()
    state = runner.optim_wrapper.optimizer.state
    for parameter in runner.model.parameters():
        if parameter in state or not state:  # one that was never used has no momentum
            parameter.grad = torch.zeros_like(parameter)
    runner.optim_wrapper.step()
    for scheduler in runner.param_schedulers or []:
        scheduler.step()
    for history in runner.message_hub.log_scalars.values():
        history.update(1.0)
        history.mean(10)
    history = runner.message_hub.get_info('report_history', [])
    history = add_to_history(history, dict(history_row(2, 1, SUMMARY)))
    other_selections(history, 'test')
    runner.optim_wrapper.state_dict()
