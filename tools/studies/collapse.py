"""Theorems 3.1 and 3.2: from random starts in the full W, H and b to neural collapse."""

from __future__ import annotations

from typing import Any

import numpy as np

from bce3s.evaluation.features import measure
from bce3s.evaluation.neural_collapse import nc2
from bce3s.theory.bias_equation import bias_cap, joint_root, theorem_holds
from bce3s.theory.closed_form import ce_minimum, theorem_point
from bce3s.theory.unconstrained import Problem, Solution, minimise
from studies.common import LOSSES, Options, steps, table

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
        seed = options.seed + start
        rows.append({'loss': loss, 'seed': seed, **_distances(minimise(problem, seed), problem)})
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


def _distances(end: Solution, problem: Problem) -> dict[str, Any]:
    """Distances of a balanced solution from Eqs. 7-12, and NC1-NC3."""
    k, n, decays = len(problem.counts), problem.counts[0], problem.decays
    loss = problem.loss.__name__
    target = theorem_point(k, n, decays) if loss == 'bce' else ce_minimum(k, n, decays)
    norms = np.linalg.norm(end.weight, axis=1)
    scaled = np.sqrt(decays.weight / (n * decays.feature)) * end.weight[end.labels]
    # with lambda_b = 0 any common bias will do for CE
    wanted = end.bias.mean() if loss == 'ce' and not decays.bias else target.bias
    measures = measure(end.features, end.labels, end.weight, -end.bias)
    return {
        'objective': end.objective,
        'above_closed_form': end.objective - target.objective,
        'bias': float(end.bias.mean()),
        'bias_error': float(np.abs(end.bias - wanted).max()),
        'rho': float(np.sum(end.weight**2)),
        'norm_spread': float(norms.max() / norms.min() - 1),  # Eq. 7
        'parallel_error': float(
            np.linalg.norm(end.features - scaled) / np.linalg.norm(scaled)
        ),  # Eq. 8
        'mean_feature': float(np.linalg.norm(end.features.mean(0)) / norms[0]),  # Eq. 9
        **{name: measures[name] for name in ('nc1', 'nc2', 'nc3')},
        'nc2_uncentred': nc2(end.weight, centred=False),
        'iterations': end.iterations,
    }


def text(result: dict[str, Any]) -> str:
    """The rows, under the root of Eq. 12."""
    cap = 'none' if result['cap'] is None else f'{result["cap"]:.6f}'
    state = 'Theorem 3.2 holds' if result['holds'] else 'Theorem 3.2 does NOT hold (see beyond)'
    decays = '/'.join(f'{value:g}' for value in result['decays'])
    columns = {
        'loss': '{loss}',
        'seed': '{seed}',
        'f': '{objective:.10f}',
        '- theory': '{above_closed_form:+.0e}',
        'mean b': '{bias:.6f}',
        '|b - b*|': '{bias_error:.0e}',
        '|w| equal': '{norm_spread:.0e}',
        'h || w': '{parallel_error:.0e}',
        'mean h': '{mean_feature:.0e}',
        'NC1': '{nc1:.0e}',
        'NC2 raw': '{nc2_uncentred:.0e}',
        'NC2': '{nc2:.0e}',
        'NC3': '{nc3:.0e}',
        'steps': '{iterations}',
    }
    return '\n'.join(
        [
            f'K = {result["classes"]}, d = {result["dim"]}, n = {result["samples"]}, decays W/H/b '
            f'= {decays}; W, H and b from random starts.',
            f'Root of Eq. 12 with rho jointly: b* = {result["root"]:.6f}, rho = '
            f'{result["rho"]:.4f}; cap {cap}: {state}.',
            table(columns, result['rows']),
            'b*: 0 for CE, the root for BCE; errors are the largest over classes, or relative '
            'norms. NC2 raw: W itself is a simplex ETF; NC2: the centred W is.',
        ]
    )
