"""What Tables 8-11 of "BCE vs. CE in Deep Feature Learning" say of biases and scores: ResNet-18
(Table 8: all three networks) after 100 epochs, ``lambda_W = lambda_H = 5e-4``, batch 128 and
``lambda_b = 5e-4`` where nothing else is said. Means; the paper's sign of b.

The numbers themselves stand in ``reproduction.tables``.
"""

from __future__ import annotations

from typing import NamedTuple

from reproduction.cells import Row
from reproduction.tables import find_table

DECAY = 5e-4
BATCH = 128
MEASURES = ('train.rho', 'train.s_pos_mean', 'train.s_neg_mean', 'train.b_mean')
Runs = tuple[str, str]  # loss ('ce', 'bce'), optimiser ('SGD', 'AdamW')


class Published(NamedTuple):
    """rho, s_pos, s_neg, b as printed."""

    rho: float
    s_pos: float
    s_neg: float
    b: float


def _published(table: str, label: str) -> dict[Runs, dict[str, Published]]:
    """The rows of a table by loss and optimiser, then by what ``label`` says."""
    found: dict[Runs, dict[str, Published]] = {}
    for row in find_table(table).rows:
        runs = row.labels['loss'].lower(), row.labels['optimizer']
        found.setdefault(runs, {})[row.labels[label]] = _numbers(row)
    return found


def _numbers(row: Row) -> Published:
    return Published(*(float(row.printed[measure]) for measure in MEASURES))


_BY_MEAN = _published('table9', 'initial bias')
# Table 11 (MNIST): loss, optimiser -> batch size -> row
BATCH_SIZES = {
    runs: {int(batch): row for batch, row in rows.items()}
    for runs, rows in _published('table11', 'batch size').items()
}
# Table 10 (MNIST, AdamW, BCE): lambda_b -> row; 0 is Table 9, initial mean 10
BIAS_DECAYS = {
    **{float(d): row for d, row in _published('table10', 'lambda_b')['bce', 'AdamW'].items()},
    0.0: _BY_MEAN['bce', 'AdamW']['10'],
}
# Table 8 (CIFAR-100, AdamW, BCE): network -> row
CIFAR100 = _published('table8', 'model')['bce', 'AdamW']
# Table 9 (MNIST, lambda_b = 0): the bias's initial mean -> its final mean
INITIAL_MEANS = tuple(int(mean) for mean in _BY_MEAN['bce', 'AdamW'])
FINAL_BIAS = {runs: tuple(row.b for row in rows.values()) for runs, rows in _BY_MEAN.items()}
