"""Numbers -> ``report.json``, ``report.md``, ``report.png`` and the table on the terminal.

The headline is the last epoch without test-time augmentation. What was selected on the evaluation
data (the best epoch) or predicted with a flipped copy (flip TTA) stands beside it, named as such.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.branch_health import health_sentence
from bce3s.evaluation.figures import draw_report
from bce3s.evaluation.rejection import MOST_FALSE, default_threshold
from bce3s.evaluation.selection import LAST, label, other_selections, selections
from bce3s.files import write_all
from bce3s.tables import escaped, markdown_table, percent
from bce3s.wording import counted

ANOTHER = 'tools/test.py writes a new one.'
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
            ``subset`` (dict or None), ``rejection`` (``measure_rejection``), ``skipped_images``
            (split -> number) and ``contrastive`` (rows of ``contrastive_health``).
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
    contents = {'report.json': json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)}
    if figure:
        contents['report.png'] = draw_report(report)
    contents['report.md'] = format_markdown(report)
    return write_all(contents, directory)


def read_report(run: str | Path) -> dict[str, Any]:
    """``report.json`` of a run directory (or the file itself).

    Raises:
        BCE3SError: there is none, or it is no report.
    """
    path = Path(run)
    path = path / 'report.json' if path.is_dir() or path.suffix != '.json' else path
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError('it is no regular file')
        report = json.loads(path.read_text(encoding='utf-8'), parse_constant=_no_constant)
    except FileNotFoundError:
        raise BCE3SError(
            f'{run} has no report.json: it is no run directory, or its first validation '
            'was not reached.'
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BCE3SError(f'{path} cannot be read as a report: {error}. {ANOTHER}') from None
    try:
        _look_through(report)
    except (KeyError, TypeError, ValueError, AttributeError, BCE3SError) as error:
        why = f'it has no {error}' if isinstance(error, KeyError) else error
        raise BCE3SError(f'{path} is not a report of this project: {why}. {ANOTHER}') from None
    return report


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is no number')


def _look_through(report: dict[str, Any]) -> None:
    """Meets what is wrong with a report here rather than where it is used."""
    _ = report['config'], report['seed'], report['split']
    for entry in (*selections(report), *(report.get('history') or ())):
        _ = entry['epoch'], [None if entry[c] is None else float(entry[c]) for c in COLUMNS]
    Thresholds(**report['thresholds'])
    sizes = {key: len(report[key]) for key in ('class_counts', 'classes', 'per_class')}
    if len({*sizes.values()}) > 1 or not sum(report['class_counts']):
        raise ValueError(f'it has {sizes}, or no training image')
    _ = [None if a is None else float(a) for a in report['per_class']]
    rejection = report.get('rejection') or {}
    for part in (report.get('subset'), report.get('versions'), report.get('skipped_images')):
        _ = (part or {}).keys()
    for key in ('false_rejection', 'at_threshold', 'accuracy'):
        _ = (rejection.get(key) or {}).keys()
    numbers = [rejection.get('threshold') or 0, *(rejection.get('keep') or ())]
    _ = [float(value) for value in numbers]


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


def _skipped(report: dict[str, Any]) -> str:
    """What was left out, if anything: of reports of earlier versions nothing is known."""
    counts = dict(report.get('skipped_images') or {})
    drawn, left_out, text = counts.pop('train', 0), counts.get(report['split'], 0), ''
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
    lines = {
        'Falsely rejected at this very threshold': found.get('at_threshold'),
        'Falsely rejected': found['false_rejection'],
        'Not rejected and right': found['accuracy'],
    }
    if not found['cross_fitted']:  # where the first two are the same
        del lines['Falsely rejected at this very threshold']
    rows = [
        [title, *(percent(means[name]) for name in COLUMNS)]
        for title, means in lines.items()
        if means
    ]
    table = markdown_table(['', *(name.capitalize() for name in COLUMNS)], rows)
    return ['## None of these', escaped(text), table]


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
    health = report.get('contrastive')
    notes = report.get('data_notes')  # on one's own images
    parts = [
        f'# {escaped(report["config"])}, seed {report["seed"]}',
        markdown_table(header, [[*map(escaped, _cells(entry))] for entry in selections(report)]),
        _explanation(report),
        escaped(_data_line(report)),
        *([escaped(health_sentence(health))] if health else []),
        *(['\n'.join(f'- {escaped(note)}' for note in notes)] if notes else []),
        '![accuracy of each class](report.png)',
        '## The worst classes',
        _worst_classes(report),
        *_rejection(report),
        '## How it was made',
        _origin(report),
    ]
    return '\n\n'.join(parts) + '\n'
