"""Violins of positive and negative scores by split, with the bias and the uniform threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.rejection import Extremes
from bce3s.evaluation.score_distributions import Spread, density, negative_scores, positive_scores
from bce3s.evaluation.uniform_accuracy import UniformAccuracy, exact_uniform_accuracy
from bce3s.page.content import Figure, Section, Table
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.plotting import COLOURS, DASHED, INK, MUTED, new_figure
from bce3s.tables import mean_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bce3s.engine.outputs import Outputs

HALF = 0.42  # of a violin's width
SPACE = '\N{NO-BREAK SPACE}'
TEXT = """\
Scores s = w_j h of every class j on every image, without the bias, in the sign z = W h - b of
"BCE vs. CE in Deep Feature Learning" (ICML 2025, Eqs. 51-56, Fig. 3): positive ones on images of
the class, negative ones on all others, by the split of the class that is scored.

BCE takes an image for one of class j where s > b_j; one threshold t for all classes, that of the
uniform accuracy (Eqs. 43-45), asks for s > b_j + t. CE only compares the scores of one image with
each other: neither line is a boundary that it was trained for."""


class Scores(NamedTuple):
    """Of the classes of one split.

    Attributes:
        positive, negative: None where there are none.
        bias: mean of theirs, in the sign z = W h - b.
        accepted: percent of the positive scores that exceed the own class's b + t.
        rejected: percent of the negative ones that do not.
    """

    positive: Spread | None
    negative: Spread | None
    bias: float
    accepted: float | None
    rejected: float | None


def score_distributions(runs: list[PageRun]) -> Section | None:
    """A figure of the first seed of each group, on common axes, and a table of the figures."""
    groups = measured(runs)
    if not groups:
        return None
    uniform = {run.name: _uniform(run.outputs) for group in groups for run in group.runs}
    thresholds = {group.name: uniform[group.runs[0].name].threshold for group in groups}
    found = {group.name: _by_split(group, thresholds[group.name]) for group in groups}
    limits = _limits(found, thresholds)
    figures = [
        _figure(group, found[group.name], thresholds[group.name], limits) for group in groups
    ]
    tables = [_score_table(groups, found), _threshold_table(groups, uniform)]
    return Section('scores', 'Scores', TEXT, figures, tables, left_out(runs))


def _uniform(outputs: Outputs) -> UniformAccuracy:
    extremes = Extremes.of(outputs.logits, outputs.labels)
    return exact_uniform_accuracy(extremes.own, extremes.other)


def _by_split(group: Group, threshold: float | None) -> dict[str, Scores]:
    """The splits that have classes, in their order."""
    outputs = group.outputs
    scores, found = outputs.logits - outputs.bias, {}
    for split in SPLITS:
        mask = group.splits == split
        if mask.any():
            found[split] = Scores(
                positive_scores(scores, outputs.labels, mask),
                negative_scores(scores, outputs.labels, mask),
                float(-outputs.bias[mask].mean()),
                *_shares(outputs, mask, threshold),
            )
    return found


def _shares(
    outputs: Outputs, mask: NDArray, threshold: float | None
) -> tuple[float | None, float | None]:
    """Each class at its own bias: what the lines, drawn at the mean, only indicate."""
    if threshold is None:
        return None, None
    own = mask[outputs.labels]
    over = outputs.logits[:, mask] > threshold
    right = int((outputs.logits[own, outputs.labels[own]] > threshold).sum())
    number, others = int(own.sum()), over.size - int(own.sum())
    return (
        100.0 * right / number if number else None,
        100.0 - 100.0 * (int(over.sum()) - right) / others if others else None,
    )


def _limits(found: dict[str, dict[str, Scores]], thresholds: dict) -> tuple[float, float]:
    """What all panels show: all scores but for the outermost thousandths, and every line."""
    ends = []
    for name, splits in found.items():
        for scores in splits.values():
            ends += [scores.bias, scores.bias + (thresholds[name] or 0.0)]
            for spread in (scores.positive, scores.negative):
                if spread:
                    ends += np.quantile(spread.values, [0.001, 0.999]).tolist()
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


# ------------------------------------------------------------------------------------------ figure
def _figure(
    group: Group, found: dict[str, Scores], threshold: float | None, limits: tuple[float, float]
) -> Figure:
    figure, axes = new_figure(4.8, 3.4)
    for place, (split, scores) in enumerate(found.items()):
        _draw_half(axes, place, scores.negative, -1, MUTED, limits)
        _draw_half(axes, place, scores.positive, 1, COLOURS[split], limits)
        where = (place - HALF - 0.06, place + HALF + 0.06)
        bias = axes.hlines(scores.bias, *where, color=INK, linewidth=1.2)
        uniform = None
        if threshold is not None:
            look = dict(color=INK, linewidth=1.1, linestyle=DASHED)
            uniform = axes.hlines(scores.bias + threshold, *where, **look)
    axes.set_xticks(range(len(found)), [split.capitalize() for split in found])
    for tick, split in zip(axes.get_xticklabels(), found, strict=True):
        tick.set(color=COLOURS[split], weight='bold')
    axes.tick_params(axis='x', length=0)
    axes.set_xlim(-0.55, len(found) - 0.45)
    axes.set_ylim(*limits)
    axes.set_ylabel('score without bias')
    axes.grid(axis='y')
    axes.set_title(group.title)
    drawn = {'mean bias b': bias, 'b + uniform threshold': uniform}
    drawn = {name: line for name, line in drawn.items() if line is not None}
    figure.legend(drawn.values(), drawn.keys(), loc='outside lower center', ncols=2)
    caption = f'{group.title}: negative scores left, positive right; dots medians, bars quartiles.'
    if threshold is None:
        caption += ' There is no uniform threshold: no image is classified right.'
    else:
        over = [
            f'{scores.accepted:.0f} % of the {split.capitalize()}'
            for split, scores in found.items()
            if scores.accepted is not None
        ]
        caption += f' Of the positive scores, {", ".join(over)} ones exceed the uniform threshold.'
    return Figure.of(figure, 'Violins of the scores', caption)


def _draw_half(
    axes: Axes,
    place: int,
    spread: Spread | None,
    side: int,
    colour: str,
    limits: tuple[float, float],
) -> None:
    """Half a violin, to the left (-1) or right (1), with its quartiles and its median."""
    if spread is None:
        return
    heights, widths = density(spread.values, *limits)
    seen = widths > 0.003
    edge = place + side * 0.015
    look = dict(facecolor=colour, alpha=0.55 if side > 0 else 0.4, linewidth=0)
    axes.fill_betweenx(heights[seen], edge, edge + side * HALF * widths[seen], **look)
    _, low, median, high, _ = spread.quantiles
    inside = edge + side * 0.03
    axes.plot([inside] * 2, [low, high], color=colour, linewidth=2.2)
    axes.plot(inside, median, 'o', color='white', mec=colour, markersize=4)


# ------------------------------------------------------------------------------------------ tables
def _score_table(groups: list[Group], found: dict[str, dict[str, Scores]]) -> Table:
    rows = [
        [
            group.title,
            split.capitalize(),
            *_quantiles(scores.positive),
            *_quantiles(scores.negative),
            _number(scores.bias, 2),
            *('-' if s is None else f'{s:.1f}' for s in (scores.accepted, scores.rejected)),
        ]
        for group in groups
        for split, scores in found[group.name].items()
    ]
    header = ['Runs', 'Split', 'Positive', '5 to 95 %', 'Negative', '5 to 95 %', 'Mean b']
    header += ['Positive > b + t', 'Negative ≤ b + t']
    return Table(header, rows, 'Scores without bias: medians, quantiles, shares in %', left=2)


def _quantiles(spread: Spread | None) -> list[str]:
    if spread is None:
        return ['-', '-']
    low, _, median, _, high = spread.quantiles
    return [_number(median, 2), f'{_number(low, 1)}{SPACE}to{SPACE}{_number(high, 1)}']


def _number(value: float, digits: int) -> str:
    return f'{round(value, digits) + 0.0:.{digits}f}'  # 0.00, not -0.00


def _threshold_table(groups: list[Group], uniform: dict[str, UniformAccuracy]) -> Table:
    rows = [
        [
            group.name,
            mean_std([uniform[run.name].threshold for run in group.runs], 2),
            mean_std([uniform[run.name].accuracy for run in group.runs], 1),
            mean_std([_plain_accuracy(run.outputs) for run in group.runs], 1),
        ]
        for group in groups
    ]
    header = ['Runs', 'Uniform threshold t', 'Uniform accuracy', 'Plain accuracy']
    return Table(header, rows, 'What one threshold for all classes classifies (%)')


def _plain_accuracy(outputs: Outputs) -> float:
    return 100.0 * float((outputs.logits.argmax(axis=1) == outputs.labels).mean())
