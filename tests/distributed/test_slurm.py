"""``tools/slurm_train.sh`` with a stand-in for Slurm (fake_slurm.py)."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from launching import CONFIG, ROOT, SHORT, finish, same_end, start, wait_for

FAKE = Path(__file__).with_name('fake_slurm.py').read_text()


@pytest.fixture
def slurm(tmp_path):
    """The environment of a cluster of two nodes with one GPU each."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in ('srun', 'scontrol'):
        (folder / name).write_text(f'#!{sys.executable}\n{FAKE}')
        (folder / name).chmod(stat.S_IRWXU)
    path = f'{folder}:/usr/local/bin:/usr/bin:/bin'
    log = str(tmp_path / 'log')
    return dict(PATH=path, FAKE_SLURM_LOG=log, GPUS='2', GPUS_PER_NODE='1')


@pytest.mark.slow
def test_two_nodes_are_two_processes(undisturbed, tmp_path, slurm):
    process = start('slurm_train.sh', 'P', 'J', CONFIG, tmp_path / 'run', *SHORT, **slurm)
    status, printed = finish(process)
    assert status == 0, printed
    assert '--nodes=2 --gres=gpu:1 --ntasks=2 --ntasks-per-node=1' in log(slurm)
    same_end(undisturbed, tmp_path / 'run')


@pytest.mark.slow
def test_a_job_that_has_to_leave_is_queued_again_and_goes_on(undisturbed, tmp_path, slurm):
    job = dict(slurm, SLURM_JOB_ID='77')
    command = ('slurm_train.sh', 'P', 'J', CONFIG, tmp_path / 'run', *SHORT)
    process = start(*command, **job)
    wait_for(tmp_path / 'run' / 'epoch_2.pth', process)
    process.send_signal(signal.SIGTERM)
    status, printed = finish(process)
    assert (status, 'scontrol requeue 77' in log(slurm)) == (0, True), printed
    status, printed = finish(start(*command, **job, SLURM_RESTART_COUNT='1'))
    assert status == 0, printed
    assert log(slurm).count('requeue') == 1
    same_end(undisturbed, tmp_path / 'run')


def log(slurm):
    return Path(slurm['FAKE_SLURM_LOG']).read_text()


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (dict(GPUS='no'), "error: GPUS must be a positive number, not 'no'"),
        (dict(GPUS='3', GPUS_PER_NODE='2'), 'GPUS=3 are not a whole number of nodes'),
        (dict(PATH='/usr/bin:/bin'), 'there is no srun here'),
    ],
)
def test_wrong_values_are_sentences(slurm, change, sentence):
    command = [ROOT / 'tools' / 'slurm_train.sh', 'P', 'J', CONFIG]
    done = subprocess.run(command, env=slurm | change, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
