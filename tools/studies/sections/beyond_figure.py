"""The figure of section ``beyond``."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from studies.published import BATCH_SIZES
from studies.sections.common import COLOURS, GREY, HELD, draw_cosines, figure, tidy


def draw(result: dict[str, Any]) -> Figure:
    """b over n, how much lower the minimum is than the theorem's point, and W."""
    drawn = figure(13, 8)
    top, bottom = drawn.subfigures(2, 1, height_ratios=[1.2, 1])
    left, right = top.subplots(1, 2)
    _draw_bias(left, result)
    _draw_gain(right, result['sweep'], result)
    found, axes = result['detail']['found'], bottom.subplots(1, 3, width_ratios=[1.5, 1, 1])
    _draw_cosine(axes[0], result)
    pairs = (('cosines', 'cosines of $w_j, w_k$'), ('centred_cosines', 'the same, W centred'))
    for panel, (name, title) in zip(axes[1:], pairs, strict=True):
        title = f'n = {result["detail"]["samples"]}: {title} ({found[name][0][1]:.4f})'
        image = draw_cosines(panel, found[name], title)
    bottom.colorbar(image, ax=list(axes[1:]), extend='both', label='cosine')
    return drawn


def _draw_bias(axes, result: dict[str, Any]) -> None:
    rows, curves = result['sweep'], result['curves']
    n = curves['samples']
    if curves['cap']:
        axes.plot(
            n,
            curves['cap'],
            ':',
            color='0.2',
            linewidth=2,
            label=r'cap $\sqrt{n\lambda_W\lambda_H}/\lambda_b$',
        )
    axes.plot(n, curves['root'], '--', color=GREY, label="root of Eq. 12 (Theorem 3.2's b)")
    axes.plot(n, curves['bias'], color=COLOURS['bce'], label='minimum, closed form')
    axes.plot(n, curves['held_bias'], color=HELD, label='minimum with $H \\geq 0$')
    axes.plot(
        [row['samples'] for row in rows],
        [row['found_bias'] for row in rows],
        'o',
        color=COLOURS['bce'],
        markersize=4.5,
        label='minimum found from random starts',
    )
    if result['classes'] == 10 and result['decays'] == [5e-4] * 3:
        published = {batch / 10: row.b for batch, row in BATCH_SIZES['bce', 'AdamW'].items()}
        axes.plot(
            list(published),
            list(published.values()),
            'kx',
            label='Table 11, AdamW (n = batch / 10)',
        )
    tidy(axes, 'BCE: the bias of the minimum', 'n, samples per class', 'b')
    _over_samples(axes)
    axes.set_ylim(0, max(curves['root']) * 1.15)
    axes.legend(fontsize=8, loc='lower right')


def _draw_gain(axes, rows: list[dict[str, Any]], result: dict[str, Any]) -> None:
    point = np.array([row['theorem_objective'] for row in rows])
    for name, label, style, colour in (
        ('found_objective', f'd = {result["dim"]}', 'o-', COLOURS['bce']),
        ('narrow_objective', f'd = K - 1 = {result["classes"] - 1}', 's--', COLOURS['ce']),
    ):
        gain = 100 * (1 - np.array([row[name] for row in rows]) / point)
        n = [row['samples'] for row in rows]
        axes.plot(n, gain, style, color=colour, markersize=4.5, label=label)
    title = "How far the minimum found lies below Theorem 3.2's point"
    tidy(axes, title, 'n, samples per class', '% of the objective')
    _over_samples(axes)
    axes.legend(fontsize=8)


def _draw_cosine(axes, result: dict[str, Any]) -> None:
    rows = result['sweep']
    n = [row['samples'] for row in rows]
    axes.plot(n, [row['cosine'] for row in rows], 'o-', color=COLOURS['bce'], label='W')
    y = [row['centred_cosine'] for row in rows]
    axes.plot(n, y, 's--', color=GREY, markersize=4, label='W centred')
    etf = -1 / (result['classes'] - 1)
    axes.axhline(etf, color='0.2', linestyle=':', label=f'simplex ETF ({etf:.4f})')
    tidy(axes, 'Cosine between classifiers, found', 'n, samples per class', 'cosine')
    _over_samples(axes)
    axes.legend(fontsize=8)


def _over_samples(axes) -> None:
    axes.set_xscale('log')
    ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200) if n <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
