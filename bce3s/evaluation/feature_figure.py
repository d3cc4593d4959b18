"""The picture of ``features.json``: figures by split, and curves for each unknown set."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.figure import COLOURS, DARK

ALL_COLOURS = ('#C9C9C9', '#444444')  # bar, figure above it
# one a score, told apart by colour and by dashes
LINES = (('#2F5F93', '-'), ('#C0334A', (0, (5, 2))), ('#8A7A12', (0, (1.5, 1.2))))
PANELS = {
    'tpr': ('AUROC', 'known images accepted: TPR (%)'),
    'ccr': ('OSCR', 'known images accepted\nand classified right: CCR (%)'),
}


def draw_features(report: dict[str, Any]) -> bytes:
    """Bars of All, Many, Medium and Few; below them, for each unknown set, TPR and CCR over FPR.

    Args:
        report: the contents of ``features.json``.

    Returns:
        A PNG file. No state of pyplot is touched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(entry['unknown_set'] for entry in report['open_set']))
    figure = Figure(figsize=(11, 4.2 + 3.7 * len(sets)), dpi=120, layout='constrained')
    grid = figure.add_gridspec(1 + len(sets), 2)
    _draw_bars(figure.add_subplot(grid[0, :]), report)
    for row, name in enumerate(sets, start=1):
        entries = [entry for entry in report['open_set'] if entry['unknown_set'] == name]
        for column, curve in enumerate(PANELS):
            _draw_curves(figure.add_subplot(grid[row, column]), curve, entries)
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def _bars(report: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The figures shown: the classifier, and one of each kind of what the features alone tell."""
    k = max(report['ks'])
    training, test = report['from_training']['figures'], report['within_test']['figures']
    return {
        'classifier': report['classifier'],
        'nearest class\nmean (cosine)': report['nearest_class_mean']['cosine'],
        f'kNN, k = {k}\n(majority)': training[f'knn_{k}'],
        f'Recall@{min(report["ks"])}\nfrom training set': training[f'recall_{min(report["ks"])}'],
        'MAP@R\nfrom training set': training['map_r'],
        'MAP@R\nwithin test set': test['map_r'],
    }


def _draw_bars(axes, report: dict[str, Any]) -> None:
    bars, width = _bars(report), 0.2
    shown = [name for name in ('all', *SPLITS) if report['classifier'][name] is not None]
    for place, name in enumerate(shown):
        light, dark = (COLOURS[name], DARK[name]) if name in COLOURS else ALL_COLOURS
        x = np.arange(len(bars)) + (place - (len(shown) - 1) / 2) * width
        values = [means[name] for means in bars.values()]
        heights = [0 if value is None else value for value in values]
        axes.bar(x, heights, width * 0.94, color=light, label=name.capitalize())
        for at, value in zip(x, values, strict=True):
            text = 'none' if value is None else f'{value:.0f}'
            axes.text(at, (value or 0) + 1, text, color=dark, ha='center', fontsize=8.5)
    axes.set_xticks(range(len(bars)), list(bars))
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel('percent')
    _plain(axes, 'y')
    axes.legend(ncols=4, loc='lower right', bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    epoch = '' if report['epoch'] is None else f', epoch {report["epoch"]}'
    title = f'{report["dataset"]}: {report["config"]}, seed {report["seed"]}{epoch}'
    axes.set_title(title, loc='left', fontsize=10.5, fontweight='bold')


def _draw_curves(axes, name: str, entries: list[dict[str, Any]]) -> None:
    """TPR over FPR, whose area is the AUROC, or CCR over FPR, whose area is the OSCR."""
    area, label = PANELS[name]
    for entry, (colour, dashes) in zip(entries, LINES, strict=True):
        curve, value = entry['curve'], entry[area.lower()]['plain']
        text = f'{entry["score"]}: {value:.1f}'
        axes.plot(curve['fpr'], curve[name], color=colour, ls=dashes, lw=1.8, label=text)
    if name == 'tpr':  # what scores without information give
        axes.plot([0, 100], [0, 100], color='0.8', linewidth=0.8, zorder=0)
    axes.set_xlim(-1, 100)
    axes.set_ylim(0, 103)
    axes.set_xlabel(f'unknown images accepted: FPR (% of {entries[0]["unknown"]})')
    axes.set_ylabel(label)
    _plain(axes, 'both')
    title = f'{area}, unknown: {entries[0]["unknown_set"]}'
    axes.set_title(title, loc='left', fontsize=9.5, fontweight='bold')
    axes.legend(loc='best', fontsize=8.5, framealpha=0.92)


def _plain(axes, grid: str) -> None:
    axes.grid(axis=grid, color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
