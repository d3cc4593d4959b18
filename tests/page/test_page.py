"""What stands on the page: numbers against slow oracles, every text escaped, gaps named."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from page_cases import four_runs, measures, outputs, run, write_run

from bce3s.errors import BCE3SError
from bce3s.page import page
from bce3s.page.classes import (
    WINDOW,
    class_accuracy,
    class_table,
    most_frequent_errors,
    running_mean,
    worst_first,
)
from bce3s.page.content import DASHES, Cell, Section, Table
from bce3s.page.curves import collapse, mean_curve, training
from bce3s.page.page import LONGEST, markdown
from bce3s.page.provenance import command, provenance
from bce3s.page.runs import gather, grouped, short_names
from bce3s.page.summary import summary
from bce3s.plotting import style

OWN = tuple((make, '') for make in (summary, class_accuracy, class_table, collapse, provenance))


@pytest.fixture
def own_sections(monkeypatch):
    """Only sections that need no outputs: the others have tests of their own."""
    monkeypatch.setattr(page, 'SECTIONS', OWN)


def quiet(*_):
    return None


def html_of(runs):
    return page.html('title', page.make_sections(runs, quiet, quiet))


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.starts, self.data = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.starts.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.starts if name == tag]


# ------------------------------------------------------------------------------------------- groups
def test_runs_that_differ_in_their_seed_are_a_group(tmp_path):
    runs = four_runs(tmp_path)
    groups = grouped([runs[3], runs[0], runs[2], runs[1]])
    assert [group.name for group in groups] == ['other', 'ours']
    assert [[r.report['seed'] for r in group.runs] for group in groups] == [[0, 1], [0, 1]]
    assert groups[0].colour != groups[1].colour


@pytest.mark.parametrize(
    ('names', 'group'),
    [
        (('digits_0', 'digits_1'), 'digits'),
        (('run10', 'run11'), 'run'),
        (('a_seed0', 'a_seed1'), 'a'),
        (('rest', 'run'), 'rest, run'),
        (('x', 'y'), 'x, y'),
        (('0', '1'), '0, 1'),
        (('cifar_new', 'cifar_old'), 'cifar'),
    ],
)
def test_a_group_is_called_as_its_runs(tmp_path, names, group):
    runs = [run(name, tmp_path, seed=i) for i, name in enumerate(names)]
    assert [g.name for g in grouped(runs)] == [group]


def test_a_repeated_seed_is_no_further_one(tmp_path):
    runs = [run('a_0', tmp_path), run('a_1', tmp_path, seed=1), run('again', tmp_path, seed=1)]
    groups = grouped(runs)
    assert [[r.name for r in group.runs] for group in groups] == [['a_0', 'a_1'], ['again']]


def test_a_killed_run_is_no_seed_of_one_that_ended(tmp_path):
    runs = [run('a_0', tmp_path), run('a_1', tmp_path, seed=1, epoch=1)]
    assert [group.name for group in grouped(runs)] == ['a_0', 'a_1']
    assert 'a_1 is not at its end: epoch 1 of 2.' in summary(runs).notes


def test_folders_of_one_name_are_told_apart(tmp_path):
    assert short_names([tmp_path / 'x/a', tmp_path / 'y/a']) == ['x/a', 'y/a']
    assert short_names([tmp_path / 'x/a', tmp_path / 'y/b']) == ['a', 'b']


# ------------------------------------------------------------------------------------------ summary
def test_the_headline_is_the_mean_over_seeds(tmp_path):
    runs = four_runs(tmp_path)
    for r, value in zip(runs, (90.0, 90.2, 80.0, 80.3), strict=True):
        r.report['all'] = value
    table = summary(runs).tables[0]
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [(row['Runs'], row['All'], row['n'], row['Seeds']) for row in rows] == [
        ('ours', '90.10 ± 0.14', '2', '0, 1'),
        ('other', '80.15 ± 0.21', '2', '0, 1'),
    ]


def test_an_empty_split_is_a_dash(tmp_path):
    runs = [run(n, tmp_path, seed=i, many=None) for i, n in enumerate(('a_0', 'a_1'))]
    table = summary(runs).tables[0]
    assert dict(zip(table.header, table.rows[0], strict=True))['Many'] == '-'


# ------------------------------------------------------------------------------------------ classes
def test_the_running_mean_is_that_of_the_classes_around():
    rng = np.random.default_rng(0)
    counts, values = rng.integers(1, 40, 60), rng.random(60) * 100
    values[7] = np.nan
    x, y = running_mean(counts, values)
    known = [(c, v) for c, v in zip(counts, values, strict=True) if not math.isnan(v)]
    known.sort(key=lambda pair: pair[0])
    half = max(round(WINDOW * len(known)), 5) // 2
    for place, mean in zip(x, y, strict=True):
        at = [i for i, (count, _) in enumerate(known) if count == place]
        around = range(max(at[0] - half, 0), min(at[-1] + 1 + half, len(known)))
        assert mean == pytest.approx(np.mean([known[i][1] for i in around]))
    assert list(x) == sorted({count for count, _ in known})
    assert running_mean(counts, np.full(60, 7.0))[1] == pytest.approx(7)


def test_the_worst_class_is_first_and_one_without_images_last():
    accuracy = np.array([50.0, np.nan, 10.0, 10.0, 0.0])
    assert worst_first(accuracy, np.array([9, 1, 7, 3, 100])).tolist() == [4, 3, 2, 0, 1]


def test_what_a_class_is_taken_for_is_the_most_frequent_error(tmp_path):
    first, second = run('a_0', tmp_path), run('a_1', tmp_path, seed=1)
    first.outputs, second.outputs = outputs(seed=0), outputs(seed=1)
    (group,) = grouped([first, second])
    found = most_frequent_errors(group)
    for k in range(10):
        answers = [
            int(row.argmax())
            for one in (first.outputs, second.outputs)
            for row, label in zip(one.logits, one.labels, strict=True)
            if label == k and row.argmax() != k
        ]
        if not answers:
            assert found[k] is None
            continue
        most = max(answers.count(answer) for answer in set(answers))
        assert found[k][0] == min(a for a in set(answers) if answers.count(a) == most)
        assert found[k][1] == pytest.approx(100 * most / 24)


def test_the_class_table_has_every_class_once(tmp_path):
    runs = four_runs(tmp_path, full=True)
    (table,) = class_table(runs).tables
    assert table.interactive
    assert sorted(row[0] for row in table.rows) == [str(k) for k in range(10)]
    means = {
        str(k): [np.mean([r.report['per_class'][k] for r in runs[i : i + 2]]) for i in (0, 2)]
        for k in range(10)
    }
    assert [row[0] for row in table.rows] == sorted(means, key=lambda k: np.mean(means[k]))
    for row in table.rows:
        assert [str(cell) for cell in row[3:5]] == [f'{value:.1f}' for value in means[row[0]]]


def test_runs_on_other_classes_have_tables_of_their_own(tmp_path):
    runs = [run('a', tmp_path), run('b', tmp_path, classes=40, config='b.py')]
    tables = class_table(runs).tables
    assert [len(table.rows) for table in tables] == [10, 40]
    assert [table.caption for table in tables] == ['a', 'b']
    assert len(class_accuracy(runs).figures) == 2


@pytest.mark.parametrize('classes', [1, 2, 31])
@pytest.mark.usefixtures('own_sections')
def test_any_number_of_classes_can_be_drawn(tmp_path, classes):
    runs = four_runs(tmp_path, classes=classes)
    runs[0].report['per_class'][0] = None
    assert 'NaN' not in html_of(runs)


def test_one_thing_is_singular(tmp_path):
    one = run('a', tmp_path, classes=1, class_counts=[1], samples=1)
    text = markdown('T', [summary([one]), class_accuracy([one])]) + html_of([one])
    for part in ('1 training image,', '1 class (', 'Measured on 1 image of', '1 row<'):
        assert part in text
    assert not re.findall(r'\b1 (?:\w+ )?(?:images|classes|rows|steps|times)\b', text)


@style()
def test_every_class_is_a_row_of_a_figure_that_fits_a_phone(tmp_path):
    names = [f'kind {k}' for k in range(30)]
    (figure,) = class_accuracy(four_runs(tmp_path, classes=30, names=names)).figures
    assert float(re.search(r'<svg [^>]*width="([\d.]+)pt"', figure.svg)[1]) <= 460 * 0.76
    rows = re.findall(r'>(kind \d+) \(\d+\)<', figure.svg)
    assert rows == names
    for split in ('Many', 'Medium', 'Few'):
        assert f'>{split}<' in figure.svg


def test_a_dash_is_explained_where_there_is_one():
    assert Table(['a', 'b'], [['x', '1']], 'Caption').caption == 'Caption'
    assert Table(['a', 'b'], [['x', '-']], 'Caption').caption == f'Caption {DASHES}'
    assert Table(['a', 'b'], [['x', Cell('-')]]).caption == DASHES


def test_versions_are_said_once_and_in_no_cell(tmp_path):
    runs = four_runs(tmp_path)
    runs[3].report['versions'] = dict(torch='2.6.0')
    section = provenance(runs)
    assert section.notes == [
        'Versions (ours_0, ours_1, other_0): bce3s 0.1.0, torch 2.15.0',
        'Versions (other_1): torch 2.6.0',
    ]
    assert max(len(cell) for row in section.tables[0].rows for cell in row) < 30


# ------------------------------------------------------------------------------------------- curves
def test_the_mean_curve_has_the_epochs_of_all_seeds():
    assert mean_curve([[(1, 2.0), (2, 4.0)], [(2, 6.0), (3, 1.0)]]) == [(2, 5.0)]
    assert mean_curve([[], [(1, 3.0)]]) == [(1, 3.0)]
    assert mean_curve([[], []]) == []


def test_curves_are_of_what_is_there(tmp_path):
    runs = four_runs(tmp_path, full=True)
    assert len(collapse(runs).figures) == 6
    for r in runs:
        r.measures, r.report['history'] = None, []
    assert collapse(runs) is None


def test_curves_do_not_fail_at_zero_nan_and_one_epoch(tmp_path):
    runs = four_runs(tmp_path, full=True)
    runs[0].measures = measures(1)
    runs[1].measures['epochs'][1]['train']['nc1'] = float('nan')
    runs[2].measures['epochs'][2]['train']['nc1'] = 0.0
    assert len(collapse(runs).figures) == 6


@style()
def test_accuracy_by_split_and_learning_rate_over_the_epochs(tmp_path):
    made = run('a', tmp_path)
    history = made.report['history']
    history[1]['stage'] = 2
    logs = made.folder / '20260101_000000/vis_data'
    logs.mkdir(parents=True)
    lines = [json.dumps(dict(epoch=e, lr=0.1 / e)) for e in (1, 2, 3)]
    (logs / 'scalars.json').write_text('\n'.join([*lines, '{"all": 70.0, "step": 3}', '{"lr": 0.']))
    section = training([made])
    accuracy, rate = section.figures
    assert all(f'>{name}<' in accuracy.svg for name in ('All', 'Many', 'Medium', 'Few'))
    assert 'Learning rate' in rate.title
    assert 'end of the first stage' in section.text
    made.report['history'] = history[:1]
    assert len(training([made]).figures) == 1
    assert training([run('b', tmp_path, history=[])]) is None


def test_the_contrastive_branch_over_the_epochs(tmp_path):
    rows = [dict(epoch=e, share=0.1**e, cos_own=0.9, cos_other=0.1) for e in (1, 2, 3)]
    made = run('a', tmp_path, history=[], contrastive=rows)
    share, cosines = training([made]).figures
    assert (share.title, cosines.title) == tuple(
        f'Contrastive branch: {what} over the epochs' for what in ('share', 'cosines')
    )
    assert '10' in share.svg  # a logarithmic scale


# --------------------------------------------------------------------------------------------- page
NASTY = '<script>alert(1)</script>'


@pytest.mark.usefixtures('own_sections')
def test_every_text_is_escaped(tmp_path):
    names = [
        NASTY,
        '"><img src=x onerror=alert(1)>',
        '</style>',
        "' onclick='x",
        '$a_b$',
        '{{ 7 }}',
    ]
    runs = [run(NASTY, tmp_path, classes=6, names=names, config=f'{NASTY}.py', dataset=NASTY)]
    runs[0].outputs = outputs(6, names=names)
    runs[0].notes = [NASTY]
    text = html_of(runs)
    plain = Elements(html_of([run('plain', tmp_path, classes=6)]))
    found = Elements(text)
    assert len(found.all('script')) == len(plain.all('script')) == 1
    assert len(found.all('style')) == len(plain.all('style')) == 1
    assert len(found.all('img')) == len(plain.all('img')) > 0
    assert not [a for _, attributes in found.starts for a in attributes if a.startswith('on')]
    said = ''.join(found.data)
    for name in names:
        assert name in said


def test_all_sections_twice_alike_and_nothing_fetched_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr('bce3s.page.embedding.ITERATIONS', 250)
    texts = [html_of([run('a', tmp_path, full=True, classes=6)]) for _ in range(2)]
    assert texts[0] == texts[1]
    found = Elements(texts[0])
    ids = [a['id'] for _, a in found.starts if 'id' in a]
    assert len(ids) == len(set(ids))
    keys = {s['id'] for s in found.all('section')}
    assert {a['href'][1:] for a in found.all('a')} == keys
    assert len(keys) >= 11
    assert all(a['alt'] and a['src'].startswith('data:image/svg') for a in found.all('img'))
    names = ('href', 'src', 'xlink:href', 'srcset', 'action', 'data')
    links = [a[name] for _, a in found.starts for name in names if name in a]
    assert links
    assert all(link.startswith(('#', 'data:')) for link in links)
    assert '@import' not in texts[0]
    assert not re.findall(r'url\((?!#|data:)', texts[0])
    (policy,) = [m['content'] for m in found.all('meta') if 'http-equiv' in m]
    assert "default-src 'none'" in policy


def test_a_section_without_data_is_named_in_one_line(tmp_path):
    sections = page.make_sections([run('a', tmp_path)], quiet, quiet)
    missing = sections[-1]
    assert missing.key == 'missing'
    assert 'neural collapse' in missing.notes[0]
    assert 'calibration' in missing.notes[0]
    assert not [s for s in sections if s.key in ('collapse', 'calibration')]
    assert page.UNKNOWN_HINT in missing.notes


def test_what_is_said_of_several_runs_is_said_once(tmp_path):
    runs = four_runs(tmp_path)[:2]
    for made in runs:
        made.notes = [f'{made.name}: no losses.']
    runs[1].notes.append('ours_1: no report: b.')
    notes = page.merged(runs)
    assert notes == ['ours_0, ours_1: no losses.', 'ours_1: no report: b.']


def test_a_section_that_fails_leaves_the_others(tmp_path, monkeypatch):
    def broken(_):
        raise BCE3SError('the measures are broken.')

    monkeypatch.setattr(page, 'SECTIONS', ((summary, ''), (broken, 'neural collapse')))
    told = []
    sections = page.make_sections([run('a', tmp_path)], quiet, told.append)
    assert told == ['the measures are broken.']
    assert 'No neural collapse: the measures are broken.' in sections[-1].notes
    assert sections[0].key == 'summary'


@pytest.mark.usefixtures('own_sections')
def test_eight_thousand_classes_are_a_page(tmp_path):
    text = html_of([run('inat', tmp_path, classes=8142)])
    assert text.count('<tr>') > 8142
    assert len(text) < 3e6


# ----------------------------------------------------------------------------------------- markdown
def test_markdown_has_texts_tables_and_notes():
    table = Table(['a|b', 'n'], [[Cell('x|<y>'), '1']], 'caption *c*')
    text = markdown('T', [Section('k', 'Title', 'one\ntwo\n\nthree', [], [table], ['note'])])
    assert '# T\n\n## Title\n\none two\n\nthree\n\ncaption \\*c\\*\n\n' in text
    assert '| a\\|b | n |\n| --- | ---: |\n| x\\|\\<y\\> | 1 |' in text
    assert text.endswith('- note\n')


def test_a_long_table_is_cut_and_that_is_said():
    rows = [[str(i)] for i in range(LONGEST + 7)]
    text = markdown('T', [Section('k', 'Title', tables=[Table(['a'], rows)])])
    assert text.count('\n| ') == LONGEST + 2
    assert '7 further rows' in text


# ------------------------------------------------------------------------------------------- gather
def test_what_a_run_does_not_have_is_noted(tmp_path):
    folder, told = write_run(tmp_path / 'a'), []
    (made,) = gather([folder, tmp_path / '.' / 'a'], None, quiet, told.append)
    assert made.name == 'a'
    assert made.outputs is made.measures is None
    assert not told
    notes = ' '.join(made.notes)
    for part in ('holds no config', 'FeatureMeasuresHook'):
        assert part in notes


def test_a_folder_without_a_report_leaves_the_others(tmp_path):
    folder, told = write_run(tmp_path / 'a'), []
    (tmp_path / 'b').mkdir()
    old = write_run(tmp_path / 'c')
    report = json.loads((old / 'report.json').read_text())
    del report['per_class']
    (old / 'report.json').write_text(json.dumps(report))
    runs = gather([tmp_path / 'b', folder, old, tmp_path / 'none'], None, quiet, told.append)
    assert [made.name for made in runs] == ['a']
    assert len(told) == 3
    assert 'b has no report.json' in told[0]
    assert 'per_class' in told[1]


@pytest.mark.parametrize('text', ['', '[]', '{"epochs": []}', '{"epochs"', '3'])
def test_damaged_measures_are_a_note(tmp_path, text):
    folder = write_run(tmp_path / 'a')
    (folder / 'measures.json').write_text(text)
    (made,) = gather([folder], None, quiet, quiet)
    assert made.measures is None
    assert any('measures.json cannot be read' in note for note in made.notes)


def test_the_command_trains_the_config_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = run('my run', tmp_path)
    made.folder.mkdir()
    assert 'no config' in command(made)
    (made.folder / 'digits.py').write_text('')
    assert command(made) == ("python tools/train.py 'my run/digits.py' --work-dir 'my run_again'")
