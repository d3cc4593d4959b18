"""The examples in the docstrings print what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
MODULES = [
    '.'.join(path.relative_to(folder).with_suffix('').parts)
    for folder in (ROOT, ROOT / 'tools')
    for path in sorted(folder.glob('bce3s/**/*.py' if folder == ROOT else '*/*.py'))
    if '\n    >>> ' in path.read_text() and path.name != 'predictor.py'  # which needs a run
]


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    found = doctest.testmod(import_module(name), extraglobs=dict(torch=torch))
    assert found.attempted
    assert not found.failed
