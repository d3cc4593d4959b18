"""Which runs there are, how far they are, and what they cost."""

import json

import pytest
from fakes import BCE, CE, TABLE, checkpoint, job, measures, put, report

from bce3s.errors import BCE3SError
from bce3s.reproduction.cells import BEST, LAST, Cell
from bce3s.reproduction.cost import START, Costs, duration, network, sizes
from bce3s.reproduction.plan import CHANGED, CUT, DONE, NEW, absent_data, jobs_of
from bce3s.reproduction.results import Result
from bce3s.reproduction.scales import SCALES, Scale
from bce3s.reproduction.tables import TABLES

FULL = SCALES['full']
CPU = 'cpu, 2 cores'


# ------------------------------------------------------------ jobs
def test_a_cell_of_two_tables_is_one_run(tmp_path):
    jobs, skipped = jobs_of([TABLES['table1'], TABLES['table2']], FULL, 2, tmp_path)
    assert (len(jobs), len(skipped)) == (96, 0)
    assert [job.seed for job in jobs] == [0] * 48 + [1] * 48
    assert jobs[0].folder == tmp_path / 'full/cifar10/r18/ce/sgd/da1/seed0'
    assert len({job.folder for job in jobs}) == 96


def test_patterns_pick_cells(tmp_path):
    jobs, _ = jobs_of([TABLES['table1']], FULL, 1, tmp_path, ['cifar10/*/bce/*', '*/d121/ce/*/da2'])
    assert len(jobs) == 12 + 4
    with pytest.raises(BCE3SError, match=r'--only cifar11/\* fits none of the 48 cells.*cifar10'):
        jobs_of([TABLES['table1']], FULL, 1, tmp_path, ['cifar11/*'])


def test_cells_that_are_not_part_of_a_scale_are_named(tmp_path):
    rules = (('*/ce', {'train_cfg.max_epochs': 2}), ('digits/*', {'model.backbone.depth': 32}))
    jobs, skipped = jobs_of([TABLE], Scale('tiny', 'tiny', rules[:1]), 1, tmp_path)
    assert [job.cell.key for job in jobs] == ['digits/ce']
    assert skipped == [BCE]
    both = Scale('tiny', 'tiny', rules).with_options({'model.backbone.depth': 44})
    assert both.cell(CE).overrides == {'train_cfg.max_epochs': 2, 'model.backbone.depth': 44}
    assert both.cell(BCE).overrides['train_cfg.max_epochs'] == 4
    assert Scale('tiny', 'tiny', (*rules, ('*/ce', None))).cell(CE) is None


# ------------------------------------------------------------ states
def test_states(tmp_path):
    run = job(tmp_path)
    assert (run.state, run.epochs_done, run.max_epochs) == (NEW, 0, 4)
    put(run, report=report(run, 2))
    assert run.state == NEW  # a report, but nothing to resume from
    checkpoint(run, 2)
    assert (run.state, run.epochs_done) == (CUT, 2)
    put(run, report=report(run, 4))
    assert (run.state, run.epochs_done) == (DONE, 4)
    put(run, report=report(run, 4, sha='of another config'))
    assert run.state == CHANGED


def test_a_run_that_died_before_its_first_validation_is_resumed(tmp_path):
    run = put(job(tmp_path), cell={'digest': job(tmp_path).digest})
    assert run.state == NEW
    checkpoint(run, 1)
    assert run.state == CUT
    put(run, cell={'digest': 'another'})
    assert run.state == CHANGED


def test_a_longer_run_is_another_experiment(tmp_path):
    run = put(job(tmp_path), report=report(job(tmp_path), 4))
    longer = job(tmp_path, Cell(CE.key, CE.config, {'train_cfg.max_epochs': 8}))
    assert longer.folder == run.folder
    assert longer.state == CHANGED


def test_a_broken_report_is_an_error(tmp_path):
    run = put(job(tmp_path), report={})
    (run.folder / 'report.json').write_text('{"epoch": ')
    with pytest.raises(BCE3SError, match=r'report\.json cannot be read.*Delete it'):
        _ = run.state


