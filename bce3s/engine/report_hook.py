"""When the report is written: after every validation and every test."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

import bce3s
from bce3s.config import experiment
from bce3s.datasets.parents import read_parents
from bce3s.engine.branch_health import HEALTH
from bce3s.engine.metric import LongTailedMetric
from bce3s.engine.rejection_score import choose_score, network_digest
from bce3s.engine.run_directory import RunDirectory
from bce3s.engine.run_state import bare_model
from bce3s.engine.schedule import TwoStageHook
from bce3s.engine.skipped_images import SKIPPED
from bce3s.errors import BCE3SError
from bce3s.evaluation.multi_label import measure_decisions
from bce3s.evaluation.multi_label_report import measure_of
from bce3s.evaluation.rejection import measure_rejection
from bce3s.evaluation.report import build_report, format_table, read_report, write_report
from bce3s.evaluation.selection import LAST, add_to_history, history_row
from bce3s.packaged import CONFIGS
from bce3s.registry import HOOKS

HISTORY = 'report_history'  # its name in the message hub, which checkpoints keep
PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmpretrain', 'numpy')


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.json``, ``report.md`` and ``report.png`` to the run's directory (rank 0).

    After every validation, so that a run that is killed leaves one; the table is printed at the
    end. The history of validations lies in the message hub as plain values: checkpoints keep it,
    a resumed run continues it, and an epoch that is validated again replaces its row. A test
    reports its checkpoint: the epoch is the checkpoint's, and the selection ``last``, or
    ``best on <split>`` if the file's name begins with ``best_``. What rejection does is measured at
    the thresholds of the report beside that checkpoint, if they were chosen for the same epoch and
    classes on another split; otherwise at those of the evaluation data themselves. The thresholds
    of several labels an image are those of the very network.

    Args:
        compare_scores: whether, when the training is at its end, the scores by which images may be
            rejected are compared and the best is kept for predictions
            (:func:`~bce3s.engine.rejection_score.choose_score`), which takes a pass over the
            training images.
        figure_interval: seconds that pass at least between two drawings of ``report.png`` (half a
            second each); the first and the last report are always drawn.

    Raises:
        BCE3SError: the evaluator has no ``LongTailedMetric``.
    """

    priority = 'LOW'  # before CheckpointHook, so that a best checkpoint knows its own validation

    def __init__(self, figure_interval: float = 60.0, compare_scores: bool = False) -> None:
        self.figure_interval, self.compare_scores = figure_interval, compare_scores
        self._report: dict[str, Any] | None = None
        self._drawn = float('-inf')
        self._loaded: dict[str, Any] = {}  # meta of the checkpoint that was loaded

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get('meta') or {}

    def before_val_epoch(self, runner: Runner) -> None:
        loaded = runner._load_from if not isinstance(runner._train_loop, BaseLoop) else None
        _tell_parents(runner, runner.val_evaluator, loaded)

    def before_test_epoch(self, runner: Runner) -> None:
        _tell_parents(runner, runner.test_evaluator, runner._load_from)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if not isinstance(runner._train_loop, BaseLoop):  # a validation alone is a test
            self._report_test(runner, runner.val_evaluator)
        elif is_main_process():
            metric, epoch = _metric(runner.val_evaluator), runner.epoch
            row = history_row(epoch, _stage(runner, self._loaded), metric.summary)
            history = add_to_history(runner.message_hub.get_info(HISTORY, []), row)
            runner.message_hub.update_info(HISTORY, history)
            train = getattr(runner.train_dataloader.dataset, 'metainfo', {})
            history = [past for past in history if past['epoch'] <= epoch]
            network, final = _network(runner, metric), epoch >= runner.max_epochs
            self._write(runner, metric, history, LAST, train, network, final)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._report_test(runner, runner.test_evaluator)

    def after_train(self, runner: Runner) -> None:
        if self._report is not None:
            directory = Path(runner.work_dir)
            if self.compare_scores:
                self._compare_scores(runner)
            if self._report['epoch'] < runner.max_epochs or self.compare_scores:
                write_report(self._report, directory)  # stopped early: the figure may be old
            self._print(runner)

    def _compare_scores(self, runner: Runner) -> None:
        """What cannot be compared costs the run nothing: predictions use the largest logit."""
        metric, directory = _metric(runner.val_evaluator), Path(runner.work_dir)
        if metric.several is not None:
            return  # each class has a threshold of its own
        sets = runner.train_dataloader.dataset, runner.val_dataloader.dataset
        run = RunDirectory(directory, runner.cfg, directory)
        sigmoid = run.probabilities.name == 'sigmoid'
        try:
            workers = runner.train_dataloader.num_workers
            given = sigmoid, metric.thresholds, directory, workers
            found = choose_score(bare_model(runner), *sets, *given)
        except BCE3SError as error:
            why = f'Which score rejects best was not looked at: {error}'
            print_log(why, 'current', logging.WARNING)
        else:
            self._report['rejection_score'] = found

    def _report_test(self, runner: Runner, evaluator: Evaluator) -> None:
        if not is_main_process():
            return
        metric = _metric(evaluator)
        best = Path(runner._load_from or '').name.startswith('best_')
        selection = f'best on {_split(metric)}' if best else LAST
        row = history_row(self._loaded.get('epoch'), None, metric.summary)
        train = self._loaded.get('dataset_meta') or {}
        network = _network(runner, metric)
        chosen = _chosen_before(runner._load_from, row['epoch'], metric, network)
        self._write(runner, metric, [row], selection, train, network, final=True, chosen=chosen)
        self._print(runner)

    def _write(
        self,
        runner: Runner,
        metric: LongTailedMetric,
        history: list[dict],
        selection: str,
        train: dict[str, Any],
        network: str | None,
        final: bool,
        chosen: dict[str, Any] | None = None,
    ) -> None:
        data = _data(metric, train, chosen, network)
        # of a test alone nothing is known about the training
        skipped = runner.message_hub.get_info(SKIPPED, {})
        data['contrastive'] = runner.message_hub.get_info(HEALTH, [])
        data['skipped_images'] = {**skipped, data['split']: metric.skipped}
        self._report = build_report(metric.summary, history, data, _run(runner), selection)
        draw = final or time.monotonic() - self._drawn >= self.figure_interval
        write_report(self._report, runner.work_dir, figure=draw)
        if draw:
            self._drawn = time.monotonic()

    def _print(self, runner: Runner) -> None:
        table, path = format_table(self._report), Path(runner.work_dir, 'report.md')
        title = f'{self._report["dataset"]}, {self._report["config"]}, seed {self._report["seed"]}'
        of = f'{measure_of(self._report)}, percent'
        runner.logger.info(f'{title} ({of}):\n\n{table}\n\nReport: {path}')


