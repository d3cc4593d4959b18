"""None of these: known against unknown images, and what a threshold rejects by split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.feature_arrays import split_means
from bce3s.evaluation.open_set import evaluate_open_set
from bce3s.evaluation.rejection import Extremes, measure_rejection, rejected
from bce3s.page.sections import Figure, PageRun, Section, Table
from bce3s.page.shown import COLOURS, COLUMNS, Shown, left_out, shown, thresholds
from bce3s.page.svg import INK, MUTED, new_figure, to_svg
from bce3s.tables import mean_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 160  # of a curve
TEXT = """\
An image is none of the known classes if its largest logit is at most a threshold, one for all
classes: that of the uniform accuracy (ICML 2025, Eqs. 43-45), for which no unknown image is needed.
A known image that is rejected is a false rejection; shares are means over the classes of a split.
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
        open_set: of :func:`evaluate_open_set`, or None.
    """

    rejection: dict[str, Any]
    largest: NDArray
    unknown: NDArray | None
    open_set: dict[str, Any] | None

    @property
    def threshold(self) -> float | None:
        return self.rejection['threshold']

    @property
    def unknown_rejected(self) -> float | None:
        """Percent of the unknown images, at the threshold."""
        if self.unknown is None or self.threshold is None:
            return None
        return float(100 * rejected(self.unknown, self.threshold).mean())


def open_set_curves(runs: list[PageRun]) -> Section | None:
    """ROC and OSCR curves of runs with unknown images; rejection over the threshold of all."""
    drawn = shown(runs)
    if not drawn:
        return None
    found = {run.name: _measured(run) for one in drawn for run in one.group.runs}
    known = [one for one in drawn if found[one.run.name].open_set is not None]
    figures = [_rejection_figure(one, found[one.run.name]) for one in drawn]
    tables = _rejection_tables(drawn, found)
    if known:
        figures = [*_curve_figures(known, found), *figures]
        tables.insert(0, _open_set_table(known, found))
    notes = left_out(runs) + _notes(drawn, found)
    text = TEXT + (UNKNOWN if known else '')
    return Section('open-set', 'None of these', text, figures, tables, notes)


def _measured(run: PageRun) -> Measured:
    outputs = run.outputs
    counts, limits = outputs.class_counts, thresholds(run)
    extremes = Extremes.of(outputs.logits, outputs.labels)
    rejection = run.report.get('rejection') or measure_rejection(
        extremes, counts, limits, outputs.split
    )
    if run.unknown is None or not len(run.unknown.logits):
        return Measured(rejection, extremes.largest, None, None)
    unknown = run.unknown.logits.max(axis=1)
    if not np.isfinite(unknown).all():
        return Measured(rejection, extremes.largest, None, None)
    right = extremes.own > extremes.other
    measures = evaluate_open_set(extremes.largest, right, outputs.labels, unknown, counts, limits)
    return Measured(rejection, extremes.largest, unknown, measures)


def _notes(drawn: list[Shown], found: dict[str, Measured]) -> list[str]:
    said = [
        f'{run.name}: its logits of the unknown images are not finite.'
        for one in drawn
        for run in one.group.runs
        if run.unknown is not None and len(run.unknown.logits) and found[run.name].unknown is None
    ]
    every = [run.name for one in drawn for run in one.group.runs]
    fitted = [name for name in every if found[name].rejection['cross_fitted']]
    if fitted:
        said.append(
            f'{", ".join(fitted)}: there are no other images to choose the threshold on, so the '
            'known images rejected in the table are of each half of them at the threshold of the '
            'other half. Figures and their captions have all images at one threshold.'
        )
    return said


# ------------------------------------------------------------------------------------------- curves
def _curve_figures(drawn: list[Shown], found: dict[str, Measured]) -> list[Figure]:
    kinds = (
        ('tpr', 'auroc', 'AUROC', 'known images accepted (%)', 'accepted'),
        ('ccr', 'oscr', 'OSCR', 'known images accepted and right (%)', 'accepted and right'),
    )
    figures = []
    for key, measure, name, label, said in kinds:
        figure, axes = new_figure(460, 350)
        for one in drawn:
            open_set = found[one.run.name].open_set
            value = open_set[measure]['all']
            axes.plot(
                open_set['curve']['fpr'],
                open_set['curve'][key],
                color=one.group.colour,
                linewidth=2,
                label=f'{one.title}: {value:.1f}',
            )
            _mark(axes, one, found[one.run.name], key)
        if key == 'tpr':
            axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(xlim=(0, 100), ylim=(0, 100), ylabel=label, title=name)
        axes.set_xlabel('unknown images accepted (%)')
        axes.grid()
        axes.legend(loc='lower right', labelcolor='linecolor', handlelength=1.2)
        areas = [f'{found[o.run.name].open_set[measure]["all"]:.1f} ({o.title})' for o in drawn]
        caption = (
            f'{name} (mean over the known classes): {", ".join(areas)}. A line is the known images '
            f'that are {said} over the unknown ones that slip in; the dot is the uniform threshold.'
        )
        figures.append(Figure(to_svg(figure, f'{name} curves. {caption}'), caption))
    return figures


def _mark(axes: Axes, one: Shown, measured: Measured, key: str) -> None:
    """The uniform threshold on the curve: all images alike, as the curve has them."""
    if measured.threshold is None:
        return
    accepted = 100.0 - measured.unknown_rejected
    known = ~rejected(measured.largest, measured.threshold)
    if key == 'ccr':
        known &= one.outputs.logits.argmax(axis=1) == one.outputs.labels
    axes.plot(accepted, 100.0 * known.mean(), 'o', color=one.group.colour, markersize=8)


# ---------------------------------------------------------------------------------------- rejection
def _rejection_figure(one: Shown, measured: Measured) -> Figure:
    """The share that is rejected over the threshold, by split and of the unknown."""
    outputs, grid = one.outputs, _grid(measured)
    figure, axes = new_figure(460, 330)
    for split in SPLITS:
        images = one.splits[outputs.labels] == split
        if images.any():
            shares = _shares(measured.largest[images], grid, _weights(outputs.labels[images]))
            axes.plot(grid, shares, color=COLOURS[split], linewidth=2, label=split.capitalize())
    if measured.unknown is not None:
        shares = _shares(measured.unknown, grid, np.ones(len(measured.unknown)))
        axes.plot(grid, shares, '--', color=INK, linewidth=2, label='unknown')
    axes.set(xlim=(grid[0], grid[-1]), ylim=(0, 100), title=one.title)
    if measured.threshold is not None:
        axes.axvline(measured.threshold, color=INK, linewidth=1)
        place = measured.threshold, 1.0
        axes.annotate(
            f' t = {measured.threshold:.2f}',
            place,
            (2, -4),
            xycoords=axes.get_xaxis_transform(),
            textcoords='offset points',
            va='top',
        )
    axes.set_xlabel('threshold of the largest logit')
    axes.set_ylabel('rejected (%)')
    axes.grid()
    figure.legend(loc='outside lower center', ncols=4, labelcolor='linecolor', handlelength=1.2)
    caption = _rejection_caption(one, measured)
    return Figure(to_svg(figure, f'Share rejected over the threshold. {caption}'), caption)


def _grid(measured: Measured) -> NDArray:
    parts = [measured.largest] + ([measured.unknown] if measured.unknown is not None else [])
    low, high = np.quantile(np.concatenate(parts), [0.002, 0.998])
    if measured.threshold is not None:
        low, high = min(low, measured.threshold), max(high, measured.threshold)
    margin = 0.03 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, POINTS)


def _weights(labels: NDArray) -> NDArray:
    """So that each class counts alike."""
    return 1.0 / np.bincount(labels)[labels]


def _shares(largest: NDArray, grid: NDArray, weights: NDArray) -> NDArray:
    """Percent with a largest logit of at most each threshold."""
    order = np.argsort(largest)
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    return 100 * sums[np.searchsorted(largest[order], grid, 'right')] / sums[-1]


def _rejection_caption(one: Shown, measured: Measured) -> str:
    if measured.threshold is None:
        return f'{one.title}: no image is classified right, so there is no uniform threshold.'
    false = split_means(
        100.0 * rejected(measured.largest, measured.threshold),
        one.outputs.labels,
        one.outputs.class_counts,
        thresholds(one.run),
    )
    said = [f'{false[s]:.0f} % of the {s.capitalize()}' for s in SPLITS if false[s] is not None]
    text = f'{one.title}: at the uniform threshold t, {", ".join(said)} images are rejected'
    if measured.unknown is not None:
        text += f', and {measured.unknown_rejected:.0f} % of the unknown ones'
    return f'{text}.'


# ------------------------------------------------------------------------------------------- tables
def _open_set_table(drawn: list[Shown], found: dict[str, Measured]) -> Table:
    rows = []
    for one in drawn:
        some = [found[run.name].open_set for run in one.group.runs if found[run.name].open_set]
        for name, column in (('AUROC', 'auroc'), ('OSCR', 'oscr'), ('FPR95', 'fpr95')):
            figures = [mean_std([m[column].get('plain') for m in some], 1)]
            figures += [mean_std([m[column][split] for m in some], 1) for split in SPLITS]
            rows.append([one.group.name, name, *figures])
    header = ['Runs', 'Figure', 'All images', *(split.capitalize() for split in SPLITS)]
    unknown = {str(found[one.run.name].open_set['unknown']) for one in drawn}
    caption = f'Known images of each split against {" or ".join(sorted(unknown))} unknown ones (%)'
    return Table(header, rows, caption, left=2)


def _rejection_tables(drawn: list[Shown], found: dict[str, Measured]) -> list[Table]:
    """What is rejected at the uniform threshold, and what is right nevertheless."""
    rejected_, right = [], []
    for one in drawn:
        some = [found[run.name] for run in one.group.runs]
        chosen = sorted({str(m.rejection['chosen_on']) for m in some})
        row = [one.group.name, ', '.join(chosen), mean_std([m.threshold for m in some], 2)]
        row += [mean_std([m.rejection['false_rejection'][s] for m in some], 1) for s in COLUMNS]
        rejected_.append([*row, mean_std([m.unknown_rejected for m in some], 1)])
        figures = [mean_std([m.rejection['accuracy'][s] for m in some], 1) for s in COLUMNS]
        right.append([one.group.name, *figures])
    columns = [s.capitalize() for s in COLUMNS]
    caption = 'Rejected at the uniform threshold (%): known images of each split, unknown ones'
    header = ['Runs', 'Chosen on', 'Threshold', *columns, 'Unknown']
    return [
        Table(header, rejected_, caption, left=2),
        Table(['Runs', *columns], right, 'Not rejected and classified right (%)'),
    ]
