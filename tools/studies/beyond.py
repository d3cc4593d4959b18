"""Where Theorem 3.2 stops: the cap of the bias, the other minimum, and d = K - 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.plotting import LOSS_COLOURS
from bce3s.theory.bias_equation import bias_cap, theorem_holds
from bce3s.theory.closed_form import bce_minimum, theorem_point
from bce3s.theory.decays import price
from bce3s.theory.unconstrained import Problem, bce, best_of
from studies.common import GREY, Options, figure, pair_cosines, steps, table, tidy
from studies.published import published

SWEEP = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 32, 50, 80, 128, 200)
STARTS_NARROW = 6  # with d = K - 1 there are local minima
TICKS = (1, 2, 5, 10, 20, 50, 100, 200)


def run(options: Options) -> dict[str, Any]:
    """The theorem's point, the closed form and the minima found, over n.

    Returns:
        ``rows``, one for each n at which the classes do not collapse.
    """
    k, decays = options.classes, options.decays
    usable = [n for n in SWEEP if k * price(n, decays) < 1]
    return {
        'classes': k,
        'dim': options.dim,
        'published': options.as_published and decays.bias == decays.weight,
        'rows': [_compare(options, n) for n in steps(usable, 'beyond')],
    }


def _compare(options: Options, samples: int) -> dict[str, Any]:
    """Theory, minimisation and d = K - 1 at one n."""
    k, decays = options.classes, options.decays
    point, minimum = theorem_point(k, samples, decays), bce_minimum(k, samples, decays)
    problem = Problem.balanced(k, samples, options.dim, bce, decays, shared=True)
    wide = best_of(problem, 1, options.seed)[0]
    problem = Problem.balanced(k, samples, k - 1, bce, decays, shared=True)
    narrow = best_of(problem, STARTS_NARROW, options.seed)[0]
    cap = bias_cap(samples, decays)
    return {
        'samples': samples,
        'holds': theorem_holds(k, samples, decays),
        'root': point.bias,
        'cap': cap if np.isfinite(cap) else None,
        'bias': minimum.bias,
        'held_bias': bce_minimum(k, samples, decays, nonnegative=True).bias,
        'shift': minimum.shift,
        'found_bias': float(wide.bias.mean()),
        'cosine': float(pair_cosines(wide.weight).mean()),
        'centred_cosine': float(pair_cosines(wide.weight - wide.weight.mean(0)).mean()),
        'objective': minimum.objective,
        'above_closed_form': wide.objective - minimum.objective,
        'theorem_objective': point.objective,
        'narrow_objective': narrow.objective,
        'narrow_bias': [float(narrow.bias.min()), float(narrow.bias.max())],
    }


def text(result: dict[str, Any]) -> str:
    """The rows."""
    columns = {
        'n': '{samples}',
        'holds': '{holds}',
        'root b*': '{root:.6f}',
        'cap': '{cap:.6f}',
        'b': '{bias:.6f}',
        'b found': '{found_bias:.6f}',
        'shift': '{shift:.4f}',
        'cos w': '{cosine:.4f}',
        'centred': '{centred_cosine:.4f}',
        "f, theorem's": '{theorem_objective:.8f}',
        'f, minimum': '{objective:.8f}',
        'found -': '{above_closed_form:+.0e}',
        'f, d = K-1': '{narrow_objective:.8f}',
        'b, d = K-1': '{narrow_bias[0]:.3f}..{narrow_bias[1]:.3f}',
    }
    return (
        f'BCE, K = {result["classes"]}, d = {result["dim"]}, one random start each (d = K - 1: the '
        f'best of {STARTS_NARROW}). Theorem 3.2 holds while lambda_b b* <= sqrt(n lambda_W '
        'lambda_H); beyond, b is the cap and only the centred W is a simplex ETF.\n'
        + table(columns, result['rows'])
    )


def draw(result: dict[str, Any]) -> Figure:
    """The bias, how much lower the minimum is than the theorem's point, and W, over n."""
    rows = result['rows']
    n = [row['samples'] for row in rows]
    drawn = figure(14, 4.4)
    bias, gain, cosines = drawn.subplots(1, 3)
    lines = {
        'cap': dict(color='0.2', linestyle=':', label='cap'),
        'root': dict(color=GREY, linestyle='--', label='root of Eq. 12 (Theorem 3.2)'),
        'bias': dict(color=LOSS_COLOURS['bce'], label='minimum, closed form'),
        'held_bias': dict(color='#E0A030', label='minimum with $H \\geq 0$'),
        'found_bias': dict(color=LOSS_COLOURS['bce'], marker='o', linestyle='', label='found'),
    }
    for name, style in lines.items():
        bias.plot(n, [row[name] for row in rows], **style)
    if result['published']:
        table11 = {k[2]: row for k, row in published(11).items() if k[:2] == ('bce', 'adamw')}
        x, y = [int(batch) / 10 for batch in table11], [row[0] for row in table11.values()]
        bias.plot(x, y, 'kx', label='Table 11, AdamW (n = batch / 10)')
    bias.set_ylim(0, max(row['root'] for row in rows) * 1.15)
    for name, label in (('objective', 'd = K or more'), ('narrow_objective', 'd = K - 1')):
        y = [100 * (1 - row[name] / row['theorem_objective']) for row in rows]
        gain.plot(
            n, y, 'o-', color=LOSS_COLOURS['bce' if name == 'objective' else 'ce'], label=label
        )
    for name, style in (('cosine', 'o-'), ('centred_cosine', 's--')):
        cosines.plot(n, [row[name] for row in rows], style, label=name.replace('_', ' '))
    ticks = [tick for tick in TICKS if tick <= n[-1]]
    tidy(bias, 'BCE: the bias of the minimum', 'n', 'b', ticks)
    tidy(gain, "How far the minimum lies below Theorem 3.2's point", 'n', '%', ticks)
    tidy(cosines, 'Cosine between classifiers, found', 'n', 'cosine', ticks)
    return drawn
