"""The page of runs whose images have several labels."""

import json

import numpy as np
import pytest
from page_cases import column, run, several_labels, table

from bce3s.errors import BCE3SError
from bce3s.evaluation.multi_label_report import probability
from bce3s.evaluation.summary import summarize
from bce3s.page import page
from bce3s.page.classes import class_table
from bce3s.page.labels import label_decisions, label_gallery
from bce3s.page.runs import gather
from bce3s.page.summary import summary
from bce3s.plotting import style


def sections(runs):
    failures = []
    made = page.make_sections(runs, lambda _: None, failures.append)
    return {section.key: section for section in made}, failures


def test_it_has_what_makes_sense_and_nothing_else(tmp_path):
    runs = [several_labels('one', tmp_path)]
    found, failures = sections(runs)
    assert not failures
    keys = 'summary labels class-accuracy classes pictures classifier training provenance missing'
    assert [*found] == keys.split()
    assert not found['missing'].notes
    html = page.html('title', [*found.values()])
    assert 'mAP' in html
    assert 'ccuracy' not in html.replace('href="#class-accuracy"', '').replace(
        'id="class-accuracy', ''
    ).replace('aria-labelledby="class-accuracy', '')
    text = page.markdown('title', [*found.values()])
    assert '| one | probability 0.5 |' in text


def test_the_table_of_classes_has_the_reports_figures(tmp_path):
    one = several_labels('one', tmp_path)
    (found,) = class_table([one]).tables
    report, decisions = one.report, one.report['decisions']
    columns = {
        'Training positives': map(str, report['class_counts']),
        'Positives here': map(str, report['positives']),
        'Threshold': (f'{probability(t):.3f}' for t in decisions['thresholds']),
    }
    figures = {'AP': report['per_class'], 'F1': decisions['f1_per_class']}
    figures |= {name.capitalize(): decisions[name] for name in ('precision', 'recall')}
    for name, values in figures.items():
        columns[name] = ('-' if v is None else f'{v:.1f}' for v in values)
    place = {name: i for i, name in enumerate(column(found, 'Class'))}
    for name, values in columns.items():
        shown = column(found, name)
        assert [shown[place[k]] for k in report['classes']] == [*values], name
    ap = [v for v in column(found, 'AP') if v != '-']
    assert ap == sorted(ap, key=float)
    assert found.rows[-1][0] == report['classes'][-1]  # no image has it


def test_seeds_are_means_and_groups_stand_side_by_side(tmp_path):
    runs = [
        several_labels(f'{name}_{seed}', tmp_path, seed=seed, shift=shift, config=f'{name}.py')
        for name, shift in (('ours', 5.0), ('other', 0.0))
        for seed in (0, 1)
    ]
    with style():
        section = label_decisions(runs)
    found = table(section, 'F1')
    assert column(found, 'Runs') == ['ours', 'ours', 'other', 'other']
    values = [r.report['decisions']['f1']['all'] for r in runs[:2]]
    assert found.rows[0][2] == f'{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}'
    (classes,) = class_table(runs).tables
    assert classes.header[4:] == ['AP, ours (%)', 'F1, ours (%)', 'AP, other (%)', 'F1, other (%)']
    with style():
        assert 'average precision' in summary(runs).text


def test_pictures_are_of_the_surest_wrong_and_the_worst_missed_labels(tmp_path):
    one = several_labels('one', tmp_path)
    wrong, missed = label_gallery([one]).galleries
    labels, logits = one.outputs.labels, one.outputs.logits
    limits = np.array(one.report['decisions']['thresholds'])
    pairs = [
        (logits[i, k] - limits[k], i, k)
        for i in range(len(labels))
        for k in range(len(limits))
        if labels[i, k] == 0 and logits[i, k] > limits[k]
    ]
    _, i, k = max(pairs)
    first = wrong.pictures[0]
    assert (first.name, first.lines[0]) == (f'image {i}', one.report['classes'][k])
    assert first.lines[1] == f'{probability(logits[i, k]):.3f} at {probability(limits[k]):.3f}'
    assert f'{len(pairs):,} wrong labels in 120 images' in wrong.caption
    few = [one.report['classes'][k] for k, n in enumerate(one.report['class_counts']) if n < 20]
    assert {picture.lines[0] for picture in missed.pictures} <= {*few}
    assert len({picture.name for picture in wrong.pictures}) == len(wrong.pictures)


def test_runs_of_both_kinds_are_a_sentence(tmp_path):
    runs = [several_labels('several', tmp_path), run('one', tmp_path)]
    with pytest.raises(BCE3SError, match='several is of images with several labels and one of'):
        page.sections_of(runs)


def test_a_table_over_seeds_is_of_one_kind(tmp_path):
    folders = []
    for one in (several_labels('several', tmp_path), run('one', tmp_path)):
        one.folder.mkdir()
        (one.folder / 'report.json').write_text(json.dumps(one.report))
        folders.append(one.folder)
    assert summarize(folders[:1]).startswith('| Config (mAP) | Epoch | All |')
    assert summarize(folders[1:]).startswith('| Config | Epoch | All |')
    with pytest.raises(BCE3SError, match='not to be compared'):
        summarize(folders)


@pytest.mark.parametrize(
    'damage',
    [
        lambda report: report.pop('decisions'),
        lambda report: report['decisions']['thresholds'].pop(),
        lambda report: report['decisions'].update(f1={}),
        lambda report: report.update(micro_ap='high'),
    ],
)
def test_a_damaged_report_is_a_sentence(tmp_path, damage):
    report = several_labels('one', tmp_path).report
    folder = tmp_path / 'run'
    folder.mkdir()
    for change, runs in ((None, 1), (damage, 0)):
        if change:
            change(report)
        (folder / 'report.json').write_text(json.dumps(report))
        failures = []
        found = gather([folder], None, lambda _: None, failures.append)
        assert (len(found), len(failures)) == (runs, 1 - runs), failures
