"""Where Theorem 3.2 stops: the cap of the bias, the other minimum, and d = K - 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from bce3s.evaluation.neural_collapse import nc2
from bce3s.theory.bias_equation import bias_cap, theorem_holds
from bce3s.theory.closed_form import bce_minimum, theorem_point
from bce3s.theory.decays import price
from bce3s.theory.unconstrained import Problem, bce, best_of
from studies.sections.beyond_figure import draw
from studies.sections.common import Options, cosine_matrix, pair_cosines, steps, table

__all__ = ['draw', 'run', 'text']

FEW = 12  # samples per class of the detailed comparison
SWEEP = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 32, 50, 80, 128, 200)
STARTS = 3
STARTS_NARROW = 6  # with d = K - 1 there are local minima


def run(options: Options) -> dict[str, Any]:
    """The minimum at n = 12 against the theorem's point, and both over n.

    Returns:
        ``detail``: of n = 12. ``sweep``: one row for each n at which the classes do not collapse.
    """
    k, decays = options.classes, options.decays
    usable = [n for n in SWEEP if k * price(n, decays) < 1]
    few = max(n for n in usable if n <= FEW)
    return {
        'classes': k,
        'dim': options.dim,
        'decays': [decays.weight, decays.feature, decays.bias],
        'detail': _detail(options, few),
        'sweep': [_compare(options, n) for n in steps(usable, 'beyond')],
        'curves': _curves(options, usable),
    }


def _detail(options: Options, few: int) -> dict[str, Any]:
    k, decays = options.classes, options.decays
    problem = Problem.balanced(k, few, options.dim, bce, decays)
    ends = best_of(problem, STARTS, options.seed)
    best = ends[0]
    mean_w, mean_h = best.weight.mean(0), best.features.mean(0)
    lengths = np.linalg.norm(mean_w) * np.linalg.norm(mean_h)
    return {
        'samples': few,
        'theorem': vars(theorem_point(k, few, decays)),
        'closed_form': vars(bce_minimum(k, few, decays)),
        'found': {
            'objective': best.objective,
            'worst_objective': ends[-1].objective,
            'bias': float(best.bias.mean()),
            'bias_spread': float(np.ptp(best.bias)),
            'rho': float(np.sum(best.weight**2)),
            'nc2': nc2(best.weight),
            'nc2_uncentred': nc2(best.weight, centred=False),
            'mean_shift': float(mean_w @ mean_h),
            'mean_cosine': float(mean_w @ mean_h / lengths) if lengths > 1e-6 else None,
            'cosines': cosine_matrix(best.weight).tolist(),
            'centred_cosines': cosine_matrix(best.weight - mean_w).tolist(),
        },
    }


def _curves(options: Options, usable: list[int]) -> dict[str, list[float]]:
    """The closed forms over a fine grid of n, for the figure."""
    k, decays = options.classes, options.decays
    grid = np.geomspace(usable[0], usable[-1], 80).tolist()
    caps = [bias_cap(n, decays) for n in grid]
    return {
        'samples': grid,
        'cap': caps if np.isfinite(caps).all() else [],
        'root': [theorem_point(k, n, decays).bias for n in grid],
        'bias': [bce_minimum(k, n, decays).bias for n in grid],
        'held_bias': [bce_minimum(k, n, decays, nonnegative=True).bias for n in grid],
    }


def _compare(options: Options, samples: int) -> dict[str, Any]:
    """Theory, minimisation and d = K - 1 at one n."""
    k, decays = options.classes, options.decays
    point, minimum = theorem_point(k, samples, decays), bce_minimum(k, samples, decays)
    wide = best_of(Problem.balanced(k, samples, options.dim, bce, decays, shared=True), 1)[0]
    narrow = best_of(Problem.balanced(k, samples, k - 1, bce, decays, shared=True), STARTS_NARROW)[
        0
    ]
    cap = bias_cap(samples, decays)
    return {
        'samples': samples,
        'holds': theorem_holds(k, samples, decays),
        'root': point.bias,
        'cap': cap if np.isfinite(cap) else None,
        'bias': minimum.bias,
        'found_bias': float(wide.bias.mean()),
        'cosine': float(pair_cosines(wide.weight).mean()),
        'centred_cosine': float(pair_cosines(wide.weight - wide.weight.mean(0)).mean()),
        'objective': minimum.objective,
        'found_objective': wide.objective,
        'theorem_objective': point.objective,
        'narrow_objective': narrow.objective,
        'narrow_bias': [float(narrow.bias.min()), float(narrow.bias.max())],
    }


def text(result: dict[str, Any]) -> str:
    """The comparison at n = 12, then the sweep."""
    detail = result['detail']
    point, minimum, found = detail['theorem'], detail['closed_form'], detail['found']
    lines = [
        f'BCE, K = {result["classes"]}, d = {result["dim"]}, n = {detail["samples"]}: '
        f'minimum "{minimum["regime"]}" (lambda_b b* '
        + ('>' if minimum['regime'] == 'shifted' else '<=')
        + ' sqrt(n lambda_W lambda_H)).',
        table(
            ('', 'f', 'b', 'rho', 'shift', 'NC2', 'NC2 raw'),
            [
                ("Theorem 3.2's point", *_numbers(point), '0', '0'),
                ('closed form of the minimum', *_numbers(minimum), '0', '-'),
                (
                    f'found ({STARTS} random starts, full W, H, b)',
                    *_numbers({**found, 'shift': found['mean_shift']}),
                    f'{found["nc2"]:.0e}',
                    f'{found["nc2_uncentred"]:.3f}',
                ),
            ],
        ),
        f'Worst start: f higher by {found["worst_objective"] - found["objective"]:.0e}.'
        + (
            ''
            if found['mean_cosine'] is None
            else f' Cosine of mean w and mean h: {found["mean_cosine"]:.4f}.'
        ),
        '',
        f'Over n (d = {result["dim"]}, one random start each; d = K - 1 = {result["classes"] - 1}, '
        f'best of {STARTS_NARROW}):',
    ]
    rows = [
        (
            row['samples'],
            'yes' if row['holds'] else 'no',
            f'{row["root"]:.4f}',
            '-' if row['cap'] is None else f'{row["cap"]:.4f}',
            f'{row["bias"]:.4f}',
            f'{row["found_bias"]:.4f}',
            f'{row["theorem_objective"]:.8f}',
            f'{row["objective"]:.8f}',
            f'{row["found_objective"] - row["objective"]:+.0e}',
            f'{row["narrow_objective"]:.8f}',
            '{:.3f}..{:.3f}'.format(*row['narrow_bias']),
        )
        for row in result['sweep']
    ]
    header = (
        'n',
        'holds',
        'root b*',
        'cap',
        'b',
        'b found',
        "f, theorem's",
        'f, minimum',
        'found -',
    )
    return '\n'.join([*lines, table((*header, 'f, d=K-1', 'b, d=K-1'), rows)])


def _numbers(row: dict[str, Any]) -> list[str]:
    return [
        f'{row["objective"]:.10f}',
        f'{row["bias"]:.6f}',
        f'{row["rho"]:.4f}',
        f'{row["shift"]:.4f}',
    ]
