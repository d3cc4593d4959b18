"""Runs for pages, made up: reports as runs write them, outputs and measures of random numbers."""

import json
from dataclasses import replace

import numpy as np
import torch

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.engine.outputs import Outputs
from bce3s.evaluation.multi_label import evaluate_multi_label, measure_decisions
from bce3s.page.pictures import Pictures
from bce3s.page.runs import PageRun

THRESHOLDS = dict(many=100, few=20)


def report(classes=10, seed=0, config='configs/bce3s/digits.py', shift=0.0, names=None, **changes):
    """``report.json`` of a run whose rare classes are worse."""
    rng = np.random.default_rng(seed)
    counts = [round(120 * 0.05 ** (k / max(classes - 1, 1))) for k in range(classes)]
    ideal = 95 - 40 * np.arange(classes) / classes + shift + rng.normal(0, 2, classes)
    per_class = [round(float(a), 1) for a in np.clip(ideal, 0, 100)]
    split = split_of(counts, Thresholds(**THRESHOLDS))
    means = {
        s: float(np.mean([a for a, at in zip(per_class, split, strict=True) if at == s]))
        if (split == s).any()
        else None
        for s in SPLITS
    }
    row = dict(all=float(np.mean(per_class)), **means)
    history = [dict(row, epoch=e, stage=1, all=row['all'] - 10 / e) for e in (1, 2)]
    return {
        **row,
        'accuracy': row['all'],
        'macro_f1': row['all'],
        'per_class': per_class,
        'samples': 50 * classes,
        'dataset': 'DigitsLT',
        'split': 'test',
        'classes': names or [str(k) for k in range(classes)],
        'class_counts': counts,
        'thresholds': dict(THRESHOLDS),
        'subset': dict(rule='first_n', imbalance='exp', imbalance_factor=20.0, sha256='5' * 64),
        'epoch': 2,
        'max_epochs': 2,
        'stage': 1,
        'selection': 'last',
        'tta': False,
        'other': [],
        'seed': seed,
        'config': config,
        'config_sha256': ('ab' if shift else 'cd') * 32,
        'versions': dict(bce3s='0.1.0', torch='2.15.0'),
        'device': 'cpu',
        'precision': 'float32',
        'history': history,
        **changes,
    }


def outputs(classes=10, seed=0, images=12, features=6, names=None):
    """Logits that favour the label, more so for frequent classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), images)
    logits = rng.normal(0, 1, (len(labels), classes)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += np.linspace(4, 1, classes)[labels]
    return Outputs(
        rng.normal(0, 1, (len(labels), features)).astype(np.float32),
        logits,
        labels,
        rng.normal(0, 1, (classes, features)).astype(np.float32),
        np.zeros(classes, np.float32),
        'test',
        names or [str(k) for k in range(classes)],
        report(classes)['class_counts'],
    )


def measures(epochs=3):
    row = dict(nc1=0.5, nc2=0.2, nc3=0.3, e_com=60.0, e_dis=20.0, uniform_accuracy=70.0)
    return dict(
        epochs=[
            dict(epoch=e, train={k: v / e for k, v in row.items()}, test=row)
            for e in range(1, epochs + 1)
        ]
    )


def run(name, tmp_path, full=False, images=20, **options):
    """One run; ``full``: with measures, and outputs of so many images of each class."""
    made = PageRun(name, tmp_path / name, report(**options))
    if full:
        classes, seed = len(made.report['classes']), made.report['seed']
        made.outputs = outputs(classes, seed, images, names=made.report['classes'])
        made.measures = measures()
    return made


def several_labels(name, tmp_path, classes=8, images=120, **options):
    """A run of images with several labels: its report is that of its outputs."""
    made = run(name, tmp_path, classes=classes, **options)
    counts, seed = made.report['class_counts'], made.report['seed']
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, classes)) < np.linspace(0.5, 0.05, classes)).astype(np.int8)
    labels[:4], labels[4, 0], labels[:, -1] = 0, -1, 0  # none has the last class
    logits = rng.normal(0, 1, labels.shape).astype(np.float32) + 2 * labels - 1
    for key in ('accuracy', 'macro_f1'):
        del made.report[key]
    made.report |= evaluate_multi_label(labels, logits, counts)
    decisions = measure_decisions(labels, logits, counts, Thresholds(**THRESHOLDS), 'val')
    made.report['decisions'] = dict(decisions, network='a' * 64)
    made.outputs = replace(
        outputs(classes, seed, names=made.report['classes']), labels=labels, logits=logits
    )
    made.pictures = Pictures(Squares(images))
    return made


class Squares(torch.utils.data.Dataset):
    """Pictures in memory, each of another grey."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return self.number

    def __getitem__(self, i):
        return dict(inputs=torch.full((3, 8, 8), 2 * i, dtype=torch.uint8))


def four_runs(tmp_path, **options):
    """Two seeds of two configs."""
    return [
        run(f'{name}_{seed}', tmp_path, seed=seed, shift=shift, config=f'{name}.py', **options)
        for name, shift in (('ours', 5.0), ('other', 0.0))
        for seed in (0, 1)
    ]


def write_run(folder, **options):
    """A run directory with nothing but a report."""
    folder.mkdir(parents=True)
    (folder / 'report.json').write_text(json.dumps(report(**options)))
    return folder


def with_unknown(page_run, shift=-1.0, seed=7):
    """Unknown images, whose largest logits are lower by ``shift`` on average."""
    rng, known = np.random.default_rng(seed), page_run.outputs
    logits = rng.normal(shift, 1, (60, known.logits.shape[1])).astype(np.float32)
    page_run.unknown = replace(known, logits=logits, labels=np.zeros(60, int), classes=['?'])
    return page_run


def changed(page_run, **arrays):
    page_run.outputs = replace(page_run.outputs, **arrays)
    return page_run


def table(section, title):
    found = [table for table in section.tables if title in table.caption]
    assert len(found) == 1, [table.caption for table in section.tables]
    return found[0]


def column(found, name):
    return [row[found.header.index(name)] for row in found.rows]
