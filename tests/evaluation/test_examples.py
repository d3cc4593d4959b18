"""The examples in the docstrings of the measures: each prints the number that stands there."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import bce3s.evaluation
from bce3s.page import labels

MODULES = [
    *(
        f'bce3s.evaluation.{module.name}'
        for module in pkgutil.iter_modules(bce3s.evaluation.__path__)
    ),
    labels.__name__,
]
MEASURES = {
    'accuracy': ('evaluate', 'macro_f1'),
    'calibration': ('expected_calibration_error',),
    'classifier_angles': ('etf_degrees',),
    'confusion': ('confusion_matrix',),
    'decision_scores': ('alpha', 'bias_statistics', 'rho'),
    'feature_statistics': (
        *('compactness', 'distinctiveness', 'measure', 'nc1', 'nc4', 'score_statistics'),
    ),
    'label_suspects': ('label_suspects',),
    'margins': ('margins', 'worst_case_accuracy'),
    'nearest_class_mean': ('nearest_class_mean',),
    'neighbours': ('average_precision_at_r', 'recall_at_k'),
    'neural_collapse': ('nc2', 'nc3'),
    'open_set': ('auroc', 'fpr_at_tpr', 'oscr'),
    'rejection': ('rejected',),
    'retrieval': ('retrieval_figures',),
    'uniform_accuracy': ('uniform_accuracy',),
}


def test_arrays_need_no_mmengine():
    """Only the metric, which is MMEngine's, imports it."""
    names = [name for name in MODULES if not name.endswith('.metrics')]
    code = f'import importlib, sys\nfor name in {names}: importlib.import_module(name)\n'
    code += "print(sorted({'mmengine', 'mmpretrain', 'cv2', 'torchvision'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize('name', MODULES)
def test_examples_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize('name', MEASURES)
def test_measures_have_examples(name):
    module = importlib.import_module(f'bce3s.evaluation.{name}')
    for measure in MEASURES[name]:
        (found,) = doctest.DocTestFinder(recurse=False).find(getattr(module, measure))
        assert found.examples, measure
