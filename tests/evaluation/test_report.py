"""Selections, the files and their texts, and the table over seeds."""

import json
import os
import re
import statistics
import sys

import matplotlib
import numpy as np
import pytest

from bce3s.datasets.long_tailed import Thresholds, class_counts
from bce3s.errors import BCE3SError
from bce3s.evaluation import report as reports
from bce3s.evaluation.accuracy import evaluate
from bce3s.evaluation.selection import add_to_history, best_row, history_row, label, selections
from bce3s.evaluation.summary import pick, summarize
from bce3s.run_commands import main
from bce3s.tables import mean_std


def row(epoch, all_, stage=1, tta=None, few=None):
    entry = {'epoch': epoch, 'stage': stage, 'all': all_, 'many': 1.0, 'medium': 2.0, 'few': few}
    if tta is not None:
        entry['flip_tta'] = {'all': tta, 'many': 1.5, 'medium': 2.5, 'few': few}
    return entry


def make_report(history=None, num_classes=10, seed=0, config='configs/a.py', **run):
    counts = class_counts(500, num_classes, 100 if num_classes > 1 else 1)
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), 10)
    preds = np.where(rng.random(len(labels)) < 0.6, labels, 0)
    summary = {'plain': evaluate(labels, preds, counts, Thresholds())}
    data = {
        'dataset': 'Toy',
        'split': 'test',
        'classes': [f'class|{k}' for k in range(num_classes)],
        'class_counts': counts,
        'thresholds': {'many': 100, 'few': 20},
        'subset': {'rule': 'ldam', 'imbalance': 'exp', 'imbalance_factor': 100, 'sha256': 'ab12'},
    }
    run = {'seed': seed, 'config': config, 'config_sha256': 'c' * 64, 'versions': {'x': '1'}, **run}
    return reports.build_report(summary, history or [history_row(3, 1, summary)], data, run)


# ------------------------------------------------------------------------------------------ history
def test_best_is_the_earliest_of_equals_and_tta_has_its_own():
    history = [row(1, 10.0, tta=40.0), row(2, 30.0, tta=20.0), row(3, 30.0, tta=40.0)]
    assert best_row(history)['epoch'] == 2
    assert best_row(history, flip_tta=True)['epoch'] == 1
    assert best_row([row(1, 5.0)], flip_tta=True) is None


def test_validating_an_epoch_again_replaces_its_row():
    history = []
    for entry in (row(1, 10.0), row(2, 50.0), row(3, 20.0), row(2, 15.0)):
        history = add_to_history(history, entry)
    assert [(r['epoch'], r['all']) for r in history] == [(1, 10.0), (2, 15.0), (3, 20.0)]


def test_every_selection_is_named():
    history = [row(1, 30.0, tta=31.0), row(2, 20.0, tta=35.0), row(3, 25.0, stage=2, tta=26.0)]
    report = make_report(history)
    figures = {label(e): (e['epoch'], e['all']) for e in report['other']}
    assert figures == {
        'last + flip TTA': (3, 26.0),
        'best on test': (1, 30.0),
        'best on test + flip TTA': (2, 35.0),
        'stage 1': (2, 20.0),
    }
    assert (report['selection'], report['tta'], report['epoch']) == ('last', False, 3)


def test_without_tta_and_second_stage_there_is_the_best_only():
    assert [label(e) for e in make_report([row(1, 2.0), row(2, 1.0)])['other']] == ['best on test']


def test_second_stage_alone_has_no_first():
    report = make_report([row(1, 2.0, stage=2)])
    assert 'stage 1' not in map(label, selections(report))


# -------------------------------------------------------------------------------------------- files
def test_json_has_the_contract_and_no_nan(tmp_path):
    report = make_report()
    reports.write_report(report, tmp_path / 'new')
    text = (tmp_path / 'new/report.json').read_text()
    saved = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    keys = 'all many medium few per_class class_counts thresholds epoch selection tta seed config'
    assert {*keys.split(), 'versions', 'subset', 'other', 'history'} <= saved.keys()
    assert saved == report
    assert reports.read_report(tmp_path / 'new') == report


