"""The classifier's bias: Tables 9 and 10 (Figure 3, 60 models) and Table 11 (Figure 7) of the ICML
paper, all of them ResNet-18 on MNIST.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reproduction.cells import Cell, Drawing, Row, Table
from reproduction.tables.icml import (
    NAMES,
    SOURCE,
    alpha_note,
    collapse_cell,
    published,
    score_columns,
)

COLUMNS = score_columns()
RATES = {'sgd': 0.01, 'adamw': 0.001}  # at batch size 128


def bias_mean(loss: str, optimizer: str, mean: str) -> Cell:
    """A cell of Table 9."""
    changes = {'model.head.decay.bias': 0.0, 'model.head.classifier.bias_mean': float(mean)}
    return collapse_cell('mnist', 'r18', loss, optimizer, f'bias_mean/{mean}', changes)


def bias_decay(loss: str, optimizer: str, decay: str) -> Cell:
    """A cell of Table 10."""
    changes = {'model.head.decay.bias': float(decay), 'model.head.classifier.bias_mean': 10.0}
    return collapse_cell('mnist', 'r18', loss, optimizer, f'lambda_b/{decay}', changes)


def batch_size(loss: str, optimizer: str, batch: str) -> Cell:
    """A cell of Table 11: the initial rate is proportional to the batch size."""
    if batch == '128':
        return collapse_cell('mnist', 'r18', loss, optimizer)
    changes: dict[str, Any] = {
        'train_dataloader.batch_size': int(batch),
        'optim_wrapper.optimizer.lr': RATES[optimizer] * int(batch) / 128,
    }
    return collapse_cell('mnist', 'r18', loss, optimizer, f'batch/{batch}', changes)


def _rows(table: int, cell: Callable[[str, str, str], Cell], name: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            cell(loss, optimizer, value),
            {'loss': NAMES[loss], 'optimizer': NAMES[optimizer], name: value},
            printed,
        )
        for (loss, optimizer, value), printed in published(f'icml_table{table}')
    )


FIXED = _rows(9, bias_mean, 'initial bias')
VARYING = _rows(10, bias_decay, 'lambda_b')
BATCHES = _rows(11, batch_size, 'batch size')


def _table(number: int, rows: tuple[Row, ...], across: str, title: str) -> Table:
    return Table(
        name=f'table{number}',
        title=f'Biases and scores of ResNet-18 on MNIST, {title}',
        source=f'{SOURCE}, Table {number}',
        rows=rows,
        columns=COLUMNS,
        drawing=Drawing('violins', panel=('loss', 'optimizer'), across=across),
        notes=(alpha_note(),),
    )


def _both(rows: tuple[Row, ...], name: str) -> tuple[Row, ...]:
    """Rows of Figure 3, which shows two tables: ``varied`` says what is varied."""
    return tuple(
        Row(
            row.cell,
            {**{k: row.labels[k] for k in ('loss', 'optimizer')}, 'varied': name, 'value': value},
            row.printed,
        )
        for row in rows
        for value in [row.labels[name]]
    )


TABLES = (
    _table(9, FIXED, 'initial bias', 'by the mean of the initial biases, lambda_b = 0'),
    _table(10, VARYING, 'lambda_b', 'by lambda_b, the mean of the initial biases is 10'),
    _table(11, BATCHES, 'batch size', 'by batch size'),
    Table(
        name='fig3',
        title='Distributions of biases and scores: 60 ResNet-18 on MNIST',
        source=f'{SOURCE}, Figure 3 (numbers: Tables 9 and 10)',
        rows=_both(FIXED, 'initial bias') + _both(VARYING, 'lambda_b'),
        columns=COLUMNS,
        drawing=Drawing('violins', panel=('varied', 'loss', 'optimizer'), across='value'),
        notes=(alpha_note(),),
    ),
    Table(
        name='fig7',
        title='Distributions of biases and scores by batch size: ResNet-18 on MNIST',
        source=f'{SOURCE}, Figure 7 (numbers: Table 11)',
        rows=BATCHES,
        columns=COLUMNS,
        drawing=Drawing('violins', panel=('loss', 'optimizer'), across='batch size'),
        notes=(alpha_note(),),
    ),
)
