"""Minority collapse with CE and BCE: the classifiers of the minority over the ratio."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.plotting import LOSS_COLOURS
from bce3s.theory.decays import Decays
from bce3s.theory.imbalance import collapse_ratio
from bce3s.theory.unconstrained import Problem, minimise
from studies.common import GREY, LOSSES, Options, figure, pair_cosines, steps, table, tidy

MAJORITY = 100.0
# of the decay at which all classes fall together; the thresholds lie at moderate ratios
STRENGTHS = (0.5, 0.3, 0.7)
RATIOS = (1, 2, 3, 4, 6, 8, 10, 12, 13, 14, 15, 20, 30, 50, 100)
MEASURES = {  # of the minority: what is zero from a ratio on -> what counts as zero
    'difference': 1e-4,  # its classifiers are one vector
    'margin': 0.0,  # the worst of them is classified wrongly
}


def run(options: Options) -> dict[str, Any]:
    """Half the classes with 100 samples, half with 100 / R; equal decays of its own.

    Returns:
        ``rows`` by ratio; ``thresholds``: for some decays the predicted ratio of collapse and those
        found by bisection.
    """
    groups = (options.classes - options.classes // 2, max(options.classes // 2, 2))
    limit = 1 / (sum(groups) * MAJORITY**0.5)
    decays = [round(strength * limit, 12) for strength in STRENGTHS]

    @cache
    def at(loss: str, decay: float, ratio: float) -> dict[str, Any]:
        counts = (MAJORITY,) * groups[0] + (MAJORITY / ratio,) * groups[1]
        dim = max(options.dim, sum(groups))
        problem = Problem(counts, dim, LOSSES[loss], Decays.equal(decay), shared=True)
        end = minimise(problem, options.seed)
        return _minority(end.weight, end.scores, groups[0])

    rows = [
        {'ratio': ratio}
        | {f'{loss}_{n}': v for loss in LOSSES for n, v in at(loss, decays[0], ratio).items()}
        for ratio in steps(RATIOS, 'imbalance')
    ]
    thresholds = [
        {'decay': decay, 'predicted': collapse_ratio(MAJORITY, groups, Decays.equal(decay))}
        | {
            f'{loss}_{name}': _bisect(lambda r: at(loss, decay, r)[name] < zero)  # noqa: B023
            for loss in LOSSES
            for name, zero in MEASURES.items()
        }
        for decay in steps(decays, 'thresholds')
    ]
    return {'groups': list(groups), 'decay': decays[0], 'rows': rows, 'thresholds': thresholds}


def _minority(weight: np.ndarray, scores: np.ndarray, many: int) -> dict[str, Any]:
    """Mean cosine (None between vectors that are 0), norm and distance from their mean, relative to
    the majority's norm; the worst margin of an own score over the best other.
    """
    few, size = weight[many:], np.linalg.norm(weight[:many], axis=1).mean()
    norm = float(np.linalg.norm(few, axis=1).mean() / size)
    own, others = np.diag(scores)[many:], scores[many:].copy()
    others[np.arange(len(few)), many + np.arange(len(few))] = -np.inf
    return {
        'cosine': float(pair_cosines(few).mean()) if norm > 1e-6 else None,
        'norm': norm,
        'difference': float(np.linalg.norm(few - few.mean(0), axis=1).max() / size),
        'margin': float((own - others.max(1)).min()),
    }


def _bisect(zero) -> float | None:
    """The ratio from which ``zero(ratio)`` holds, to 1 in 500; None if it does not at 1,000."""
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
    columns = {'R': '{ratio:g}'}
    for name in ('cosine', 'norm', 'margin'):
        columns |= {f'{loss} {name}': f'{{{loss}_{name}:.4f}}' for loss in LOSSES}
    found = {'decays': '{decay:g}', 'one vector: theory': '{predicted:.2f}'}
    for name, title in (('difference', 'one vector'), ('margin', 'classified wrongly')):
        found |= {f'{loss} {title}': f'{{{loss}_{name}:.2f}}' for loss in LOSSES}
    return '\n'.join(
        [
            f'{many} classes of {MAJORITY:g} samples, {few} of {MAJORITY:g} / R, all decays '
            f'{result["decay"]:g}; classifiers of the minority (norm: relative to the majority; '
            'margin: own less best other score, the worst):',
            table(columns, result['rows']),
            'Ratio from which on the classifiers of the minority are one vector, and from which on '
            'one of its classes is classified wrongly:',
            table(found, result['thresholds']),
        ]
    )


def draw(result: dict[str, Any]) -> Figure:
    """Cosines, norms and the worst margin of the minority over the ratio."""
    drawn = figure(14, 4.2)
    ratios = [row['ratio'] for row in result['rows']]
    for axes, name in zip(drawn.subplots(1, 3), ('cosine', 'norm', 'margin'), strict=True):
        for loss in LOSSES:
            y = [row[f'{loss}_{name}'] for row in result['rows']]
            y = [np.nan if value is None else value for value in y]
            axes.plot(ratios, y, 'o-', color=LOSS_COLOURS[loss], markersize=4, label=loss.upper())
        predicted = result['thresholds'][0]['predicted']
        axes.axvline(predicted, color=GREY, linestyle=':', label=f'theory: R* = {predicted:.2f}')
        ticks = (1, 2, 5, 10, 20, 50, 100)
        tidy(axes, f'{name.capitalize()} of minority classifiers', 'imbalance ratio R', '', ticks)
    return drawn
