"""What is known of an exported model, as plain values: ``model.json``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from bce3s.datasets.image_files import ImageFiles
from bce3s.datasets.long_tailed import split_of
from bce3s.engine.rejection_score import network_digest
from bce3s.engine.report_hook import config_name, versions
from bce3s.engine.run_directory import LOADERS, RunDirectory, thresholds_of
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.multi_label_report import several
from bce3s.evaluation.rejection_scores import MAX_LOGIT
from bce3s.evaluation.report import read_report
from bce3s.inference.class_facts import class_facts, several_labels
from bce3s.inference.export import BATCHES, INPUT, OUTPUT, Agreement, Metadata
from bce3s.inference.inputs import InputSpec
from bce3s.inference.labels import decisions_of
from bce3s.inference.threshold import better_score
from bce3s.registry import DATASETS

PACKAGES = ('torch', 'mmengine', 'mmpretrain', 'numpy', 'onnx', 'onnxscript', 'onnxruntime')


@dataclass(frozen=True)
class Evaluated:
    """Images to compare with, and what is known of where they are from.

    Attributes:
        images: (8, C, H, W) uint8.
        source: of them, ``DigitsLT, test`` or ``random pixels``.
        counts: (K,) images of each class in the evaluation data; None: not known.
    """

    images: Tensor
    source: str
    counts: list[int] | None = None


def evaluated(run: RunDirectory, spec: InputSpec, num_classes: int) -> Evaluated:
    """Eight images of the run's evaluation data, from its beginning to its end; random ones where
    the data are not there any more.
    """
    number = sum(BATCHES)
    try:
        dataset = evaluation_data(run)
        at = torch.linspace(0, len(dataset) - 1, number).round().long().tolist()
        samples = [dataset[i] for i in at]
        black = any(sample['data_samples'].get('skipped') for sample in samples)  # unreadable
        images = torch.stack([sample['inputs'] for sample in samples])
        if not black and tuple(images.shape[1:]) == spec.shape and images.dtype == torch.uint8:
            labels = torch.as_tensor(dataset.labels)
            if labels.dim() == 2:
                counts = (labels == 1).sum(0).tolist()
            else:
                counts = torch.bincount(labels, minlength=num_classes).tolist()
            meta = dataset.metainfo
            return Evaluated(images, f'{meta["dataset"]}, {meta["split"]}', counts)
    except (BCE3SError, OSError, AttributeError, KeyError, RuntimeError):
        pass  # gone, or of another kind
    generator = torch.Generator().manual_seed(0)
    shape = (number, *spec.shape)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Evaluated(images, 'random pixels')


def evaluation_data(run: RunDirectory) -> Any:
    """What the run is evaluated on, without augmentation; of files only those that are asked
    for are looked at.
    """
    split = next((s for s in ('val', 'test', 'train') if s in run.splits), None)
    if split is None:
        raise BCE3SError(f'{run.folder} is a published model, without data.')
    config = run.config[LOADERS[split]].dataset
    kind = DATASETS.get(config.type) if isinstance(config.type, str) else config.type
    if issubclass(kind, ImageFiles):
        config = ConfigDict({**config, 'check': 'none', 'duplicates': 'warn'})
    dataset = DATASETS.build(config)
    return dataset.unaugmented() if hasattr(dataset, 'unaugmented') else dataset


# ------------------------------------------------------------ facts
def model_facts(
    run: RunDirectory, model: nn.Module, meta: dict[str, Any], spec: InputSpec, data: Evaluated
) -> dict[str, Any]:
    """Everything but the files: what goes into ``model.json`` and the card.

    Args:
        run: whose report may be missing.
        model, meta: of its checkpoint.
        spec, data: see there.

    Raises:
        BCE3SError: a checkpoint whose classes do not fit its head.
    """
    classes, counts = class_facts(run, model, meta)
    thresholds = thresholds_of(run.config)
    reports, problem = _reports(run, meta, counts)
    report = reports[0] if reports else None
    preprocessor = model.data_preprocessor
    several = several_labels(meta)
    decisions = _decisions(run, model, classes) if several else None
    facts = dict(
        name=Path((report or {}).get('config') or run.config.filename or run.folder.name).stem,
        input=dict(name=INPUT, dtype='uint8', layout='NCHW', **asdict(spec)),
        normalisation=dict(
            inside=True,
            mean=_rounded(preprocessor.mean.flatten() / 255),
            std=_rounded(preprocessor.std.flatten() / 255),
            pad=preprocessor.pad,
        ),
        output=dict(
            name=OUTPUT,
            dtype='float32',
            score='sigmoid' if several else run.probabilities.name,
        ),
        classes=classes,
        class_counts=counts,
        splits=split_of(counts, thresholds).tolist(),
        thresholds=dict(many=thresholds.many, few=thresholds.few),
        rejection=(rejection := _rejection(reports, meta)),
        threshold=rejection['thresholds'] if rejection and rejection['groups'] else None,
        rejection_score=_rejection_score(reports, meta),
        network=_network(run, model),
        training=_training(run, report, meta),
        results=_results(report, meta, data),
        no_results=problem,
        checkpoint=dict(name=run.checkpoint.name, sha256=sha256(run.checkpoint)),
        versions={name: found for name, found in versions(PACKAGES).items() if found != 'unknown'},
    )
    if several:
        limits = decisions and decisions['thresholds']
        facts |= dict(multilabel=True, threshold=limits, decisions=decisions)
    return facts


def _decisions(run: RunDirectory, model: nn.Module, classes: list[str]) -> dict[str, Any] | None:
    """Those of this network in its report, or in that of ``tools/test.py``."""
    whole = run.folder.resolve()
    found = decisions_of((whole, whole / 'test'), network_digest(model), classes)
    return None if isinstance(found, str) else found


def metadata_of(facts: dict[str, Any]) -> Metadata:
    """What goes into the files themselves, each as JSON: ``classes`` (in the order of the outputs),
    ``threshold`` (of each class, for the largest logit, at or below which it is none of them; null:
    it never is; null instead of the list: no image is), ``input``,
    ``normalisation`` and ``output``. Where an image may have several labels there is
    ``multilabel``, true, and ``threshold`` is that of each class, above which it is given (null:
    not known).
    """
    keys = ['classes', 'input', 'normalisation', 'output', 'threshold']
    keys += ['multilabel'] * ('multilabel' in facts)
    return {key: json.dumps(facts[key], ensure_ascii=False) for key in keys}


def file_facts(path: Path, title: str, found: Agreement, source: str) -> dict[str, Any]:
    """What a file is, its checksum, and how near its logits are to the model's."""
    return dict(
        file=path.name,
        format=title,
        bytes=path.stat().st_size,
        sha256=sha256(path),
        largest_difference=found.difference,
        largest_logit=found.scale,
        same_top1=found.same,
        compared=found.images,
        compared_on=source,
    )