# ------------------------------------------------------------ results
def test_values_of_the_last_and_of_the_best_epoch(tmp_path):
    run = job(tmp_path)
    values = measures([80.0, 91.0, 91.0, 90.0], [0.4, 0.3, None, 0.1])
    result = put(run, report=report(run, 4, 90.0), measures=values).result
    assert result.value('test.accuracy', LAST) == 90.0
    assert (result.value('test.accuracy', BEST), result.epoch_of('train.nc1', BEST)) == (91.0, 2)
    assert result.value('train.nc1', BEST) == 0.3  # of the first of two equal epochs
    assert (result.value('report.all', LAST), result.value('report.few', LAST)) == (90.0, None)
    assert (result.value('report.all', BEST), result.epoch_of('report.all', BEST)) == (91.0, 1)
    assert result.value('report.all', 'best on test + flip TTA') is None
    assert result.curve('train.nc1') == [(1, 0.4), (2, 0.3), (4, 0.1)]
    assert result.distributions() is None


def test_nothing_there_is_none(tmp_path):
    result = Result(tmp_path)
    assert (result.epoch, result.finished, result.digest) == (0, False, None)
    assert result.value('report.all', LAST) is None
    assert result.value('test.accuracy', BEST) is None
    assert result.curve('train.nc1') == []


# ------------------------------------------------------------ cost
def test_an_estimate_without_any_measurement(tmp_path):
    costs = Costs([], threads=2, device=CPU)
    one = costs.estimate(job(tmp_path))
    assert one.basis == 'not measured here: the usual speed of 2 CPU threads'
    per_epoch = costs.seconds_per_epoch(job(tmp_path).config)
    assert one.seconds == pytest.approx(4 * per_epoch + START)
    assert Costs([], 4, CPU).estimate(job(tmp_path)).seconds < one.seconds


def test_a_finished_run_corrects_the_estimate(tmp_path):
    run = job(tmp_path)
    counted = Costs([], 2, CPU).estimate(run).seconds
    note = {'digest': run.digest, 'machine': CPU, 'threads': 2}
    note['runs'] = [{'epochs': 4, 'seconds': 3 * counted}]
    costs = Costs([put(run, cell=note)], 2, CPU)
    other = costs.estimate(job(tmp_path, BCE))
    assert other.seconds == pytest.approx(3 * counted)
    assert other.basis == 'from 1 run here: same config (configs/baselines/digits_ce.py)'
    for other in ({'machine': 'a GPU'}, {'digest': 'another config'}):
        (run.folder / 'cell.json').write_text(json.dumps({**note, **other}))
        assert Costs([run], 2, CPU).estimate(run).seconds == pytest.approx(counted)


def test_only_the_epochs_that_are_left_are_counted(tmp_path):
    costs = Costs([], 2, CPU)
    before = costs.estimate(job(tmp_path)).seconds
    checkpoint(job(tmp_path), 2)
    after = costs.estimate(job(tmp_path)).seconds
    assert after - START == pytest.approx((before - START) / 2)


def test_images_are_those_of_the_config():
    small, full = SCALES['small'], FULL
    cells = {cell.key: cell for cell in TABLES['table1'].cells + TABLES['fig3'].cells}

    def of(scale, key):
        from bce3s.reproduction.configuration import resolved

        return resolved(scale.cell(cells[key]))

    mnist = of(small, 'mnist/r18/ce/sgd/bias_mean/4')
    assert (sizes(mnist), network(mnist)) == ((2000, 1000), 'CIFARResNet 8')
    assert sizes(of(full, 'mnist/r18/ce/sgd/bias_mean/4')) == (60_000, 10_000)
    assert sizes(of(small, 'cifar10/r18/ce/sgd/da1')) == (5000, 1000)
    long_tailed = TABLES['table4'].cells[-1]
    from bce3s.reproduction.configuration import resolved

    assert sizes(resolved(long_tailed)) == (10_847, 10_000)


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0 s'), (89, '89 s'), (600, '10 min'), (7200, '2.0 h'), (180_000, '2.1 days')],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_data_that_are_not_there_are_told_and_not_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = {'type': 'ImageFolder', 'data_root': 'photos', '_delete_': True}
    cells = [
        CE,
        Cell('cifar100lt/x', 'configs/baselines/cifar100lt_if100_ce.py'),
        Cell('cifar100lt/y', 'configs/baselines/cifar100lt_if100_bce.py'),
        Cell('x/y', CE.config, {'train_dataloader.dataset': images}),
    ]
    (tmp_path / 'runs').mkdir()
    cifar, folder = absent_data(job(tmp_path / 'runs', cell) for cell in cells)
    assert 'data/cifar-100-binary/train.bin is missing' in cifar
    assert 'There is no folder photos, where ImageFolder should be.' in folder
    assert [path.name for path in tmp_path.iterdir()] == ['runs']
