"""Theorems 3.1 and 3.2: from random starts in the full W, H and b to neural collapse."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.evaluation.features import nc1
from bce3s.evaluation.neural_collapse import class_means, nc2, nc3
from bce3s.theory.bias_equation import bias_cap, joint_root, theorem_holds
from bce3s.theory.closed_form import ce_minimum, theorem_point
from bce3s.theory.unconstrained import Problem, Solution, minimise
from studies.sections.common import (
    COLOURS,
    LOSSES,
    Options,
    cosine_matrix,
    draw_cosines,
    figure,
    steps,
    table,
    tidy,
)

STARTS = 3


def run(options: Options) -> dict[str, Any]:
    """CE and BCE at n = ``options.samples``, each from several random starts.

    Returns:
        ``root`` and ``rho`` of Eq. 12, ``cap``, ``holds`` (Theorem 3.2's condition), and ``rows``:
        how far each end is from what the theorems say.
    """
    k, n, decays = options.classes, options.samples, options.decays
    root, rho = joint_root(k, n, decays)
    rows = []
    for loss, start in steps([(name, i) for name in LOSSES for i in range(STARTS)], 'collapse'):
        problem = Problem.balanced(k, n, options.dim, LOSSES[loss], decays)
        end = minimise(problem, options.seed + start)
        rows.append({'loss': loss, 'seed': options.seed + start, **measures(end, problem)})
    cap = bias_cap(n, decays)
    return {
        'classes': k,
        'samples': n,
        'dim': options.dim,
        'root': root,
        'rho': rho,
        'cap': cap if np.isfinite(cap) else None,
        'holds': theorem_holds(k, n, decays),
        'decays': [decays.weight, decays.feature, decays.bias],
        'rows': rows,
    }


def measures(end: Solution, problem: Problem) -> dict[str, Any]:
    """Distances of a balanced solution from Eqs. 7-12, and NC1-NC3."""
    k, n, decays = len(problem.counts), problem.counts[0], problem.decays
    loss = problem.loss.__name__
    target = theorem_point(k, n, decays) if loss == 'bce' else ce_minimum(k, n, decays)
    norms = np.linalg.norm(end.weight, axis=1)
    scaled = np.sqrt(decays.weight / (n * decays.feature)) * end.weight[end.labels]
    means = class_means(end.features, end.labels)
    # with lambda_b = 0 any common bias will do for CE
    wanted = end.bias.mean() if loss == 'ce' and not decays.bias else target.bias
    return {
        'objective': end.objective,
        'above_closed_form': end.objective - target.objective,
        'bias': float(end.bias.mean()),
        'bias_error': float(np.abs(end.bias - wanted).max()),
        'rho': float(np.sum(end.weight**2)),
        **_scores(end),
        'norm_spread': float(norms.max() / norms.min() - 1),  # Eq. 7
        'parallel_error': _relative(end.features - scaled, scaled),  # Eq. 8
        'mean_feature': _relative(means.means.numpy().mean(0), norms[0]),  # Eq. 9
        'nc1': nc1(end.features, end.labels),
        'nc2': nc2(end.weight),
        'nc2_uncentred': nc2(end.weight, centred=False),
        'nc3': nc3(end.weight, means),
        'gradient': end.gradient,
        'iterations': end.iterations,
        'cosines': cosine_matrix(end.weight).tolist(),
    }


def _scores(end: Solution) -> dict[str, float]:
    """Means of the positive and of the negative scores, without bias."""
    scores = end.features @ end.weight.T
    own = scores[np.arange(len(scores)), end.labels]
    rest = (scores.sum() - own.sum()) / (scores.size - len(scores))
    return {'s_pos': float(own.mean()), 's_neg': float(rest)}


def _relative(difference: np.ndarray, of: np.ndarray | float) -> float:
    return float(np.linalg.norm(difference) / np.linalg.norm(of))


def text(result: dict[str, Any]) -> str:
    """The rows, under the root of Eq. 12."""
    k, n = result['classes'], result['samples']
    cap = 'none' if result['cap'] is None else f'{result["cap"]:.6f}'
    state = 'Theorem 3.2 holds' if result['holds'] else 'Theorem 3.2 does NOT hold (see beyond)'
    lines = [
        f'K = {k}, d = {result["dim"]}, n = {n}, decays W/H/b = '
        + '/'.join(f'{value:g}' for value in result['decays'])
        + f': {k * n * result["dim"] + k * result["dim"] + k:,} variables from random starts.',
        f'Root of Eq. 12 with rho jointly: b* = {result["root"]:.6f}, rho = {result["rho"]:.4f}; '
        f'cap {cap}: {state}.',
    ]
    rows = [
        (
            row['loss'].upper(),
            row['seed'],
            f'{row["objective"]:.10f}',
            f'{row["above_closed_form"]:+.0e}',
            f'{round(row["bias"], 6) + 0.0:.6f}',
            *(
                f'{row[name]:.0e}'
                for name in (
                    'bias_error',
                    'norm_spread',
                    'parallel_error',
                    'mean_feature',
                    'nc1',
                    'nc2_uncentred',
                    'nc2',
                    'nc3',
                )
            ),
            row['iterations'],
        )
        for row in result['rows']
    ]
    header = (
        'loss',
        'seed',
        'f',
        '- theory',
        'mean b',
        '|b - b*|',
        '|w| equal',
        'h || w',
        'mean h',
    )
    header += ('NC1', 'NC2 raw', 'NC2', 'NC3', 'steps')
    notes = (
        'b*: 0 for CE, the root for BCE; errors are the largest over classes, or relative norms.',
        'NC2 raw: W itself is a simplex ETF; NC2: the centred W is.',
    )
    return '\n'.join([*lines, table(header, rows), *notes])


def draw(result: dict[str, Any]) -> Figure:
    """Cosines between classifiers at the end of the first start; scores and biases."""
    drawn = figure(13, 4.3)
    axes = drawn.subplots(1, 3, width_ratios=[1, 1, 1.1])
    first = {loss: next(r for r in result['rows'] if r['loss'] == loss) for loss in LOSSES}
    for panel, (loss, row) in zip(axes[:2], first.items(), strict=True):
        title = (
            f'{loss.upper()}: cosines of $w_j, w_k$\noff the diagonal {row["cosines"][0][1]:.4f}'
        )
        image = draw_cosines(panel, row['cosines'], title)
    drawn.colorbar(image, ax=list(axes[:2]), shrink=0.8, extend='both', label='cosine')
    _draw_scores(axes[2], result, first)
    drawn.suptitle(
        f'Minima found from random starts: K = {result["classes"]}, d = {result["dim"]}, '
        f'n = {result["samples"]}; simplex ETF: cosines {-1 / (result["classes"] - 1):.4f}',
        x=0.01,
        ha='left',
        fontsize=11,
    )
    return drawn


def _draw_scores(axes, result: dict[str, Any], first: dict[str, dict[str, Any]]) -> None:
    """Positive and negative scores without bias, and the bias, of each loss."""
    for i, (loss, row) in enumerate(first.items()):
        for name, colour, label in (
            ('s_pos', '#3B8E5A', 'positive'),
            ('s_neg', '0.35', 'negative'),
        ):
            value = row[name]
            axes.hlines(value, i - 0.25, i + 0.25, color=colour, linewidth=4)
            axes.text(i + 0.28, value, f'{label} {value:.3f}', va='center', fontsize=9)
        axes.hlines(
            row['bias'], i - 0.25, i + 0.25, color=COLOURS[loss], linestyle='--', linewidth=2
        )
        label = f'b {round(row["bias"], 6) + 0.0:.6f}'
        axes.text(i + 0.28, row['bias'], label, va='center', fontsize=9)
    theory = f'theory: b = 0 (CE), {result["root"]:.6f} (BCE, Eq. 12)'
    tidy(axes, f'Scores without bias, and the bias\n{theory}', '', '$w_j \\cdot h$')
    axes.set_xticks([0, 1], [loss.upper() for loss in first])
    axes.set_xlim(-0.4, 1.9)
