"""Neural collapse with three networks: Tables 6-8 and Figures 2, 4, 5 and 6 of the ICML paper.

The figures are the curves, the tables the end of the same runs (settings 1 and 2 of Table 5). Each
line of a block is one run: network, loss, optimiser, then the measures in the order of `MEASURES`.

The text of the paper says of ResNet-50 on CIFAR-10 (SGD, CE) that A_Uni is 0.01 % on the training
set and 72.51 % on the test set; its Table 7 says 99.52 and 73.08. The table is what stands here.
"""

from __future__ import annotations

from reproduction.cells import Column, Drawing, Row, Table
from reproduction.tables.icml import (
    SOURCE,
    alpha_note,
    collapse_cell,
    read_block,
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
MEASURES = tuple(column.measure for column in COLUMNS)
CURVES = tuple(Column(f'NC{i} train', f'train.nc{i}', digits=4, better='lower') for i in (1, 2, 3))

# rho, s_pos and its std, s_neg and its std, b and its std, alpha(b), A and A_Uni on the training
# set, A and A_Uni on the test set
TABLE_6 = """
r18 ce sgd 219.0960 5.6439 0.1437 -0.6302 0.2073 -0.0074 0.0852 - 100.00 100.00 99.43 99.31
r18 bce sgd 407.1362 6.4008 0.1236 -3.4987 0.1137 2.2170 0.0308 -0.0268 100.00 100.00 99.59 99.52
r18 ce adamw 212.2180 5.6331 0.0120 -0.6259 0.0127 0.0001 0.0328 - 100.00 100.00 99.62 99.57
r18 bce adamw 357.9696 7.7460 0.0113 -2.1233 0.0291 3.5134 0.0337 -0.0086 100.00 100.00 99.65 99.61
r50 ce sgd 217.7276 5.6383 0.6400 -0.6271 0.5978 0.0039 0.0733 - 99.68 99.64 98.98 98.79
r50 bce sgd 396.7711 6.5393 1.6509 -3.2512 1.9658 2.4674 0.0492 -0.0217 99.79 99.76 99.01 98.88
r50 ce adamw 212.2304 5.6389 0.0380 -0.6266 0.0220 0.0001 0.0328 - 100.00 100.00 99.60 99.57
r50 bce adamw 357.2365 7.7706 0.0573 -2.1029 0.0429 3.5322 0.0329 -0.0084 100.00 100.00 99.53 99.52
d121 ce sgd 224.1426 5.5774 0.1217 -0.6193 0.1221 0.0010 0.0570 - 100.00 99.99 99.45 99.40
d121 bce sgd 414.7491 6.1977 0.0987 -3.6421 0.1048 2.0705 0.0264 -0.0302 100.00 100.00 99.54 99.52
d121 ce adamw 212.2337 5.6318 0.1132 -0.6258 0.3427 0.0002 0.0324 - 99.63 99.62 99.29 99.22
d121 bce adamw 355.5479 7.8030 0.0377 -2.0508 0.0314 3.5767 0.0344 -0.0081 100.00 100.00 99.64 99.60
"""
TABLE_7 = """
r18 ce sgd 221.7685 5.7103 0.2252 -0.6386 0.3574 -0.0085 0.0430 - 99.99 99.98 79.22 75.71
r18 bce sgd 395.3918 6.5627 0.2042 -3.4557 0.1939 2.2618 0.0678 -0.0266 100.00 100.00 81.19 78.78
r18 ce adamw 212.4173 5.6393 0.0568 -0.6265 0.0066 -0.0001 0.0038 - 100.00 100.00 86.66 84.72
r18 bce adamw 366.6813 7.5025 0.0549 -2.3582 0.0225 3.2905 0.0080 -0.0105 100.00 100.00 86.58 85.07
r50 ce sgd 220.8594 5.7365 8.2056 -0.6439 14.1340 0.0045 0.1430 - 99.61 99.52 76.28 73.08
r50 bce sgd 382.4440 6.5614 4.3923 -3.5695 7.0134 2.4002 0.1496 -0.0242 99.65 99.32 78.41 76.35
r50 ce adamw 212.3374 5.6386 0.1062 -0.6266 0.0150 -0.0000 0.0053 - 99.99 99.99 85.73 84.33
r50 bce adamw 369.2447 7.4351 0.2787 -2.4493 0.2165 3.2051 0.0309 -0.0114 100.00 100.00 85.76 84.98
d121 ce sgd 225.0609 5.7225 1.7228 -0.6348 0.8664 0.0012 0.0364 - 99.40 99.03 77.30 74.41
d121 bce sgd 392.8198 6.2376 0.8437 -3.6171 1.6284 2.0875 0.1229 -0.0318 99.72 99.62 79.16 77.95
d121 ce adamw 212.7966 5.6150 0.2851 -0.6240 0.0330 0.0003 0.0061 - 99.87 99.86 81.54 80.15
d121 bce adamw 360.5613 7.6743 0.1239 -2.1715 0.0604 3.4612 0.0203 -0.0090 100.00 100.00 82.34 81.70
"""
TABLE_8 = """
r18 ce sgd 954.3918 8.3613 0.4316 -0.0848 1.3897 0.0004 0.2356 - 99.95 99.81 34.61 17.99
r18 bce sgd 1732.6035 3.5152 0.2392 -6.5934 1.2718 0.8407 0.0678 -0.2672 99.98 99.97 42.06 30.61
r18 ce adamw 846.4734 7.5183 0.0997 -0.0754 0.2580 0.0005 0.0097 - 99.98 99.96 56.58 47.29
r18 bce adamw 1708.9231 4.0202 0.0696 -5.6834 0.0438 1.1317 0.0007 -0.2147 99.98 99.97 60.48 43.04
r50 ce sgd 36.2794 0.5404 9.8551 0.6182 11.4828 0.0006 0.0592 - 2.52 0.05 2.48 0.06
r50 bce sgd 289.5987 -4.6656 16.0695 -6.2663 29.8421 0.3210 0.0241 -0.4090 7.67 0.44 7.16 0.39
r50 ce adamw 838.0098 7.3906 0.3560 -0.0745 0.1935 0.0005 0.0073 - 99.83 99.76 55.51 50.77
r50 bce adamw 1710.3754 3.9356 1.5798 -5.7441 1.1971 1.1239 0.0044 -0.2160 99.77 99.62 53.55 49.18
d121 ce sgd 894.4895 8.4473 0.8321 -0.0842 1.6340 -0.0012 0.2239 - 99.15 94.38 37.48 24.20
d121 bce sgd 1597.8596 3.0569 1.6496 -6.6552 2.6035 0.8313 0.0983 -0.2714 99.38 99.23 39.93 35.19
d121 ce adamw 900.5263 8.1030 0.4805 -0.0800 0.4365 0.0016 0.0948 - 99.80 99.78 50.31 37.87
d121 bce adamw 1761.0126 4.0875 0.2246 -5.8613 0.7152 1.1306 0.0145 -0.2141 99.98 99.97 52.41 49.81
"""
BLOCKS = {'mnist': TABLE_6, 'cifar10': TABLE_7, 'cifar100': TABLE_8}


def _rows(data: str, networks: tuple[str, ...] = ('r18', 'r50', 'd121')) -> tuple[Row, ...]:
    rows = []
    for (network, loss, optimizer), printed in read_block(BLOCKS[data], 3, MEASURES):
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
