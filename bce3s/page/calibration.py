"""Calibration by split: reliability diagrams and expected calibration errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bce3s.datasets.long_tailed import SPLITS
from bce3s.errors import BCE3SError
from bce3s.evaluation.calibration import BINS, by_split, reliability
from bce3s.evaluation.probabilities import Probabilities
from bce3s.page.sections import Figure, PageRun, Section, Table
from bce3s.page.shown import COLOURS, COLUMNS, Shown, left_out, shown, thresholds
from bce3s.page.svg import GRID, MUTED, new_figure, to_svg
from bce3s.tables import mean_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    kinds, notes = {}, left_out(runs)
    for one in (drawn := shown(runs)):
        kind = probabilities(one.run)
        if kind is None:
            notes.append(f'{one.group.name}: no calibration: its config does not say its loss.')
        else:
            kinds[one.run.name] = kind
    drawn = [one for one in drawn if one.run.name in kinds]
    if not drawn:
        return None
    errors = {
        run.name: _errors(run, kinds[one.run.name]) for one in drawn for run in one.group.runs
    }
    figures = [_figure(one, kinds[one.run.name], errors[one.run.name]) for one in drawn]
    rows = [
        [
            one.group.name,
            NAMES[kinds[one.run.name].name],
            *(
                mean_std([errors[run.name][split] for run in one.group.runs], 1)
                for split in COLUMNS
            ),
        ]
        for one in drawn
    ]
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
    return by_split(sure, correct, outputs.labels, outputs.class_counts, thresholds(run))


# ------------------------------------------------------------------------------------------- figure
def _figure(one: Shown, kind: Probabilities, errors: dict[str, float | None]) -> Figure:
    outputs = one.outputs
    correct = outputs.logits.argmax(axis=1) == outputs.labels
    sure, split = kind.confidence(outputs.logits), one.splits[outputs.labels]
    figure, axes = new_figure(460, 330)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for name in COLUMNS:
        if errors[name] is not None:
            images = np.ones(len(split), bool) if name == 'all' else split == name
            _line(axes, sure[images], correct[images], name, errors[name])
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel(f'confidence (%): {NAMES[kind.name]}')
    axes.set_ylabel('accuracy (%)')
    axes.grid(color=GRID)
    axes.set_title(one.title, pad=8)
    legend = axes.figure.legend(
        loc='outside lower center',
        ncols=4,
        labelcolor='linecolor',
        handlelength=0.8,
        columnspacing=1.2,
        title='ECE (%)',
    )
    for line in legend.get_lines():
        line.set_linewidth(4)
    caption = _caption(one, errors, sure, correct, split)
    return Figure(to_svg(figure, f'Reliability diagram. {caption}'), caption)


def _line(axes: Axes, sure, correct, name: str, error: float) -> None:
    """Accuracy over confidence of the bins that have some images; a dot grows with their number."""
    bins = reliability(sure, correct)
    seen = bins.samples >= min(FEWEST, bins.samples.max())
    colour = COLOURS[name]
    axes.plot(
        bins.confidence[seen],
        bins.accuracy[seen],
        '-',
        color=colour,
        linewidth=2.2 if name == 'all' else 1.5,
        label=f'{name.capitalize()} {error:.1f}',
    )
    sizes = 16 + 120 * bins.samples[seen] / bins.samples.sum()
    axes.scatter(
        bins.confidence[seen], bins.accuracy[seen], sizes, colour, clip_on=False, linewidths=0
    )


def _caption(one: Shown, errors: dict[str, float | None], sure, correct, split) -> str:
    rare = next(s for s in reversed(SPLITS) if errors[s] is not None)
    images = split == rare
    return (
        f'{one.title}: on the {rare.capitalize()} images the mean confidence is '
        f'{100 * sure[images].mean():.0f} %, the accuracy {100 * correct[images].mean():.0f} %. '
        f'Bins with fewer than {FEWEST} images are not drawn.'
    )
