"""Run directories -> what a page is made of. What cannot be read is named, the rest is shown."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import Thresholds, split_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.multi_label import micro_average_precision
from bce3s.evaluation.multi_label_report import several
from bce3s.evaluation.report import read_report
from bce3s.evaluation.selection import selections
from bce3s.evaluation.summary import same_but_seed
from bce3s.page.content import Cell
from bce3s.page.pictures import Pictures
from bce3s.plotting import SERIES

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from bce3s.engine.outputs import Outputs
    from bce3s.engine.run_directory import RunDirectory

REQUIRED = ('samples', 'per_class', 'classes', 'class_counts', 'thresholds', 'dataset', 'split')
AGREEMENT = 0.5  # points of All by which another precision or batch size may differ
Say = Callable[[str], None]


@dataclass
class PageRun:
    """One run, as far as it could be read.

    Attributes:
        name: short, and different for every run of the page.
        folder: its work dir.
        report: ``report.json``.
        outputs: of the evaluation split; None where data or checkpoint are gone (see ``notes``).
        unknown: of images of classes that it does not know, labels and names of classes being those
            of their own data.
        pictures, unknown_pictures: the images of ``outputs`` and of ``unknown``.
        measures: ``measures.json``, or None.
        notes: what could not be read, and why.
    """

    name: str
    folder: Path
    report: dict[str, Any]
    outputs: Outputs | None = None
    unknown: Outputs | None = None
    pictures: Pictures | None = None
    unknown_pictures: Pictures | None = None
    measures: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def thresholds(self) -> Thresholds:
        """Where Many ends and Few begins."""
        return Thresholds(**self.report['thresholds'])

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """(K,) of each class in percent, AP of several labels; NaN for a class without images."""
        return np.array(self.report['per_class'], dtype=float)  # None becomes NaN

    @property
    def several(self) -> bool:
        """Whether its images have several labels."""
        return several(self.report)

    @property
    def measurable(self) -> bool:
        """Whether it has outputs, of images, with finite logits."""
        return self.outputs is not None and not self.defect

    @property
    def defect(self) -> str:
        """What is wrong with outputs that are there."""
        if self.outputs is None:
            return ''
        if not len(self.outputs.labels):
            return 'there are no images'
        return '' if np.isfinite(self.outputs.logits).all() else 'its logits are not finite'


@dataclass
class Group:
    """Runs that differ only in their seed.

    Attributes:
        name: short, and different for every group of the page.
        runs: by seed.
        colour: one of ``SERIES``, the same in every figure of the page.
    """

    name: str
    runs: list[PageRun]
    colour: str

    @property
    def report(self) -> dict[str, Any]:
        """Of the first seed."""
        return self.runs[0].report

    @property
    def outputs(self) -> Outputs:
        """Of the first seed, which is what is drawn."""
        return self.runs[0].outputs

    @property
    def title(self) -> str:
        """The name, with the seed that is drawn where there are several."""
        return f'{self.name}, seed {self.report["seed"]}' if len(self.runs) > 1 else self.name

    @property
    def cell(self) -> Cell:
        """The name with its colour."""
        return Cell(self.name, colour=self.colour)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(K,) training images."""
        return np.asarray(self.report['class_counts'])

    @cached_property
    def splits(self) -> NDArray:
        """(K,) split of each class."""
        return split_of(self.counts, self.runs[0].thresholds)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(K,) classes by falling training count."""
        return np.argsort(-self.counts, kind='stable')

    @cached_property
    def accuracies(self) -> NDArray[np.float64]:
        """(K,) accuracy of each class, mean over seeds; NaN for a class without images."""
        return np.mean([run.accuracies for run in self.runs], axis=0)

    def over_seeds(self, figure: Callable[[PageRun], float | None]) -> float | None:
        """The mean of a figure over the runs; None where none has it."""
        known = [value for value in map(figure, self.runs) if value is not None]
        return statistics.fmean(known) if known else None


def grouped(runs: Iterable[PageRun]) -> list[Group]:
    """The runs by config, its contents, data and epoch, as ``bce3s summarize`` groups them; in the
    order in which they were given. A repeated seed is no further one: it begins another group.

    A group is called as its runs are: what their names begin with, without the seed.
    """
    members: dict[tuple, list[PageRun]] = {}
    seen: Counter[tuple] = Counter()
    for run in runs:
        key = same_but_seed(run.report, selections(run.report)[0])
        seed = (key, run.report['seed'])
        members.setdefault((key, seen[seed]), []).append(run)
        seen[seed] += 1
    names = [_common_name([run.name for run in some]) for some in members.values()]
    groups = []
    for i, (name, some) in enumerate(zip(names, members.values(), strict=True)):
        if not name or names.count(name) > 1:
            name = ', '.join(run.name for run in some)
        some = sorted(some, key=lambda run: run.report['seed'] or 0)
        groups.append(Group(name, some, SERIES[i % len(SERIES)]))
    return groups


def measured(runs: list[PageRun]) -> list[Group]:
    """The groups with the runs that have outputs which can be measured."""
    groups = grouped(runs)
    for group in groups:
        group.runs = [run for run in group.runs if run.measurable]
    return [group for group in groups if group.runs]


def left_out(runs: list[PageRun]) -> list[str]:
    """A note on each run whose outputs are there, but cannot be measured."""
    return [f'{run.name} is left out: {run.defect}.' for run in runs if run.defect]


def same_classes(groups: list[Group]) -> list[list[Group]]:
    """The groups that know the same classes with the same training counts, together."""
    families: dict[tuple, list[Group]] = {}
    for group in groups:
        key = tuple(group.report['classes']), tuple(group.report['class_counts'])
        families.setdefault(key, []).append(group)
    return list(families.values())


def _common_name(names: list[str]) -> str:
    """``digits`` of ``digits_0`` and ``digits_1``; the name itself of a single run."""
    if len(names) == 1:
        return names[0]
    length = len(list(takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))))
    start = names[0][:length]
    if not all(name[length:].isdigit() or name == start for name in names):
        start = re.sub(r'[^-_. /]*$', '', start)  # no half words
    return re.sub(r'[-_. /]*(seed)?[-_. ]*\d*$', '', start)


# ----------------------------------------------------------------------------------------- reading
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
    paths = list({Path(folder).resolve(): Path(folder) for folder in folders}.values())
    runs = []
    for path, name in zip(paths, short_names(paths), strict=True):
        try:
            report = read_report(path)
            if missing := [key for key in REQUIRED if key not in report]:
                raise BCE3SError(
                    f'{path}/report.json has no {", ".join(missing)}: test the run again with '
                    'tools/test.py.'
                )
        except BCE3SError as error:
            fail(str(error))
            continue
        run = PageRun(name, path, report)
        run.measures = _measures(run)
        _add_outputs(run, unknown, options or {}, say, fail)
        runs.append(run)
    return runs


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parts before it as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len({*names}) == len(names):
            break
    return names


def _add_outputs(
    run: PageRun, unknown: str | None, options: Mapping[str, Any], say: Say, fail: Say
) -> None:
    """``outputs`` and ``unknown``, or notes on why not."""
    from bce3s.config import explained
    from bce3s.engine.outputs import run_outputs
    from bce3s.engine.run_directory import RunDirectory

    say(f'{run.name}: what its network says of the {run.report["split"]} images')
    try:
        directory = RunDirectory.open(run.folder)
        loader = _loader(directory, run.report['split'])
        with explained(directory.config):
            outputs = run_outputs(directory, loader)
    except BCE3SError as error:
        run.notes.append(
            f'{run.name}: no confusions, angles, scores, features, calibration or open-set '
            f'figures: {error}'
        )
        return
    if outputs.note:
        run.notes.append(f'{run.name}: {outputs.note}')
    if len(outputs.classes) != len(run.report['per_class']):
        run.notes.append(
            f'{run.name}: no figures of its outputs: the data have {len(outputs.classes)} classes '
            f'now, the report has {len(run.report["per_class"])}.'
        )
        return
    run.outputs = outputs
    _add_pictures(run, directory, loader)
    measure, now, then = _agreement(run)
    if abs(now - then) > AGREEMENT:
        run.notes.append(
            f'{run.name}: confusions, scores, features, calibration and open-set figures are of '
            f'{directory.checkpoint.name}, which has a {measure} of {now:.2f} on the data as they '
            f'are now; the report (epoch {run.report["epoch"]}) says {then:.2f}.'
        )
    if unknown is None:
        return
    if run.several:
        sentence = 'its images have several labels; open-set figures are of those with one.'
        run.notes.append(f'{run.name}: no open-set figures: {sentence}')
        fail(f'{run.name}: --unknown is of no use, for {sentence}')
        return
    say(f'{run.name}: what it says of the unknown images ({unknown})')
    try:
        with explained(directory.config):
            run.unknown, dataset = _unknown_outputs(directory, loader, unknown, options, outputs)
        run.unknown_pictures = _pictures(run.unknown, dataset)
    except BCE3SError as error:
        run.notes.append(f'{run.name}: no open-set figures: {error}')
        fail(str(error))


def _agreement(run: PageRun) -> tuple[str, float, float]:
    """A figure that the outputs and the report should share: its name, and what each has."""
    outputs, report = run.outputs, run.report
    if run.several:
        now = micro_average_precision(outputs.labels, outputs.logits)
        return 'micro AP', now, report['micro_ap']
    accuracy = 100 * float((outputs.logits.argmax(axis=1) == outputs.labels).mean())
    return 'plain accuracy', accuracy, report['accuracy']


def _add_pictures(run: PageRun, directory: RunDirectory, loader: str) -> None:
    """The images of the outputs, or a note on why there are none."""
    from bce3s.engine.outputs import listed

    try:
        dataset = None if run.outputs.images else listed(directory, loader)
        run.pictures = _pictures(run.outputs, dataset)
        why = 'images have changed since its outputs were kept'
    except BCE3SError as error:
        why = str(error)
    if run.pictures is None:
        run.notes.append(f'{run.name}: no pictures: {why}')


def _pictures(outputs: Outputs, dataset: Dataset | None) -> Pictures | None:
    from bce3s.engine.unknown_sets import FittedImages

    if outputs.images:
        return Pictures(outputs.images)
    if isinstance(dataset, FittedImages):
        dataset = dataset.dataset
    fits = not hasattr(dataset, 'paths') and len(dataset) == len(outputs.labels)
    return Pictures(dataset) if fits else None


def _loader(directory: RunDirectory, split: str) -> str:
    """The loader of the images that the report is of: many benchmarks are validated on their test
    images, and have no other loader of them."""
    for name in (split, 'test', 'val'):
        if name in directory.splits and name != 'train':
            return name
    raise BCE3SError(f'the config of {directory.folder} has neither validation nor test data.')


def _unknown_outputs(
    directory: RunDirectory,
    loader: str,
    unknown: str,
    options: Mapping[str, Any],
    outputs: Outputs,
) -> tuple[Outputs, Dataset]:
    from bce3s.engine.feature_extraction import extract
    from bce3s.engine.outputs import image_paths
    from bce3s.engine.run_directory import LOADERS
    from bce3s.engine.unknown_sets import unknown_dataset

    config = directory.config[LOADERS[loader]].dataset
    dataset = unknown_dataset(unknown, config, directory.dataset(loader), options)
    model, _ = directory.model()
    features, labels, logits = (values.numpy() for values in extract(model, dataset))
    found = replace(
        outputs,
        features=features,
        labels=labels,
        logits=logits,
        classes=[str(name) for name in dataset.metainfo['classes']],
        images=image_paths(dataset, len(labels)),
    )
    return found, dataset


def _measures(run: PageRun) -> dict[str, Any] | None:
    try:
        measures = json.loads((run.folder / 'measures.json').read_text(encoding='utf-8'))
        if measures['epochs'] and isinstance(measures['epochs'], list):
            return measures
        why = 'it has no epochs'
    except FileNotFoundError:
        if run.several:
            return None  # it is of images with one label
        run.notes.append(
            f'{run.name}: no curves of neural collapse: there is no measures.json. Train with '
            "--cfg-options default_hooks.measures.type=FeatureMeasuresHook (it's written after "
            'every epoch that is measured).'
        )
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = str(error)
    run.notes.append(f'{run.name}: measures.json cannot be read: {why}.')
    return None


def shown_path(path: Path) -> str:
    """As it was given; below the working directory, from there."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative
