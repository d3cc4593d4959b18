"""Numbers -> ``report.json``, ``report.md``, ``report.png`` and the table on the terminal.

The headline is the last epoch without test-time augmentation. What was selected on the evaluation
data (the best epoch) or predicted with a flipped copy (flip TTA) stands beside it, named as such.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.figures import draw_report
from bce3s.evaluation.report_check import fault, no_constant
from bce3s.evaluation.selection import LAST, label, other_selections, selections
from bce3s.files import written_whole
from bce3s.tables import escaped, markdown_table, percent
from bce3s.wording import counted

ANOTHER = 'tools/test.py writes a new one.'
MOST_FALSE = 20.0  # percent of known images; a threshold that rejects more has to be asked for
HEADLINE_KEYS = (*COLUMNS, 'accuracy', 'macro_f1', 'per_class', 'samples')


# ------------------------------------------------------------------------------------------- report
def build_report(
    summary: dict[str, dict],
    history: list[dict],
    data: dict[str, Any],
    run: dict[str, Any],
    selection: str = LAST,
) -> dict[str, Any]:
    """The contents of ``report.json``.

    Args:
        summary: ``LongTailedMetric.summary`` of the headline's evaluation.
        history: rows of ``history_row`` by epoch, the headline's last.
        data: ``dataset``, ``split``, ``classes``, ``class_counts``, ``thresholds`` (dict),
            ``subset`` (dict or None), ``rejection`` (``measure_rejection``) and ``skipped_images``
            (split -> number).
        run: ``seed``, ``config``, ``versions`` and whatever else is known of the run.
        selection: how the headline's epoch was chosen.
    """
    last = history[-1]
    return {
        **{key: summary['plain'][key] for key in HEADLINE_KEYS},
        **data,
        'epoch': last['epoch'],
        'stage': last['stage'],
        'selection': selection,
        'tta': False,
        'other': other_selections(history, data['split'], selection),
        **run,
        'history': history,
    }


def write_report(report: dict[str, Any], directory: str | Path, figure: bool = True) -> Path:
    """Write ``report.json``, ``report.md`` and, if asked, ``report.png``; each whole or not at all.

    Returns:
        The path of ``report.md``.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    _write(directory / 'report.json', text.encode())
    if figure:
        _write(directory / 'report.png', draw_report(report))
    _write(directory / 'report.md', format_markdown(report).encode())
    return directory / 'report.md'


def _write(path: Path, content: bytes) -> None:
    with written_whole(path) as file:
        file.write(content)


