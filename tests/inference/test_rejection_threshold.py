"""Where the predictor finds its threshold, and its sentences where there is none."""

import math
import warnings

import pytest
from trained_runs import set_rejection

from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.inference.predictor import Predictor


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


@pytest.mark.parametrize('value', [math.nan, 'high', True, 'keep=101', 'keep=9.5', 'keep='])
def test_a_threshold_that_is_none(digits, copied, value):
    with pytest.raises(BCE3SError, match='threshold is'):
        Predictor(digits, threshold=value)
    if isinstance(value, bool) or 'keep' in str(value):
        return
    set_rejection(copied, value)
    with pytest.raises(BCE3SError, match=r"'high'|NaN is no number"):
        Predictor(copied)


def test_a_network_that_is_never_right_has_no_threshold(copied):
    set_rejection(copied, 1.0)
    report = (copied / 'report.json').read_text()
    (copied / 'report.json').write_text(report.replace('"threshold": 1.0', '"threshold": null'))
    with pytest.raises(BCE3SError, match='right about no image'):
        Predictor(copied, threshold='uniform')
    predictor = Predictor(copied)
    assert predictor.threshold is None
    assert 'right about no image' in predictor.rejection.about


@pytest.mark.parametrize(('share', 'used'), [(20.0, True), (20.1, False)])
def test_a_threshold_that_rejects_too_many_has_to_be_asked_for(copied, share, used):
    set_rejection(copied, 0.5, false=share)
    predictor = Predictor(copied)
    assert predictor.threshold == (0.5 if used else None)
    assert ('would reject 20.1 % of the test images' in predictor.rejection.about) != used
    assert Predictor(copied, threshold='uniform').threshold == 0.5


def test_a_share_of_the_known_images_is_kept(digits, copied):
    highest = run_outputs(RunDirectory.open(digits), 'val').logits.max(1)
    for percent in (100, 95, 33, 1):
        predictor = Predictor(digits, threshold=f'keep={percent}')
        kept = 100 * (highest > predictor.threshold).mean()
        assert percent <= kept < percent + 100 / len(highest) + 1e-9
        assert f'keep={percent}' in repr(predictor)
        assert f'keeps {percent} % of the test images' in predictor.rejection.about
    set_rejection(copied, 0.5, keep=False)
    with pytest.raises(BCE3SError, match=r'does not say which threshold keeps 95 %.*tools/test.py'):
        Predictor(copied, threshold='keep=95')
