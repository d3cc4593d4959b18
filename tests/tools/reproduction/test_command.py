"""tools/reproduce.py as it is called; forks; one real run of digits."""

import json

import pytest
from fakes import job, put, report

from reproduction import command
from reproduction.cells import Cell, Column, Drawing, Row, Table
from reproduction.pool import start
from reproduction.tables import TABLES

TINY = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 1,
    'default_hooks.measures': {'type': 'FeatureMeasuresHook'},
    'default_hooks.checkpoint.interval': 1,
    'train_dataloader.dataset.n_max': 12,
    'train_dataloader.dataset.imbalance_factor': 2,
    'val_dataloader.dataset.n_max': 12,
    'val_dataloader.dataset.imbalance_factor': 2,
}


@pytest.fixture
def _digits(monkeypatch):
    """The one table there is shows runs on digits, the second of which cannot be built."""
    cells = {
        'CE': Cell('digits/ce', 'configs/baselines/digits_ce.py', TINY),
        'BCE': Cell(
            'digits/bce',
            'configs/baselines/digits_bce.py',
            {**TINY, 'model.head.in_channels': 63},
        ),
    }
    table = Table(
        'table1',
        'Digits',
        'Nowhere',
        'Table 1',
        tuple(Row(cell, {'loss': loss}, {'report.all': '50.0'}) for loss, cell in cells.items()),
        (Column('All', 'report.all'), Column('NC1', 'train.nc1', 4)),
        Drawing('dots', ('report.all',)),
    )
    monkeypatch.setattr('reproduction.command.TABLES', {'table1': table})
    monkeypatch.setattr('reproduction.command.find_table', lambda _: table)


def call(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


# ------------------------------------------------------------ whole
@pytest.mark.usefixtures('_digits')
def test_one_run_works_one_fails_and_the_table_is_written(tmp_path, capfd):
    places = ('--work-dir', tmp_path / 'w', '--out', tmp_path / 'o')
    assert call('table1', *places, '--jobs', '2') == 1
    printed = capfd.readouterr().out
    assert 'finished: digits/ce seed 0' in printed
    assert 'failed: digits/bce seed 0: ' in printed
    assert 'table1: 1 of 2 runs' in printed
    content = json.loads((tmp_path / 'o' / 'table1.json').read_text())
    ce, bce = content['rows']
    assert len(ce['measured']['last']['train.nc1']['values']) == 1
    assert ce['measured']['last']['report.all']['epochs'] == [2]
    assert bce['measured']['last']['report.all']['values'] == []
    folder = tmp_path / 'w' / 'full' / 'digits' / 'ce' / 'seed0'
    assert list(folder.glob('epoch_*.pth')) == [folder / 'epoch_2.pth']  # one is kept
    console = (folder / 'console.log').read_text()
    assert 'Epoch(train)' in console

    # done: found again by its digest, from the report that the run itself wrote
    assert call('table1', '--work-dir', tmp_path / 'w', '--only', '*/ce') == 0
    printed = capfd.readouterr().out
    assert '1 of 1 runs are done.' in printed
    assert 'python tools/train.py' not in printed

    # what is written for a cell is a config like any other
    assert call('table1', '--work-dir', tmp_path / 'w', '--dry-run', '--only', '*/ce') == 0
    assert 'done      epoch_2' in capfd.readouterr().out


# ------------------------------------------------------------ processes
def test_a_run_is_a_process_of_the_training_tool(tmp_path):
    options = ['--seed', '0', '--work-dir', str(tmp_path / 'seed0')]
    arguments = ['train.py', str(tmp_path / 'none.py'), *options]
    assert start(arguments, tmp_path / 'log', 1).wait() == 1
    assert 'none.py does not exist' in (tmp_path / 'log').read_text()


# ------------------------------------------------------------ sentences
@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ([], 'Name a table or figure: bce3s-main, bce3s-ablation, table1'),
        (['tabel1'], "There is no table 'tabel1'. Did you mean 'table1'?"),
        (['table1', '--only', 'cifar12/*', '--dry-run'], '--only cifar12/* fits none of the 48'),
        (['table4', '--dry-run', '--cfg-options', 'model.head'], 'write KEY=VALUE'),
        (['rivals', '--record', '--cfg-options', 'a=1'], '--record keeps results of the recipes'),
        (
            ['table4', '--dry-run', '--cfg-options', 'model.headd.x=1'],
            "override model.headd.x: model has no key 'headd'. Did you mean 'head'?",
        ),
    ],
)
def test_mistakes_are_sentences(arguments, sentence, capsys, tmp_path):
    assert call(*arguments, '--work-dir', tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert sentence in error


@pytest.mark.parametrize('wrong', [('--budget', '0'), ('--seeds', '0'), ('--jobs', 'x')])
def test_wrong_numbers(wrong, capsys):
    with pytest.raises(SystemExit):
        call('table1', *wrong)
    assert wrong[0] in capsys.readouterr().err


def test_the_list_has_every_table_and_what_is_done(tmp_path, capsys):
    cell = TABLES['table4'].cells[-1]
    run = job(tmp_path, cell)
    put(run, report=report(run, run.max_epochs))
    assert call('--list', '--work-dir', tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line.split()[1:4] for line in lines if line[:1].islower()}
    assert found.keys() - {'table'} == TABLES.keys()
    assert found['table4'] == ['6', '6', '1']
    assert found['bce3s-ablation'] == ['6', '6', '1']  # the same run
    assert found['table1'] == ['48', '48', '0']
    # whose table4 it is
    heading = {line.split()[0]: i for i, line in enumerate(lines) if line}
    assert list(found)[1:3] == ['bce3s-main', 'bce3s-ablation']
    assert lines[heading['bce3s-main'] - 1].startswith('BCE3S (AAAI 2026')
    assert lines[heading['table1'] - 1] == 'BCE vs. CE in Deep Feature Learning (ICML 2025)'


def test_the_dry_run_says_what_it_would_take(tmp_path, capsys):
    assert call('fig3', '--scale', 'small', '--dry-run', '--work-dir', tmp_path) == 0
    printed = capsys.readouterr().out
    assert printed.count('to run') == 60
    assert 'none like them has finished here: 60' in printed
    assert not any(tmp_path.iterdir())
    first, second = TABLES['table4'].cells[:2]
    run = job(tmp_path, first)
    put(run, report=report(run, run.max_epochs), cell={'seconds': 8000.0})
    job(tmp_path, second).folder.mkdir(parents=True)
    (job(tmp_path, second).folder / 'iter_295.pth').touch()
    options = ('--cfg-options', f'train_dataloader.dataset.data_root={tmp_path}/none')
    assert call('table4', '--only', '*if10/*', '--dry-run', '--work-dir', tmp_path) == 0
    printed = capsys.readouterr().out
    assert 'cut short iter_295' in printed
    assert 'In all at most 2.2 h with --jobs 1.' in printed
    assert call('table4', '--dry-run', '--work-dir', tmp_path, *options) == 0
    assert capsys.readouterr().out.count(f'{tmp_path}/none does not exist') == 1


def test_the_list_can_be_of_some_tables_and_cells(tmp_path, capsys):
    assert call('table4', 'fig3', '--list', '--only', 'mnist/*', '--work-dir', tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith(('table', 'fig'))][1:] == [
        ['table4', '6', '0'],
        ['fig3', '60', '60'],
    ]


def test_what_is_not_part_of_the_scale_is_an_error(tmp_path, capsys):
    assert call('table3', '--scale', 'small', '--work-dir', tmp_path) == 1
    assert 'Nothing of table3 is part of the small scale.' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
