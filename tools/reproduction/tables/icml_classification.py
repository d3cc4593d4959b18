"""Classification on CIFAR-10 and CIFAR-100: Tables 1, 2, 12 and 13 of the ICML paper, which show
the same 48 runs (settings 3-6 of Table 5).
"""

from __future__ import annotations

from collections.abc import Iterator

from reproduction.cells import BEST, LAST, Column, Drawing, Row, Table
from reproduction.tables.icml import (
    SOURCE,
    classification_cell,
    mean_and_std,
    published,
    run_labels,
)

ACCURACIES = (
    Column('A', 'test.accuracy', better='higher'),
    Column('A_Uni', 'test.uniform_accuracy', better='higher'),
)
PROPERTIES = (
    Column('E_com', 'test.e_com', better='higher'),
    Column('E_dis', 'test.e_dis', better='higher'),
)
SCORES = (
    Column('rho', 'train.rho'),
    *mean_and_std('b', 'train.b', 2),
    *mean_and_std('s_pos train', 'train.s_pos', 2),
    *mean_and_std('s_neg train', 'train.s_neg', 2),
    Column('A train', 'train.accuracy', better='higher'),
    Column('A_Uni train', 'train.uniform_accuracy', better='higher'),
    *mean_and_std('s_pos test', 'test.s_pos', 2),
    *mean_and_std('s_neg test', 'test.s_neg', 2),
)
PROTOCOL = (
    'The paper reports the epoch with the best accuracy on the test set; beside it stands the last '
    'epoch, which is our headline.'
)
EXACT = (
    'The published A_Uni is the best of 200 thresholds; ours is the exact best, which on the same '
    'scores is never lower.'
)


def _rows(table: int, data: str = '') -> Iterator[Row]:
    """``data``: of a table that does not name it."""
    names = {'da1': 'DA1', 'da2': 'DA1+DA2'}
    for (*given, network, loss, optimizer, augmentation), printed in published(
        f'icml_table{table}'
    ):
        (where,) = given or [data]
        labels = run_labels(where, network, optimizer, loss, augmentation=names[augmentation])
        yield Row(
            classification_cell(where, network, loss, optimizer, augmentation), labels, printed
        )


def _table(number: int, rows: Iterator[Row], columns: tuple[Column, ...], title: str) -> Table:
    drawn = columns if len(columns) == 2 else (*columns[1:2], *columns[3:4], *columns[5:6])
    return Table(
        name=f'table{number}',
        title=title,
        source=f'{SOURCE}, Table {number}',
        rows=tuple(rows),
        columns=columns,
        selections=(LAST, BEST),
        drawing=Drawing('dots', tuple(column.measure for column in drawn)),
        notes=(PROTOCOL, EXACT) if number != 2 else (PROTOCOL,),
    )


TABLES = (
    _table(1, _rows(1), ACCURACIES, 'Classification on the test sets'),
    _table(2, _rows(2), PROPERTIES, 'Compactness, distinctiveness'),
    _table(12, _rows(12, 'cifar10'), SCORES, 'Scores and biases, CIFAR-10'),
    _table(13, _rows(13, 'cifar100'), SCORES, 'Scores and biases, CIFAR-100'),
)