def read_report(run: str | Path) -> dict[str, Any]:
    """``report.json`` of a run directory (or the file itself).

    Raises:
        BCE3SError: there is none, or it is no report: what it has is of other types or lengths.
    """
    path = Path(run)
    path = path / 'report.json' if path.is_dir() or path.suffix != '.json' else path
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError('it is no regular file')
        report = json.loads(path.read_text(encoding='utf-8'), parse_constant=no_constant)
    except FileNotFoundError:
        raise BCE3SError(
            f'{run} has no report.json: it is no run directory, or its first validation '
            'was not reached.'
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BCE3SError(f'{path} cannot be read as a report: {error}. {ANOTHER}') from None
    if wrong := fault(report):
        raise BCE3SError(f'{path} is not a report of this project: {wrong}. {ANOTHER}')
    return report


# -------------------------------------------------------------------------------------- rejection
def default_threshold(rejection: Mapping[str, Any]) -> float | None:
    """The uniform threshold; None where there is none, or where it rejects more than ``MOST_FALSE``
    percent of the known images, so that it has to be asked for.

    Args:
        rejection: of a report, see :func:`~bce3s.evaluation.rejection.measure_rejection`.
    """
    share = false_share(rejection)
    return None if share is not None and share > MOST_FALSE else rejection.get('threshold')


def false_share(rejection: Mapping[str, Any]) -> float | None:
    """Percent of the known images that are rejected, the mean over the classes: cross-fitted where
    that was possible.
    """
    found = ((rejection.get(key) or {}).get('all') for key in ('false_rejection', 'at_threshold'))
    return next((share for share in found if share is not None), None)


# -------------------------------------------------------------------------------------------- texts
def _cells(entry: dict[str, Any]) -> list[str]:
    epoch = '-' if entry['epoch'] is None else str(entry['epoch'])
    return [label(entry), epoch, *(percent(entry[split]) for split in COLUMNS)]


def format_table(report: dict[str, Any]) -> str:
    """The table for the terminal: a row for each selection, the headline first."""
    header = ['Selection', 'Epoch', *(column.capitalize() for column in COLUMNS)]
    return markdown_table(header, [*map(_cells, selections(report))], aligned=True)


def _data_line(report: dict[str, Any]) -> str:
    counts, subset = report['class_counts'], report['subset'] or {}
    split = list(split_of(counts, Thresholds(**report['thresholds'])))
    sizes = ', '.join(f'{split.count(name)} {name.capitalize()}' for name in SPLITS)
    imbalance = ''
    if subset.get('imbalance_factor') is not None:
        kind, factor = subset.get('imbalance', 'exp'), subset['imbalance_factor']
        imbalance = f', {kind} imbalance factor {factor:g} (rule {subset.get("rule")})'
    return (
        f'{report["dataset"]}{imbalance}: {counted(sum(counts), "training image")}, '
        f'{max(counts):,} to {min(counts):,} a class; {counted(len(counts), "class")} ({sizes}); '
        f'{counted(report["samples"], "image")} of the {report["split"]} set.{_skipped(report)}'
    )


def _data_notes(report: dict[str, Any]) -> list[str]:
    """What was found and left out of one's own images: one list, or nothing."""
    notes = report.get('data_notes') or []
    return ['\n'.join(f'- {escaped(note)}' for note in notes)] if notes else []


def _skipped(report: dict[str, Any]) -> str:
    """What was left out, if anything: of reports of earlier versions nothing is known."""
    counts = dict(report.get('skipped_images') or {})
    drawn, left_out = counts.pop('train', 0), counts.get(report['split'], 0)
    text = ''
    if steps := report.get('skipped_steps'):
        text += f' Left out: {counted(steps, "training step")} with a loss that was not finite.'
    if drawn:
        text += (
            f' In training an image that cannot be read was drawn {counted(drawn, "time")}; '
            'another one of its class took its place.'
        )
    if left_out:
        text += (
            f' Not counted: {counted(left_out, "image")} of the {report["split"]} set that cannot '
            'be read.'
        )
    return text


def _rejection(report: dict[str, Any]) -> list[str]:
    """What "none of these" does to images of known classes; nothing where it is not known."""
    found = report.get('rejection')
    if found is None:
        return []
    if found['threshold'] is None or found['false_rejection']['all'] is None:
        text = 'There are too few images that are classified right to choose a threshold on.'
        return ['## None of these', text]
    where = (
        f'It was chosen on these images; the figures are those of each half of them at the '
        f'threshold that the other half chose (cross-fitted), but for the row of this very '
        f'threshold: if that differs much, the threshold hangs on few images. It classifies '
        f'{percent(found["uniform_accuracy"])} % of them (uniform accuracy).'
        if found['cross_fitted']
        else f'It was chosen on the {found["chosen_on"]} set and classifies '
        f'{percent(found["uniform_accuracy"])} % of these images (uniform accuracy).'
    )
    text = (
        'An image is none of the classes if its largest logit is at most the uniform threshold, '
        f'{found["threshold"]:.4f}. {where} Every image of the {found["measured_on"]} set is of a '
        'known class, so each rejection is a false one; percent, means of per-class figures.'
    )
    if default_threshold(found) is None:
        text += (
            f' More than {MOST_FALSE:.0f} % are rejected, so that predictions use this threshold '
            'only where it is asked for.'
        )
    rows = [
        *_at_threshold(found),
        ['Falsely rejected', *(percent(found['false_rejection'][name]) for name in COLUMNS)],
        ['Not rejected and right', *(percent(found['accuracy'][name]) for name in COLUMNS)],
    ]
    table = markdown_table(['', *(name.capitalize() for name in COLUMNS)], rows)
    return ['## None of these', escaped(text), table]


def _at_threshold(found: dict[str, Any]) -> list[list[str]]:
    """A row of what the threshold itself rejects, where the others are cross-fitted."""
    simply = found.get('at_threshold') if found['cross_fitted'] else None
    if simply is None:
        return []
    row = [percent(simply[name]) for name in COLUMNS]
    return [['Falsely rejected at this very threshold', *row]]


def _worst_classes(report: dict[str, Any], number: int = 10) -> str:
    counts, accuracies = report['class_counts'], report['per_class']
    tested = [k for k, accuracy in enumerate(accuracies) if accuracy is not None]
    worst = sorted(tested, key=lambda k: (accuracies[k], counts[k], k))[:number]
    split = split_of(counts, Thresholds(**report['thresholds']))
    rows = [
        [
            escaped(report['classes'][k]),
            split[k].capitalize(),
            str(counts[k]),
            percent(accuracies[k]),
        ]
        for k in worst
    ]
    return markdown_table(['Class', 'Split', 'Training images', 'Accuracy'], rows, left=2)


def _explanation(report: dict[str, Any]) -> str:
    many, few = report['thresholds']['many'], report['thresholds']['few']
    on = escaped(report['split'])
    text = (
        'Percent, means of per-class accuracies: Many are the classes with more than '
        f"{many} training images, Medium those with {few} to {many}, Few those with fewer; '-' is "
        'a split without a class. '
        f'Plain accuracy (all samples alike) {percent(report["accuracy"])}, '
        f'macro F1 {percent(report["macro_f1"])}.'
    )
    if any(entry['selection'].startswith('best on') for entry in selections(report)):
        text += (
            f"\n\n'Best on {on}' picks the epoch on the {on} data: it is for comparison only, and "
            'no estimate of the accuracy on new data.'
        )
    return text


def _origin(report: dict[str, Any]) -> str:
    subset, versions = report['subset'] or {}, report['versions']
    precision = report.get('precision') or 'unknown precision'
    epochs = f'{report["epoch"] or "unknown"} of {report.get("max_epochs") or "unknown"}'
    lines = [
        f'config {report["config"]}, seed {report["seed"]}, epoch {epochs}',
        f'subset SHA-256 {subset.get("sha256", "unknown")}',
        ', '.join(f'{name} {version}' for name, version in versions.items()),
        f'device {report.get("device", "unknown")}, backbone in {precision}',
    ]
    return '\n'.join(f'- {escaped(line)}' for line in lines)


def format_markdown(report: dict[str, Any]) -> str:
    """``report.md``: the selections, the data, the worst classes, and what it takes to redo it."""
    header = ['Selection', 'Epoch', *(column.capitalize() for column in COLUMNS)]
    parts = [
        f'# {escaped(report["config"])}, seed {report["seed"]}',
        markdown_table(header, [[*map(escaped, _cells(entry))] for entry in selections(report)]),
        _explanation(report),
        escaped(_data_line(report)),
        *_data_notes(report),
        '![accuracy of each class](report.png)',
        '## The worst classes',
        _worst_classes(report),
        *_rejection(report),
        '## How it was made',
        _origin(report),
    ]
    return '\n\n'.join(parts) + '\n'
