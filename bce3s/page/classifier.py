"""The classifier itself: angles between its vectors by split, and their lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.classifier_angles import (
    Angles,
    angles_by_split,
    cosines,
    degrees,
    equal_norms,
    etf_cosine,
    etf_degrees,
    norms,
)
from bce3s.page.content import Figure, Section, Table
from bce3s.page.drawing import draw_matrix, draw_splits, ranges
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.plotting import COLOURS, MUTED, new_figure
from bce3s.tables import mean_std

SHOWN = 160  # classes at most
TEXT = """\
Angles between the classifier's vectors, classes by training frequency. At the neural collapse all
are equal, arccos(-1/(K-1)): a simplex ETF (ICML 2025, Theorems 3.1 and 3.2, and NC2 of Eq. 33).
Under a long tail the vectors of rare classes tend to crowd together instead.

How unequal they are is the standard deviation of the cosines between a split's classes and all
others, which the uniformity term of BCE3S drives down; its paper (AAAI 2026) reports 0.106 for the
tail classes of CIFAR-100-LT. Whether it takes the same pairs is not said in the summaries that are
public: compare the runs of this page with each other."""
Spreads = dict[str, dict[str, Angles | None]]  # run -> split -> angles


def classifier_angles(runs: list[PageRun]) -> Section | None:
    """Heat map of the angles of each group's first seed; their spread by split of all runs."""
    groups = [group for group in measured(runs) if _measurable(group)]
    if not groups:
        return None
    spreads = {
        run.name: angles_by_split(run.outputs.weight, run.outputs.class_counts, run.thresholds)
        for group in groups
        for run in group.runs
    }
    found = {group.name: cosines(group.outputs.weight[group.order]) for group in groups}
    reach = max(map(_reach, found.values()))
    figures = [_heat_figure(group, found[group.name], reach) for group in groups]
    figures.append(_spread_figure(groups, spreads))
    uneven = [group for group in groups if not equal_norms(norms(group.outputs.weight))]
    if uneven:
        figures.append(_norm_figure(uneven))
    notes = left_out(runs) + [
        f'{group.name}: the vectors of this classifier are all '
        f'{norms(group.outputs.weight).mean():.3g} long.'
        for group in groups
        if group not in uneven
    ]
    tables = [_table(groups, spreads)]
    return Section('classifier', 'The classifier', TEXT, figures, tables, notes)


def _measurable(group: Group) -> bool:
    weights = [run.outputs.weight for run in group.runs]
    return all(len(weight) > 1 and np.isfinite(weight).all() for weight in weights)


# ---------------------------------------------------------------------------------------- heat map
def _reach(found: NDArray) -> float:
    """How far the cosines are from those of a simplex, but for the outermost hundredth."""
    others = found[~np.eye(len(found), dtype=bool)]
    return max(float(np.quantile(np.abs(others - etf_cosine(len(found))), 0.99)), 0.05)


def _heat_figure(group: Group, found: NDArray, reach: float) -> Figure:
    size = len(found)
    # at most SHOWN classes, evenly along the frequencies
    kept = np.unique(np.linspace(0, size - 1, min(size, SHOWN)).round().astype(int))
    off = (found[np.ix_(kept, kept)] - etf_cosine(size)) / reach
    np.fill_diagonal(off, 0)
    angles = degrees(found)
    np.fill_diagonal(angles, np.nan)
    figure, axes = new_figure(4.8, 4.7)
    draw_matrix(axes, group, -off, off, angles)
    caption = (
        f'{group.title}: orange pairs are closer than the {etf_degrees(size):.1f}° of a simplex, '
        f'blue ones farther apart; full colour is {reach:.2g} away in cosine, in all panels.'
    )
    if size > SHOWN:
        caption += f' {SHOWN} of {size} classes are drawn, evenly along the frequencies.'
    return Figure.of(figure, 'Heat map of the angles of the classifier', caption)


