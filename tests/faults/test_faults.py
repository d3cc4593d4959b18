"""Nothing is lost, whatever happens to a run: see :mod:`harness`.

``python -m pytest tests/faults -m slow`` is what ``python tests/faults/harness.py`` prints.
"""

import subprocess

import harness
import pytest
from harness import KINDS, Setting

FAST = (
    harness.SHORT[0],
    'train_cfg.max_epochs=2',
    'train_cfg.val_interval=2',
    'train_cfg.finetune_epochs=1',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.checkpoint.interval_iters=3',
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('faults')


@pytest.fixture(scope='module')
def undisturbed(folder):
    """The folder of a run that nobody disturbed, by setting."""
    done = {}

    def get(setting, name):
        if name not in done:
            done[name] = folder / f'undisturbed {name}'
            harness.run_whole(done[name], setting)
        return done[name]

    return get


# ------------------------------------------------------------ in seconds
def test_a_kill_that_leaves_a_damaged_checkpoint(undisturbed, folder):
    """The seed kills the run within an epoch; what else there is, in minutes."""
    setting = Setting(options=FAST, epochs=2)
    whole = undisturbed(setting, 'fast')
    note = harness.run_case(5, 'damaged', whole, folder / 'damaged', setting)
    assert note.startswith('killed')


def test_the_comparison_finds_a_bit(undisturbed, tmp_path):
    """Otherwise the harness would pass whatever happened."""
    import torch

    whole = undisturbed(Setting(options=FAST, epochs=2), 'fast')
    subprocess.run(['cp', '-r', whole, tmp_path / 'copy'], check=True)
    assert harness.compare(whole, tmp_path / 'copy', 2) == []
    path = tmp_path / 'copy' / 'epoch_2.pth'
    changed = torch.load(path, weights_only=True)
    changed['state_dict']['head.bank.features'][3, 5] += 1e-7
    changed['message_hub']['log_scalars']['train/loss']['log_history'][7] += 1e-12
    torch.save(changed, path)
    assert len(harness.compare(whole, tmp_path / 'copy', 2)) == 2


# ------------------------------------------------------------ in minutes
@pytest.mark.slow
@pytest.mark.parametrize('case', range(50))
def test_digits(undisturbed, folder, case):
    setting = harness.setting_of('digits', folder)
    whole = undisturbed(setting, 'digits')
    harness.run_case(case, harness.kind_of(case), whole, folder / f'digits {case}', setting)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['workers', 'two processes'])
@pytest.mark.parametrize('case', range(len(KINDS)))
def test_others(undisturbed, folder, name, case):
    setting = harness.setting_of(name, folder)
    whole = undisturbed(setting, name)
    harness.run_case(case, harness.kind_of(case), whole, folder / f'{name} {case}', setting)