# ------------------------------------------------------------------------- what is known of a run
def _metric(evaluator: Evaluator) -> LongTailedMetric:
    for metric in evaluator.metrics:
        if isinstance(metric, LongTailedMetric):
            return metric
    raise BCE3SError(
        "The report needs the figures of LongTailedMetric: set val_evaluator = dict(type='"
        "LongTailedMetric') (and test_evaluator), or remove ReportHook from custom_hooks."
    )


def _tell_parents(runner: Runner, evaluator: Evaluator, checkpoint: str | None) -> None:
    """What the classes belong to, by the folder of the run, or of its checkpoint in a test."""
    metric, folder = _metric(evaluator), Path(checkpoint).parent if checkpoint else runner.work_dir
    parents = read_parents(folder, _classes(metric))
    if parents is not None:
        run = RunDirectory(Path(folder), runner.cfg, Path(folder))
        metric.parents, metric.sigmoid = parents.of, run.probabilities.name == 'sigmoid'


def _split(metric: LongTailedMetric) -> str:
    return str(metric.dataset_meta.get('split', 'test'))


def _stage(runner: Runner, loaded: dict[str, Any]) -> int:
    """1, or 2 if the epoch that was just done fine-tuned the classifier alone.

    By the checkpoint of that very epoch where the run was resumed from it, for its schedule may be
    longer now; else by the schedule where there is one: a resumed run validates before its model is
    told the stage.
    """
    if runner._resume and loaded.get('epoch') == runner.epoch and 'stage' in loaded:
        return loaded['stage']
    for hook in runner.hooks:
        if isinstance(hook, TwoStageHook):
            return 1 + int(runner.epoch > hook.epochs(runner))
    return 1 + int(getattr(bare_model(runner), 'finetuning', False))