# ------------------------------------------------------------------------------------------ spread
def _spread_figure(groups: list[Group], spreads: Spreads) -> Figure:
    """A line for each split, a dot for each run."""
    found = [s for s in SPLITS if any(spreads[group.runs[0].name][s] for group in groups)]
    figure, axes = new_figure(4.8, (90 + 30 * len(found) + 17 * len(groups)) / 96)
    for group in groups:
        for place, split in enumerate(found):
            values = [spreads[run.name][split] for run in group.runs]
            stds = [value.std for value in values if value]
            look = dict(color=group.colour, markersize=6, alpha=0.85)
            name = group.name if not place else None
            axes.plot(stds, [place] * len(stds), 'o', label=name, **look)
    axes.set_yticks(range(len(found)), [split.capitalize() for split in found])
    for tick, split in zip(axes.get_yticklabels(), found, strict=True):
        tick.set(color=COLOURS[split], weight='bold')
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(0, 1.08 * axes.get_xlim()[1])
    axes.grid()
    axes.tick_params(axis='y', length=0)
    axes.spines['left'].set_visible(False)
    axes.set_xlabel('standard deviation of the cosines')
    figure.legend(loc='outside upper left', labelcolor='linecolor', handletextpad=0.1)
    rare = found[-1]
    means = {
        group.name: group.over_seeds(lambda run: (s := spreads[run.name][rare]) and s.std)
        for group in groups
    }
    said = [f'{mean:.3f} ({name})' for name, mean in means.items() if mean is not None]
    caption = (
        f'Standard deviation of the cosines of the {rare.capitalize()} classes with all others: '
        f'{", ".join(said)}. A dot is a run; 0 is a perfectly even spread.'
    )
    return Figure.of(figure, 'Spread of the cosines by split', caption)


# ----------------------------------------------------------------------------------------- lengths
def _norm_figure(groups: list[Group]) -> Figure:
    figure, axes = new_figure(4.8, 2.9)
    said = []
    for group in groups:
        lengths, splits = norms(group.outputs.weight)[group.order], group.splits[group.order]
        look = dict(color=group.colour, linewidth=1.2, markersize=3, label=group.title)
        axes.plot(lengths, 'o-' if len(lengths) <= 40 else '-', **look)
        places = ranges(splits)
        ends = dict.fromkeys([next(iter(places)), list(places)[-1]])  # perhaps one split alone
        means = [f'{lengths[slice(*places[s])].mean():.2f} for {s.capitalize()}' for s in ends]
        said.append(f'{" and ".join(means)} ({group.title})')
    axes.set_ylim(0, None)
    axes.set_xlim(-0.5, max(len(group.order) for group in groups) - 0.5)
    axes.set(xlabel='classes, the most frequent first', ylabel='length of the vector', xticks=[])
    axes.grid(axis='y')
    if len({tuple(group.splits[group.order]) for group in groups}) == 1:
        draw_splits(axes, groups[0].splits[groups[0].order], 'x', MUTED)
    figure.legend(loc='outside upper left', labelcolor='linecolor', ncols=2)
    caption = (
        f'Mean length of the vectors: {"; ".join(said)}. A longer one gives higher scores: classes '
        'with short vectors tend to be predicted less often.'
    )
    return Figure.of(figure, 'Lengths of the vectors by training frequency', caption)


def _table(groups: list[Group], spreads: Spreads) -> Table:
    rows = []
    for group in groups:
        for split in COLUMNS:
            some = [value for run in group.runs if (value := spreads[run.name][split])]
            if some:
                cells = [
                    mean_std([value.std for value in some], 3),
                    mean_std([value.mean_angle for value in some], 1),
                    mean_std([value.least_angle for value in some], 1),
                ]
                rows.append([group.name, split.capitalize(), str(some[0].classes), *cells])
    header = ['Runs', 'Split', 'Classes', 'Std of cosines', 'Mean angle (°)', 'To the nearest (°)']
    simplex = sorted({f'{etf_degrees(len(group.outputs.weight)):.2f}°' for group in groups})
    return Table(header, rows, f'Angles to all other classes; a simplex: {", ".join(simplex)}', 2)
