"""A process that fails, falls silent, is killed, or is asked to stop: all end, nothing is lost."""

import os
import re
import signal

import pytest
from launching import (
    CONFIG,
    EPOCHS,
    ROOT,
    SHORT,
    children,
    finish,
    same_end,
    start,
    train,
    wait_for,
)

pytestmark = pytest.mark.slow
BROKEN = """
import os
import re
from bce3s.datasets.whole_batches import DigitsLT
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS

@DATASETS.register_module()
class BrokenDigits(DigitsLT):
    batches = 0

    def __getitems__(self, indices):
        self.batches += 1
        if os.environ['RANK'] == '1' and self.batches == 3:
            raise BCE3SError('image 7 cannot be read')
        return super().__getitems__(indices)
"""
THERE = f"""
_base_ = '{ROOT / CONFIG}'
custom_imports = dict(imports=['broken_digits'])
train_dataloader = dict(dataset=dict(type='BrokenDigits'))
"""


def test_an_error_of_one_process_ends_all_with_sentences(tmp_path):
    (tmp_path / 'broken_digits.py').write_text(BROKEN)
    (tmp_path / 'config.py').write_text(THERE)
    options = (tmp_path / 'config.py', 2, '--work-dir', tmp_path / 'run')
    status, printed = finish(start('dist_train.sh', *options, PYTHONPATH=str(tmp_path)), 120)
    errors = [line for line in printed.splitlines() if line.startswith('error: ')]
    assert status == 1
    assert 'error: rank 1: image 7 cannot be read' in errors
    assert any('Another process of this run ended' in line for line in errors)
    assert errors[-1] == 'error: process 1 ended first, with status 1; what it printed is above.'
    assert len(errors) == 3
    assert 'Traceback' not in printed


def test_a_silent_process_is_not_waited_for_forever(tmp_path):
    options = ('--work-dir', tmp_path, *SHORT, 'env_cfg.dist_cfg.timeout=5')
    process = start('dist_train.sh', CONFIG, 2, *options)
    wait_for(tmp_path / 'epoch_2.pth', process)
    os.kill(children(process.pid)[1], signal.SIGSTOP)
    status, printed = finish(process)
    assert status == 1
    assert 'does not answer, so this one stops too' in printed


def test_a_killed_process_is_started_again_and_nothing_is_lost(undisturbed, tmp_path):
    process = start('dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, *SHORT, MAX_RESTARTS='1')
    wait_for(tmp_path / 'epoch_3.pth', process)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    status, printed = finish(process)
    assert status == 0, printed
    assert len(re.findall(r'Epoch\(train\) +\[1\]', printed)) == 1
    same_end(undisturbed, tmp_path)


def test_without_restarts_a_killed_process_ends_the_run(tmp_path):
    process = start('dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, *SHORT)
    wait_for(tmp_path / 'epoch_1.pth', process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    status, printed = finish(process, 120)
    assert status == 1
    assert 'process 0 ended first, with SIGKILL' in printed


@pytest.mark.parametrize(('number', 'expected'), [('SIGTERM', 0), ('SIGUSR1', 0), ('SIGINT', 130)])
def test_a_run_that_is_asked_to_stop_saves_and_goes_on(undisturbed, tmp_path, number, expected):
    process = start('dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, *SHORT)
    wait_for(tmp_path / 'epoch_2.pth', process)
    process.send_signal(getattr(signal, number))
    status, printed = finish(process, 120)
    assert status == expected, printed
    assert f'Stopped by {number}' in printed
    assert not (tmp_path / f'epoch_{EPOCHS}.pth').exists()
    train(tmp_path, '--resume', *SHORT)
    same_end(undisturbed, tmp_path)
