"""All, Many, Medium and Few of every group of runs side by side."""

from __future__ import annotations

from typing import Any

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.selection import label, selections
from bce3s.page.glance import figures, glance_chart, group_cell
from bce3s.page.sections import Group, PageRun, Section, Table, grouped
from bce3s.tables import mean_std
from bce3s.wording import counted

EXPLAINED = """\
Accuracy in percent: means over classes of each class's accuracy, so that a rare class counts as \
much as a frequent one. {splits}"""


def summary(runs: list[PageRun]) -> Section:
    """The headline of every group: a chart, and tables that name what was measured on what."""
    groups = grouped(runs)
    text = EXPLAINED.format(splits=_thresholds_said(runs))
    if spread := _spread_said(groups):
        text += f' {spread}'
    tables = [_headline(groups)]
    if others := _others(groups):
        tables.append(others)
    text += '\n\n' + '\n\n'.join(_data_lines(runs))
    return Section('summary', 'At a glance', text, [glance_chart(groups)], tables, _notes(runs))


def _notes(runs: list[PageRun]) -> list[str]:
    """Which runs are not at their end, and what was found of one's own images, each once."""
    said = [note for run in runs for note in run.report.get('data_notes') or ()]
    return _unfinished(runs) + list(dict.fromkeys(said))


def _unfinished(runs: list[PageRun]) -> list[str]:
    notes = []
    for run in runs:
        epoch, end = run.report['epoch'], run.report.get('max_epochs')
        if epoch and end and epoch < end:
            notes.append(f'{run.name} is not at its end: epoch {epoch} of {end}.')
    return notes


def _thresholds_said(runs: list[PageRun]) -> str:
    found = {(r.report['thresholds']['many'], r.report['thresholds']['few']) for r in runs}
    if len(found) > 1:
        return 'The runs differ in what they call Many, Medium and Few.'
    many, few = found.pop()
    return (
        f'Many are the classes with more than {many} training images, Medium those with {few} to '
        f'{many}, Few those with fewer.'
    )


def _spread_said(groups: list[Group]) -> str:
    if all(len(group.runs) == 1 for group in groups):
        return ''
    return 'Mean ± sample standard deviation over n seeds.'


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
        f'Data: {report["dataset"]}{imbalance}; {counted(sum(counts), "training image")}, '
        f'{max(counts):,} to {min(counts):,} a class; {counted(len(counts), "class")} ({sizes}). '
        f'Measured on {counted(report["samples"], "image")} of the {report["split"]} set.'
    )


# -------------------------------------------------------------------------------------------- table
def _headline(groups: list[Group]) -> Table:
    rows = []
    for group in groups:
        rows.append(
            [
                group_cell(group),
                *(mean_std(figures(group, c)) for c in COLUMNS),
                str(len(group.runs)),
                ', '.join(str(run.report['seed']) for run in group.runs),
                _epoch(group),
            ]
        )
    header = ['Runs', *(c.capitalize() for c in COLUMNS), 'n', 'Seeds', 'Epoch']
    chosen = sorted({label(selections(group.runs[0].report)[0]) for group in groups})
    return Table(header, rows, f'Epoch: {" or ".join(chosen)}, without test-time augmentation.')


def _epoch(group: Group) -> str:
    epochs = sorted({run.report['epoch'] for run in group.runs if run.report['epoch'] is not None})
    end = group.runs[0].report.get('max_epochs')
    text = ', '.join(map(str, epochs)) or '-'
    return f'{text} of {end}' if end else text


def _others(groups: list[Group]) -> Table | None:
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
            rows.append([group_cell(group), name, *cells, str(len(entries)), epochs])
    header = ['Runs', 'Selection', *(c.capitalize() for c in COLUMNS), 'n', 'Epochs']
    caption = (
        "Other selections of the same runs. 'Best on' a set picks the epoch on that set: for "
        'comparison only, no estimate of the accuracy on new data.'
    )
    return Table(header, rows, caption, left=2) if rows else None