def _classes(metric: LongTailedMetric) -> list[str]:
    counts = metric.class_counts
    return [str(name) for name in metric.dataset_meta.get('classes', range(len(counts)))]


def _network(runner: Runner, metric: LongTailedMetric) -> str | None:
    """Digest of the network whose classes have thresholds of their own."""
    return None if metric.several is None else network_digest(bare_model(runner))


def _chosen_before(
    checkpoint: str | None, epoch: int | None, metric: LongTailedMetric, network: str | None
) -> dict[str, Any] | None:
    """The rejection, or the decisions, of the report beside ``checkpoint``, if they are of this
    network and not chosen on the data that are evaluated now.
    """
    try:
        report = read_report(Path(checkpoint or '').parent)
    except BCE3SError:
        return None
    if metric.several is None:
        found, key = report.get('rejection') or {}, 'uniform'
        same = report.get('epoch') == epoch is not None
    else:
        found, key = report.get('decisions') or {}, 'thresholds'
        same = found.get('network') == network
    fits = same and report.get('classes') == _classes(metric)
    if not fits or key not in found or found.get('chosen_on') == _split(metric):
        return None
    return found


def _data(
    metric: LongTailedMetric,
    train: dict[str, Any],
    chosen: dict[str, Any] | None,
    network: str | None,
) -> dict[str, Any]:
    """``train``: metainfo of the training set, whose subset is the one to be named. ``chosen``:
    see :func:`~bce3s.evaluation.rejection.measure_rejection` and
    :func:`~bce3s.evaluation.multi_label.measure_decisions`.
    """
    meta, counts = metric.dataset_meta, metric.class_counts
    thresholds = {'many': metric.thresholds.many, 'few': metric.thresholds.few}
    data = {
        'dataset': str(meta.get('dataset', 'data set')),
        'split': _split(metric),
        'classes': _classes(metric),
        'class_counts': counts,
        'thresholds': thresholds,
        'subset': train.get('subset', meta.get('subset')),
        'data_notes': [str(note) for note in meta.get('notes', ())],
    }
    where = counts, metric.thresholds, _split(metric), chosen
    if metric.several is None:
        return data | {'rejection': measure_rejection(metric.extremes, *where)}
    return data | {'decisions': measure_decisions(*metric.several, *where) | {'network': network}}


def _run(runner: Runner) -> dict[str, Any]:
    planned = runner.max_epochs if isinstance(runner._train_loop, BaseLoop) else None
    return {
        'seed': runner.seed,
        'config': config_name(runner.cfg.filename),
        'config_sha256': config_digest(runner.cfg.to_dict()),
        'max_epochs': planned,
        'versions': versions(),
        **_machine(bare_model(runner)),
        'parameters': sum(p.numel() for p in bare_model(runner).parameters()),
        'skipped_steps': runner.message_hub.get_info('skipped_steps', 0),
    }


def config_name(filename: str | None) -> str:
    """The config's path below the working directory, or below that of the package's own configs,
    else its name: never an absolute path.
    """
    if not filename:
        return 'unnamed'
    path = Path(filename).resolve()
    if path.is_relative_to(CONFIGS):
        return f'configs/{path.relative_to(CONFIGS).as_posix()}'
    inside = path.is_relative_to(Path.cwd())
    return (path.relative_to(Path.cwd()) if inside else Path(path.name)).as_posix()


def config_digest(config: dict[str, Any]) -> str:
    """SHA-256 of what makes the experiment: the config with its options, without seed and paths."""
    text = json.dumps(experiment(config), sort_keys=True, default=str)
    if config.get('work_dir'):  # the lists of one's own images lie in it
        text = text.replace(f'{Path(config["work_dir"]).resolve()}/', '')
    return hashlib.sha256(text.encode()).hexdigest()


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of this package, Python and ``packages``, those that numbers depend on."""
    found = {'bce3s': bce3s.__version__, 'python': platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = 'unknown'
    return found


def _machine(model: torch.nn.Module) -> dict[str, str | None]:
    """``device`` and ``precision``, in which the backbone multiplies; None: it does not say."""
    device = next(model.parameters()).device
    cuda = device.type == 'cuda'
    return {
        'device': torch.cuda.get_device_name(device) if cuda else f'cpu ({platform.machine()})',
        'precision': str(model.dtype(device)).removeprefix('torch.')
        if hasattr(model, 'dtype')
        else None,
    }
