"""Normalised features and weights with a scale gamma: sweeps of gamma with CE and BCE.

"Classification vs. Deep Feature Learning in Normalized Spaces with Different Scaling": only its
abstract is public, so there are no published numbers to stand beside ours.
"""

from __future__ import annotations

from reproduction.cells import Cell, Column, Drawing, Row, Table
from reproduction.tables.icml import LOSSES, NAMES

SOURCE = 'Classification vs. Deep Feature Learning in Normalized Spaces with Different Scaling'
GAMMAS = (0.25, 1, 4, 16, 64)
COLUMNS = (
    Column('A', 'test.accuracy', better='higher'),
    Column('A_Uni', 'test.uniform_accuracy', better='higher'),
    Column('NC1 train', 'train.nc1', 4, 'lower'),
    Column('NC2 train', 'train.nc2', 4, 'lower'),
    Column('NC3 train', 'train.nc3', 4, 'lower'),
    Column('E_com', 'test.e_com', better='higher'),
    Column('E_dis', 'test.e_dis', better='higher'),
)
BALANCED, LONG_TAILED = 'cifar100_r18', 'cifar100lt_if100_r32'


def gamma_cell(config: str, loss: str, gamma: float) -> Cell:
    """One scale."""
    changes = {**LOSSES[loss], 'model.head.classifier.scale': float(gamma)}
    return Cell(
        f'normalized/{config}/{loss}/gamma/{gamma}', f'configs/normalized/{config}.py', changes
    )


def _table(name: str, config: str, title: str, columns: tuple[Column, ...]) -> Table:
    return Table(
        name=name,
        title=f'Normalised space, scale gamma: {title}',
        source=f'{SOURCE} (abstract; no published numbers)',
        rows=tuple(
            Row(gamma_cell(config, loss, gamma), {'gamma': str(gamma), 'loss': NAMES[loss]})
            for gamma in GAMMAS
            for loss in ('ce', 'bce')
        ),
        columns=columns,
        drawing=Drawing('curves', ('train.nc1', 'train.nc2', 'train.nc3'), ('gamma',)),
        notes=(
            'No numbers are published; the claims are those of the abstract.',
            "BCE's bias starts near 0, though at small gamma its best is far away: about "
            'log(K - 1) / gamma (bce3s/theory/normalized.py). '
            'model.head.classifier.bias_mean can start it there.',
        ),
    )


TABLES = (
    _table('gamma', BALANCED, 'CIFAR-100, ResNet-18', COLUMNS),
    _table(
        'gamma-lt',
        LONG_TAILED,
        'CIFAR-100-LT, imbalance factor 100, ResNet-32',
        (
            *(Column(s.capitalize(), f'report.{s}', better='higher') for s in ('all', 'many')),
            *(Column(s.capitalize(), f'report.{s}', better='higher') for s in ('medium', 'few')),
            *COLUMNS[1:],
        ),
    ),
)
