"""The classifier itself: angles between its vectors by split, and their lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
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
from bce3s.page.labels import shortened
from bce3s.page.sections import Figure, PageRun, Section, Table
from bce3s.page.shown import (
    COLOURS,
    COLUMNS,
    NUMBERED,
    RIGHT,
    WRONG,
    Shown,
    left_out,
    name_classes,
    over_seeds,
    ranges,
    shown,
    split_axes,
    spread,
    strongest,
    thresholds,
)
from bce3s.page.svg import INK, MUTED, heat_map, new_figure, to_svg

SHOWN = 160  # classes at most
TEXT = """\
Angles between the classifier's vectors, classes by training frequency. At the neural collapse all
are equal, arccos(-1/(K-1)): a simplex ETF (ICML 2025, Theorems 3.1 and 3.2, and NC2 of Eq. 33).
Under a long tail the vectors of rare classes tend to crowd together instead.

How unequal they are is the standard deviation of the cosines between a split's classes and all
others, which the uniformity term of BCE3S drives down; its paper (AAAI 2026) reports 0.106 for the
tail classes of CIFAR-100-LT. Whether it takes the same pairs is not said in the summaries that are
public: compare the runs of this page with each other."""


def classifier_angles(runs: list[PageRun]) -> Section | None:
    """Heat map of the angles of each group's first seed; their spread by split of all runs."""
    drawn = [one for one in shown(runs) if _measurable(one)]
    if not drawn:
        return None
    spreads = {
        run.name: angles_by_split(run.outputs.weight, run.outputs.class_counts, thresholds(run))
        for one in drawn
        for run in one.group.runs
    }
    found = {one.run.name: _ordered(one) for one in drawn}
    reach = max(_reach(value) for value in found.values())
    figures = [_heat_figure(one, found[one.run.name], reach) for one in drawn]
    figures.append(_spread_figure(drawn, spreads))
    uneven = [one for one in drawn if not equal_norms(norms(one.outputs.weight))]
    if uneven:
        figures.append(_norm_figure(uneven))
    notes = left_out(runs) + [
        f'{one.group.name}: the vectors of this classifier are all {_length(one):.3g} long.'
        for one in drawn
        if one not in uneven
    ]
    tables = [_table(drawn, spreads)]
    return Section('classifier', 'The classifier', TEXT, figures, tables, notes)


def _measurable(one: Shown) -> bool:
    weights = [run.outputs.weight for run in one.group.runs]
    return all(len(weight) > 1 and np.isfinite(weight).all() for weight in weights)


def _ordered(one: Shown) -> NDArray:
    """Cosines, classes by frequency."""
    return cosines(one.outputs.weight[one.order])


def _length(one: Shown) -> float:
    return float(norms(one.outputs.weight).mean())


# ----------------------------------------------------------------------------------------- heat map
def _reach(found: NDArray) -> float:
    """How far the cosines are from those of a simplex, but for the outermost hundredth."""
    others = found[~np.eye(len(found), dtype=bool)]
    return max(float(np.quantile(np.abs(others - etf_cosine(len(found))), 0.99)), 0.05)


def _heat_figure(one: Shown, found: NDArray, reach: float) -> Figure:
    size = len(found)
    figure, axes = new_figure(460, 450)
    where = dict(extent=(-0.5, size - 0.5, size - 0.5, -0.5), aspect='equal')
    off = (_thinned(found) - etf_cosine(size)) / reach
    off[_thinned(np.eye(size)) > 0] = 0
    for colour, part in ((WRONG, off), (RIGHT, -off)):
        heat_map(axes, strongest(size) * np.clip(part, 0, 1), colour, **where)
    split_axes(axes, one.splits[one.order])
    name_classes(axes, [shortened(one.outputs.classes[k]) for k in one.order])
    if size <= NUMBERED:
        _number_cells(axes, degrees(found))
    axes.set_title(one.title, pad=22)
    caption = (
        f'{one.title}: orange pairs are closer than the {etf_degrees(size):.1f}° of a simplex, '
        f'blue ones farther apart; full colour is {reach:.2g} away in cosine, in all panels.'
    )
    if size > SHOWN:
        caption += f' {SHOWN} of {size} classes are drawn, evenly along the frequencies.'
    return Figure(to_svg(figure, f'Heat map of the angles of the classifier. {caption}'), caption)


def _thinned(found: NDArray) -> NDArray:
    """At most ``SHOWN`` classes, evenly along the frequencies."""
    size = len(found)
    kept = np.unique(np.linspace(0, size - 1, min(size, SHOWN)).round().astype(int))
    return found[np.ix_(kept, kept)].copy()


def _number_cells(axes, angles: NDArray) -> None:
    for (k, j), angle in np.ndenumerate(angles):
        if k != j:
            axes.text(
                j, k, f'{angle:.0f}', ha='center', va='center_baseline', fontsize=10, color=INK
            )