def test_nan_is_refused_and_the_old_report_stays(tmp_path):
    reports.write_report(make_report(), tmp_path, figure=False)
    before = (tmp_path / 'report.json').read_bytes()
    with pytest.raises(ValueError, match='JSON'):
        reports.write_report({**make_report(), 'all': float('nan')}, tmp_path, figure=False)
    assert (tmp_path / 'report.json').read_bytes() == before


def test_markdown_says_what_matters():
    report = make_report([row(1, 30.0, few=7.0), row(2, 20.0)])
    text = reports.format_markdown(report)
    assert '| last | 2 | 20.00 | 1.00 | 2.00 | - |' not in text  # the headline has its own figures
    assert '| best on test | 1 | 30.00 | 1.00 | 2.00 | 7.00 |' in text
    assert 'for comparison only' in text
    assert 'exp imbalance factor 100 (rule ldam)' in text
    assert 'ab12' in text
    assert text.count('class\\|') == 10


def test_worst_classes_come_first_with_their_counts():
    report = make_report()
    report['per_class'] = [90.0, 10.0, None, 10.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0]
    lines = reports.format_markdown(report).split('## The worst classes')[1].splitlines()[4:13]
    first = [line.split(' | ')[0] for line in lines]
    counts = report['class_counts']
    assert first[:3] == ['| class\\|3', '| class\\|1', '| class\\|9']  # ties: the rarer one
    assert lines[0].endswith(f'| {counts[3]} | 10.00 |')
    assert len(first) == 9  # the untested class is not among them


def test_no_name_is_markup():
    name = '<script>alert(1)</script>|`a`&amp;\n# [x](y)'
    report = make_report([row(1, 30.0), row(2, 20.0)], config=name, device=name, precision=name)
    report |= dict(classes=[name] * 10, dataset=name, split=name, versions={name: name})
    report['subset'] |= dict(imbalance=name, sha256=name)
    text = reports.format_markdown(report)
    assert text.count('\\<script\\>') == 22
    assert not re.search(r'(?<!\\)[<&`]', text)
    assert not re.search(r'\n# |(?<!!)(?<!\\)\[', text)
    assert '&lt;' not in text


def test_terminal_table_is_aligned():
    lines = reports.format_table(make_report([row(9, 1.0, tta=2.0), row(10, 3.0, tta=4.0)]))
    lines = lines.splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells[0] == ['Selection', 'Epoch', 'All', 'Many', 'Medium', 'Few']
    assert cells[2][0] == 'last'
    assert cells[-1][-5:] == ['10', '4.00', '1.50', '2.50', '-']


@pytest.mark.parametrize('num_classes', [1, 10, 100])
def test_figure_is_a_png_and_leaves_matplotlib_alone(num_classes):
    before = {k: v for k, v in matplotlib.rcParams.items() if k != 'backend'}  # read: resolved
    report = make_report(num_classes=num_classes)
    report['per_class'][-1] = None
    assert reports.draw_report(report).startswith(b'\x89PNG')
    assert {k: v for k, v in matplotlib.rcParams.items() if k != 'backend'} == before
    pyplot = sys.modules.get('matplotlib.pyplot')
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize('text', ['{', '[]', '{"all": 1}'])
def test_unreadable_report_is_a_sentence(tmp_path, text):
    (tmp_path / 'report.json').write_text(text)
    with pytest.raises(BCE3SError, match=r'report\.json'):
        reports.read_report(tmp_path)


# --------------------------------------------------------------------------------------- over seeds
@pytest.fixture
def runs(tmp_path):
    def write(name, all_, **kwargs):
        epoch = kwargs.pop('epoch', 5)
        report = make_report([row(epoch, all_, tta=all_ + 1)], **kwargs)
        reports.write_report({**report, 'all': all_}, tmp_path / name, figure=False)
        return tmp_path / name

    return write


