"""What torchrun is told, and where signals go; one run through it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import launching
import pytest

from bce3s.errors import BCE3SError
from bce3s.launcher import children, main, torchrun_options

SEVERAL = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1')
# Stands for torchrun: two children, which end with 0 when asked to save; it ends with 3 if asked.
AGENT = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
runs = [subprocess.Popen([sys.executable, '-c', sys.argv[1]]) for _ in range(2)]
sys.exit(max(run.wait() for run in runs))
"""
CHILD = """
import os, signal, sys, time
for name, status in (('SIGTERM', 0), ('SIGUSR1', 0), ('SIGHUP', 0), ('SIGINT', 130)):
    signal.signal(getattr(signal, name), lambda *_, status=status: sys.exit(status))
os.write(1, b'ready\\n')
time.sleep(60)
"""
LAUNCHER = (
    'import os, sys; from bce3s.launcher import supervise\nsys.exit(supervise({}, os.environ))'
)


@pytest.fixture
def launched():
    """The launcher, its torchrun, and their two processes, which are ready."""
    command = [sys.executable, '-c', LAUNCHER.format([sys.executable, '-c', AGENT, CHILD])]
    environ = os.environ | dict(PYTHONPATH=str(Path(__file__).resolve().parents[2]))
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert [launcher.stdout.readline() for _ in range(2)] == ['ready\n'] * 2
    (torchrun,) = children(launcher.pid)
    runs = children(torchrun)
    assert len(runs) == 2
    yield launcher, torchrun
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    for run in runs:
        with suppress(ProcessLookupError):
            os.kill(run, signal.SIGKILL)


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
        ('0', {}, "the number of GPUs must be a positive number, not '0'"),
        ('two', {}, "the number of GPUs must be a positive number, not 'two'"),
        ('2', dict(NNODES='1:4'), 'the number of machines is fixed'),
        ('2', dict(NNODES='-1'), "NNODES must be a positive number, not '-1'"),
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


@pytest.mark.parametrize(
    ('number', 'status'),
    [(signal.SIGTERM, 0), (signal.SIGUSR1, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)],
)
def test_signals_reach_the_processes_and_not_torchrun(launched, number, status):
    launcher, _ = launched
    launcher.send_signal(number)
    assert launcher.wait(120) == status


@pytest.mark.skipif(sys.platform != 'linux', reason='prctl is of Linux')
def test_torchrun_ends_when_its_launcher_is_killed(launched):
    launcher, torchrun = launched
    launcher.kill()
    launcher.wait()
    end = time.monotonic() + 120
    while Path(f'/proc/{torchrun}').exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f'/proc/{torchrun}').exists()


def test_two_processes_train_to_their_report(tmp_path):
    options = ('train_cfg.max_epochs=2', 'train_cfg.finetune_epochs=1')
    printed = launching.train(tmp_path, '--cfg-options', *options, 'model.micro_batches=2')
    assert printed.rstrip().endswith('report.md')
    assert 'Traceback' not in printed
    assert 'Failed to search registry' not in printed
    assert (tmp_path / 'report.json').exists()
