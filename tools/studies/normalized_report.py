"""The study of the scale gamma as tables, and what the claims examined come to."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from studies.normalized_study import (
    ALIGNED,
    FRAMED,
    LEARNT,
    VARIANTS,
    exponent,
    of_variant,
    power,
)
from studies.sections.common import table

FEATURE_NOISE, WORST_CASE, SCORE_NOISE = 1.0, 0.25, 0.1  # shown; the JSON has more
NEAR = 1e-2  # a distance that counts as the minimum reached


# ------------------------------------------------------------ tables
def text(result: dict[str, Any]) -> str:
    """Rates, times, what a fixed time gives, and the laws that the numbers follow."""
    o = result['options']
    return '\n\n'.join(
        [
            f'Unit features and weights, K = {o["classes"]}, n = {o["samples"]}, d = {o["dim"]}, '
            f'one random start (seed {o["seed"]}). Time is that of gradient flow: gradient descent '
            'takes time / step size steps.',
            'Rates at the minimum (a deviation shrinks as exp(-rate time)); spread: the highest '
            'rate over the lowest.\n' + _rates(result),
            f'Time until at least {LEARNT:g} % of the samples are right for good, until the root '
            f'mean square of ||h - w|| is below {ALIGNED:g} (aligned), and that of '
            f'w_j.w_k + 1/(K-1) below {FRAMED:g} (ETF).\n' + _times(result),
            f'At time {o["budget"]:g}: accuracy as it is, with a disturbance of every feature of '
            f'{FEATURE_NOISE:g} times its norm in a random direction, of {WORST_CASE:g} times in '
            f'the worst one, with noise of {SCORE_NOISE:g} on every score, and with scores rounded '
            'to bfloat16 (all in %).\n' + _budget(result),
            _claims(result),
        ]
    )


def _number(value: float | None, digits: int = 3) -> str:
    return '-' if value is None else f'{value:.{digits}g}'


def _rates(result: dict[str, Any]) -> str:
    rows = []
    for ce, bce in zip(of_variant(result, 'ce'), of_variant(result, 'bce_best'), strict=True):
        cells = [f'{ce["scale"]:g}']
        for row in (ce, bce):
            spread = row['highest_rate'] / row['predicted_rate'] if row['predicted_rate'] else None
            cells += [_number(row[key]) for key in ('predicted_rate', 'measured_rate')]
            cells.append(_number(spread, 2))
        rows.append([*cells, _number(bce['best_bias']), _number(bce['held_bias_rate'], 2)])
    header = ['gamma', 'CE: theory', 'measured', 'spread', 'BCE: theory', 'measured', 'spread']
    return table([*header, 'BCE b*', 'rate at b = 0'], rows)


def _times(result: dict[str, Any]) -> str:
    keys = ('time_to_accuracy', 'time_to_alignment', 'time_to_frame')
    names = ('CE:', 'BCE b=0:', 'BCE b*:')
    header = [f'{name} {what}' for name in names for what in ('right', 'aligned', 'ETF')]
    rows = [
        [f'{together[0]["scale"]:g}', *(_number(row[key]) for row in together for key in keys)]
        for together in _by_scale(result)
    ]
    return table(['gamma', *header], rows)


def _budget(result: dict[str, Any]) -> str:
    rows = []
    for together in _by_scale(result):
        for variant, row in zip(VARIANTS, together, strict=True):
            at = row['budget']
            numbers = [at['positive_cosine'], at['negative_cosine'], at['nc1'], at['nc2']]
            percent = [at['e_com'], at['uniform_accuracy'], *accuracies(row).values()]
            rows.append(
                [
                    f'{row["scale"]:g}',
                    variant.title,
                    *(_number(value, 2) for value in numbers),
                    *(_number(value) for value in percent),
                ]
            )
    header = ['gamma', 'loss', 'cos+', 'cos-', 'NC1', 'NC2', 'E_com', 'A_Uni', 'A']
    return table([*header, 'random', 'worst', 'scores', 'bfloat16'], rows)


def accuracies(row: dict[str, Any]) -> dict[str, float]:
    """The accuracies of the table and the figure, in percent."""
    found = row['budget']['disturbance']

    def at(kind: str, size: float) -> float:
        return found[kind]['accuracy'][found[kind]['sizes'].index(size)]

    return {
        'undisturbed': found['undisturbed'],
        'random': at('feature_noise', FEATURE_NOISE),
        'worst': at('worst_case', WORST_CASE),
        'scores': at('score_noise', SCORE_NOISE),
        'bfloat16': found['rounded']['bfloat16'],
    }


def _claims(result: dict[str, Any]) -> str:
    """The claims of the abstract, each followed by the numbers that speak to it."""
    ce, zero, best = (of_variant(result, variant.name) for variant in VARIANTS)
    if len(ce) < 2:
        return 'Two scales are needed to say how anything depends on gamma.'
    law = result['options']['classes'] / (result['options']['classes'] - 1)
    fall = [_number(exponent(rows[-2:], 'measured_rate')) for rows in (ce, best)]
    there = [
        ', '.join(f'{row["scale"]:g}' for row in rows if distance(row) < NEAR) or 'none'
        for rows in (ce, best)
    ]
    fastest = result['fastest']
    claims = [
        '(a) gamma grows: convergence slows exponentially, features worse, classification '
        f'unaffected. Seen over the two largest scales: the measured rate over gamma goes as '
        f'exp({fall[0]} gamma) for CE (limit -{law:.3g}), exp({fall[1]} gamma) for BCE (limit '
        f'-{law / 2:.3g}). At gamma = {ce[-1]["scale"]:g} CE and BCE have E_com '
        f'{_both("e_com", ce[-1], best[-1])}, accuracy {_both("undisturbed", ce[-1], best[-1])}, '
        f'but under the worst disturbance {_both("worst", ce[-1], best[-1])}.',
        '(b) gamma shrinks: the minima are reached more readily, features better. Seen: the rate '
        f'is highest at gamma = {fastest["ce"]:.2g} (CE) and {fastest["bce"]:.2g} (BCE, from b*); '
        f'within {NEAR:g} of the minimum by time {result["options"]["budget"]:g} are, of the '
        f'scales here, {there[0]} (CE) and {there[1]} (BCE).',
        '(c) gamma goes to 0: convergence slows linearly, classification sensitive to small '
        'disturbances. Seen over the two smallest scales: the time to alignment goes as '
        f'gamma^{_number(power(ce[:2], "time_to_alignment"))} (CE), but the last rate, that of the '
        f'ETF, as gamma^{_number(power(ce[:2], "measured_rate"))} (limit 2 if K > 3). At gamma = '
        f'{ce[0]["scale"]:g} the accuracies of CE and BCE (from b*) are '
        f'{_both("undisturbed", ce[0], best[0])}, with noise of {SCORE_NOISE:g} on the scores '
        f'{_both("scores", ce[0], best[0])}, in bfloat16 {_both("bfloat16", ce[0], best[0])}.',
        '(d) CE against BCE. Seen: BCE has half the exponent at large scales. At small ones its '
        f'bias has far to go, to {_number(best[0]["best_bias"])} at gamma = {ce[0]["scale"]:g}: '
        f'from 0 BCE is right for good at time {_number(zero[0]["time_to_accuracy"])}, from b* at '
        f'{_number(best[0]["time_to_accuracy"])}, CE at {_number(ce[0]["time_to_accuracy"])}.',
    ]
    lines = (textwrap.fill(claim, 100, subsequent_indent='    ') for claim in claims)
    return 'The claims of the abstract, and what is seen here:\n' + '\n'.join(lines)


def _both(name: str, *rows: dict[str, Any]) -> str:
    values = [{'e_com': row['budget']['e_com'], **accuracies(row)}[name] for row in rows]
    return ' and '.join(map(_number, values))


def distance(row: dict[str, Any]) -> float:
    """From the minimum, at the budget."""
    return math.hypot(row['budget']['alignment'], row['budget']['frame'])


def _by_scale(result: dict[str, Any]) -> list[tuple[dict[str, Any], ...]]:
    """The rows of all variants, scale by scale."""
    return list(zip(*(of_variant(result, v.name) for v in VARIANTS), strict=True))
