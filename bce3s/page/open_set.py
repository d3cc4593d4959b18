"""None of these: known against unknown images, and what a threshold rejects by split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.accuracy import COLUMNS, split_means
from bce3s.evaluation.open_set import evaluate_open_set
from bce3s.evaluation.rejection import Extremes, as_array, measure_rejection, rejected
from bce3s.page.content import Figure, Section, Table
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.plotting import COLOURS, DASHED, INK, MUTED, new_figure
from bce3s.tables import mean_std

POINTS = 160  # of a curve
TEXT = """\
An image is none of the known classes if its largest logit is at most a threshold. Predictions use
those of the classes that reject at most a stated share of known images (split conformal). The
figures show the uniform threshold, one for all classes: that of the uniform accuracy (ICML 2025,
Eqs. 43-45). Neither needs an unknown image. A known image that is rejected is a false rejection;
shares are means over the classes of a split.
"""
UNKNOWN = """
Without any threshold: AUROC is the chance that a known image has a larger logit than an unknown
one, FPR95 the share of unknown images accepted where 95 % of the known are, and OSCR the area under
the share of known images that are accepted AND right (Dhamija et al., NeurIPS 2018)."""


class Measured(NamedTuple):
    """Of one run.

    Attributes:
        rejection: as ``report.json`` has it; computed where the report is older.
        largest: (N,) largest logits of known images. unknown: (M,) of unknown ones, or None.
        unknown_best: (M,) the classes that they are taken for.
        open_set: of :func:`evaluate_open_set`, or None.
    """

    rejection: dict[str, Any]
    largest: NDArray
    unknown: NDArray | None
    unknown_best: NDArray | None
    open_set: dict[str, Any] | None

    @property
    def threshold(self) -> float | None:
        """The uniform one."""
        return self.rejection['uniform']['threshold']

    @property
    def unknown_at_rate(self) -> float | None:
        """Percent of the unknown images, at the thresholds of the classes."""
        if self.unknown is None:
            return None
        at = as_array(self.rejection['thresholds'])[self.unknown_best]
        return float(100 * rejected(self.unknown, at).mean())

    @property
    def unknown_rejected(self) -> float | None:
        """Percent of the unknown images, at the uniform threshold."""
        if self.unknown is None or self.threshold is None:
            return None
        return float(100 * rejected(self.unknown, self.threshold).mean())


def open_set_curves(runs: list[PageRun]) -> Section | None:
    """ROC and OSCR curves of runs with unknown images; rejection over the threshold of all."""
    groups = measured(runs)
    if not groups:
        return None
    found = {run.name: _measured(run) for group in groups for run in group.runs}
    first = {group.name: found[group.runs[0].name] for group in groups}
    known = [group for group in groups if first[group.name].open_set is not None]
    figures = [_rejection_figure(group, first[group.name]) for group in groups]
    tables, text = _rejection_tables(groups, found), TEXT
    if known:
        figures = [*_curve_figures(known, first), *figures]
        tables.insert(0, _open_set_table(known, found))
        text += UNKNOWN
    notes = left_out(runs) + [
        f'{run.name}: its logits of the unknown images are not finite.'
        for run in runs
        if run.name in found and run.unknown is not None and found[run.name].unknown is None
    ]
    fitted = [name for name, one in found.items() if one.rejection['cross_fitted']]
    if fitted:
        notes.append(
            f'{", ".join(fitted)}: there are no other images to choose the threshold on, so the '
            'known images rejected in the table are of each half of them at the threshold of the '
            'other half. Figures and their captions have all images at one threshold.'
        )
    return Section('open-set', 'None of these', text, figures, tables, notes)


def _measured(run: PageRun) -> Measured:
    outputs = run.outputs
    counts, limits = outputs.class_counts, run.thresholds
    extremes = Extremes.of(outputs.logits, outputs.labels)
    rejection = rejection_of(run, extremes)
    unknown = None if run.unknown is None else run.unknown.logits.max(axis=1)
    if unknown is None or not np.isfinite(unknown).all():
        return Measured(rejection, extremes.largest, None, None, None)
    right = extremes.own > extremes.other
    measures = evaluate_open_set(extremes.largest, right, outputs.labels, unknown, counts, limits)
    best = run.unknown.logits.argmax(axis=1)
    return Measured(rejection, extremes.largest, unknown, best, measures)


def rejection_of(run: PageRun, extremes: Extremes | None = None) -> dict[str, Any]:
    """As ``report.json`` has it; computed where the report is older."""
    found = run.report.get('rejection') or {}
    if 'uniform' in found:  # an earlier version wrote other figures
        return found
    outputs = run.outputs
    extremes = extremes or Extremes.of(outputs.logits, outputs.labels)
    return measure_rejection(extremes, outputs.class_counts, run.thresholds, outputs.split)


# ------------------------------------------------------------------------------------------ curves
def _curve_figures(groups: list[Group], first: dict[str, Measured]) -> list[Figure]:
    kinds = (
        ('tpr', 'auroc', 'AUROC', 'accepted'),
        ('ccr', 'oscr', 'OSCR', 'accepted and right'),
    )
    figures = []
    for key, measure, name, said in kinds:
        figure, axes = new_figure(4.8, 3.6)
        areas = []
        for group in groups:
            one = first[group.name]
            area = f'{one.open_set[measure]["plain"]:.1f}'
            areas.append(f'{area} ({group.title})')
            curve, look = one.open_set['curve'], dict(color=group.colour)
            axes.plot(curve['fpr'], curve[key], label=f'{group.title}: {area}', **look)
            if one.threshold is None:
                continue
            accepted = ~rejected(one.largest, one.threshold)  # all images alike, as the curve
            if key == 'ccr':
                accepted &= group.outputs.logits.argmax(axis=1) == group.outputs.labels
            place = 100.0 - one.unknown_rejected, 100.0 * accepted.mean()
            axes.plot(*place, 'o', markersize=6, **look)
        if key == 'tpr':
            axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=DASHED)
        axes.set(xlim=(0, 100), ylim=(0, 100), ylabel=f'known images {said} (%)', title=name)
        axes.set_xlabel('unknown images accepted (%)')
        axes.grid()
        axes.legend(loc='lower right', labelcolor='linecolor', handlelength=1.2)
        caption = (
            f'{name} (all images alike): {", ".join(areas)}. A line is the known images '
            f'that are {said} over the unknown ones that slip in; the dot is the uniform threshold.'
        )
        figures.append(Figure.of(figure, f'{name} curves', caption))
    return figures


# --------------------------------------------------------------------------------------- rejection
def _rejection_figure(group: Group, one: Measured) -> Figure:
    """The share that is rejected over the threshold, by split and of the unknown."""
    labels, grid = group.outputs.labels, _grid(one)
    figure, axes = new_figure(4.8, 3.4)
    for split in SPLITS:
        images = group.splits[labels] == split
        if images.any():
            weights = 1.0 / np.bincount(labels[images])[labels[images]]  # each class counts alike
            shares = _shares(one.largest[images], grid, weights)
            axes.plot(grid, shares, color=COLOURS[split], label=split.capitalize())
    if one.unknown is not None:
        shares = _shares(one.unknown, grid, np.ones(len(one.unknown)))
        axes.plot(grid, shares, color=INK, linestyle=DASHED, label='unknown')
    axes.set(xlim=(grid[0], grid[-1]), ylim=(0, 100), title=group.title)
    axes.set(xlabel='threshold of the largest logit', ylabel='rejected (%)')
    axes.grid()
    figure.legend(loc='outside lower center', ncols=4, labelcolor='linecolor', handlelength=1.2)
    if one.threshold is None:
        caption = f'{group.title}: no image is classified right, so there is no uniform threshold.'
        return Figure.of(figure, 'Share rejected over the threshold', caption)
    axes.axvline(one.threshold, color=INK, linewidth=0.8)
    where = dict(textcoords='offset points', xycoords=axes.get_xaxis_transform())
    axes.annotate(f't = {one.threshold:.2f}', (one.threshold, 1), (4, -3), va='top', **where)
    false = split_means(
        100.0 * rejected(one.largest, one.threshold),
        labels,
        group.outputs.class_counts,
        group.runs[0].thresholds,
    )
    said = [f'{false[s]:.0f} % of the {s.capitalize()}' for s in SPLITS if false[s] is not None]
    caption = f'{group.title}: at the uniform threshold t, {", ".join(said)} images are rejected'
    if one.unknown is not None:
        caption += f', and {one.unknown_rejected:.0f} % of the unknown ones'
    return Figure.of(figure, 'Share rejected over the threshold', f'{caption}.')


def _grid(one: Measured) -> NDArray:
    parts = [one.largest] + ([one.unknown] if one.unknown is not None else [])
    low, high = np.quantile(np.concatenate(parts), [0.002, 0.998])
    if one.threshold is not None:
        low, high = min(low, one.threshold), max(high, one.threshold)
    margin = 0.03 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, POINTS)


def _shares(largest: NDArray, grid: NDArray, weights: NDArray) -> NDArray:
    """Percent with a largest logit of at most each threshold."""
    order = np.argsort(largest)
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    return 100 * sums[np.searchsorted(largest[order], grid, 'right')] / sums[-1]


# ------------------------------------------------------------------------------------------ tables
def _open_set_table(groups: list[Group], found: dict[str, Measured]) -> Table:
    rows = []
    for group in groups:
        some = [one for run in group.runs if (one := found[run.name].open_set)]
        for name in ('auroc', 'oscr', 'fpr95'):
            figures = [mean_std([m[name][s] for m in some], 1) for s in ('plain', *SPLITS)]
            rows.append([group.name, name.upper(), *figures])
    header = ['Runs', 'Figure', 'All images', *(split.capitalize() for split in SPLITS)]
    unknown = {str(found[group.runs[0].name].open_set['unknown']) for group in groups}
    caption = f'Known images of each split against {" or ".join(sorted(unknown))} unknown ones (%)'
    return Table(header, rows, caption, left=2)


def _rejection_tables(groups: list[Group], found: dict[str, Measured]) -> list[Table]:
    """What is rejected at the thresholds, and what is right nevertheless."""
    false, right = [], []
    for group in groups:
        some = [found[run.name] for run in group.runs]
        chosen = ', '.join(sorted({str(m.rejection['chosen_on']) for m in some}))
        at_rate = [m.rejection for m in some], [m.unknown_at_rate for m in some], '-'
        uniform = [r['uniform'] for r in at_rate[0]], [m.unknown_rejected for m in some]
        value = mean_std([m.threshold for m in some], 2)
        rate = f'of the classes, at most {some[0].rejection["rate"]:g} %'
        for name, (known, unknown, at) in {rate: at_rate, 'uniform': (*uniform, value)}.items():
            row = [mean_std([one['false_rejection'][s] for one in known], 1) for s in COLUMNS]
            false.append([group.name, chosen, name, at, *row, mean_std(unknown, 1)])
            figures = [mean_std([one['accuracy'][s] for one in known], 1) for s in COLUMNS]
            right.append([group.name, name, *figures])
    columns = [s.capitalize() for s in COLUMNS]
    caption = 'Rejected at the thresholds (%): known images of each split, unknown ones'
    header = ['Runs', 'Chosen on', 'Threshold', 'Value', *columns, 'Unknown']
    return [
        Table(header, false, caption, left=3),
        Table(['Runs', 'Threshold', *columns], right, 'Not rejected and right (%)', left=2),
    ]
