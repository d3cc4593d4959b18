"""Run directories -> what a page is made of. What cannot be read is named, the rest is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.errors import BCE3SError
from bce3s.evaluation.report import read_report
from bce3s.page.sections import PageRun

if TYPE_CHECKING:
    from bce3s.engine.outputs import Outputs
    from bce3s.engine.run_directory import RunDirectory

REQUIRED = (
    'samples',
    'per_class',
    'classes',
    'class_counts',
    'thresholds',
    'dataset',
    'split',
    'epoch',
)
AGREEMENT = 0.5  # points of All by which another precision or batch size may differ
Say = Callable[[str], None]
Wanted = tuple[str, dict[str, Any]] | None  # --unknown and its options


def gather(
    folders: Sequence[str | Path],
    unknown: str | None,
    say: Say,
    fail: Say,
    options: Mapping[str, Any] | None = None,
) -> list[PageRun]:
    """The runs that have a report, each folder once.

    Args:
        folders: run directories.
        unknown: as :func:`bce3s.engine.unknown_sets.unknown_config` takes it; None: none.
        say: is told what is being done.
        fail: is told, in a sentence, what could not be done though it was asked for.
        options: further arguments of the unknown images' data set.
    """
    wanted = None if unknown is None else (unknown, dict(options or {}))
    paths = list({Path(folder).resolve(): Path(folder) for folder in folders}.values())
    runs = []
    for path, name in zip(paths, short_names(paths), strict=True):
        try:
            runs.append(_gathered(path, name, wanted, say, fail))
        except BCE3SError as error:
            fail(str(error))
    return runs


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parts before it as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len({*names}) == len(names):
            break
    return names


def _gathered(path: Path, name: str, unknown: Wanted, say: Say, fail: Say) -> PageRun:
    report = read_report(path)
    if missing := [key for key in REQUIRED if key not in report]:
        raise BCE3SError(
            f'{path}/report.json has no {", ".join(missing)}: it is of another version. Test the '
            'run again with tools/test.py.'
        )
    run = PageRun(name, path, report)
    run.measures = _measures(run)
    _add_outputs(run, unknown, say, fail)
    return run


# ------------------------------------------------------------------------------------------ outputs
def _add_outputs(run: PageRun, unknown: Wanted, say: Say, fail: Say) -> None:
    """``outputs`` and ``unknown``, or notes on why not."""
    from bce3s.config import explained
    from bce3s.engine.outputs import run_outputs
    from bce3s.engine.run_directory import RunDirectory

    say(f'{run.name}: what its network says of the {run.report["split"]} images')
    try:
        directory = RunDirectory.open(run.folder)
        loader = _loader(directory, run.report['split'])
        with explained(directory.config):
            run.outputs = run_outputs(directory, loader)
    except BCE3SError as error:
        run.notes.append(
            f'{run.name}: no confusions, angles, scores, features, calibration or open-set '
            f'figures: {error}'
        )
        return
    if run.outputs.note:
        run.notes.append(f'{run.name}: {run.outputs.note}')
    _check_agreement(run, directory.checkpoint.name)
    if unknown is None or run.outputs is None:
        return
    say(f'{run.name}: what it says of the unknown images ({unknown[0]})')
    try:
        with explained(directory.config):
            run.unknown = _unknown_outputs(directory, loader, unknown, run.outputs)
    except BCE3SError as error:
        run.notes.append(f'{run.name}: no open-set figures: {error}')
        fail(str(error))


def _loader(directory: RunDirectory, split: str) -> str:
    """The loader of the images that the report is of: many benchmarks are validated on their test
    images, and have no other loader of them."""
    for name in (split, 'test', 'val'):
        if name in directory.splits and name != 'train':
            return name
    raise BCE3SError(f'the config of {directory.folder} has neither validation nor test data.')


def _check_agreement(run: PageRun, checkpoint: str) -> None:
    """Drops outputs of other classes, and names outputs of another epoch than the report's."""
    report, outputs = run.report, run.outputs
    if len(outputs.classes) != len(report['per_class']):
        run.outputs = None
        run.notes.append(
            f'{run.name}: no figures of its outputs: the data have {len(outputs.classes)} classes '
            f'now, the report has {len(report["per_class"])}.'
        )
        return
    accuracy = 100 * float((outputs.logits.argmax(axis=1) == outputs.labels).mean())
    if abs(accuracy - report['accuracy']) > AGREEMENT:
        run.notes.append(
            f'{run.name}: confusions, scores, features, calibration and open-set figures are of '
            f'{checkpoint}, which has a plain accuracy of {accuracy:.2f} on the data as they are '
            f'now; the report (epoch {report["epoch"]}) says {report["accuracy"]:.2f}.'
        )


def _unknown_outputs(
    directory: RunDirectory, loader: str, unknown: tuple[str, dict], outputs: Outputs
) -> Outputs:
    from dataclasses import replace

    from bce3s.engine.feature_extraction import extract
    from bce3s.engine.run_directory import LOADERS
    from bce3s.engine.unknown_sets import unknown_dataset

    config = directory.config[LOADERS[loader]].dataset
    spec, options = unknown
    dataset = unknown_dataset(spec, config, directory.dataset(loader), options)
    model, _ = directory.model()
    found = extract(model, dataset)
    classes = [str(name) for name in dataset.metainfo['classes']]
    counts = dataset.metainfo.get('class_counts') or [0] * len(classes)
    return replace(
        outputs,
        **{name: getattr(found, name).numpy() for name in ('features', 'logits', 'labels')},
        split='unknown',
        images=None,
        classes=classes,
        class_counts=[int(count) for count in counts],
    )


# ------------------------------------------------------------------------------------------ history
def _measures(run: PageRun) -> dict[str, Any] | None:
    path = run.folder / 'measures.json'
    try:
        measures = json.loads(path.read_text(encoding='utf-8'))
        if isinstance(measures.get('epochs'), list) and measures['epochs']:
            return measures
        why = 'it has no epochs'
    except FileNotFoundError:
        run.notes.append(
            f'{run.name}: no curves of neural collapse: there is no measures.json. Train with '
            "--cfg-options default_hooks.measures.type=FeatureMeasuresHook (it's written after "
            'every epoch that is measured).'
        )
        return None
    except (OSError, ValueError, AttributeError) as error:
        why = str(error)
    run.notes.append(f'{run.name}: measures.json cannot be read: {why}.')
    return None


def shown_path(path: Path) -> str:
    """As it was given; below the working directory, from there."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative
