"""Shared by all tests: one thread (two cores, small tensors), and where real data may lie."""

from pathlib import Path

import pytest
import torch
from real_data import real_data_root


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder of the real data sets; tests skip where theirs is absent."""
    return real_data_root()
