"""All, Many, Medium and Few of every group of runs side by side, and over the epochs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.multi_label_report import measure_of, several, trained_on
from bce3s.evaluation.selection import label, selections
from bce3s.page.content import Figure, Section, Table
from bce3s.page.runs import Group, PageRun, grouped
from bce3s.plotting import GRID, MUTED, new_figure
from bce3s.tables import mean_std
from bce3s.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, GAP = 20, 16  # of a group's row, and between two columns, in CSS pixels
HEADER = [column.capitalize() for column in COLUMNS]


def summary(runs: list[PageRun]) -> Section:
    """The headline of every group: a chart, and tables that name what was measured on what."""
    groups = grouped(runs)
    report = runs[0].report
    text = (
        f"{_measure(report)} in percent: means over classes of each class's {_averaged(report)}, "
        f'so that a rare class counts as much as a frequent one. {_thresholds_said(runs)}'
    )
    if any(len(group.runs) > 1 for group in groups):
        text += ' Mean ± sample standard deviation over n seeds.'
    tables = [_headline(groups), *_others(groups)]
    text += '\n\n' + '\n\n'.join(_data_lines(runs))
    notes = [
        f'{run.name} is not at its end: epoch {epoch} of {end}.'
        for run in runs
        if (epoch := run.report['epoch']) and (end := run.report.get('max_epochs')) and epoch < end
    ]
    notes += [note for run in runs for note in run.report.get('data_notes') or ()]
    notes = list(dict.fromkeys(notes))
    return Section('summary', 'At a glance', text, [_chart(groups)], tables, notes)


def _measure(report: dict[str, Any]) -> str:
    """At the beginning of a sentence."""
    return 'mAP' if several(report) else 'Accuracy'


def _averaged(report: dict[str, Any]) -> str:
    return 'average precision (AP)' if several(report) else 'accuracy'


def _thresholds_said(runs: list[PageRun]) -> str:
    found = {run.thresholds for run in runs}
    if len(found) > 1:
        return 'The runs differ in what they call Many, Medium and Few.'
    limits = found.pop()
    return (
        f'Many are the classes with more than {limits.many} training images, Medium those with '
        f'{limits.few} to {limits.many}, Few those with fewer.'
    )


def _data_lines(runs: list[PageRun]) -> list[str]:
    """A sentence on each data set, and which runs are of it where they differ."""
    lines: dict[str, list[str]] = {}
    for run in runs:
        lines.setdefault(_data_line(run.report), []).append(run.name)
    if len(lines) == 1:
        return list(lines)
    return [f'{line} ({", ".join(names)})' for line, names in lines.items()]


def _data_line(report: dict[str, Any]) -> str:
    counts, subset = report['class_counts'], report.get('subset') or {}
    split = list(split_of(counts, Thresholds(**report['thresholds'])))
    sizes = ', '.join(f'{split.count(name)} {name.capitalize()}' for name in SPLITS)
    factor = subset.get('imbalance_factor')
    imbalance = '' if factor is None else f', imbalance factor {factor:g}'
    return (
        f'Data: {report["dataset"]}{imbalance}; {trained_on(report)}, '
        f'{max(counts):,} to {min(counts):,} a class; {counted(len(counts), "class")} ({sizes}). '
        f'Measured on {counted(report["samples"], "image")} of the {report["split"]} set.'
    )


# ------------------------------------------------------------------------------------------- chart
def _chart(groups: list[Group]) -> Figure:
    """For All, Many, Medium and Few a row a group: seeds as dots, mean and standard deviation."""
    block = ROW * len(groups) + GAP
    figure, axes = new_figure(4.8, (len(COLUMNS) * block + 46) / 96)
    for i, column in enumerate(COLUMNS):
        for j, group in enumerate(groups):
            values = [run.report[column] for run in group.runs]
            _draw_row(axes, values, i * block + j * ROW, group.colour)
        if i:
            axes.axhline(i * block - (ROW + GAP) / 2, color=GRID, linewidth=0.7)
    middle = (len(groups) - 1) * ROW / 2
    axes.set_yticks([i * block + middle for i in range(len(COLUMNS))], HEADER)
    axes.set_ylim((len(COLUMNS) - 1) * block + (len(groups) - 0.4) * ROW, -0.6 * ROW)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low - 4, 0), min(high + 2, 100))
    axes.grid(axis='x')
    axes.tick_params(axis='y', length=0, labelsize=9)
    axes.spines['left'].set_visible(False)
    axes.set_xlabel(f'{measure_of(groups[0].report)} (%)')
    caption = ''
    if any(len(group.runs) > 1 for group in groups):
        caption = 'Mean over seeds, bars of one standard deviation, small dots for the seeds.'
    names = ', '.join(group.name for group in groups)
    title = f'{_measure(groups[0].report)} on All, Many, Medium and Few of {names}'
    return Figure.of(figure, title, caption, key=[group.cell for group in groups])


def _draw_row(axes: Axes, values: list[float | None], y: float, colour: str) -> None:
    known = [value for value in values if value is not None]
    if not known:
        at = dict(transform=axes.get_yaxis_transform(), va='center')
        axes.text(0.02, y, 'no class', color=MUTED, fontsize=8.25, **at)
        return
    middle, last = statistics.fmean(known), max(known)
    look = dict(color=colour, clip_on=False)  # dots at 0 and at 100
    if len(known) > 1:
        spread = statistics.stdev(known)
        last = min(max(last, middle + spread), 100)
        axes.plot([max(middle - spread, 0), last], [y, y], color=colour, linewidth=1.2)
        axes.plot(known, [y] * len(known), 'o', markersize=2.5, alpha=0.55, mew=0, **look)
    axes.plot(middle, y, 'o', markersize=6, mec='white', mew=0.8, **look)
    where = dict(textcoords='offset points', va='center')
    axes.annotate(f'{middle:.1f}', (last, y), (7, 0), color=colour, fontsize=8.25, **where)


# ------------------------------------------------------------------------------------------ tables
def _headline(groups: list[Group]) -> Table:
    rows = [
        [
            group.cell,
            *(mean_std([run.report[c] for run in group.runs]) for c in COLUMNS),
            str(len(group.runs)),
            ', '.join(str(run.report['seed']) for run in group.runs),
            _epochs(group),
        ]
        for group in groups
    ]
    chosen = sorted({label(selections(group.report)[0]) for group in groups})
    caption = f'Epoch: {" or ".join(chosen)}, without test-time augmentation.'
    return Table(['Runs', *HEADER, 'n', 'Seeds', 'Epoch'], rows, caption)


def _epochs(group: Group) -> str:
    epochs = sorted({run.report['epoch'] for run in group.runs if run.report['epoch'] is not None})
    end = group.report.get('max_epochs')
    text = ', '.join(map(str, epochs)) or '-'
    return f'{text} of {end}' if end else text


def _others(groups: list[Group]) -> list[Table]:
    """The selections beside the headline, such as the best epoch, named as such."""
    rows = []
    for group in groups:
        found: dict[str, list[dict]] = {}
        for run in group.runs:
            for entry in selections(run.report)[1:]:
                found.setdefault(label(entry), []).append(entry)
        for name, entries in found.items():
            epochs = ', '.join(str(entry['epoch']) for entry in entries)
            cells = [mean_std([entry[c] for entry in entries]) for c in COLUMNS]
            rows.append([group.cell, name, *cells, str(len(entries)), epochs])
    caption = (
        "Other selections of the same runs. 'Best on' a set picks the epoch on that set: for "
        f'comparison only, no estimate of the {measure_of(groups[0].report)} on new data.'
    )
    header = ['Runs', 'Selection', *HEADER, 'n', 'Epochs']
    return [Table(header, rows, caption, left=2)] if rows else []
