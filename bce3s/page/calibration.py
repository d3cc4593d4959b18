"""Calibration by split: reliability diagrams and expected calibration errors."""

from __future__ import annotations

import numpy as np

from bce3s.datasets.long_tailed import SPLITS
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.calibration import BINS, Probabilities, by_split, reliability
from bce3s.page.content import Figure, Section, Table
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.plotting import COLOURS, DASHED, MUTED, new_figure
from bce3s.tables import mean_std

FEWEST = 10  # images in a bin that is drawn
NAMES = {'sigmoid': 'sigmoid of the largest logit', 'softmax': 'largest softmax probability'}
TEXT = f"""\
Is the model right as often as it is sure? Images fall into {BINS} bins by the confidence of their
prediction; ECE is the mean distance between the confidence and the accuracy of a bin, weighted by
its images (Guo et al., ICML 2017). Splits are those of the true class, and all images count alike.

On the dashed diagonal a model is as sure as it is right; below it, it is too sure of itself, as
models tend to be on rare classes; above it, it is right more often than it says."""


def calibration(runs: list[PageRun]) -> Section | None:
    """Reliability diagram of the first seed of each group, and the ECE by split of all runs."""
    figures, rows, notes = [], [], left_out(runs)
    for group in measured(runs):
        kind = probabilities(group.runs[0])
        if kind is None:
            notes.append(f'{group.name}: no calibration: its config does not say its loss.')
            continue
        errors = [_errors(run, kind) for run in group.runs]
        figures.append(_figure(group, kind, errors[0]))
        means = [mean_std([error[split] for error in errors], 1) for split in COLUMNS]
        rows.append([group.name, NAMES[kind.name], *means])
    if not figures:
        return None
    header = ['Runs', 'Confidence', *(split.capitalize() for split in COLUMNS)]
    table = Table(header, rows, 'Expected calibration error (%, lower is better)', left=2)
    return Section('calibration', 'Calibration', TEXT, figures, [table], notes)


def probabilities(run: PageRun) -> Probabilities | None:
    """What the run's logits mean, by the joint loss of its config; None if that cannot be read."""
    from bce3s.engine.run_directory import RunDirectory

    try:
        return RunDirectory.open(run.folder).probabilities
    except BCE3SError:
        return None


def _errors(run: PageRun, kind: Probabilities) -> dict[str, float | None]:
    outputs = run.outputs
    correct = outputs.logits.argmax(axis=1) == outputs.labels
    sure = kind.confidence(outputs.logits)
    return by_split(sure, correct, outputs.labels, outputs.class_counts, run.thresholds)


def _figure(group: Group, kind: Probabilities, errors: dict[str, float | None]) -> Figure:
    outputs = group.outputs
    correct = outputs.logits.argmax(axis=1) == outputs.labels
    sure, split = kind.confidence(outputs.logits), group.splits[outputs.labels]
    figure, axes = new_figure(4.8, 3.4)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=DASHED)
    for name in COLUMNS:
        if errors[name] is None:
            continue
        images = np.ones(len(split), bool) if name == 'all' else split == name
        bins = reliability(sure[images], correct[images])
        seen = bins.samples >= min(FEWEST, bins.samples.max())
        places, look = (bins.confidence[seen], bins.accuracy[seen]), dict(color=COLOURS[name])
        width = 1.7 if name == 'all' else 1.2
        label = f'{name.capitalize()} {errors[name]:.1f}'
        axes.plot(*places, linewidth=width, label=label, **look)
        # a dot grows with the number of its images
        sizes = 9 + 70 * bins.samples[seen] / bins.samples.sum()
        axes.scatter(*places, sizes, clip_on=False, linewidths=0, **look)
    axes.set(xlim=(0, 100), ylim=(0, 100), ylabel='accuracy (%)')
    axes.set_xlabel(f'confidence (%): {NAMES[kind.name]}')
    axes.grid()
    axes.set_title(group.title, pad=6)
    figure.legend(loc='outside lower center', ncols=4, labelcolor='linecolor', title='ECE (%)')
    rare = next(s for s in reversed(SPLITS) if errors[s] is not None)
    images = split == rare
    caption = (
        f'{group.title}: on the {rare.capitalize()} images the mean confidence is '
        f'{100 * sure[images].mean():.0f} %, the accuracy {100 * correct[images].mean():.0f} %. '
        f'Bins with fewer than {FEWEST} images are not drawn.'
    )
    return Figure.of(figure, 'Reliability diagram', caption)
