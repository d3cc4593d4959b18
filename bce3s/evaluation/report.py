"""Numbers -> ``report.json``, ``report.md``, ``report.png`` and the table on the terminal.

The headline is the last epoch without test-time augmentation. What was selected on the evaluation
data (the best epoch) or predicted with a flipped copy (flip TTA) stands beside it, named as such.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.branch_health import health_sentence
from bce3s.evaluation.figures import draw_report
from bce3s.evaluation.multi_label_report import (
    class_measure,
    class_rows,
    decisions_text,
    look_through_decisions,
    measure_of,
    rankings_sentence,
    several,
    trained_on,
    untested_sentence,
)
from bce3s.evaluation.rejection import fewest
from bce3s.evaluation.selection import LAST, label, other_selections, selections
from bce3s.files import write_all
from bce3s.tables import escaped, markdown_table, percent
from bce3s.wording import counted

ANOTHER = 'tools/test.py writes a new one.'


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
            ``subset`` (dict or None), ``rejection`` (``measure_rejection``) or, of several labels
            an image, ``decisions`` (``measure_decisions``), ``skipped_images`` (split -> number)
            and ``contrastive`` (rows of ``contrastive_health``).
        run: ``seed``, ``config``, ``versions`` and whatever else is known of the run.
        selection: how the headline's epoch was chosen.
    """
    last = history[-1]
    return {
        **summary['plain'],
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
    if several(report):
        look_through_decisions(report)
    rejection = report.get('rejection') or {}
    for part in (report.get('subset'), report.get('versions'), report.get('skipped_images')):
        _ = (part or {}).keys()
    for key in ('false_rejection', 'at_threshold', 'accuracy'):
        _ = (rejection.get(key) or {}).keys()
    uniform = rejection.get('uniform') or {}
    lists = [rejection.get(key) or () for key in ('thresholds', 'keep')]
    numbers = [uniform.get('threshold'), *lists[0], *lists[1]]
    _ = [None if value is None else float(value) for value in numbers]


# -------------------------------------------------------------------------------------------- texts
def _cells(entry: dict[str, Any]) -> list[str]:
    epoch = '-' if entry['epoch'] is None else str(entry['epoch'])
    return [label(entry), epoch, *(percent(entry[split]) for split in COLUMNS)]


def format_table(report: dict[str, Any]) -> str:
    """The table for the terminal: a row for each selection, the headline first."""
    header = ['Selection', 'Epoch', *(column.capitalize() for column in COLUMNS)]
    return markdown_table(header, [*map(_cells, selections(report))], aligned=True)


def _parents_line(parents: dict[str, float]) -> str:
    return (
        f'At least what the class belongs to is right for {percent(parents["all"])} % (mean over '
        f'the parents; {percent(parents["plain"])} % of all images alike).'
    )


def _data_line(report: dict[str, Any]) -> str:
    counts, subset = report['class_counts'], report['subset'] or {}
    split = list(split_of(counts, Thresholds(**report['thresholds'])))
    sizes = ', '.join(f'{split.count(name)} {name.capitalize()}' for name in SPLITS)
    imbalance = ''
    if subset.get('imbalance_factor') is not None:
        kind, factor = subset.get('imbalance', 'exp'), subset['imbalance_factor']
        imbalance = f', {kind} imbalance factor {factor:g} (rule {subset.get("rule")})'
    return (
        f'{report["dataset"]}{imbalance}: {trained_on(report)}, '
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
    """What "none of these" does to images of known classes; nothing where it is not known, as of
    reports of earlier versions.
    """
    found = report.get('rejection')
    if not found or 'uniform' not in found:
        return []
    uniform = found['uniform']
    rows = _rejection_rows(f'at most {found["rate"]:g} %', found, found['cross_fitted'])
    rows += _rejection_rows('uniform', uniform, found['cross_fitted'])
    text = f'{rejection_sentence(found)} '
    if uniform['threshold'] is not None:
        text += (
            f'The uniform threshold, {uniform["threshold"]:.4f}, classifies '
            f'{percent(uniform["uniform_accuracy"])} % of these images (uniform accuracy); '
            'predictions use it where it is asked for. '
        )
    if found['cross_fitted']:
        text += (
            'The thresholds were chosen on these images; the figures are those of each half of '
            'them at the threshold that the other half chose (cross-fitted), but for the rows of '
            'this very threshold: if those differ much, the threshold hangs on few images. '
        )
    text += (
        f'Every image of the {found["measured_on"]} set is of a known class, so each rejection is '
        'a false one; percent, means of per-class figures, but for Plain (all images alike).'
    )
    best = report.get('rejection_score') or {}
    if not rows:
        return ['## None of these', escaped(text)]
    header = ['Threshold', '', *(name.capitalize() for name in COLUMNS), 'Plain']
    if best.get('groups'):
        rows += _rejection_rows(f'{best["score"]}, at most {best["rate"]:g} %', best, True)
    parts = ['## None of these', escaped(text), markdown_table(header, rows, left=2)]
    return parts + _compared_scores(best)


def _compared_scores(best: dict[str, Any]) -> list[str]:
    """How well each score rejects classes that are held out, where that was looked at."""
    if not best.get('compared'):
        return []
    text = (
        'Which score tells known images best was estimated with known classes held out in the '
        'place of unknown ones: AUROC, mean over these classes, and the difference to the largest '
        'logit with its standard error.'
    )
    if best.get('groups'):
        text += f' Predictions compare the {best["score"]}.'
    rows = [
        [name, percent(one['auroc']), f'{one["gain"]:+.2f} ± {one["error"]:.2f}']
        for name, one in best['compared'].items()
    ]
    return [text, markdown_table(['Score', 'AUROC, classes held out', 'Difference'], rows)]


def rejection_sentence(found: dict[str, Any]) -> str:
    """Which thresholds the ``rejection`` of a report has, and what they promise."""
    rate, images = found['rate'], counted(found['images'], f'{found["chosen_on"]} image')
    if not found['groups']:
        return (
            f'No image is called none of the classes: {images} are too few to reject {rate:g} % of '
            f'the known images at most ({fewest(rate)} are needed).'
        )
    (low, high), (least, most) = found['interval']['plain'], found['interval']['all']
    return (
        f'An image is none of the classes if its largest logit is at most the threshold of that '
        f'class, {threshold_range(found["thresholds"])}, chosen on {images} so that at most '
        f'{rate:g} % of known images like them are rejected, and about as many as a mean over the '
        f'classes. Of new images like them expect {low:.1f} to {high:.1f} % (95 %), as a mean over '
        f'the classes roughly {least:.1f} to {most:.1f} %.{_thresholds_alone(found)}'
    )


def threshold_range(thresholds: Sequence[float | None]) -> str:
    """Of the classes' thresholds the lowest and the highest, where they differ.

    >>> threshold_range([0.25, 0.25]), threshold_range([-1.5, 0.25])
    ('0.25', '-1.5 to 0.25')
    """
    ends = {f'{t:.4g}': t for t in thresholds if t is not None}
    low, high = min(ends, key=ends.get), max(ends, key=ends.get)
    return low if low == high else f'{low} to {high}'


def _thresholds_alone(found: dict[str, Any]) -> str:
    """Which classes have one of their own, if any."""
    together = [group for group in found['groups'] if len(group['classes']) > 1]
    alone = len(found['groups']) - len(together)
    if not alone or not together:
        return ''
    some, images = together[0]['classes'], counted(together[0]['images'], 'image')
    return (
        f' {counted(alone, "class")} {"has" if alone == 1 else "have"} a threshold alone; the '
        f'other {len(some)}, which {images} were taken for, have one together.'
    )


def _rejection_rows(name: str, found: dict[str, Any], cross_fitted: bool) -> list[list[str]]:
    lines = {
        'falsely rejected at this very threshold': found['at_threshold'] if cross_fitted else None,
        'falsely rejected': found['false_rejection'],
        'not rejected and right': found['accuracy'],
    }
    return [
        [name, title, *(percent(means.get(split)) for split in (*COLUMNS, 'plain'))]
        for title, means in lines.items()
        if means and means['all'] is not None
    ]


def _worst_classes(report: dict[str, Any], number: int = 10) -> str:
    if several(report):
        header, rows = class_rows(report)
        rows = [[*map(escaped, row)] for row in rows[:number]]
        return markdown_table(header, rows, left=2)
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
        f'Percent, means of per-class {"AP (mAP)" if several(report) else "accuracies"}: Many are '
        f'the classes with more than {many} training images, Medium those with {few} to {many}, '
        "Few those with fewer; '-' is a split without a class. "
    )
    text += (
        escaped(f'{rankings_sentence(report)} {untested_sentence(report)}'.strip())
        if several(report)
        else f'Plain accuracy (all samples alike) {percent(report["accuracy"])}, '
        f'macro F1 {percent(report["macro_f1"])}.'
    )
    if any(entry['selection'].startswith('best on') for entry in selections(report)):
        text += (
            f"\n\n'Best on {on}' picks the epoch on the {on} data: it is for comparison only, and "
            f'no estimate of the {measure_of(report)} on new data.'
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
        *([_parents_line(parents)] if (parents := report.get('parents')) else []),
        *([escaped(health_sentence(health))] if health else []),
        *(['\n'.join(f'- {escaped(note)}' for note in notes)] if notes else []),
        f'![{class_measure(report)} of each class](report.png)',
        '## The worst classes',
        _worst_classes(report),
        *(decisions_text(report) if several(report) else _rejection(report)),
        '## How it was made',
        _origin(report),
    ]
    return '\n\n'.join(parts) + '\n'
