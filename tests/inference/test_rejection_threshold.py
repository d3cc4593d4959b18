"""Where the predictor finds its threshold, and its sentences where there is none."""

import json
import math
import warnings

import numpy as np
import pytest
from trained_runs import set_rejection

from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_means
from bce3s.inference.predictor import Predictor


def test_a_report_without_a_threshold(copied):
    set_rejection(copied, None)
    with pytest.raises(BCE3SError, match=r'no threshold.*tools/test.py .*epoch_2.pth'):
        Predictor(copied)
    assert Predictor(copied, threshold=None).threshold is None
    set_rejection(copied, 0.25, 'test/report.json')  # of tools/test.py
    assert Predictor(copied, threshold='uniform').threshold == 0.25
    (copied / 'report.json').unlink()
    assert Predictor(copied, threshold='uniform').threshold == 0.25
    (copied / 'test/report.json').unlink()
    with pytest.raises(BCE3SError, match=r'no report\.json'):
        Predictor(copied)


def test_the_threshold_of_another_epoch(copied):
    set_rejection(copied, 0.75, epoch=1)
    with pytest.warns(UserWarning, match=r'after epoch 1, epoch_2.pth is of epoch 2'):
        assert Predictor(copied, threshold='uniform').threshold == 0.75
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert Predictor(copied, copied / 'epoch_1.pth').threshold == (0.75,) * 10
        set_rejection(copied, 0.25, 'test/report.json', epoch=2)
        assert Predictor(copied, threshold='uniform').threshold == 0.25


@pytest.mark.parametrize('value', [math.nan, 'high', True, 'keep=101', 'keep=9.5', 'keep='])
def test_a_threshold_that_is_none(digits, copied, value):
    with pytest.raises(BCE3SError, match='threshold is'):
        Predictor(digits, threshold=value)
    if isinstance(value, bool) or 'keep' in str(value):
        return
    set_rejection(copied, value)
    with pytest.raises(BCE3SError, match=r"'high'|NaN is no number"):
        Predictor(copied)


def change_rejection(folder, **changes):
    path = folder / 'report.json'
    report = json.loads(path.read_text())
    report['rejection'] |= changes
    path.write_text(json.dumps(report))


def test_a_network_that_is_never_right_has_no_uniform_threshold(copied):
    set_rejection(copied, 1.0)
    uniform = dict(json.loads((copied / 'report.json').read_text())['rejection']['uniform'])
    change_rejection(copied, uniform=uniform | dict(threshold=None))
    with pytest.raises(BCE3SError, match='right about no image'):
        Predictor(copied, threshold='uniform')
    assert Predictor(copied).threshold == (1.0,) * 10


def test_too_few_validation_images_reject_nothing(copied):
    set_rejection(copied, 0.5, images=18)
    change_rejection(copied, thresholds=[None] * 10, groups=[], interval=None)
    predictor = Predictor(copied)
    assert predictor.threshold is None
    assert '18 test images are too few to reject at most 5 %' in predictor.rejection.about
    assert '19 are needed' in predictor.rejection.about
    prediction = predictor(np.zeros((8, 8), np.uint8))[0]
    assert (prediction.known, prediction.threshold) == (True, None)


def test_each_class_has_its_own_threshold(trained, copied):
    images = RunDirectory.open(trained).dataset('val').images[:200]
    logits = Predictor(copied, threshold=None).logits(images).numpy()
    largest, best = logits.max(1), logits.argmax(1)
    common = np.bincount(best).argmax()
    at = float(np.median(largest[best == common]))
    change_rejection(copied, thresholds=[at if k == common else None for k in range(10)])
    found = Predictor(copied)(images)
    assert [p.known for p in found] == ((best != common) | (largest > at)).tolist()
    assert {p.threshold for p in found if p.best != str(common)} == {None}
    assert {p.threshold for p in found if p.best == str(common)} == {at}
    assert [p.compared for p in found] == largest.tolist()


def test_one_threshold_that_keeps_a_share_of_the_known_images(digits, copied):
    """Of all alike and as a mean over the classes: at least so many, and nothing at 100."""
    outputs = run_outputs(RunDirectory.open(digits), 'val')
    highest = outputs.logits.max(1)
    for percent in (95, 33, 1):
        predictor = Predictor(digits, threshold=f'keep={percent}')
        kept = 100 * (highest > predictor.threshold)
        assert percent <= kept.mean()
        assert percent <= split_means(kept, outputs.labels, outputs.class_counts)['all']
        assert f'keep={percent}' in repr(predictor)
        assert f'on the test images to keep {percent} %' in predictor.rejection.about
    assert Predictor(digits, threshold='keep=100').threshold is None
    set_rejection(copied, 0.5)
    change_rejection(copied, uniform=None)
    report = json.loads((copied / 'report.json').read_text())
    del report['rejection']['uniform']  # of an earlier version
    (copied / 'report.json').write_text(json.dumps(report))
    with pytest.raises(BCE3SError, match=r'earlier version.*tools/test.py'):
        Predictor(copied, threshold='keep=95')
