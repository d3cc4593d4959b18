"""The closed form against the paper's own numbers: Tables 8-11, with n = batch / K."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.theory.closed_form import bce_minimum, ce_minimum
from bce3s.theory.decays import Decays
from bce3s.theory.unconstrained import Problem, bce, minimise
from studies.published import BATCH, BATCH_SIZES, BIAS_DECAYS, CIFAR100, DECAY, Published
from studies.sections.common import COLOURS, GREY, Options, figure, table, tidy

MINIMA = {'bce': bce_minimum, 'ce': ce_minimum}
NAMES = ('b', 'rho', 's_pos', 's_neg')
SOURCES = ('published', 'free', 'nonnegative')
LEFT = 5e-7  # where the figure puts lambda_b = 0
CHECKED = (16, 128, 256, 2048)  # batch sizes at which the minimum over H >= 0 is also searched for


def run(options: Options) -> dict[str, Any]:
    """Published and predicted (b, rho, s_pos, s_neg); the paper's settings, whatever the options.

    Returns:
        ``batch_sizes``, ``bias_decays``, ``cifar100``: rows with ``published``, ``free`` and
        ``nonnegative``; ``search``: minimisation over H >= 0 beside its closed form;
        ``curves``: predictions over fine grids.
    """
    sizes = [
        _row({'loss': loss, 'optimiser': optimiser, 'batch': batch}, row, loss, 10, batch / 10)
        for (loss, optimiser), rows in BATCH_SIZES.items()
        for batch, row in rows.items()
    ]
    decays = [
        _row({'lambda_b': value}, row, 'bce', 10, BATCH / 10, value)
        for value, row in BIAS_DECAYS.items()
    ]
    cifar = [_row({'network': name}, row, 'bce', 100, 1.28) for name, row in CIFAR100.items()]
    return {
        'batch_sizes': sizes,
        'bias_decays': decays,
        'cifar100': cifar,
        'curves': _curves(),
        'search': [_search(batch, options.seed) for batch in CHECKED],
    }


def _row(
    key: dict[str, Any],
    published: Published,
    loss: str,
    classes: int,
    samples: float,
    bias_decay: float = DECAY,
) -> dict[str, Any]:
    prediction = _predicted(loss, classes, samples, bias_decay)
    return {**key, 'published': _ordered(published), **prediction}


def _predicted(
    loss: str, classes: int, samples: float, bias_decay: float
) -> dict[str, list[float]]:
    """The four numbers of the minimum, free and with H >= 0."""
    decays = Decays(DECAY, DECAY, bias_decay)
    pair = [MINIMA[loss](classes, samples, decays, nonnegative=held) for held in (False, True)]
    four = [[m.bias, m.rho, m.s_pos, m.s_neg] for m in pair]
    return dict(zip(('free', 'nonnegative'), four, strict=True))


def _ordered(row: Published) -> list[float]:
    return [row.b, row.rho, row.s_pos, row.s_neg]


def _curves() -> dict[str, list[dict[str, Any]]]:
    """Predictions over fine grids, for the figure."""
    return {
        'batch_sizes': [
            {'loss': loss, 'batch': batch, **_predicted(loss, 10, batch / 10, DECAY)}
            for loss in MINIMA
            for batch in np.geomspace(16, 2048, 57).tolist()
        ],
        'bias_decays': [
            {'lambda_b': value, **_predicted('bce', 10, BATCH / 10, value)}
            for value in np.geomspace(LEFT, 0.5, 57).tolist()
        ],
    }


def _search(batch: int, seed: int) -> dict[str, Any]:
    decays = Decays.equal(DECAY)
    problem = Problem.balanced(10, batch / 10, 32, bce, decays, shared=True, nonnegative=True)
    end = minimise(problem, seed)
    closed = bce_minimum(10, batch / 10, decays, nonnegative=True)
    return {
        'batch': batch,
        'bias': float(end.bias.mean()),
        'bias_error': float(abs(end.bias - closed.bias).max()),
        'above_closed_form': end.objective - closed.objective,
    }


def text(result: dict[str, Any]) -> str:
    """Published | free features | features held to H >= 0, one table a source."""
    blocks = []
    for loss, optimiser in BATCH_SIZES:
        rows = [
            row
            for row in result['batch_sizes']
            if (row['loss'], row['optimiser']) == (loss, optimiser)
        ]
        title = f'Table 11, {loss.upper()}, {optimiser}, n = batch / 10'
        blocks.append(_block(title, 'batch', rows))
    title = 'Table 10 (lambda_b = 0: Table 9), BCE, AdamW, batch 128'
    blocks.append(_block(title, 'lambda_b', result['bias_decays']))
    title = 'Table 8, CIFAR-100, BCE, AdamW, batch 128, n = 1.28'
    blocks.append(_block(title, 'network', result['cifar100']))
    blocks.append('Minimisation over H >= 0 from a random start, against its closed form:')
    blocks[-1] += ''.join(
        f'\n  batch {row["batch"]}: b {row["bias"]:.6f}, off by {row["bias_error"]:.0e}, '
        f'f by {row["above_closed_form"]:+.0e}'
        for row in result['search']
    )
    return '\n\n'.join(blocks)


def _block(title: str, key: str, rows: list[dict[str, Any]]) -> str:
    header = [key]
    for name in NAMES:
        header += [f'{name}: paper', 'free', 'H >= 0']
    body = [
        [row[key]]
        + [
            f'{row[source][i]:.{2 if i == 1 else 4}f}'
            for i in range(len(NAMES))
            for source in SOURCES
        ]
        for row in rows
    ]
    distances = ', '.join(
        f'{label} {np.mean([abs(row[source][0] - row["published"][0]) for row in rows]):.4f}'
        for label, source in (('free', 'free'), ('H >= 0', 'nonnegative'))
    )
    return f'{title}\n{table(header, body)}\n  mean distance of b from the paper: {distances}'


def draw(result: dict[str, Any]) -> Figure:
    """The four numbers over the batch size and over lambda_b: curves predicted, marks published."""
    drawn = figure(14, 7.4)
    upper, lower = drawn.subplots(2, 4)
    names = ('b', r'$\rho = \|W\|_F^2$', r'$s_{pos}$', r'$s_{neg}$')
    for i, name in enumerate(names):
        _draw_sizes(upper[i], result, i)
        tidy(upper[i], f'Table 11: {name}', 'batch size', name)
        _draw_decays(lower[i], result, i)
        tidy(lower[i], f'Table 10: {name}', r'$\lambda_b$', name)
    upper[1].set_yscale('log')
    handles, labels = upper[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc='outside lower center', ncols=4, fontsize=9)
    return drawn


def _draw_sizes(axes, result: dict[str, Any], i: int) -> None:
    for loss in MINIMA:
        rows = [row for row in result['curves']['batch_sizes'] if row['loss'] == loss]
        x = [row['batch'] for row in rows]
        free = 'theory, free features' if loss == 'bce' else None
        axes.plot(x, [row['free'][i] for row in rows], '--', color=GREY, linewidth=1, label=free)
        axes.plot(
            x,
            [row['nonnegative'][i] for row in rows],
            color=COLOURS[loss],
            label=f'{loss.upper()}, theory with $H \\geq 0$',
        )
    for (loss, optimiser), rows in BATCH_SIZES.items():
        axes.plot(
            list(rows),
            [_ordered(row)[i] for row in rows.values()],
            'o' if optimiser == 'AdamW' else 'x',
            color=COLOURS[loss],
            fillstyle='none',
            label=f'{loss.upper()}, {optimiser} (published)',
        )
    axes.set_xscale('log', base=2)
    axes.set_xticks([16, 64, 256, 1024], ['16', '64', '256', '1024'])


def _draw_decays(axes, result: dict[str, Any], i: int) -> None:
    rows = result['curves']['bias_decays']
    x = [row['lambda_b'] for row in rows]
    axes.plot(x, [row['free'][i] for row in rows], '--', color=GREY, linewidth=1)
    axes.plot(x, [row['nonnegative'][i] for row in rows], color=COLOURS['bce'])
    x = [row['lambda_b'] or LEFT for row in result['bias_decays']]
    y = [row['published'][i] for row in result['bias_decays']]
    axes.plot(x, y, 'o', color=COLOURS['bce'], fillstyle='none')
    axes.set_xscale('log')
    axes.set_xticks([LEFT, 5e-6, 5e-4, 5e-2], ['0', '5e-6', '5e-4', '5e-2'])
    axes.minorticks_off()