def sha256(path: Path) -> str:
    """Hexadecimal, of a file's bytes."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def _reports(
    run: RunDirectory, meta: dict[str, Any], counts: list[int]
) -> tuple[list[dict[str, Any]], str]:
    """The run's report and that of ``tools/test.py``, one of this checkpoint first; and why there
    is none.
    """
    found, problem = [], ''
    whole = run.folder.resolve()
    for folder in (whole, whole / 'test'):
        try:
            report = read_report(folder)
        except BCE3SError as error:  # which names a folder of this machine
            problem = problem or str(error).replace(str(folder), folder.name)
            continue
        if report.get('class_counts') == counts:
            found.append(report)
        else:
            problem = f'The report of {folder.name} is of other classes than the checkpoint.'
    return sorted(found, key=lambda report: not _same_epoch(report, meta)), problem


def _same_epoch(report: dict[str, Any], meta: dict[str, Any]) -> bool:
    return meta.get('epoch') is not None and report.get('epoch') == meta['epoch']


def _rejection(reports: list[dict[str, Any]], meta: dict[str, Any]) -> dict[str, Any] | None:
    """Of a report of this checkpoint; the threshold of another one is of no use."""
    found = (report.get('rejection') for report in reports if _same_epoch(report, meta))
    return next((rejection for rejection in found if 'uniform' in (rejection or {})), None)


def _rejection_score(reports: list[dict[str, Any]], meta: dict[str, Any]) -> str:
    """What predictions of this package compare, see :mod:`bce3s.engine.rejection_score`."""
    found = (better_score(report) for report in reports if _same_epoch(report, meta))
    return next((one['score'] for one in found if one), MAX_LOGIT)


def _network(run: RunDirectory, model: nn.Module) -> dict[str, Any]:
    backbone = run.config.model.backbone
    named = backbone.get('arch') or backbone.get('name')
    depth = f'depth {backbone.depth}' if 'depth' in backbone else named
    parts = [part for part in (model.backbone, getattr(model, 'neck', None)) if part is not None]
    values = [p for part in (*parts, model.head.classifier) for p in part.parameters()]
    return dict(
        backbone=str(backbone.type) + (f' ({depth})' if depth is not None else ''),
        features=model.head.classifier.in_features,
        parameters=sum(p.numel() for p in values),
        head=type(model.head).__name__,
        losses={
            name: ', '.join(type(part).__name__ for part in getattr(model.head, f'{name}s', [loss]))
            for name in ('joint', 'contrastive', 'uniformity')
            if (loss := getattr(model.head, name, None)) is not None
        },
    )


def _training(
    run: RunDirectory, report: dict[str, Any] | None, meta: dict[str, Any]
) -> dict[str, Any]:
    report, data, config = report or {}, meta.get('dataset_meta') or {}, run.config
    time, cfg = str(meta.get('time') or ''), config.train_cfg if 'train_cfg' in config else {}
    start = config.get('load_from') or _pretrained(config.model.backbone)
    return dict(
        dataset=data.get('dataset', report.get('dataset')),
        subset=data.get('subset', report.get('subset')),
        config=report.get('config') or config_name(config.filename),
        config_sha256=report.get('config_sha256'),
        seed=meta.get('seed', report.get('seed')),
        epoch=meta.get('epoch'),
        max_epochs=(cfg or {}).get('max_epochs'),
        stage=meta.get('stage'),
        date=f'{time[:4]}-{time[4:6]}-{time[6:8]}' if time[:8].isdigit() else None,
        started_from=start if start is None or '://' in str(start) else Path(start).name,
        device=report.get('device'),
        precision=report.get('precision'),
        skipped_steps=report.get('skipped_steps'),
        versions=report.get('versions'),
    )


def _pretrained(backbone: Any) -> str | None:
    if backbone.get('weights'):
        return backbone.weights
    init = backbone.get('init_cfg')
    for entry in init if isinstance(init, list | tuple) else [init or {}]:
        if entry.get('type') == 'Pretrained':
            return entry.get('checkpoint')
    return None


def _results(
    report: dict[str, Any] | None, meta: dict[str, Any], data: Evaluated
) -> dict[str, Any] | None:
    """The figures of this checkpoint's epoch, per class where the report has them."""
    if report is None:
        return None
    common = dict(dataset=report.get('dataset'), split=report.get('split'), epoch=meta.get('epoch'))
    whole = data.source == f'{common["dataset"]}, {common["split"]}'
    counts = data.counts if whole else None
    common |= dict(
        report_epoch=report['epoch'],
        images_per_class=counts,
        validations=len(report.get('history') or []),
        precision=report.get('precision'),
    )
    if _same_epoch(report, meta):
        measure = 'micro_ap' if several(report) else 'accuracy'
        keys = (*COLUMNS, measure, 'per_class', 'selection', 'samples')
        return common | {key: report.get(key) for key in keys} | dict(other=report['other'])
    row = next((r for r in report.get('history') or [] if r['epoch'] == meta.get('epoch')), {})
    return common | {column: row.get(column) for column in COLUMNS}
