"""More classes than dimensions: what W does with CE and BCE."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.theory.decays import Decays
from bce3s.theory.unconstrained import Problem, Solution, best_of
from studies.sections.common import (
    COLOURS,
    LOSSES,
    Options,
    figure,
    pair_cosines,
    steps,
    table,
)

DECAY = 1e-4
SAMPLES = 50
BIAS_DECAYS = (DECAY, 1.0)  # as the others, and one that holds the bias at about 0
STARTS = 10
# K, d and the softmax code: its largest cosine, the smallest possible for K unit vectors
CODES = (
    (6, 2, 'hexagon', 0.5),
    (12, 3, 'icosahedron', 1 / 5**0.5),
    (10, 5, 'cross-polytope', 0.0),
)


def run(options: Options) -> dict[str, Any]:
    """The best of several starts for each code, loss and lambda_b; own decays and sizes.

    Returns:
        ``rows``, with W and H where d = 2.
    """
    cases = [(*code, loss, bias) for code in CODES for bias in BIAS_DECAYS for loss in LOSSES]
    rows = []
    for k, d, code, bound, loss, bias in steps(cases, 'kd'):
        decays = Decays(DECAY, DECAY, bias)
        problem = Problem.balanced(k, SAMPLES, d, LOSSES[loss], decays, shared=True)
        ends = best_of(problem, STARTS, options.seed)
        key = {'classes': k, 'dim': d, 'code': code, 'code_cosine': bound}
        rows.append({**key, 'loss': loss, 'lambda_b': bias, **_describe(ends, d)})
    return {'decay': DECAY, 'samples': SAMPLES, 'starts': STARTS, 'rows': rows}


def _describe(ends: list[Solution], dim: int) -> dict[str, Any]:
    best = ends[0]
    norms = np.linalg.norm(best.weight, axis=1)
    lengths = norms * np.linalg.norm(best.features, axis=1)
    own = np.einsum('kd,kd->k', best.weight, best.features)
    scores = best.scores
    rivals = scores.copy()
    np.fill_diagonal(rivals, -np.inf)
    positive = np.diag(scores)
    return {
        'objective': best.objective,
        'agreeing': sum(end.objective < best.objective + 1e-7 for end in ends),
        'max_cosine': float(pair_cosines(best.weight).max()),
        'norms': [float(norms.min()), float(norms.max())],
        'bias': [float(best.bias.min()), float(best.bias.max())],
        'alignment': float(np.min(own[norms > 1e-3] / lengths[norms > 1e-3])),
        'right': float(np.mean(positive - rivals.max(1) > 1e-6)),
        # one threshold for all scores tells positive from negative
        'separated': bool(positive.min() > rivals.max()),
        'weight': best.weight.tolist() if dim == 2 else None,
        'features': best.features.tolist() if dim == 2 else None,
    }


def text(result: dict[str, Any]) -> str:
    """One row a case."""
    rows = [
        (
            row['classes'],
            row['dim'],
            f'{row["code"]} {row["code_cosine"]:.4f}',
            f'{row["lambda_b"]:g}',
            row['loss'].upper(),
            f'{row["objective"]:.6f}',
            f'{row["agreeing"]}/{result["starts"]}',
            f'{row["max_cosine"]:.4f}',
            '{:.2f}..{:.2f}'.format(*row['norms']),
            '{:.3f}..{:.3f}'.format(*row['bias']),
            f'{row["alignment"]:.3f}',
            f'{100 * row["right"]:.0f} %',
            'yes' if row['separated'] else 'no',
        )
        for row in result['rows']
    ]
    header = ('K', 'd', 'softmax code', 'lambda_b', 'loss', 'f', 'starts', 'max cos', '|w|', 'b')
    header += ('h || w', 'right', 'one threshold')
    notes = (
        f'n = {result["samples"]}, lambda_W = lambda_H = {result["decay"]:g}; lowest of '
        f'{result["starts"]} random starts ("starts": so many ended there), not proved global.',
        'softmax code: the K unit vectors with the smallest largest cosine (given). h || w: '
        'smallest cosine of w_k and h_k.',
    )
    return '\n'.join([notes[0], table((*header,), rows), notes[1]])


def draw(result: dict[str, Any]) -> Figure:
    """Classifiers (arrows) and features (dots, scaled) where d = 2."""
    rows = [row for row in result['rows'] if row['weight'] is not None]
    drawn = figure(3.3 * len(rows), 4.5)
    for axes, row in zip(drawn.subplots(1, len(rows)), rows, strict=True):
        _draw_plane(axes, row)
    drawn.suptitle(
        'K = 6 classes in d = 2: classifiers (arrows) and features (dots, scaled)',
        x=0.01,
        ha='left',
        fontsize=11,
    )
    return drawn


def _draw_plane(axes, row: dict[str, Any]) -> None:
    weight, features = np.array(row['weight']), np.array(row['features'])
    size = np.linalg.norm(weight, axis=1).max()
    features = features / np.linalg.norm(features, axis=1).max() * size
    for w in weight:
        arrow = dict(arrowstyle='->', color=COLOURS[row['loss']], linewidth=1.6)
        axes.annotate('', xy=w, xytext=(0, 0), arrowprops=arrow)
    axes.plot(*features.T, 'o', color='0.35', markersize=5)
    small = np.linalg.norm(weight, axis=1) < 0.02 * size
    if small.any():
        axes.plot(*weight[small].T, '*', color=COLOURS[row['loss']], markersize=12)
    axes.set_xlim(-1.15 * size, 1.15 * size)
    axes.set_ylim(-1.15 * size, 1.15 * size)
    axes.set_aspect('equal')
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(
        f'{row["loss"].upper()}, $\\lambda_b$ = {row["lambda_b"]:g}\n'
        f'b {row["bias"][0]:.2f} to {row["bias"][1]:.2f}, {100 * row["right"]:.0f} % right',
        fontsize=10,
    )