# ------------------------------------------------------------------------------------------- spread
def _spread_figure(drawn: list[Shown], spreads: dict[str, dict[str, Angles | None]]) -> Figure:
    """A line for each split, a dot for each run."""
    found = [s for s in SPLITS if any(spreads[one.run.name][s] for one in drawn)]
    figure, axes = new_figure(460, 90 + 30 * len(found) + 17 * len(drawn))
    for one in drawn:
        for place, split in enumerate(found):
            values = [spreads[run.name][split] for run in one.group.runs]
            stds = [value.std for value in values if value]
            axes.plot(
                stds,
                [place] * len(stds),
                'o',
                color=one.group.colour,
                markersize=8,
                alpha=0.85,
                label=one.group.name if not place else None,
            )
    axes.set_yticks(range(len(found)), [split.capitalize() for split in found])
    for tick, split in zip(axes.get_yticklabels(), found, strict=True):
        tick.set(color=COLOURS[split], fontweight='bold')
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(0, 1.08 * axes.get_xlim()[1])
    axes.grid(axis='both')
    axes.tick_params(axis='y', length=0)
    axes.spines['left'].set_visible(False)
    axes.set_xlabel('standard deviation of the cosines')
    figure.legend(loc='outside upper left', labelcolor='linecolor', handletextpad=0.1)
    caption = _spread_caption(drawn, spreads, found[-1])
    return Figure(to_svg(figure, f'Spread of the cosines by split. {caption}'), caption)


def _spread_caption(drawn: list[Shown], spreads: dict, rare: str) -> str:
    said = []
    for one in drawn:
        mean = over_seeds(one, lambda run: spreads[run.name][rare] and spreads[run.name][rare].std)
        if mean is not None:
            said.append(f'{mean:.3f} ({one.group.name})')
    return (
        f'Standard deviation of the cosines of the {rare.capitalize()} classes with all others: '
        f'{", ".join(said)}. A dot is a run; 0 is a perfectly even spread.'
    )


# ------------------------------------------------------------------------------------------ lengths
def _norm_figure(drawn: list[Shown]) -> Figure:
    figure, axes = new_figure(460, 280)
    for one in drawn:
        lengths = norms(one.outputs.weight)[one.order]
        axes.plot(
            range(len(lengths)),
            lengths,
            'o-' if len(lengths) <= 40 else '-',
            color=one.group.colour,
            linewidth=1.6,
            markersize=4,
            label=one.title,
        )
    axes.set_ylim(0, None)
    axes.set_xlim(-0.5, max(len(one.order) for one in drawn) - 0.5)
    axes.set_xlabel('classes, the most frequent first')
    axes.set_ylabel('length of the vector')
    axes.set_xticks([])
    axes.grid(axis='y')
    if len({tuple(one.splits[one.order]) for one in drawn}) == 1:
        split_axes(axes, drawn[0].splits[drawn[0].order], 'x', MUTED)
    figure.legend(loc='outside upper left', labelcolor='linecolor', ncols=2)
    caption = _norm_caption(drawn)
    return Figure(
        to_svg(figure, f'Lengths of the vectors by training frequency. {caption}'), caption
    )


def _norm_caption(drawn: list[Shown]) -> str:
    said = []
    for one in drawn:
        lengths, places = norms(one.outputs.weight)[one.order], ranges(one.splits[one.order])
        ends = dict.fromkeys([next(iter(places)), list(places)[-1]])  # perhaps one split alone
        means = [
            f'{lengths[slice(*places[name])].mean():.2f} for {name.capitalize()}' for name in ends
        ]
        said.append(f'{" and ".join(means)} ({one.title})')
    return (
        f'Mean length of the vectors: {"; ".join(said)}. A longer one gives higher scores: classes '
        'with short vectors tend to be predicted less often.'
    )


def _table(drawn: list[Shown], spreads: dict[str, dict[str, Angles | None]]) -> Table:
    rows = []
    for one in drawn:
        for split in COLUMNS:
            some = [spreads[run.name][split] for run in one.group.runs]
            some = [value for value in some if value]
            if some:
                rows.append(
                    [
                        one.group.name,
                        split.capitalize(),
                        str(some[0].classes),
                        spread([value.std for value in some], 3),
                        spread([value.mean_angle for value in some]),
                        spread([value.least_angle for value in some]),
                    ]
                )
    header = ['Runs', 'Split', 'Classes', 'Std of cosines', 'Mean angle (°)', 'To the nearest (°)']
    simplex = sorted({f'{etf_degrees(len(one.outputs.weight)):.2f}°' for one in drawn})
    return Table(header, rows, f'Angles to all other classes; a simplex: {", ".join(simplex)}', 2)
