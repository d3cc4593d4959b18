"""The classifier's bias: Tables 9 and 10 (Figure 3, 60 models) and Table 11 (Figure 7) of the ICML
paper, all of them ResNet-18 on MNIST.

Each line of a block is one run: loss, optimiser, what is varied, then rho, s_pos and its std, s_neg
and its std, b and its std, alpha(b).
"""

from __future__ import annotations

from typing import Any

from reproduction.cells import Cell, Drawing, Row, Table
from reproduction.tables.icml import (
    NAMES,
    SOURCE,
    alpha_note,
    collapse_cell,
    read_block,
    score_columns,
)

COLUMNS = score_columns()
MEASURES = tuple(column.measure for column in COLUMNS)
RATES = {'sgd': 0.01, 'adamw': 0.001}  # at batch size 128

# by the mean of the initial biases, lambda_b = 0
TABLE_9 = """
ce  sgd   0  218.9428  5.6648 0.1673 -0.6323 0.2360 -0.0179 0.1228       -
ce  sgd   1  218.8023  5.6337 0.1473 -0.6290 0.2097  0.9821 0.1149       -
ce  sgd   2  218.3450  5.6456 0.1556 -0.6318 0.2213  1.9821 0.1122       -
ce  sgd   3  218.3319  5.6399 0.1521 -0.6295 0.2132  2.9821 0.1163       -
ce  sgd   4  219.2994  5.6628 0.1600 -0.6321 0.2281  3.9820 0.1307       -
ce  sgd   5  219.5797  5.6611 0.1780 -0.6329 0.2411  4.9820 0.1279       -
ce  sgd   6  220.0522  5.6458 0.1598 -0.6301 0.2245  5.9820 0.1312       -
ce  sgd   8  219.4256  5.6410 0.1608 -0.6311 0.2284  7.9821 0.1194       -
ce  sgd   10 219.2911  5.6411 0.1601 -0.6300 0.2152  9.9821 0.1250       -
ce  adamw 0  212.2146  5.6360 0.0250 -0.6262 0.0189 -0.0180 0.0486       -
ce  adamw 1  212.2138  5.6355 0.0353 -0.6262 0.0194  0.9828 0.0493       -
ce  adamw 2  212.2151  5.6336 0.0258 -0.6260 0.0189  1.9821 0.0487       -
ce  adamw 3  212.2152  5.6336 0.0264 -0.6260 0.0189  2.9825 0.0486       -
ce  adamw 4  212.2161  5.6307 0.0274 -0.6257 0.0191  3.9823 0.0491       -
ce  adamw 5  212.2143  5.6308 0.0264 -0.6257 0.0189  4.9809 0.0486       -
ce  adamw 6  212.2143  5.6323 0.0264 -0.6258 0.0189  5.9822 0.0486       -
ce  adamw 8  212.2163  5.6347 0.0262 -0.6261 0.0189  7.9812 0.0486       -
ce  adamw 10 212.2151  5.6340 0.0263 -0.6260 0.0189  9.9829 0.0486       -
bce sgd   0  393.2500  7.1748 0.1277 -2.8219 0.1379  3.0789 0.0489 -0.0120
bce sgd   1  374.9337  7.7515 0.1578 -2.2877 0.1468  3.6658 0.0709 -0.0070
bce sgd   2  362.5949  8.1822 0.1525 -1.9121 0.1604  4.1078 0.1053 -0.0045
bce sgd   3  355.2978  8.5608 0.1634 -1.6192 0.1568  4.4557 0.0981 -0.0030
bce sgd   4  354.6479  8.8711 0.1473 -1.3347 0.1725  4.7949 0.1094 -0.0019
bce sgd   5  355.9634  9.2305 0.1503 -1.0452 0.1960  5.1493 0.1192 -0.0009
bce sgd   6  361.1938  9.5688 0.1355 -0.7519 0.1688  5.5084 0.0869 -0.0002
bce sgd   8  385.6802 10.3761 0.1400 -0.0997 0.2436  6.3418 0.0989  0.0007
bce sgd   10 426.3013 11.5173 0.1430  0.7786 0.3075  7.4858 0.1021  0.0010
bce adamw 0  350.4272  9.3081 0.0352 -1.0348 0.0321  5.2388 0.0609 -0.0006
bce adamw 1  350.4283  9.3015 0.0345 -1.0340 0.0321  5.2389 0.0609 -0.0006
bce adamw 2  350.4292  9.3029 0.0357 -1.0342 0.0321  5.2388 0.0609 -0.0006
bce adamw 3  350.4275  9.3028 0.0364 -1.0342 0.0321  5.2388 0.0609 -0.0006
bce adamw 4  350.4248  9.3039 0.0362 -1.0343 0.0320  5.2388 0.0609 -0.0006
bce adamw 5  350.4250  9.3100 0.0358 -1.0350 0.0320  5.2388 0.0608 -0.0006
bce adamw 6  350.4302  9.3063 0.0345 -1.0346 0.0321  5.2388 0.0608 -0.0006
bce adamw 8  350.4304  9.3094 0.0356 -1.0349 0.0321  5.2389 0.0609 -0.0006
bce adamw 10 350.4330  9.3109 0.0369 -1.0351 0.0321  5.2388 0.0609 -0.0006
"""
# by lambda_b, the mean of the initial biases is 10
TABLE_10 = """
ce  sgd   5e-1 218.6677  5.6511 0.1144 -0.6304 0.1854 -0.0000 0.0002       -
ce  sgd   5e-2 218.6658  5.6662 0.1176 -0.6321 0.2031 -0.0000 0.0017       -
ce  sgd   5e-3 218.5622  5.6427 0.1076 -0.6296 0.1917  0.0013 0.0156       -
ce  sgd   5e-4 219.4882  5.6527 0.1287 -0.6322 0.2352  4.0998 0.0796       -
ce  sgd   5e-5 219.0555  5.6526 0.1407 -0.6310 0.2192  9.1337 0.1038       -
ce  sgd   5e-6 219.2227  5.6426 0.1507 -0.6307 0.2209  9.8940 0.1111       -
ce  adamw 5e-1 212.2359  5.6329 0.0340 -0.6259 0.0037 -0.0000 0.0001       -
ce  adamw 5e-2 212.2369  5.6372 0.0335 -0.6264 0.0037  0.0000 0.0010       -
ce  adamw 5e-3 212.2328  5.6382 0.0186 -0.6265 0.0038  0.0000 0.0083       -
ce  adamw 5e-4 212.2152  5.6339 0.0257 -0.6260 0.0128  0.0010 0.0324       -
ce  adamw 5e-5 212.2158  5.6316 0.0221 -0.6257 0.0174  3.4803 0.0448       -
ce  adamw 5e-6 212.2147  5.6330 0.0256 -0.6259 0.0186  8.9169 0.0480       -
bce sgd   5e-1 472.0906  4.2473 0.1306 -5.6495 0.1260  0.0036 0.0000 -0.1683
bce sgd   5e-2 471.6918  4.2916 0.1134 -5.5975 0.1029  0.0362 0.0003 -0.1640
bce sgd   5e-3 452.0422  4.6706 0.1199 -5.1987 0.0936  0.4031 0.0037 -0.1269
bce sgd   5e-4 358.9137  9.0244 0.1190 -0.7897 0.1281  4.8403 0.0604 -0.0018
bce sgd   5e-5 414.4364 11.0715 0.1306  0.5388 0.2787  7.0401 0.0959  0.0008
bce sgd   5e-6 424.8451 11.4847 0.1327  0.7536 0.3067  7.4372 0.0973  0.0010
bce adamw 5e-1 483.3321  4.2399 0.0308 -5.6315 0.0215  0.0036 0.0000 -0.1636
bce adamw 5e-2 482.1844  4.2698 0.0306 -5.5977 0.0213  0.0358 0.0003 -0.1598
bce adamw 5e-3 470.6640  4.5928 0.0281 -5.2753 0.0201  0.3577 0.0033 -0.1256
bce adamw 5e-4 356.5036  7.7870 0.0130 -2.0822 0.0285  3.5514 0.0330 -0.0083
bce adamw 5e-5 347.1199  9.0726 0.0303 -1.1593 0.0304  4.9903 0.0537 -0.0012
bce adamw 5e-6 350.0225  9.2915 0.0372 -1.0489 0.0319  5.2119 0.0599 -0.0006
"""
# by batch size, every lambda 5e-4. Its rows of batch size 128 are ResNet-18's of Table 6.
TABLE_11 = """
ce  sgd   16    100.9731 6.7176 0.3270 -0.7538 0.1950 -0.0074 0.0523       -
ce  sgd   32    130.1404 6.3375 0.2425 -0.7110 0.1709 -0.0074 0.0478       -
ce  sgd   64    168.6290 6.0159 0.1562 -0.6737 0.2052 -0.0074 0.0547       -
ce  sgd   128   219.0960 5.6439 0.1437 -0.6302 0.2073 -0.0074 0.0852       -
ce  sgd   256   285.6314 5.3200 0.1586 -0.5936 0.2070 -0.0074 0.1259       -
ce  sgd   512   379.3403 4.9776 0.2735 -0.5535 0.2921 -0.0073 0.2526       -
ce  sgd   1024  522.5523 4.6562 1.3926 -0.5173 0.8343 -0.0073 1.0641       -
ce  sgd   2048  473.7898 3.5759 2.6771 -0.3972 2.0373 -0.0072 1.8399       -
ce  adamw 16     87.6451 6.5511 0.0110 -0.7279 0.0089  0.0003 0.0211       -
ce  adamw 32    118.0328 6.2558 0.0101 -0.6951 0.0104  0.0003 0.0253       -
ce  adamw 64    158.4980 5.9506 0.0106 -0.6612 0.0117  0.0002 0.0293       -
ce  adamw 128   212.2180 5.6331 0.0120 -0.6259 0.0127  0.0001 0.0328       -
ce  adamw 256   282.9370 5.3168 0.0148 -0.5908 0.0133  0.0000 0.0357       -
ce  adamw 512   375.4274 4.9968 0.0209 -0.5552 0.0140 -0.0001 0.0380       -
ce  adamw 1024  496.6912 4.6627 0.0631 -0.5199 0.0238 -0.0190 0.0472       -
ce  adamw 2048  668.3063 4.3236 0.3703 -0.4906 0.2909 -0.0153 0.2964       -
bce sgd   16    199.6890 6.1841 0.3002 -5.9379 0.2665  0.7828 0.0223 -0.0660
bce sgd   32    255.9898 6.1508 0.2184 -5.2761 0.1932  1.1506 0.0214 -0.0546
bce sgd   64    324.7408 6.2846 0.1600 -4.4319 0.1295  1.6456 0.0254 -0.0399
bce sgd   128   407.1362 6.4008 0.1236 -3.4987 0.1137  2.2170 0.0308 -0.0268
bce sgd   256   501.1286 6.6422 0.1347 -2.5493 0.1501  2.8605 0.0740 -0.0167
bce sgd   512   631.7796 6.6413 0.2725 -1.9155 0.2544  3.2338 0.1859 -0.0127
bce sgd   1024  816.6544 6.3274 0.4653 -1.5393 0.4515  3.3466 0.3554 -0.0119
bce sgd   2048  351.9647 1.7449 2.4487 -0.5243 1.6982  2.6332 1.5391  0.0077
bce adamw 16    189.2794 6.5169 0.0240 -5.3841 0.0215  1.2651 0.0119 -0.0457
bce adamw 32    242.1592 6.7110 0.0169 -4.5302 0.0202  1.7885 0.0167 -0.0322
bce adamw 64    300.8807 7.1079 0.0118 -3.4518 0.0229  2.5261 0.0234 -0.0188
bce adamw 128   357.9696 7.7460 0.0113 -2.1233 0.0291  3.5134 0.0337 -0.0086
bce adamw 256   455.2137 7.6247 0.0112 -1.6013 0.0256  3.8010 0.0325 -0.0068
bce adamw 512   590.9918 7.2831 0.0271 -1.3210 0.0270  3.8500 0.0375 -0.0064
bce adamw 1024  790.8874 6.6204 0.1011 -1.3148 0.1126  3.5830 0.0899 -0.0089
bce adamw 2048 1019.6438 5.9625 0.2969 -1.2607 0.2750  3.3303 0.2111 -0.0122
"""


def bias_mean(loss: str, optimizer: str, mean: str) -> Cell:
    """A cell of Table 9."""
    changes = {'model.head.decay.bias': 0.0, 'model.head.bias_mean': float(mean)}
    return collapse_cell('mnist', 'r18', loss, optimizer, f'bias_mean/{mean}', changes)


def bias_decay(loss: str, optimizer: str, decay: str) -> Cell:
    """A cell of Table 10."""
    changes = {'model.head.decay.bias': float(decay), 'model.head.bias_mean': 10.0}
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


def _rows(block: str, cell: Any, name: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            cell(loss, optimizer, value),
            {'loss': NAMES[loss], 'optimizer': NAMES[optimizer], name: value},
            printed,
        )
        for (loss, optimizer, value), printed in read_block(block, 3, MEASURES)
    )


FIXED = _rows(TABLE_9, bias_mean, 'initial bias')
VARYING = _rows(TABLE_10, bias_decay, 'lambda_b')
BATCHES = _rows(TABLE_11, batch_size, 'batch size')


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
