"""The study of the scale gamma as figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from studies.normalized_report import (
    FEATURE_NOISE,
    SCORE_NOISE,
    WORST_CASE,
    accuracies,
    distance,
)
from studies.normalized_study import VARIANTS, of_variant
from studies.sections.common import figure, tidy

LOOK = {  # colour, line, marker; BCE's two are told apart by the line too
    'ce': ('#2F5F93', '-', 'o'),
    'bce': ('#C0334A', '-', 's'),
    'bce_best': ('#C9742B', (0, (4, 2)), '^'),
}


def draw_rates(result: dict[str, Any]) -> Figure:
    """Rates over gamma, on a linear axis (an exponential is a line) and a logarithmic one (a power
    is a line); times to neural collapse."""
    drawn = figure(13.5, 4.4)
    linear, powers, times = drawn.subplots(1, 3)
    small = [scale for scale in result['options']['scales'] if scale <= 4]
    for axes in (linear, powers):
        for loss, name in (('ce', 'ce'), ('bce', 'bce_best')):
            rows = [r for r in of_variant(result, name) if axes is linear or r['scale'] in small]
            _rate_lines(axes, rows, loss)
        axes.set_yscale('log')
    tidy(linear, 'Large scales: exponential', 'gamma', 'rate at the minimum')
    tidy(powers, 'Small scales: powers', 'gamma', 'rate at the minimum')
    powers.set_xscale('log')
    linear.legend(frameon=False, fontsize=9)
    for variant in VARIANTS:
        colour, line, marker = LOOK[variant.name]
        for key, filled in (('time_to_alignment', True), ('time_to_frame', False)):
            rows = [row for row in of_variant(result, variant.name) if row[key]]
            times.plot(
                [row['scale'] for row in rows],
                [row[key] for row in rows],
                color=colour,
                linestyle=line,
                marker=marker,
                markersize=5,
                markerfacecolor=colour if filled else 'white',
                label=f'{variant.title}: {"aligned" if filled else "ETF"}',
            )
    times.set_xscale('log')
    times.set_yscale('log')
    tidy(times, 'Time to neural collapse', 'gamma', 'time (steps x step size)')
    times.set_ylim(1, 1e8)
    times.legend(frameon=False, fontsize=8, loc='upper center')
    return drawn


def _rate_lines(axes, rows: list[dict[str, Any]], loss: str) -> None:
    colour, _, marker = LOOK[loss]
    styles = {
        'predicted_rate': dict(label=f'{loss.upper()}: slowest'),
        'within_rate': dict(linestyle=(0, (1, 1.5)), label=f'{loss.upper()}: within a class'),
        'measured_rate': dict(
            linestyle='', marker=marker, markerfacecolor='white', label=f'{loss.upper()}: measured'
        ),
    }
    for key, style in styles.items():
        shown = [row for row in rows if row[key]]
        axes.plot([r['scale'] for r in shown], [r[key] for r in shown], color=colour, **style)


def draw_budget(result: dict[str, Any]) -> Figure:
    """Features and accuracies at the budget, over gamma."""
    drawn = figure(13.5, 7.6)
    panels = {
        'Distance from the minimum (log)': lambda r: max(distance(r), 1e-7),
        'Compactness E_com (%)': lambda r: r['budget']['e_com'],
        'Uniform accuracy (%)': lambda r: r['budget']['uniform_accuracy'],
        f'Accuracy, features disturbed by {FEATURE_NOISE:g} at random (%)': _accuracy('random'),
        f'Accuracy, features disturbed by {WORST_CASE:g} at worst (%)': _accuracy('worst'),
        f'Accuracy, noise of {SCORE_NOISE:g} on the scores (%)': _accuracy('scores'),
    }
    for axes, (title, value) in zip(drawn.subplots(2, 3).flat, panels.items(), strict=True):
        for variant in VARIANTS:
            rows = of_variant(result, variant.name)
            colour, line, marker = LOOK[variant.name]
            axes.plot(
                [row['scale'] for row in rows],
                [value(row) for row in rows],
                color=colour,
                linestyle=line,
                marker=marker,
                markersize=5,
                label=variant.title,
            )
        axes.set_xscale('log')
        if '(log)' in title:
            axes.set_yscale('log')
            axes.legend(frameon=False, fontsize=9)
        else:
            axes.set_ylim(-4, 104)
        tidy(axes, title, 'gamma', '')
    drawn.suptitle(f'At time {result["options"]["budget"]:g}', x=0.01, ha='left')
    return drawn


def _accuracy(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda row: accuracies(row)[name]


def draw_courses(result: dict[str, Any]) -> Figure:
    """Distance and accuracy over time at the smallest, a middle and the largest scale."""
    scales = result['options']['scales']
    chosen = sorted({min(scales), sorted(scales)[len(scales) // 2], max(scales)})
    drawn = figure(4.5 * len(chosen), 6.6)
    grid = drawn.subplots(2, len(chosen), sharex='col', squeeze=False)
    for scale, (above, below) in zip(chosen, grid.T, strict=True):
        for variant in VARIANTS:
            row = next(r for r in of_variant(result, variant.name) if r['scale'] == scale)
            times, distances, percents = zip(*row['course'], strict=True)
            colour, line, _ = LOOK[variant.name]
            style = dict(color=colour, linestyle=line, label=variant.title)
            above.plot(times, distances, **style)
            below.plot(times, percents, **style)
        above.set_xscale('log')
        above.set_yscale('log')
        below.set_ylim(-4, 104)
        tidy(above, f'gamma = {scale:g}', '', 'distance from the minimum')
        tidy(below, '', 'time (steps x step size)', 'accuracy (%)')
    grid[0, 0].legend(frameon=False, fontsize=9)
    return drawn


FIGURES = {'rates': draw_rates, 'budget': draw_budget, 'courses': draw_courses}
