"""Shared by all tests: one thread (two cores, small tensors), and where real data may lie."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder `data/` of the checkout; tests that need a set in it skip where it is absent."""
    return ROOT / 'data'
