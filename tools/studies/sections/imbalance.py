"""Minority collapse with CE and BCE: cosines between minority classifiers over the ratio."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.theory.decays import Decays
from bce3s.theory.imbalance import collapse_ratio
from bce3s.theory.unconstrained import Problem, Solution, minimise
from studies.sections.common import (
    COLOURS,
    GREY,
    LOSSES,
    Options,
    figure,
    pair_cosines,
    steps,
    table,
    tidy,
)

MAJORITY = 100.0
# of the decay at which all classes fall together; the thresholds lie at moderate ratios
STRENGTHS = (0.5, 0.3, 0.7)
RATIOS = (1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 13.5, 14, 15, 17, 20, 25, 30, 40, 50, 100)
EQUAL = 1e-6  # |w_j - w_k| / |w_majority| below which classifiers count as one


def run(options: Options) -> dict[str, Any]:
    """Half the classes with 100 samples, half with 100 / R; equal decays of its own.

    Returns:
        ``sweep``: rows by loss and ratio; ``thresholds``: for some decays the predicted ratio of
        collapse and those found by bisection.
    """
    groups = (options.classes - options.classes // 2, max(options.classes // 2, 2))
    limit = 1 / (sum(groups) * MAJORITY**0.5)
    decays = [round(strength * limit, 12) for strength in STRENGTHS]
    sweep = []
    for ratio in steps(RATIOS, 'imbalance'):
        for loss in LOSSES:
            row = _at(options, loss, groups, decays[0], ratio)
            sweep.append({'loss': loss, 'ratio': ratio, **row})
    thresholds = []
    for decay in steps(decays, 'thresholds'):
        row: dict[str, Any] = {'decay': decay}
        row['predicted'] = collapse_ratio(MAJORITY, groups, Decays.equal(decay))
        for loss in LOSSES:
            describe = cache(partial(_at, options, loss, groups, decay))
            for name in ('margin', 'difference', 'norm'):
                row[f'{loss}_{name}'] = _bisect(describe, name)
        thresholds.append(row)
    return {
        'groups': list(groups),
        'majority': MAJORITY,
        'decay': decays[0],
        'sweep': sweep,
        'thresholds': thresholds,
    }


def _at(
    options: Options, loss: str, groups: tuple[int, int], decay: float, ratio: float
) -> dict[str, Any]:
    """The description of the minimum at one ratio."""
    counts = (MAJORITY,) * groups[0] + (MAJORITY / ratio,) * groups[1]
    dim = max(options.dim, sum(groups))
    problem = Problem(counts, dim, LOSSES[loss], Decays.equal(decay), shared=True)
    return _describe(minimise(problem, options.seed), groups[0])


def _describe(end: Solution, many: int) -> dict[str, Any]:
    """Cosines (None between vectors that are 0), norms, biases, and the worst minority margin."""
    weight, few = end.weight, end.weight[many:]
    size = np.linalg.norm(weight[:many], axis=1).mean()
    norm = float(np.linalg.norm(few, axis=1).mean() / size)
    centred = few - weight.mean(0)
    others = end.scores[many:].copy()
    own = others[np.arange(len(few)), many + np.arange(len(few))].copy()
    others[np.arange(len(few)), many + np.arange(len(few))] = -np.inf
    return {
        'cosine': float(pair_cosines(few).mean()) if norm > EQUAL else None,
        'centred_cosine': float(pair_cosines(centred).mean()) if norm > EQUAL else None,
        'majority_cosine': float(pair_cosines(weight[:many]).mean()) if many > 1 else None,
        'norm': norm,
        'difference': float(np.linalg.norm(few - few.mean(0), axis=1).max() / size),
        'margin': float((own - others.max(1)).min()),
        'bias_many': float(end.bias[:many].mean()),
        'bias_few': float(end.bias[many:].mean()),
    }


def _bisect(describe: Callable[[float], dict[str, Any]], what: str) -> float | None:
    """The ratio from which ``what`` is not above 0, to 1 in 500; None if it still is at 1,000."""

    def zero(ratio: float) -> bool:
        return describe(ratio)[what] < (0 if what == 'margin' else 1e-4)

    lower, upper = 1.0, 1000.0
    if not zero(upper):
        return None
    while upper / lower > 1.002:
        middle = (lower * upper) ** 0.5
        lower, upper = (lower, middle) if zero(middle) else (middle, upper)
    return upper


def text(result: dict[str, Any]) -> str:
    """The sweep, then predicted and found thresholds."""
    many, few = result['groups']
    lines = [
        f'{many} classes of {result["majority"]:g} samples, {few} of {result["majority"]:g} / R, '
        f'all decays {result["decay"]:g}; w of the minority:'
    ]
    rows = []
    for ratio in dict.fromkeys(row['ratio'] for row in result['sweep']):
        pair = {row['loss']: row for row in result['sweep'] if row['ratio'] == ratio}
        cells: list[object] = [f'{ratio:g}']
        for name in ('cosine', 'centred_cosine', 'norm', 'margin'):
            for loss in LOSSES:
                value = pair[loss][name]
                cells.append('-' if value is None else f'{value:.4f}')
        rows.append(cells)
    header = ['R']
    for name in ('cosine', 'centred', '|w|/|w_A|', 'margin'):
        header += [f'{name} CE', 'BCE']
    lines.append(table(header, rows))
    lines.append('centred: cosine after centring; margin: own less best other score, the worst.')
    lines.append('')
    lines.append('Ratio from which on the minority is ... ("one": its classifiers are one vector)')
    names = ('margin', 'difference', 'norm')
    rows = [
        [f'{row["decay"]:g}', f'{row["predicted"]:.2f}']
        + [_ratio(row[f'{loss}_{name}']) for name in names for loss in LOSSES]
        for row in result['thresholds']
    ]
    header = ['decays', 'one: theory, both']
    for title in ('classified wrongly', 'one', 'classifier 0'):
        header += [f'{title}: CE', 'BCE']
    return '\n'.join([*lines, table(header, rows)])


def _ratio(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


def draw(result: dict[str, Any]) -> Figure:
    """Cosines, norms and the worst margin of the minority over the ratio."""
    drawn = figure(15, 4.6)
    axes = drawn.subplots(1, 3)
    predicted = result['thresholds'][0]['predicted']
    for loss in LOSSES:
        rows = [row for row in result['sweep'] if row['loss'] == loss]
        _line(axes[0], rows, 'cosine', loss, 'o-', loss.upper())
        _line(axes[0], rows, 'centred_cosine', loss, '--', f'{loss.upper()}, W centred')
        _line(axes[1], rows, 'norm', loss, 'o-', loss.upper())
        _line(axes[1], rows, 'difference', loss, '--', f'{loss.upper()}, from their mean')
        _line(axes[2], rows, 'margin', loss, 'o-', loss.upper())
    axes[2].axhline(0, color='0.2', linewidth=0.8)
    titles = (
        ('Cosine between minority classifiers', 'cosine'),
        ('Norm of minority classifiers', 'relative to the majority'),
        ('Worst margin of a minority class', 'own score less best other'),
    )
    for panel, (title, y) in zip(axes, titles, strict=True):
        panel.axvline(predicted, color=GREY, linestyle=':', label=f'theory: R* = {predicted:.2f}')
        panel.set_xscale('log')
        panel.set_xticks([1, 2, 5, 10, 20, 50, 100], ['1', '2', '5', '10', '20', '50', '100'])
        panel.minorticks_off()
        tidy(panel, title, 'imbalance ratio R', y)
        panel.legend(fontsize=8, loc='lower right' if panel is axes[0] else 'upper right')
    return drawn


def _line(axes, rows: list[dict[str, Any]], name: str, loss: str, style: str, label: str) -> None:
    shown = [row for row in rows if row[name] is not None]
    x, y = [row['ratio'] for row in shown], [row[name] for row in shown]
    width = 1 if style == '--' else 1.8
    axes.plot(x, y, style, color=COLOURS[loss], label=label, markersize=4, linewidth=width)
