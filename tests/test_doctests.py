"""The examples in the docstrings print what they say."""

import doctest
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import bce3s.evaluation

EVALUATION = [
    f'bce3s.evaluation.{module.name}' for module in pkgutil.iter_modules(bce3s.evaluation.__path__)
]
MODULES = [
    *('bce3s.datasets.folders', 'bce3s.datasets.long_tailed', 'bce3s.own_data.duration'),
    *('bce3s.samplers', 'bce3s.tables', 'bce3s.wording', 'bce3s.evaluation'),
]
# What needs a run, arrays of its own or a report; everything else that is public shows a number.
WITHOUT = {
    *('Probabilities', 'LogitAdjustment', 'TauNormalization', 'Temperature', 'angles_by_split'),
    *('cosines', 'evaluate_open_set', 'evaluate_retrieval', 'frequent_confusions'),
    *('measure_batches', 'measure_disturbance', 'measure_rejection', 'neighbours', 'reliability'),
    *('split_flow', 'split_means'),
}


@pytest.mark.parametrize('name', [*MODULES, *EVALUATION])
def test_examples_print_what_they_say(name):
    found = doctest.testmod(import_module(name))
    assert found.attempted or name in EVALUATION
    assert not found.failed


@pytest.mark.parametrize('name', sorted({*bce3s.evaluation.__all__} - WITHOUT))
def test_measures_have_examples(name):
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(bce3s.evaluation, name))
    assert found.examples


def test_measures_need_torch_and_nothing_heavy():
    heavy = ('mmengine', 'mmpretrain', 'cv2', 'torchvision', 'sklearn', 'scipy', 'matplotlib')
    code = f'import sys, {", ".join(EVALUATION)}\nprint(sorted({{*{heavy}}} & {{*sys.modules}}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
