"""The ridge of CE's minimum along the bias when lambda_b = 0, and that BCE has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bce3s.theory.bias_equation import joint_root
from bce3s.theory.closed_form import bce_minimum, ce_minimum
from bce3s.theory.unconstrained import Problem, minimise, objective, random_start
from studies.common import LOSSES, Options, steps, table
from studies.published import published

SAMPLES = 12.8  # batches of 128 of ten classes; fewer if the options say so
MEANS = (0, 1, 2, 3, 4, 5, 6, 8, 10)  # of the initial bias, as in Table 9


def run(options: Options) -> dict[str, Any]:
    """Ends with lambda_b = 0 from biases of the paper's initial means.

    Returns:
        ``rows``: for each initial mean the mean drawn, and by loss the final mean, the spread of
        the biases and the objective above the closed form; ``root``: BCE's, ``held_root``: the same
        with H >= 0; ``along``: how CE's objective varies along b + c 1.
    """
    k, decays = options.classes, replace(options.decays, bias=0.0)
    samples = min(SAMPLES, options.samples)
    lowest = {name: form(k, samples, decays).objective for name, form in _FORMS.items()}
    rows = []
    for mean in steps(MEANS, 'ridge'):
        row: dict[str, Any] = {'initial': mean}
        for name, loss in LOSSES.items():
            problem = Problem.balanced(k, samples, options.dim, loss, decays, shared=True)
            end = minimise(problem, options.seed, bias_mean=mean)
            row['drawn'] = float(random_start(problem, options.seed, mean)[2].mean())
            row[f'{name}_bias'] = float(end.bias.mean())
            row[f'{name}_spread'] = float(np.ptp(end.bias))
            row[f'{name}_above'] = end.objective - lowest[name]
            if options.as_published:
                row[f'{name}_paper'] = published(9)[name, 'adamw', str(mean)][0]
        rows.append(row)
    return {
        'classes': k,
        'samples': samples,
        'root': joint_root(k, samples, decays)[0],
        'held_root': bce_minimum(k, samples, decays, nonnegative=True).bias,
        'along': _along(options),
        'rows': rows,
    }


_FORMS = {'ce': ce_minimum, 'bce': bce_minimum}


def _along(options: Options) -> float:
    """How much f of CE varies along b + c 1, c in [-10, 10], at a minimum in the full W, H, b."""
    decays = replace(options.decays, bias=0.0)
    samples = min(10, options.samples)
    problem = Problem.balanced(options.classes, samples, options.dim, LOSSES['ce'], decays)
    end = minimise(problem, options.seed)
    values = [
        objective(end.weight, end.features, end.bias + c, end.labels, problem.loss, decays)
        for c in np.linspace(-10, 10, 41)
    ]
    return max(values) - min(values)


def text(result: dict[str, Any]) -> str:
    """Final means by initial means, beside Table 9's."""
    columns = {
        'initial': '{initial}',
        'drawn mean': '{drawn:.6f}',
        'CE: final': '{ce_bias:.6f}',
        'CE: max - min': '{ce_spread:.0e}',
        'CE: f - theory': '{ce_above:+.0e}',
        'BCE: final': '{bce_bias:.6f}',
        'BCE: f - theory': '{bce_above:+.0e}',
    }
    if 'ce_paper' in result['rows'][0]:
        columns |= {'paper, AdamW: CE': '{ce_paper:.4f}', 'paper: BCE': '{bce_paper:.4f}'}
    return (
        f'lambda_b = 0, K = {result["classes"]}, n = {result["samples"]}; BCE: root of Eq. 12 '
        f'{result["root"]:.6f} ({result["held_root"]:.4f} with H >= 0, as after a ReLU).\n'
        f'CE at a minimum, b + c 1 for c in [-10, 10]: f varies by {result["along"]:.0e}.\n'
        + table(columns, result['rows'])
    )
