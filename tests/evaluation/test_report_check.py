"""Reports of wrong types: each is a sentence that names what is wrong, and where."""

import json
import os

import pytest
from test_report import make_report, row

from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.report import read_report, write_report
from bce3s.evaluation.summary import summarize

SPLITS = dict(all=1.0, many=2.0, medium=3.0, few=None)
REJECTION = dict(
    threshold=0.5,
    chosen_on='val',
    measured_on='test',
    cross_fitted=False,
    uniform_accuracy=50.0,
    false_rejection=SPLITS | dict(plain=1.0),
    accuracy=SPLITS,
)


def changed(tmp_path, **changes):
    report = make_report([row(1, 30.0, tta=31.0), row(2, 20.0, tta=35.0)], rejection=REJECTION)
    (tmp_path / 'report.json').write_text(json.dumps(report | changes))
    return tmp_path


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(thresholds=None), 'thresholds is null, not an object'),
        (dict(thresholds=dict(many=100)), 'thresholds has no few'),
        (dict(thresholds=dict(many=1, few=20)), 'a class would be both'),
        (dict(thresholds=dict(many=100, few=20, rare=3)), "thresholds: .*'rare'"),
        (dict(all='high'), 'all is "high", not a number'),
        (dict(all=True), 'all is true, not a number'),
        (dict(all=float('nan')), 'NaN is no number'),
        (dict(few=float('-inf')), '-Infinity is no number'),
        (dict(classes=['a']), 'classes has 1 entries where class_counts has 10'),
        (dict(per_class=[1.0] * 9), 'per_class has 9 entries where class_counts has 10'),
        (dict(per_class=[None] * 9 + ['x']), r'per_class\[9\] is "x", not a number'),
        (dict(class_counts=[]), 'class_counts is empty'),
        (dict(class_counts=3), 'class_counts is 3, not a list'),
        (dict(class_counts=[1.5]), r'class_counts\[0\] is 1\.5, not a whole number'),
        (dict(other=[3]), r'other\[0\] is 3, not an object'),
        (dict(other=[{}]), r'other\[0\] has no selection, tta, epoch, all'),
        (dict(rejection=dict(threshold='x')), 'rejection.threshold is "x", not a number'),
        (dict(rejection=dict(REJECTION, false_rejection=3)), 'false_rejection is 3, not an object'),
        (dict(rejection=dict(REJECTION, at_threshold=3)), 'at_threshold is 3, not an object'),
        (dict(selection=3), 'selection is 3, not a text'),
        (dict(config='x', seed='0'), 'seed is "0", not a whole number'),
        (dict(history=[dict(epoch=1)]), r'history\[0\] has no all'),
        (dict(subset=dict(imbalance_factor='x')), 'subset.imbalance_factor is "x"'),
        (dict(versions=[1]), 'versions is a list, not an object'),
        (dict(config='c' * 99, tta='t' * 99), r'tta is "t{39}\.\.\., not true or false'),
    ],
)
def test_wrong_types_are_named(tmp_path, changes, said):
    folder = changed(tmp_path, **changes)
    with pytest.raises(BCE3SError, match=said) as error:
        read_report(folder)
    assert str(folder / 'report.json') in str(error.value)
    assert str(error.value).endswith('tools/test.py writes a new one.')
    assert '\n' not in str(error.value)
    with pytest.raises(BCE3SError, match=said):
        summarize([folder])


def test_a_number_beyond_all_numbers_is_none(tmp_path):
    path = changed(tmp_path) / 'report.json'
    path.write_text(path.read_text().replace('30.0', '1e999', 1))
    with pytest.raises(BCE3SError, match='is Infinity, not a number'):
        read_report(tmp_path)


@pytest.mark.parametrize('key', ['other', 'all', 'selection', 'tta', 'epoch', 'seed', 'config'])
def test_what_is_missing_is_named_and_nothing_else(tmp_path, key):
    report = make_report()
    del report[key]
    (tmp_path / 'report.json').write_text(json.dumps(report))
    with pytest.raises(BCE3SError, match=f'project: it has no {key}. tools'):
        read_report(tmp_path)


def test_reports_of_earlier_versions_are_read(tmp_path):
    report = make_report()
    kept = [*COLUMNS, 'config', 'seed', 'other', 'selection', 'tta', 'epoch']
    for keys in (report.keys() - {'rejection', 'skipped_images', 'precision'}, kept):
        older = {key: report[key] for key in keys}
        (tmp_path / 'report.json').write_text(json.dumps(older))
        assert read_report(tmp_path) == older


def test_a_sound_report_is_read(tmp_path):
    report = make_report(
        [row(1, 30.0, tta=31.0), row(2, 20.0, stage=2, tta=35.0)],
        rejection=REJECTION,
        skipped_images=dict(train=1),
        precision=None,
    )
    report['per_class'][3] = report['subset'] = report['epoch'] = None
    write_report(report, tmp_path, figure=False)
    assert read_report(tmp_path) == report


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'report.json')
    with pytest.raises(BCE3SError, match='it is no regular file'):
        read_report(tmp_path)


def test_brackets_without_end_are_a_sentence(tmp_path):
    (tmp_path / 'report.json').write_text('[' * 100_000)
    with pytest.raises(BCE3SError, match='cannot be read as a report'):
        read_report(tmp_path)
