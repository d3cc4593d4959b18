"""Where the predictor finds its threshold, and its sentences where there is none."""

import math
import shutil
import warnings
from pathlib import Path

import pytest
from trained_runs import digits_run, set_rejection

from bce3s.errors import BCE3SError
from bce3s.inference.predictor import Predictor


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    run = digits_run(tmp_path_factory.mktemp('digits'))
    set_rejection(run)
    return run


@pytest.fixture
def copied(digits, tmp_path):
    """A run to be changed."""
    return Path(shutil.copytree(digits, tmp_path / 'run'))


def test_a_report_without_a_threshold(copied):
    set_rejection(copied, None)
    with pytest.raises(BCE3SError, match=r'no uniform threshold.*tools/test.py .*epoch_2.pth'):
        Predictor(copied)
    assert Predictor(copied, threshold=None).threshold is None
    set_rejection(copied, 0.25, 'test/report.json')  # of tools/test.py
    assert Predictor(copied).threshold == 0.25
    (copied / 'report.json').unlink()
    assert Predictor(copied).threshold == 0.25
    (copied / 'test/report.json').unlink()
    with pytest.raises(BCE3SError, match=r'no report\.json'):
        Predictor(copied)


def test_the_threshold_of_another_epoch(copied):
    set_rejection(copied, 0.75, epoch=1)
    with pytest.warns(UserWarning, match=r'after epoch 1, epoch_2.pth is of epoch 2'):
        assert Predictor(copied).threshold == 0.75
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert Predictor(copied, copied / 'epoch_1.pth').threshold == 0.75
        set_rejection(copied, 0.25, 'test/report.json', epoch=2)
        assert Predictor(copied).threshold == 0.25


@pytest.mark.parametrize('value', [math.nan, 'high', True])
def test_a_threshold_that_is_none(digits, copied, value):
    with pytest.raises(BCE3SError, match='threshold is'):
        Predictor(digits, threshold=value)
    set_rejection(copied, value)
    with pytest.raises(BCE3SError, match=r'rejection\.threshold is|NaN is no number'):
        Predictor(copied)


def test_a_network_that_is_never_right_has_no_threshold(copied):
    set_rejection(copied, 1.0)
    report = (copied / 'report.json').read_text()
    (copied / 'report.json').write_text(report.replace('"threshold": 1.0', '"threshold": null'))
    with pytest.raises(BCE3SError, match='right about no image'):
        Predictor(copied)
