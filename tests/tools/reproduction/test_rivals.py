"""The table of rivals: a config is a row; what is recorded of runs, and what is drawn from it."""

import csv
from pathlib import Path

import pytest
import torch
from fakes import CE, TABLE, job, put, report

from bce3s.errors import BCE3SError
from bce3s.registry import MODELS
from reproduction import rivals
from reproduction.cells import Column, Scale
from reproduction.collect import collect
from reproduction.jobs import jobs_of
from reproduction.published import read_published
from reproduction.render import markdown
from reproduction.results import RESULTS, record, recorded
from reproduction.rivals import BACKBONES, FIRST_STAGE, FOLDER, Harness, methods
from reproduction.small import SCALES
from reproduction.tables import find_table

HARNESSES = [
    Harness(),
    Harness(augment='auto', factor=50),
    Harness(data='cifar10lt', backbone='r20'),
    Harness(backbone='r34', augment='auto', unknown=True),
    Harness(backbone='r32x4'),
]


def test_every_config_is_a_row():
    stems = {path.stem for path in FOLDER.glob('*.py')}
    assert stems == {Path(cell.config).stem for cell in find_table('rivals').cells}
    assert FIRST_STAGE.keys() | set(FIRST_STAGE.values()) <= stems
    assert list(methods())[:2] == ['bce', 'ce']
    shown = [row.labels['method'] for row in find_table('rivals').rows]
    assert len(set(shown)) == len(shown)
    published = [labels['method'] for labels, _ in read_published('rivals')]
    told = [row.labels['published'] for row in find_table('rivals').rows]
    assert len(told) - told.count('-') == len(published)


@pytest.mark.parametrize('harness', HARNESSES, ids=lambda harness: harness.name)
def test_the_harness_fits_every_config(harness, tmp_path):
    table = find_table(harness.table)
    for scale in SCALES.values():
        jobs = jobs_of([table], scale, 1, tmp_path)
        assert len({job.name for job in jobs}) == len(jobs)
        for one in jobs:
            one.check()
            classes = 10 if harness.data == 'cifar10lt' else 80 if harness.unknown else 100
            assert one.config.model.head.num_classes == classes
            assert one.follow_ups == (('open_set',) * harness.unknown + ('posthoc',))
            assert Harness.of(harness.table) == harness
            assert (one.base is not None) == ('+' in one.cell.key)
            if one.base is not None:  # the second stage alone
                assert one.max_epochs == one.config.train_cfg.finetune_epochs


@pytest.mark.parametrize('backbone', [*BACKBONES])
def test_the_network_fits_every_method(backbone, tmp_path):
    jobs = jobs_of([find_table(Harness(backbone=backbone).table)], Scale(), 1, tmp_path)
    for one in jobs:
        if one.base is not None:
            continue
        model = MODELS.build(one.config.model).eval()
        images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        with torch.no_grad():
            (feats,) = model.extract_feat(model.data_preprocessor.normalize(images))
            scores = model.head(feats)
        assert scores.shape == (2, 100), one.name


@pytest.mark.parametrize('name', ['rivals_x_if100_r32_plain', 'rivals_cifar10lt_if0_r32_plain'])
def test_a_harness_that_is_none_is_an_unknown_table(name):
    with pytest.raises(BCE3SError, match=f"There is no table '{name}'"):
        find_table(name)


def test_a_second_stage_brings_its_first(tmp_path):
    name, first = next(iter(FIRST_STAGE.items()))
    jobs = jobs_of([find_table('rivals')], Scale(), 2, tmp_path, [f'*+{name}'])
    keys = [one.cell.key.split('/')[-1] for one in jobs]
    assert keys == [first, f'{first}+{name}'] * 2
    assert jobs[3].base is jobs[2]
    assert jobs[3].max_epochs == 10


def test_a_config_that_names_no_method_is_an_error(tmp_path, monkeypatch):
    (tmp_path / 'new.py').write_text('"""My method."""\n')
    monkeypatch.setattr(rivals, 'FOLDER', tmp_path)
    with pytest.raises(BCE3SError, match=r'new\.py: the first line of its docstring should be'):
        methods()


# ---- what is recorded


def finished(root, seed, every):
    one = job(root, CE, seed)
    facts = dict(
        parameters=1234, device='cpu', versions=dict(torch='2.9'), subset=dict(sha256='ab')
    )
    put(one, report=report(one, 4, every) | facts)
    return one


def test_recorded_runs_are_the_table(tmp_path):
    for seed, every in enumerate((90.0, 92.0)):
        finished(tmp_path, seed, every)
    path = tmp_path / 'results/table1.csv'
    record(collect(TABLE, Scale(), 1, tmp_path), path)
    record(collect(TABLE, Scale(), 2, tmp_path), path)  # seed 0 is replaced, not repeated
    rows = list(csv.DictReader(path.open()))
    assert [(row['seed'], row['report.all'], row['epoch']) for row in rows] == [
        ('0', '90', '4'),
        ('1', '92', '4'),
    ]
    assert rows[0]['config_sha256'] == job(tmp_path).digest[:12]
    assert (rows[0]['device'], rows[0]['torch'], rows[0]['subset_sha256']) == ('cpu', '2.9', 'ab')
    table = recorded(TABLE, Scale(), path)
    row, other = table.rows
    assert not other.done
    assert row.number(Column('All', 'report.all'), 'last') == '91.00 ± 1.41'
    assert '91.00 ± 1.41' in markdown(table, drawn=False)
    assert not any(row.done for row in recorded(TABLE, Scale('small'), path).rows)


@pytest.mark.parametrize('path', sorted(RESULTS.glob('*.csv')), ids=lambda path: path.stem)
def test_what_is_drawn_is_what_was_recorded(path):
    table = find_table(path.stem)
    for scale in SCALES.values():
        drawn = path.parent / scale.name / f'{path.stem}.md'
        collected = recorded(table, scale, path)
        assert drawn.exists() == any(row.done for row in collected.rows)
        if drawn.exists():
            assert drawn.read_text() == markdown(collected, drawn=True)
