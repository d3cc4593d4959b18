"""The published numbers: how many, some of them by value, and against the paper's own equation."""

from collections import Counter
from pathlib import Path

import pytest

from bce3s.errors import BCE3SError
from bce3s.evaluation.decision_scores import alpha
from reproduction.cells import Cell
from reproduction.jobs import Job
from reproduction.small import SCALES
from reproduction.tables import TABLES, find_table

CELLS = {cell.key: cell for table in TABLES.values() for cell in table.cells}


def resolved(cell: Cell):
    return Job(cell, 0, Path()).config


def printed(table: str, key: str, measure: str) -> str:
    (row,) = [row for row in TABLES[table].rows if row.cell.key == key]
    return row.printed[measure]


@pytest.mark.parametrize(
    ('table', 'cells', 'numbers'),
    [
        ('table1', 48, 96),
        ('table2', 48, 96),
        ('table3', 6, 12),
        ('table4', 6, 6),
        ('table6', 12, 12 * 11 + 6),
        ('table7', 12, 12 * 11 + 6),
        ('table8', 12, 12 * 11 + 6),
        ('table9', 36, 36 * 7 + 18),
        ('table10', 24, 24 * 7 + 12),
        ('table11', 32, 32 * 7 + 16),
        ('table12', 24, 24 * 13),
        ('table13', 24, 24 * 13),
        ('fig2', 4, 0),
        ('fig3', 60, 60 * 7 + 30),
        ('fig4', 12, 0),
        ('fig5', 12, 0),
        ('fig6', 12, 0),
        ('fig7', 32, 32 * 7 + 16),
        ('bce3s-main', 4, 4),
        ('bce3s-ablation', 6, 24),
    ],
)
def test_counts(table, cells, numbers):
    rows = TABLES[table].rows
    assert len({row.cell.key for row in rows}) == len(rows) == cells
    assert sum(len(row.printed) for row in rows) == numbers
    columns = {column.measure for column in TABLES[table].columns}
    assert all(row.printed.keys() <= columns for row in rows)
    assert len({tuple(row.labels.values()) for row in rows}) == cells


@pytest.mark.parametrize(
    ('table', 'key', 'measure', 'text'),
    [
        ('table1', 'cifar10/r18/ce/sgd/da1', 'test.accuracy', '92.8'),
        ('table2', 'cifar10/r50/ce/adamw/da2', 'test.e_com', '95.3'),
        ('table3', 'imagenet/r101/bce', 'test.uniform_accuracy', '70.46'),
        ('table4', 'cifar100lt/if10/ce_joint', 'report.all', '70.91'),
        ('table8', 'cifar100/r50/ce/sgd/nc', 'train.accuracy', '2.52'),
        ('table10', 'mnist/r18/bce/sgd/lambda_b/5e-1', 'train.alpha', '-0.1683'),
        ('table11', 'mnist/r18/bce/adamw/batch/16', 'train.b_mean', '1.2651'),
        ('table13', 'cifar100/r50/ce/adamw/da1', 'train.rho', '2157.'),
        ('bce3s-main', 'cifar100lt/if50/bce3s_two_stages', 'report.all', '65.23'),
        ('bce3s-ablation', 'cifar100lt/if100/bce3s', 'report.few', '22.80'),
    ],
)
def test_numbers_stand_beside_their_cells(table, key, measure, text):
    assert printed(table, key, measure) == text


@pytest.mark.parametrize('table', ['table6', 'table7', 'table8', 'table9', 'table10', 'table11'])
def test_the_printed_alpha_follows_from_the_printed_rho_and_b(table):
    """A wrong digit in any of the three would show: Eq. 57 without lambda_b b, n = B / K."""
    rows = [row for row in TABLES[table].rows if 'train.alpha' in row.printed]
    assert len(rows) == sum(row.labels['loss'] == 'BCE' for row in TABLES[table].rows)
    for row in rows:
        classes = 100 if table == 'table8' else 10
        batch = int(row.labels.get('batch size', 128))
        value = alpha(
            row.published['train.b_mean'],
            row.published['train.rho'],
            classes,
            batch / classes,
            5e-4,
            5e-4,
        )
        assert value == pytest.approx(row.published['train.alpha'], abs=6e-5), row.cell.key


def keys(table: str) -> set[str]:
    return {cell.key for cell in TABLES[table].cells}


def test_tables_share_their_runs():
    for name in ('table2', 'table12', 'table13'):
        assert keys(name) <= keys('table1')
    assert keys('fig5') == keys('table7')
    assert keys('fig2') < keys('table7')
    assert keys('fig3') == keys('table9') | keys('table10')
    assert len(keys('table11') & keys('table6')) == 4
    assert len(keys('table4') & keys('bce3s-ablation')) == 2


def test_a_key_is_one_experiment():
    for table in TABLES.values():
        assert all(CELLS[cell.key] == cell for cell in table.cells)
    contents = Counter(repr((cell.config, dict(cell.overrides))) for cell in CELLS.values())
    assert max(contents.values()) == 1
    for key in CELLS:  # no run lies in the folder of another
        assert not any(other.startswith(f'{key}/') for other in CELLS)


