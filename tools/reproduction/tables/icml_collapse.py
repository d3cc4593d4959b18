"""Neural collapse with three networks: Tables 6-8 and Figures 2, 4, 5 and 6 of the ICML paper.

The figures are the curves, the tables the end of the same runs (settings 1 and 2 of Table 5).

The text of the paper says of ResNet-50 on CIFAR-10 (SGD, CE) that A_Uni is 0.01 % on the training
set and 72.51 % on the test set; its Table 7 says 99.52 and 73.08. The table is what stands here.
"""

from __future__ import annotations

from reproduction.cells import Column, Drawing, Row, Table
from reproduction.tables.icml import (
    SOURCE,
    alpha_note,
    collapse_cell,
    published,
    run_labels,
    score_columns,
)

ACCURACIES = (
    Column('A train', 'train.accuracy', better='higher'),
    Column('A_Uni train', 'train.uniform_accuracy', better='higher'),
    Column('A test', 'test.accuracy', better='higher'),
    Column('A_Uni test', 'test.uniform_accuracy', better='higher'),
)
COLUMNS = (*score_columns(), *ACCURACIES)
CURVES = tuple(Column(f'NC{i} train', f'train.nc{i}', digits=4, better='lower') for i in (1, 2, 3))

NUMBERS = {'mnist': 6, 'cifar10': 7, 'cifar100': 8}


def _rows(data: str, networks: tuple[str, ...] = ('r18', 'r50', 'd121')) -> tuple[Row, ...]:
    rows = []
    for (network, loss, optimizer), printed in published(f'icml_table{NUMBERS[data]}'):
        if network in networks:
            labels = run_labels(data, network, optimizer, loss)
            rows.append(Row(collapse_cell(data, network, loss, optimizer), labels, printed))
    return tuple(rows)


def _table(number: int, data: str, title: str) -> Table:
    return Table(
        name=f'table{number}',
        title=f'Neural collapse on {title}: scores, biases, accuracies at the end of training',
        source=f'{SOURCE}, Table {number}',
        rows=_rows(data),
        columns=COLUMNS,
        drawing=Drawing('dots', ('train.b_mean', 'train.s_pos_mean', 'train.s_neg_mean')),
        notes=(alpha_note(),),
    )


def _figure(number: int, data: str, networks: tuple[str, ...], title: str) -> Table:
    return Table(
        name=f'fig{number}',
        title=f'Neural collapse over the epochs on {title}',
        source=f'{SOURCE}, Figure {number}',
        rows=tuple(Row(row.cell, row.labels) for row in _rows(data, networks)),
        columns=CURVES,
        drawing=Drawing('curves', tuple(c.measure for c in CURVES), ('model', 'optimizer')),
        notes=('The paper prints curves, no numbers; the table has the last epoch.',),
    )


EVERY = ('r18', 'r50', 'd121')
TABLES = (
    _figure(2, 'cifar10', ('r18',), 'CIFAR-10, ResNet-18'),
    _figure(4, 'mnist', EVERY, 'MNIST'),
    _figure(5, 'cifar10', EVERY, 'CIFAR-10'),
    _figure(6, 'cifar100', EVERY, 'CIFAR-100'),
    _table(6, 'mnist', 'MNIST'),
    _table(7, 'cifar10', 'CIFAR-10'),
    _table(8, 'cifar100', 'CIFAR-100'),
)
