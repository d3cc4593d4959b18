"""What torchrun is told, and where signals go; one run through it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import launching
import pytest

from bce3s.errors import BCE3SError
from bce3s.launcher import main, torchrun_options

SEVERAL = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1')
CHILD = """
import os, signal, sys, time
if sys.argv[1] == 'saves':
    for name, status in (('SIGTERM', 0), ('SIGUSR1', 0), ('SIGHUP', 0), ('SIGINT', 130)):
        signal.signal(getattr(signal, name), lambda *_, status=status: sys.exit(status))
else:
    signal.signal(signal.SIGINT, lambda *_: os.write(1, b'noted\\n'))
os.write(1, b'ready\\n')
end = time.monotonic() + 100
while time.monotonic() < end:
    time.sleep(0.1)
"""
LAUNCHER = """
import signal, sys
from bce3s.launcher import supervise
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which tests may be begun without
sys.exit(supervise(['--standalone', '--nproc_per_node=2', *sys.argv[1:]]))
"""


@pytest.fixture
def launch(tmp_path):
    """Starts the launcher with two processes, which are ready."""
    (tmp_path / 'child.py').write_text(CHILD)
    environ = os.environ | dict(PYTHONPATH=str(Path(__file__).resolve().parents[2]))
    started = []

    def run(what):
        command = [sys.executable, '-c', LAUNCHER, str(tmp_path / 'child.py'), what]
        pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        started.append(subprocess.Popen(command, env=environ, **pipe))
        assert [started[0].stdout.readline() for _ in range(2)] == ['ready\n'] * 2
        return started[0]

    yield run
    for launcher in started:
        for pid in launching.children(launcher.pid):
            os.kill(pid, signal.SIGKILL)
        launcher.kill()
        launcher.wait()
        launcher.stdout.close()


def test_one_machine_gets_a_free_port():
    first, second = (dict(o.split('=') for o in torchrun_options('2', {})) for _ in range(2))
    assert first['--nnodes'] == '1'
    assert first['--nproc_per_node'] == '2'
    assert first['--max_restarts'] == '0'
    assert first['--master_addr'] == first['--local_addr'] == '127.0.0.1'
    assert 1 <= int(first['--master_port']) <= 65535
    assert first['--master_port'] != second['--master_port']
    assert '--master_port=1234' in torchrun_options('2', dict(PORT='1234'))


def test_several_machines_meet_at_the_first():
    options = torchrun_options('8', SEVERAL)
    assert {'--nnodes=2', '--node_rank=1', '--master_addr=10.0.0.1', '--master_port=29500'} < {
        *options
    }
    assert not any('local_addr' in option or 'rdzv' in option for option in options)


def test_several_machines_with_restarts_meet_by_torchruns_rendezvous():
    options = torchrun_options('8', SEVERAL | dict(MAX_RESTARTS='3', LOCAL_ADDR='10.0.0.2'))
    assert '--max_restarts=3' in options
    assert options[-4:] == [
        '--rdzv_backend=c10d',
        '--rdzv_endpoint=10.0.0.1:29500',
        '--rdzv_id=bce3s-29500',
        '--rdzv_conf=is_host=0',
    ]
    assert '--local_addr=10.0.0.2' in options


@pytest.mark.parametrize(
    ('gpus', 'environ', 'sentence'),
    [
        ('0', {}, "the number of GPUs must be a number of at least 1, not '0'"),
        ('two', {}, "the number of GPUs must be a number of at least 1, not 'two'"),
        ('2', dict(NNODES='1:4'), "NNODES must be a number of at least 1, not '1:4'"),
        ('2', dict(NNODES='-1'), "NNODES must be a number of at least 1, not '-1'"),
        ('2', dict(NNODES='2'), 'NNODES=2 needs NODE_RANK and MASTER_ADDR'),
        ('2', SEVERAL | dict(NODE_RANK='2'), "NODE_RANK must be a number from 0 to 1, not '2'"),
        ('2', dict(PORT='70000'), "PORT must be a number from 1 to 65535, not '70000'"),
        ('2', dict(MAX_RESTARTS='x'), "MAX_RESTARTS must be a number of at least 0, not 'x'"),
    ],
)
def test_wrong_values_are_sentences(gpus, environ, sentence, monkeypatch, capsys):
    with pytest.raises(BCE3SError, match=sentence):
        torchrun_options(gpus, environ)
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(['train', gpus, 'config.py']) == 2
    assert capsys.readouterr().err.startswith('error: ')


def test_without_a_number_of_gpus_the_usage_is_shown(capsys):
    assert main(['train']) == 2
    assert 'launch train|test GPUS CONFIG' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('number', 'status'),
    [(signal.SIGTERM, 0), (signal.SIGUSR1, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)],
)
def test_signals_reach_the_processes_and_not_torchrun(launch, number, status):
    launcher = launch('saves')
    launcher.send_signal(number)
    assert launcher.wait(120) == status


def test_the_second_ctrl_c_ends_all_at_once(launch):
    launcher = launch('goes on')
    processes = launching.children(launcher.pid)
    launcher.send_signal(signal.SIGINT)
    assert [launcher.stdout.readline() for _ in range(2)] == ['noted\n'] * 2
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(60) == 130
    assert len(processes) == 2
    assert launcher.stdout.read() == ''  # which ends when the processes do


def test_two_processes_train_to_their_report(tmp_path):
    options = ('train_cfg.max_epochs=2', 'train_cfg.finetune_epochs=1')
    printed = launching.train(tmp_path, '--cfg-options', *options, 'model.micro_batches=2')
    assert printed.rstrip().endswith('report.md')
    assert 'Traceback' not in printed
    assert 'Failed to search registry' not in printed
    assert (tmp_path / 'report.json').exists()
