"""Joining a group of processes: what is missing or wrong is a sentence."""

import pytest
from mmengine.config import Config

from bce3s import processes
from bce3s.errors import BCE3SError
from bce3s.processes import adopt_environment, lost_process, start_processes

NAMES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
SLURM = dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1')


@pytest.fixture
def environ(monkeypatch):
    for name in (*NAMES, *SLURM, 'SLURM_NODELIST', 'SLURM_STEP_NODELIST', 'SLURM_JOB_ID'):
        monkeypatch.setenv(name, '')  # to be put back in the end
        monkeypatch.delenv(name)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ('launcher', 'values', 'options', 'sentence'),
    [
        ('pytorch', {}, {}, r'needs RANK, WORLD_SIZE, LOCAL_RANK\. Start with tools/dist_train'),
        (
            'slurm',
            {},
            {},
            r'needs SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID\. Start with tools/slur',
        ),
        (
            'pytorch',
            dict(RANK='a', WORLD_SIZE='2', LOCAL_RANK='0'),
            {},
            'Process a of 2 could not join',
        ),
        (
            'pytorch',
            dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0'),
            dict(sync_bn='torch'),
            "sync_bn='torch': PyTorch synchronises BatchNorm on GPUs only",
        ),
        (
            'pytorch',
            dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0'),
            dict(env_cfg=dict(dist_cfg=dict(timeout='long'))),
            'Process 0 of 2 could not join',
        ),
        (
            'pytorch',
            dict(
                RANK='1', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='9'
            ),
            dict(env_cfg=dict(dist_cfg=dict(timeout=1))),
            r'Process 1 of 2 could not join the others at 127\.0\.0\.1:9',
        ),
    ],
)
def test_what_is_wrong_is_said(environ, monkeypatch, launcher, values, options, sentence):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    environ(**values)
    with pytest.raises(BCE3SError, match=sentence):
        start_processes(Config(options), launcher)


def test_more_processes_than_gpus(environ, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    environ(RANK='2', WORLD_SIZE='4', LOCAL_RANK='2')
    with pytest.raises(BCE3SError, match=r'process 3 on a machine with 2 GPUs, and each'):
        start_processes(Config(), 'pytorch')


def test_slurms_variables_become_torchs(environ, monkeypatch):
    hosts = {'node[3-4]': 'node3'}
    monkeypatch.setattr(processes, '_first_host', hosts.__getitem__)
    environ(**SLURM, SLURM_NODELIST='node[3-4]', SLURM_JOB_ID='100007')
    adopt_environment('slurm')
    found = {name: processes.os.environ[name] for name in NAMES}
    assert found == dict(zip(NAMES, ('3', '4', '1', 'node3', '25007'), strict=True))


def test_only_lost_processes_are_named_so():
    assert lost_process(RuntimeError('Connection closed by peer')) is None  # in no group
    assert lost_process(KeyError('x')) is None
