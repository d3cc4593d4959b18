"""The examples in the docstrings print what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    *('bce3s.datasets', 'bce3s.datasets.checks', 'bce3s.datasets.folders'),
    *('bce3s.datasets.frequencies', 'bce3s.datasets.in_memory', 'bce3s.datasets.long_tailed'),
    *('bce3s.own_data.duration', 'bce3s.own_data.settings', 'bce3s.own_data.splits'),
    *('bce3s.samplers', 'bce3s.tables', 'bce3s.wording'),
]


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    found = doctest.testmod(import_module(name))
    assert found.attempted
    assert not found.failed
