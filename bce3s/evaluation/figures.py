"""The pictures of ``report.json`` and ``features.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS, Thresholds, split_of
from bce3s.evaluation.multi_label_report import class_measure
from bce3s.plotting import COLOURS, DASHED, DOTTED, INK, LIGHT, MUTED, new_figure, style, to_png
from bce3s.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 30  # up to so many classes are named and their counts marked


@style()
def draw_report(report: dict[str, Any]) -> bytes:
    """Accuracy or AP (bars, coloured by split) and training count (line) of each class, the most
    frequent first.

    Args:
        report: what ``build_report`` gives.

    Returns:
        A PNG file.
    """
    counts = np.asarray(report['class_counts'])
    order = np.argsort(-counts, kind='stable')
    accuracy = np.array(report['per_class'], dtype=float)[order]  # None becomes NaN
    split = split_of(counts, Thresholds(**report['thresholds']))[order]
    places = np.arange(len(order))
    figure, axes = new_figure(10, 4.6)
    axes.bar(places, np.nan_to_num(accuracy), 0.82, color=[LIGHT[name] for name in split])
    unknown = places[np.isnan(accuracy)]  # no test image: the accuracy is unknown, not 0
    axes.plot(unknown, np.ones(len(unknown)), 'x', color=MUTED, markersize=4)
    _draw_means(axes, report, split)
    axes.set_ylim(0, 117)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlim(-0.9, len(order) - 0.1)
    axes.set_ylabel(f'{class_measure(report)} (%, bars)')
    axes.grid(axis='y')
    if len(order) <= NAMED:
        names = [str(report['classes'][k])[:16] for k in order]
        slant = max(map(len, names)) * len(names) > 140
        angle = dict(rotation=40, ha='right') if slant else {}
        axes.set_xticks(places, names, **angle)
        axes.set_xlabel('class, the most frequent in training first')
    else:
        axes.set_xlabel('classes, ordered by training frequency')
    right = axes.twinx()
    right.spines.right.set_visible(True)
    marker = 'o' if len(order) <= NAMED else None
    right.plot(places, counts[order], color=INK, linewidth=1.2, marker=marker, markersize=3.5)
    right.set_yscale('log')
    right.set_ylim(max(0.8, counts.min() / 2), counts.max() * 2.5)
    right.set_ylabel('training images of the class (line)')
    axes.set_title(
        f'{report["dataset"]}: All {report["all"]:.2f} ({report["selection"]}{_epoch(report)})'
    )
    axes.set_title(f'{report["config"]}, seed {report["seed"]}', loc='right', weight='normal')
    return to_png(figure)


def _epoch(report: dict[str, Any]) -> str:
    return '' if report['epoch'] is None else f', epoch {report["epoch"]}'


def _draw_means(axes: Axes, report: dict[str, Any], split: NDArray) -> None:
    """A line at the mean of each split over its classes; its figure stands above the bars."""
    for name in SPLITS:
        places = np.flatnonzero(split == name)
        if report[name] is None or not len(places):
            continue
        left, right = places[0] - 0.5, places[-1] + 0.5
        axes.hlines(report[name], left, right, color=COLOURS[name], linewidth=2.4, zorder=3)
        text = f'{name.capitalize()} {report[name]:.1f}'
        narrow = right - left <= 0.15 * len(split)
        text = text.replace(' ', '\n') if narrow else f'{text}\n{counted(len(places), "class")}'
        look = dict(color=COLOURS[name], ha='center', va='top', weight='bold')
        axes.text((left + right) / 2, 115, text, **look)
        if left > 0:
            axes.axvline(left, color=MUTED, linewidth=0.8, linestyle=DOTTED, zorder=0)


# ---------------------------------------------------------------------------------------- features
PANELS = {
    'tpr': ('AUROC', 'known images accepted: TPR (%)'),
    'ccr': ('OSCR', 'known images accepted\nand classified right: CCR (%)'),
}


@style()
def draw_features(report: dict[str, Any]) -> bytes:
    """Bars of All, Many, Medium and Few; below them, for each unknown set, TPR and CCR over FPR.

    Args:
        report: the contents of ``features.json``.

    Returns:
        A PNG file.
    """
    sets = list(dict.fromkeys(entry['unknown_set'] for entry in report['open_set']))
    figure, _ = new_figure(11, 4.2 + 3.7 * len(sets), rows=0)
    grid = figure.add_gridspec(1 + len(sets), 2)
    _draw_bars(figure.add_subplot(grid[0, :]), report)
    for row, name in enumerate(sets, start=1):
        entries = [entry for entry in report['open_set'] if entry['unknown_set'] == name]
        for column, curve in enumerate(PANELS):
            _draw_curves(figure.add_subplot(grid[row, column]), curve, entries)
    return to_png(figure)


def _draw_bars(axes: Axes, report: dict[str, Any]) -> None:
    """The classifier, and one of each kind of figure that needs the features alone."""
    least, most = min(report['ks']), max(report['ks'])
    training, test = report['from_training']['figures'], report['within_test']['figures']
    bars = {
        'classifier': report['classifier'],
        'nearest class\nmean (cosine)': report['nearest_class_mean']['cosine'],
        f'kNN, k = {most}\n(majority)': training[f'knn_{most}'],
        f'Recall@{least}\nfrom training set': training[f'recall_{least}'],
        'MAP@R\nfrom training set': training['map_r'],
        'MAP@R\nwithin test set': test['map_r'],
    }
    shown = [name for name in ('all', *SPLITS) if report['classifier'][name] is not None]
    for place, name in enumerate(shown):
        values = [means[name] for means in bars.values()]
        x = np.arange(len(bars)) + (place - (len(shown) - 1) / 2) * 0.2
        drawn = axes.bar(x, [v or 0 for v in values], 0.19, color=LIGHT[name])
        drawn.set_label(name.capitalize())
        texts = ['none' if v is None else f'{v:.0f}' for v in values]
        axes.bar_label(drawn, texts, color=COLOURS[name], padding=1)
    axes.set_xticks(range(len(bars)), list(bars))
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel('percent')
    axes.grid(axis='y')
    axes.legend(ncols=4, loc='lower right', bbox_to_anchor=(1, 1))
    axes.set_title(
        f'{report["dataset"]}: {report["config"]}, seed {report["seed"]}{_epoch(report)}'
    )


def _draw_curves(axes: Axes, name: str, entries: list[dict[str, Any]]) -> None:
    """TPR over FPR, whose area is the AUROC, or CCR over FPR, whose area is the OSCR."""
    area, label = PANELS[name]
    colours = [*(COLOURS[split] for split in SPLITS), INK, MUTED]
    looks = zip(colours, ('-', DASHED, DOTTED, '-', DASHED), strict=True)
    for entry, (colour, dashes) in zip(entries, looks, strict=True):
        curve, value = entry['curve'], entry[area.lower()]['plain']
        text = f'{entry["score"]}: {value:.1f}'
        look = dict(color=colour, linestyle=dashes, label=text)
        axes.plot(curve['fpr'], curve[name], **look)
    if name == 'tpr':  # what scores without information give
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, zorder=0)
    axes.set_xlim(-1, 100)
    axes.set_ylim(0, 103)
    axes.set_xlabel(f'unknown images accepted: FPR (% of {entries[0]["unknown"]})')
    axes.set_ylabel(label)
    axes.grid()
    axes.set_title(f'{area}, unknown: {entries[0]["unknown_set"]}')
    axes.legend(loc='best')
