"""Several runs in one table: mean +- sample standard deviation over the seeds of a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.multi_label_report import measure_of
from bce3s.evaluation.report import read_report
from bce3s.evaluation.selection import LAST, label, selections
from bce3s.tables import escaped, markdown_table, mean_std


def pick(report: dict[str, Any], selection: str, run: str | Path = '') -> dict[str, Any]:
    """The entry of ``report`` that is called ``selection``, such as ``last`` or ``best on test``.

    Raises:
        BCE3SError: the report has none of that name; the sentence lists those it has.
    """
    entries = {label(entry): entry for entry in selections(report)}
    if selection not in entries:
        raise BCE3SError(
            f"{run or 'The report'} has no selection '{selection}': it has {', '.join(entries)}."
        )
    return entries[selection]


def summarize(runs: Sequence[str | Path], selection: str = LAST) -> str:
    """A Markdown table with a row for each group of runs that differ only in their seed.

    It has accuracies, or mAP where images have several labels, which the heading then says.
    Runs belong together if config, its contents (options included) and data agree, and if their
    figures are of the same epoch where the epoch was not picked: a run that was killed is no seed
    of one that ended.

    Args:
        runs: run directories.
        selection: which figures, as named in the reports.

    Raises:
        BCE3SError: a run without report, a report without that selection, two runs of the same
            experiment and seed, or runs with one label and with several.
    """
    reports = {run: read_report(run) for run in map(Path, runs)}
    measures = {measure_of(report) for report in reports.values()}
    if len(measures) > 1:
        raise BCE3SError(
            'Some of these runs are of images with several labels and have mAP, others have '
            'accuracy: they are not to be compared. Make a table of each kind.'
        )
    groups: dict[tuple, dict[int, tuple[Path, dict]]] = {}  # by seed the entries, and whose
    for run, report in reports.items():
        entry = pick(report, selection, run)
        group = groups.setdefault(same_but_seed(report, entry), {})
        if (other := group.setdefault(report['seed'], (run, entry))[0]) != run:
            raise BCE3SError(
                f'{other} and {run} are the same experiment with the same seed, {report["seed"]}: '
                'it would count twice. Leave one of them out.'
            )
    names = [key[0] for key in groups]
    rows = [_row(key, members, names.count(key[0]) > 1) for key, members in groups.items()]
    first = 'Config (mAP)' if 'mAP' in measures else 'Config'
    header = [first, 'Epoch', *(c.capitalize() for c in COLUMNS), 'n', 'Seeds']
    return markdown_table(header, rows)


def same_but_seed(report: dict, entry: dict) -> tuple:
    epoch = 'best' if entry['selection'].startswith('best') else entry['epoch']
    data = (report.get('subset') or {}).get('sha256')
    return report['config'], report.get('config_sha256'), data, epoch


def _row(key: tuple, members: dict[int, tuple[Path, dict]], ambiguous: bool) -> list[str]:
    config, digest, _, epoch = key
    # The same file with other options is another experiment: tell them apart.
    name = f'{config} ({digest[:7]})' if ambiguous and digest else str(config)
    figures = [mean_std([entry[column] for _, entry in members.values()]) for column in COLUMNS]
    seeds = ', '.join(map(str, sorted(members)))
    return [escaped(name), str(epoch), *figures, str(len(members)), seeds]
