"""The ridge of CE's minimum along the bias when lambda_b = 0, and that BCE has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.theory.bias_equation import joint_root
from bce3s.theory.closed_form import bce_minimum, ce_minimum
from bce3s.theory.decays import Decays
from bce3s.theory.unconstrained import Problem, minimise, objective, random_start
from studies.published import FINAL_BIAS, INITIAL_MEANS
from studies.sections.common import (
    COLOURS,
    GREY,
    HELD,
    LOSSES,
    Options,
    figure,
    steps,
    table,
    tidy,
)

SAMPLES = 12.8  # batches of 128 of ten classes; fewer if the options say so


def run(options: Options) -> dict[str, Any]:
    """Ends with lambda_b = 0 from biases of the paper's initial means, and CE with lambda_b > 0.

    Returns:
        ``rows``: for each initial mean the start's own mean and, by loss, final mean, spread of the
        biases and objective; ``root``: BCE's; ``along``: how CE's objective varies along b + c 1;
        ``decayed``: CE's bias from 10 with the options' lambda_b (``None`` if that is 0).
    """
    k, decays = options.classes, replace(options.decays, bias=0.0)
    samples = min(SAMPLES, options.samples)
    rows = []
    for mean in steps(INITIAL_MEANS, 'ridge'):
        row: dict[str, Any] = {'initial': mean}
        for name, loss in LOSSES.items():
            problem = Problem.balanced(k, samples, options.dim, loss, decays, shared=True)
            end = minimise(problem, options.seed, bias_mean=mean)
            row[name] = {
                'start': float(random_start(problem, options.seed, mean)[2].mean()),
                'bias': float(end.bias.mean()),
                'spread': float(np.ptp(end.bias)),
                'objective': end.objective,
            }
        rows.append(row)
    return {
        'classes': k,
        'samples': samples,
        'root': joint_root(k, samples, decays)[0],
        'held_root': bce_minimum(k, samples, decays, nonnegative=True).bias,
        'objective': {
            'ce': ce_minimum(k, samples, decays).objective,
            'bce': bce_minimum(k, samples, decays).objective,
        },
        'along': _along(options, decays),
        'published': options.as_published,
        'rows': rows,
        'decayed': _decayed(options),
    }


def _along(options: Options, decays: Decays) -> float:
    """How much f of CE varies along b + c 1, c in [-10, 10], at a minimum in the full W, H, b."""
    samples = min(10, options.samples)
    problem = Problem.balanced(options.classes, samples, options.dim, LOSSES['ce'], decays)
    end = minimise(problem, options.seed)
    values = [
        objective(end.weight, end.features, end.bias + c, end.labels, problem.loss, decays)
        for c in np.linspace(-10, 10, 41)
    ]
    return max(values) - min(values)


def _decayed(options: Options) -> dict[str, Any] | None:
    if not options.decays.bias:
        return None
    problem = Problem.balanced(
        options.classes,
        min(SAMPLES, options.samples),
        options.dim,
        LOSSES['ce'],
        options.decays,
        shared=True,
    )
    end = minimise(problem, options.seed, bias_mean=10.0)
    return {'lambda_b': options.decays.bias, 'largest': float(np.abs(end.bias).max())}


def text(result: dict[str, Any]) -> str:
    """Final means by initial means, beside Table 9's."""
    lines = [
        f'lambda_b = 0, K = {result["classes"]}, n = {result["samples"]}; BCE: root of Eq. 12 '
        f'{result["root"]:.6f} ({result["held_root"]:.4f} with H >= 0, as after a ReLU).',
        f'CE at a minimum, b + c 1 for c in [-10, 10]: f varies by {result["along"]:.0e}.',
    ]
    header = ['initial', 'drawn mean', 'CE: final', 'max - min', 'f - theory']
    header += ['BCE: final', 'f - theory']
    if result['published']:
        header += ['paper, AdamW: CE', 'BCE', 'SGD: CE', 'BCE']
    rows = []
    for i, row in enumerate(result['rows']):
        cells = [row['initial'], f'{row["ce"]["start"]:.6f}']
        for loss in LOSSES:
            cells.append(f'{row[loss]["bias"]:.6f}')
            if loss == 'ce':
                cells.append(f'{row[loss]["spread"]:.0e}')
            cells.append(f'{row[loss]["objective"] - result["objective"][loss]:+.0e}')
        if result['published']:
            for optimiser in ('AdamW', 'SGD'):
                cells += [f'{FINAL_BIAS[loss, optimiser][i]:.4f}' for loss in LOSSES]
        rows.append(cells)
    lines.append(table(header, rows))
    if result['decayed']:
        lines.append(
            f'CE with lambda_b = {result["decayed"]["lambda_b"]:g} from a mean of 10: '
            f'largest |b_k| {result["decayed"]["largest"]:.0e}.'
        )
    return '\n'.join(lines)


def draw(result: dict[str, Any]) -> Figure:
    """Final against initial bias, ours and the paper's Table 9."""
    drawn = figure(7.6, 5)
    axes = drawn.subplots()
    x = [row['initial'] for row in result['rows']]
    axes.plot([0, 10], [0, 10], ':', color=GREY, label="CE's ridge: the bias stays")
    axes.axhline(result['root'], linestyle='--', color=GREY, label='root of Eq. 12')
    axes.axhline(result['held_root'], linestyle='-.', color=HELD, label='the same with $H \\geq 0$')
    for loss in LOSSES:
        axes.plot(
            x,
            [row[loss]['bias'] for row in result['rows']],
            'o',
            color=COLOURS[loss],
            label=f'{loss.upper()}: minimum found',
        )
        for optimiser, mark in (('AdamW', 'x'), ('SGD', '+')) if result['published'] else ():
            axes.plot(
                INITIAL_MEANS,
                FINAL_BIAS[loss, optimiser],
                mark,
                color=COLOURS[loss],
                markersize=9,
                alpha=0.8,
                label=f'{loss.upper()}, {optimiser} (Table 9)',
            )
    title = r'$\lambda_b = 0$: the final bias against the initial one'
    tidy(axes, title, 'mean of the initial bias', 'mean of the final bias')
    axes.legend(fontsize=8, loc='upper left')
    return drawn
