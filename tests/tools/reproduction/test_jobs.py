"""Runs: their config, how far they are, their results."""

import pytest
from fakes import BCE, CE, CONFIG, TABLE, checkpoint, job, measures, put, report

from bce3s.config import load_config
from bce3s.engine.report_hook import config_digest
from bce3s.errors import BCE3SError
from reproduction.cells import BEST, LAST, Cell, Scale
from reproduction.jobs import CHANGED, CUT, DONE, NEW, Job, jobs_of
from reproduction.tables import TABLES

BACKBONE = {'_delete_': True, 'type': 'CIFARResNet', 'depth': 32}
OVERRIDES = {
    'train_cfg.max_epochs': 3,
    'model.backbone': BACKBONE,
    'optim_wrapper.optimizer.lr': 0.125,
    'train_dataloader.dataset.imbalance': 'exp',
}
CELL = Cell('a/b', CONFIG, OVERRIDES)


# ------------------------------------------------------------ config
def test_the_file_trains_what_the_cell_says(tmp_path, monkeypatch):
    run = job(tmp_path, CELL)
    path = run.write_config('a/b. small')
    monkeypatch.chdir('/')  # loadable from anywhere
    cfg = load_config(str(path), [])
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.model.backbone == {'type': 'CIFARResNet', 'depth': 32}  # in_channels=1 is gone
    assert cfg.optim_wrapper.optimizer.lr == 0.125
    assert cfg.model.head.joint.type == 'CEJoint'  # as the leaf has it
    assert cfg.work_dir == str(run.folder)
    assert path.read_text().startswith('"""a/b. small\n')
    assert config_digest(cfg.to_dict()) == run.digest


def test_the_digest_sees_every_change(tmp_path):
    others = [
        Cell('a/b', CONFIG, {**OVERRIDES, 'train_cfg.max_epochs': 4}),
        Cell('a/b', CONFIG, {**OVERRIDES, 'model.backbone': {**BACKBONE, 'depth': 20}}),
        Cell('a/b', 'configs/baselines/digits_bce.py', OVERRIDES),
    ]
    assert len({job(tmp_path, cell).digest for cell in (CELL, *others)}) == 4
    assert (
        job(tmp_path, Cell('another key', CONFIG, OVERRIDES)).digest == job(tmp_path, CELL).digest
    )
    assert BACKBONE == {'_delete_': True, 'type': 'CIFARResNet', 'depth': 32}


def test_an_override_below_a_number_is_an_error(tmp_path):
    with pytest.raises(BCE3SError, match=r'overrides of cell x do not fit configs/baselines'):
        _ = job(tmp_path, Cell('x', CONFIG, {'train_cfg.max_epochs.more': 1})).config


# ------------------------------------------------------------ which runs there are
def test_a_cell_of_two_tables_is_one_run(tmp_path):
    jobs = jobs_of([TABLES['table1'], TABLES['table2']], Scale(), 2, tmp_path)
    assert [run.seed for run in jobs] == [0] * 48 + [1] * 48
    assert jobs[0].folder == tmp_path / 'full/cifar10/r18/ce/sgd/da1/seed0'
    assert len({run.folder for run in jobs}) == 96


def test_patterns_pick_cells(tmp_path):
    only = ['cifar10/*/bce/*', '*/d121/ce/*/da2']
    assert len(jobs_of([TABLES['table1']], Scale(), 1, tmp_path, only)) == 12 + 4
    with pytest.raises(BCE3SError, match=r'--only cifar11/\* fits none of the 48 cells.*cifar10'):
        jobs_of([TABLES['table1']], Scale(), 1, tmp_path, ['cifar11/*'])


def test_rules_of_a_scale(tmp_path):
    rules = (('*/ce', {'train_cfg.max_epochs': 2}), ('digits/*', {'model.backbone.depth': 32}))
    assert [run.cell.key for run in jobs_of([TABLE], Scale('x', '', rules[:1]), 1, tmp_path)] == [
        'digits/ce'
    ]
    both = Scale('x', '', rules, options={'model.backbone.depth': 44})
    assert both.cell(CE).overrides == {'train_cfg.max_epochs': 2, 'model.backbone.depth': 44}
    assert both.cell(BCE).overrides['train_cfg.max_epochs'] == 4


# ------------------------------------------------------------ states
def test_states(tmp_path):
    run = job(tmp_path)
    assert (run.state, run.last_checkpoint, run.max_epochs) == (NEW, None, 4)
    put(run, report=report(run, 2))
    assert run.state == NEW  # a report, but nothing to resume from
    checkpoint(run, 2)
    assert (run.state, run.last_checkpoint) == (CUT, 'epoch_2')
    put(run, report=report(run, 4))
    assert run.state == DONE
    put(run, report=report(run, 4, sha='of another config'))
    assert run.state == CHANGED
    longer = Job(Cell(CE.key, CE.config, {'train_cfg.max_epochs': 8}), 0, run.folder)
    put(run, report=report(run, 4))
    assert longer.state == CHANGED


def test_a_run_that_died_before_its_first_validation_is_resumed(tmp_path):
    run = put(job(tmp_path), cell={'digest': job(tmp_path).digest})
    assert run.state == NEW
    checkpoint(run, 1)
    assert run.state == CUT
    put(run, cell={'digest': 'another'})
    assert run.state == CHANGED


def test_a_broken_report_is_an_error(tmp_path):
    run = put(job(tmp_path), report={})
    (run.folder / 'report.json').write_text('{"epoch": ')
    with pytest.raises(BCE3SError, match=r'report\.json cannot be read.*Delete it'):
        _ = run.state


# ------------------------------------------------------------ results
def test_values_of_the_last_and_of_the_best_epoch(tmp_path):
    run = job(tmp_path)
    values = measures([80.0, 91.0, 91.0, 90.0], [0.4, 0.3, None, 0.1])
    put(run, report=report(run, 4, 90.0), measures=values)
    assert run.value('test.accuracy', LAST) == 90.0
    assert (run.value('test.accuracy', BEST), run.epoch_of('train.nc1', BEST)) == (91.0, 2)
    assert run.value('train.nc1', BEST) == 0.3  # of the first of two equal epochs
    assert (run.value('report.all', LAST), run.value('report.few', LAST)) == (90.0, None)
    assert (run.value('report.all', BEST), run.epoch_of('report.all', BEST)) == (91.0, 1)
    assert run.value('report.all', 'best on test + flip TTA') is None
    assert run.curve('train.nc1') == {1: 0.4, 2: 0.3, 4: 0.1}
    assert run.distributions() is None


def test_nothing_there_is_none(tmp_path):
    run = job(tmp_path)
    assert run.value('report.all', LAST) is None
    assert run.value('test.accuracy', BEST) is None
    assert run.curve('train.nc1') == {}
