"""The examples in the docstrings print what they say."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import bce3s.evaluation

ROOT = Path(__file__).parents[1]
MODULES = [
    '.'.join(path.relative_to(folder).with_suffix('').parts)
    for folder in (ROOT, ROOT / 'tools')
    for path in sorted(folder.glob('bce3s/**/*.py' if folder == ROOT else '*/*.py'))
    if '\n    >>> ' in path.read_text() and path.name != 'predictor.py'  # which needs a run
]

# What needs a run, arrays of its own or a report; every other public measure shows a number.
WITHOUT = {
    *('Probabilities', 'LogitAdjustment', 'TauNormalization', 'Temperature', 'angles_by_split'),
    *('cosines', 'evaluate_open_set', 'evaluate_retrieval', 'frequent_confusions'),
    *('measure_batches', 'measure_rejection', 'neighbours', 'reliability'),
    *('split_flow', 'split_means'),
}


@pytest.mark.parametrize('name', MODULES)
def test_examples_print_what_they_say(name):
    found = doctest.testmod(import_module(name), extraglobs=dict(torch=torch))
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize('name', sorted({*bce3s.evaluation.__all__} - WITHOUT))
def test_measures_have_examples(name):
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(bce3s.evaluation, name))
    assert found.examples


def test_measures_need_torch_and_nothing_heavy():
    names = [f'bce3s.evaluation.{path.stem}' for path in (ROOT / 'bce3s/evaluation').glob('[a-z]*')]
    heavy = ('mmengine', 'mmpretrain', 'cv2', 'torchvision', 'sklearn', 'scipy', 'matplotlib')
    code = f'import sys, {", ".join(names)}\nprint(sorted({{*{heavy}}} & {{*sys.modules}}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