def test_every_config_exists_and_takes_its_overrides():
    for scale in SCALES.values():
        for cell in filter(None, map(scale.cell, CELLS.values())):
            Job(cell, 0, Path()).check()
            cfg = resolved(cell)
            for key, value in cell.overrides.items():
                if not isinstance(value, dict):
                    assert _get(cfg, key) == value


def _get(cfg, dotted: str):
    for part in dotted.split('.'):
        cfg = cfg[part]
    return cfg


def test_what_varies_reaches_the_config():
    batch = resolved(CELLS['mnist/r18/bce/sgd/batch/512'])
    assert batch.train_dataloader.batch_size == 512
    assert batch.optim_wrapper.optimizer.lr == pytest.approx(0.04)
    fixed = resolved(CELLS['mnist/r18/ce/adamw/bias_mean/8']).model.head
    assert (fixed.decay.bias, fixed.classifier.bias_mean, fixed.joint.type) == (0.0, 8.0, 'CEJoint')
    assert fixed.decay.weight == fixed.decay.feature == 5e-4
    factor = resolved(CELLS['cifar100lt/if10/ce_joint'])
    assert factor.train_dataloader.dataset.imbalance_factor == 10
    assert factor.val_dataloader.dataset.imbalance_factor == 10


@pytest.mark.parametrize(
    ('key', 'decay', 'backbone', 'channels'),
    [
        ('cifar100/r50/bce/adamw/nc', 0.0, 'ResNet_CIFAR', 2048),
        ('mnist/d121/ce/adamw/nc', 0.0, 'DenseNet', 1024),
        ('cifar100/d121/bce/adamw/da2', 0.05, 'DenseNet', 1024),
        ('cifar10/r18/ce/adamw/da1', 0.05, 'ResNet_CIFAR', 512),
    ],
)
def test_data_network_and_optimiser_reach_the_config(key, decay, backbone, channels):
    cfg = resolved(CELLS[key])
    data, _, loss, _, setting = key.split('/')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.type == f'{data.upper()}LT'
    assert cfg.model.head.num_classes == (100 if data == 'cifar100' else 10)
    assert cfg.model.head.joint.type == f'{loss.upper()}Joint'
    assert (cfg.model.backbone.type, cfg.model.head.in_channels) == (backbone, channels)
    optimizer = {'type': 'AdamW', 'lr': 0.001, 'weight_decay': decay, 'fused': True}
    assert cfg.optim_wrapper.optimizer == optimizer
    assert cfg.default_hooks.schedule == {'type': 'CosineLRHook', 'shift': 0.0}
    assert ('batch_mix' in cfg.model.data_preprocessor) == (setting == 'da2')
    assert ('decay' in cfg.model.head) == (setting == 'nc')


def test_the_small_scale_has_one_network_and_says_so():
    small = SCALES['small']
    assert small.label == 'small: not comparable with the published numbers'
    parts = {
        'table1': 8,
        'fig2': 4,
        'fig3': 60,
        'fig7': 0,
        'table4': 6,
        'table13': 0,
        'gamma-lt': 10,
    }
    for name, kept in parts.items():
        cells = [small.cell(cell) for cell in TABLES[name].cells]
        assert sum(cell is not None for cell in cells) == kept, name
    for cell in filter(None, map(small.cell, CELLS.values())):
        ours = cell.key.startswith(('rivals/', 'contrastive/', 'normalized/'))
        width = dict(stem_stride=2) if ours else dict(width=0.5)
        backbone = resolved(cell).model.backbone
        assert backbone == backbone | dict(depth=8, **width)
        assert backbone.type in ('CIFARResNet', 'ExpertsCIFARResNet')


@pytest.mark.parametrize(
    ('said', 'name'),
    [('Table 1', 'table1'), ('Fig. 3', 'fig3'), ('figure7', 'fig7'), ('ICML-table_12', 'table12')],
)
def test_a_table_has_several_names(said, name):
    assert find_table(said).name == name


def test_an_unknown_table_gets_the_closest_and_the_list():
    with pytest.raises(BCE3SError, match=r"no table 'tabel3'\. Did you mean 'table3'\?.* fig7,"):
        find_table('tabel3')
    with pytest.raises(BCE3SError, match='There are bce3s-main, bce3s-ablation, table1'):
        find_table('xyz')
    with pytest.raises(BCE3SError, match='no table'):
        find_table('table5')  # the settings: nothing to run


def test_an_override_nothing_reads_is_an_error():
    for config, changes, said in (
        ('baselines/digits_ce.py', {'train_cfg.max_epoch': 3}, r"'max_epoch'.*'max_epochs'"),
        ('nothing.py', {'train_cfg.max_epochs': 3}, r'configs/nothing.py does not exist'),
    ):
        with pytest.raises(BCE3SError, match=said):
            Job(Cell('x', f'configs/{config}', changes), 0, Path()).check()
