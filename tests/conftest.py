"""Shared by all tests: one thread (two cores, small tensors), and where real data may lie."""

import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from real_data import real_data_root


def pytest_runtest_setup(item):
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('needs a GPU')


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)
    # The first backward pass counts the devices, and where it finds one nothing can be forked any
    # more: it must not be in a test with a fake GPU.
    torch.zeros((), requires_grad=True).backward()
    # Under nohup it is ignored from the start, also in every process that a test begins.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _scope():
    """Names in configs are ours, whatever run another test has begun in this process."""
    with DefaultScope.overwrite_default_scope('bce3s'):
        yield


@pytest.fixture(autouse=True, scope='session')
def _shared_runs(tmp_path_factory):
    """Where ``trained_runs`` keeps what is trained once for all processes of the session."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    os.environ['BCE3S_TEST_RUNS'] = str(base / 'trained_once')
    os.environ['BCE3S_CACHE'] = str(base / 'cache')


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder of the real data sets; tests skip where theirs is absent."""
    return real_data_root()