def test_seeds_of_a_config_are_one_row(runs):
    values = [50.0, 52.0, 57.0]
    paths = [runs(f's{seed}', v, seed=seed) for seed, v in enumerate(values)]
    table = summarize([*paths, paths[0]])  # the same directory twice is one run
    assert len(table.splitlines()) == 3
    cells = [cell.strip() for cell in table.splitlines()[2].strip('|').split('|')]
    assert cells[:3] == ['configs/a.py', '5', f'53.00 ± {statistics.stdev(values):.2f}']
    assert cells[-2:] == ['3', '0, 1, 2']


def test_a_seed_counts_once(runs):
    with pytest.raises(BCE3SError, match=r's0 and .*again are the same .* the same seed, 0'):
        summarize([runs('s0', 50.0), runs('again', 50.0)])


def test_what_differs_in_more_than_the_seed_is_kept_apart(runs):
    paths = [
        runs('a', 50.0),
        runs('killed', 10.0, seed=1, epoch=2),
        runs('options', 60.0, seed=1, config_sha256='d' * 64),
        runs('b', 70.0, config='configs/b.py'),
    ]
    lines = summarize(paths).splitlines()[2:]
    assert len(lines) == 4
    assert not any('±' in line for line in lines)
    assert lines[2].startswith('| configs/a.py (ddddddd)')
    assert lines[3].startswith('| configs/b.py |')


def test_another_selection(runs):
    path = runs('a', 50.0)
    assert '| 51.00 |' in summarize([path], 'last + flip TTA')
    with pytest.raises(BCE3SError, match='it has last, last'):
        pick(reports.read_report(path), 'best of all')


def test_mean_std():
    assert mean_std([1.0, 3.0]) == '2.00 ± 1.41'
    assert mean_std([5.0]) == '5.00'
    assert mean_std([None, None]) == '-'


def test_tool_prints_the_table_or_a_sentence(runs, tmp_path, capsys):
    assert main('summarize', [str(runs('a', 50.0))]) == 0
    assert capsys.readouterr().out.startswith('| Config |')
    assert main('summarize', [str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith('error: ')
    assert 'has no report.json' in printed.err
    assert not printed.out


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(thresholds=None), 'NoneType'),
        (dict(thresholds=dict(many=1, few=20)), 'a class would be both'),
        (dict(all='high'), "'high'"),
        (dict(all=float('nan')), 'NaN is no number'),
        (dict(classes=['a']), "'class_counts': 10, 'classes': 1, 'per_class': 10"),
        (dict(class_counts=[], classes=[], per_class=[]), 'no training image'),
        (dict(per_class=[None] * 9 + ['x']), "'x'"),
        (dict(other=[{}]), "has no 'epoch'"),
        (dict(rejection=dict(thresholds=['x'])), "'x'"),
        (dict(rejection=dict(uniform=dict(threshold='x'))), "'x'"),
        (dict(rejection=dict(false_rejection=3)), "'int'"),
        (dict(history=[dict(epoch=1)]), "has no 'all'"),
        (dict(versions=[1]), "'list'"),
    ],
)
def test_a_report_of_wrong_types_is_a_sentence(tmp_path, changes, said):
    path = tmp_path / 'report.json'
    path.write_text(json.dumps(make_report([row(1, 30.0), row(2, 20.0)]) | changes))
    with pytest.raises(BCE3SError, match=said) as error:
        reports.read_report(tmp_path)
    assert str(path) in str(error.value)
    assert str(error.value).endswith('tools/test.py writes a new one.')
    assert '\n' not in str(error.value)


def test_a_pipe_is_not_waited_for_and_brackets_without_end_are_a_sentence(tmp_path):
    os.mkfifo(tmp_path / 'report.json')
    with pytest.raises(BCE3SError, match='it is no regular file'):
        reports.read_report(tmp_path)
    (tmp_path / 'report.json').unlink()
    (tmp_path / 'report.json').write_text('[' * 100_000)
    with pytest.raises(BCE3SError, match='cannot be read as a report'):
        reports.read_report(tmp_path)
