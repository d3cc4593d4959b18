"""The closed form against the paper's own numbers: Tables 8-11, with n = batch / K."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.plotting import LOSS_COLOURS
from bce3s.theory.closed_form import bce_minimum, ce_minimum
from bce3s.theory.decays import Decays
from reproduction.published import read_published
from studies.common import GREY, Options, figure, table, tidy

MINIMA = {'bce': bce_minimum, 'ce': ce_minimum}
DECAY, BATCH = 5e-4, 128  # of ResNet-18 after 100 epochs where nothing else is said
NAMES = ('b', 'rho', 's_pos', 's_neg')
MEASURES = ('train.b_mean', 'train.rho', 'train.s_pos_mean', 'train.s_neg_mean')


@cache
def published(number: int) -> Mapping[tuple[str, ...], tuple[float, ...]]:
    """Means of (b, rho, s_pos, s_neg) by the labels of a row of Table ``number``: loss, optimiser
    and what is varied (Table 8: network, loss, optimiser); ``z = W h - b``.
    """
    return {
        tuple(labels.values()): tuple(float(numbers[name]) for name in MEASURES)
        for labels, numbers in read_published(f'icml_table{number}')
    }


def run(_: Options) -> dict[str, Any]:
    """Published and predicted (b, rho, s_pos, s_neg); the paper's settings, whatever the options.

    Returns:
        ``rows`` with ``published``, ``free`` (the closed form) and ``held`` (the same for H >= 0).
    """
    rows = [
        _row(f'Table 11, {loss}, {optimiser}: batch', batch, numbers, loss, 10, int(batch) / 10)
        for (loss, optimiser, batch), numbers in published(11).items()
    ]
    by_decay = {value: n for (*run, value), n in published(10).items() if run == ['bce', 'adamw']}
    by_decay['0'] = published(9)['bce', 'adamw', '10']
    rows += [
        _row('Tables 10, 9, bce, adamw: lambda_b', v, n, 'bce', 10, BATCH / 10, float(v))
        for v, n in by_decay.items()
    ]
    rows += [
        _row('Table 8, CIFAR-100, bce, adamw: network', network, n, 'bce', 100, BATCH / 100)
        for (network, *run), n in published(8).items()
        if run == ['bce', 'adamw']
    ]
    return {'rows': rows}


def _row(
    title: str,
    value: str,
    numbers: tuple[float, ...],
    loss: str,
    classes: int,
    samples: float,
    bias_decay: float = DECAY,
) -> dict[str, Any]:
    row = {'title': title, 'loss': loss, 'value': value, 'published': list(numbers)}
    for name, held in (('free', False), ('held', True)):
        found = MINIMA[loss](classes, samples, Decays(DECAY, DECAY, bias_decay), nonnegative=held)
        row[name] = [found.bias, found.rho, found.s_pos, found.s_neg]
    return row


def text(result: dict[str, Any]) -> str:
    """Published | free features | features held to H >= 0, one table a source."""
    columns = {'': '{value}'}
    for i, name in enumerate(NAMES):
        digits = 2 if name == 'rho' else 4
        for source, title in (('published', 'paper'), ('free', 'free'), ('held', 'H >= 0')):
            columns[f'{name} {title}'] = f'{{{source}[{i}]:.{digits}f}}'
    blocks = []
    for title, group in groupby(result['rows'], key=lambda row: row['title']):
        rows = list(group)
        free, held = (
            np.mean([abs(row[source][0] - row['published'][0]) for row in rows])
            for source in ('free', 'held')
        )
        distance = f'Mean distance of b from the paper: free {free:.4f}, H >= 0 {held:.4f}.'
        blocks.append(f'{title}\n{table(columns, rows)}\n{distance}')
    return '\n\n'.join(blocks)


def draw(result: dict[str, Any]) -> Figure:
    """The four numbers of AdamW over the batch size: curves predicted, marks published."""
    drawn = figure(14, 3.9)
    for i, axes in enumerate(drawn.subplots(1, 4)):
        for loss in MINIMA:
            rows = [r for r in result['rows'] if r['title'].startswith(f'Table 11, {loss}, adamw')]
            x = [int(row['value']) for row in rows]
            axes.plot(x, [row['free'][i] for row in rows], '--', color=GREY, linewidth=1)
            y = [row['held'][i] for row in rows]
            axes.plot(x, y, color=LOSS_COLOURS[loss], label=f'{loss}, theory with $H \\geq 0$')
            y = [row['published'][i] for row in rows]
            axes.plot(
                x, y, 'o', color=LOSS_COLOURS[loss], fillstyle='none', label=f'{loss}, published'
            )
        tidy(axes, f'Table 11, AdamW: {NAMES[i]}', 'batch size', '', (16, 64, 256, 1024))
    return drawn
