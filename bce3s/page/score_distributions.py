"""Violins of positive and negative scores by split, with the bias and the uniform threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.rejection import Extremes
from bce3s.evaluation.score_distributions import (
    Spread,
    density,
    negative_scores,
    positive_scores,
)
from bce3s.evaluation.uniform_accuracy import UniformAccuracy, exact_uniform_accuracy
from bce3s.page.sections import Figure, PageRun, Section, Table
from bce3s.page.shown import COLOURS, Shown, left_out, shown
from bce3s.page.svg import INK, MUTED, SURFACE, new_figure, to_svg
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
    drawn = shown(runs)
    if not drawn:
        return None
    thresholds = {run.name: _threshold(run) for one in drawn for run in one.group.runs}
    found = {one.run.name: _by_split(one, thresholds[one.run.name].threshold) for one in drawn}
    low, high = _range(found, thresholds)
    figures = [
        _figure(one, found[one.run.name], thresholds[one.run.name].threshold, (low, high))
        for one in drawn
    ]
    tables = [_score_table(drawn, found), _threshold_table(drawn, thresholds)]
    return Section('scores', 'Scores', TEXT, figures, tables, left_out(runs))


def _by_split(one: Shown, threshold: float | None) -> dict[str, Scores]:
    """The splits that have classes, in their order."""
    outputs = one.outputs
    scores, found = outputs.logits - outputs.bias, {}
    for split in SPLITS:
        mask = one.splits == split
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


def _threshold(run: PageRun) -> UniformAccuracy:
    extremes = Extremes.of(run.outputs.logits, run.outputs.labels)
    return exact_uniform_accuracy(extremes.own, extremes.other)


def _range(found: dict, thresholds: dict[str, UniformAccuracy]) -> tuple[float, float]:
    """What all panels show: all scores but for the outermost thousandths, and every line."""
    ends = []
    for name, splits in found.items():
        for scores in splits.values():
            ends += [scores.bias, scores.bias + (thresholds[name].threshold or 0.0)]
            for spread in (scores.positive, scores.negative):
                if spread:
                    ends += np.quantile(spread.values, [0.001, 0.999]).tolist()
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


# ------------------------------------------------------------------------------------------- figure
def _figure(
    one: Shown, found: dict[str, Scores], threshold: float | None, limits: tuple[float, float]
) -> Figure:
    figure, axes = new_figure(460, 330)
    for place, (split, scores) in enumerate(found.items()):
        _half(axes, place, scores.negative, -1, MUTED, limits)
        _half(axes, place, scores.positive, 1, COLOURS[split], limits)
        _lines(axes, place, scores.bias, threshold)
    names = [f'{split.capitalize()}' for split in found]
    axes.set_xticks(range(len(found)), names)
    for tick, split in zip(axes.get_xticklabels(), found, strict=True):
        tick.set(color=COLOURS[split], fontweight='bold')
    axes.tick_params(axis='x', length=0)
    axes.set_xlim(-0.55, len(found) - 0.45)
    axes.set_ylim(*limits)
    axes.set_ylabel('score without bias')
    axes.grid(axis='y')
    axes.set_title(one.title)
    _key(axes, threshold)
    caption = _caption(one, found, threshold)
    return Figure(to_svg(figure, f'Violins of the scores. {caption}'), caption)


def _half(
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
    axes.fill_betweenx(
        heights[seen],
        edge,
        edge + side * HALF * widths[seen],
        facecolor=colour,
        alpha=0.55 if side > 0 else 0.4,
        linewidth=0,
    )
    _, low, median, high, _ = spread.quantiles
    axes.plot([edge + side * 0.03] * 2, [low, high], color=colour, linewidth=3)
    axes.plot(
        edge + side * 0.03, median, 'o', color=SURFACE, markeredgecolor=colour, markersize=5.5
    )


def _lines(axes: Axes, place: int, bias: float, threshold: float | None) -> None:
    where = (place - HALF - 0.06, place + HALF + 0.06)
    axes.hlines(bias, *where, color=INK, linewidth=1.6)
    if threshold is not None:
        axes.hlines(bias + threshold, *where, color=INK, linewidth=1.4, linestyle=(0, (3, 2)))


def _key(axes: Axes, threshold: float | None) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(color=MUTED, alpha=0.5, label='negative (left)'),
        Patch(color=COLOURS['many'], alpha=0.6, label='positive (right)'),
        Line2D([], [], color=INK, linewidth=1.6, label='mean bias b'),
    ]
    if threshold is not None:
        look = dict(color=INK, linewidth=1.4, linestyle=(0, (3, 2)))
        handles.append(Line2D([], [], label='b + uniform threshold', **look))
    axes.figure.legend(
        handles=handles, loc='outside lower center', ncols=2, handlelength=1.6, columnspacing=1.2
    )


def _caption(one: Shown, found: dict[str, Scores], threshold: float | None) -> str:
    read = f'{one.title}: dots are medians, bars quartiles.'
    if threshold is None:
        return f'{read} There is no uniform threshold: no image is classified right.'
    over = [
        f'{scores.accepted:.0f} % of the {split.capitalize()}'
        for split, scores in found.items()
        if scores.accepted is not None
    ]
    return f'{read} Of the positive scores, {", ".join(over)} ones exceed the uniform threshold.'


# ------------------------------------------------------------------------------------------- tables
def _score_table(drawn: list[Shown], found: dict[str, dict[str, Scores]]) -> Table:
    rows = []
    for one in drawn:
        for split, scores in found[one.run.name].items():
            cells = [*_quantiles(scores.positive), *_quantiles(scores.negative)]
            shares = ['-' if s is None else f'{s:.1f}' for s in (scores.accepted, scores.rejected)]
            cells += [_number(scores.bias, 2), *shares]
            rows.append([one.title, split.capitalize(), *cells])
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


def _threshold_table(drawn: list[Shown], thresholds: dict[str, UniformAccuracy]) -> Table:
    rows = []
    for one in drawn:
        found = [thresholds[run.name] for run in one.group.runs]
        plain = [_plain_accuracy(run.outputs) for run in one.group.runs]
        figures = [mean_std([uniform.threshold for uniform in found], 2)]
        figures += [mean_std([uniform.accuracy for uniform in found], 1), mean_std(plain, 1)]
        rows.append([one.group.name, *figures])
    header = ['Runs', 'Uniform threshold t', 'Uniform accuracy', 'Plain accuracy']
    return Table(header, rows, 'What one threshold for all classes classifies (%)')


def _plain_accuracy(outputs: Outputs) -> float:
    return 100.0 * float((outputs.logits.argmax(axis=1) == outputs.labels).mean())
