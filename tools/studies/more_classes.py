"""More classes than dimensions: what W does with CE and BCE."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bce3s.plotting import LOSS_COLOURS
from bce3s.theory.decays import Decays
from bce3s.theory.unconstrained import Problem, Solution, best_of
from studies.common import LOSSES, Options, figure, pair_cosines, steps, table

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
    return {'rows': rows}


def _describe(ends: list[Solution], dim: int) -> dict[str, Any]:
    best = ends[0]
    norms = np.linalg.norm(best.weight, axis=1)
    rivals = best.scores.copy()
    np.fill_diagonal(rivals, -np.inf)
    positive = np.diag(best.scores)
    return {
        'objective': best.objective,
        'agreeing': sum(end.objective < best.objective + 1e-7 for end in ends),
        'max_cosine': float(pair_cosines(best.weight).max()),
        'norms': [float(norms.min()), float(norms.max())],
        'bias': [float(best.bias.min()), float(best.bias.max())],
        'right': 100 * float(np.mean(positive - rivals.max(1) > 1e-6)),
        # one threshold for all scores tells positive from negative
        'separated': bool(positive.min() > rivals.max()),
        'weight': best.weight.tolist() if dim == 2 else None,
        'features': best.features.tolist() if dim == 2 else None,
    }


def text(result: dict[str, Any]) -> str:
    """One row a case."""
    columns = {
        'K': '{classes}',
        'd': '{dim}',
        'softmax code': '{code} {code_cosine:.4f}',
        'lambda_b': '{lambda_b:g}',
        'loss': '{loss}',
        'f': '{objective:.6f}',
        'starts': '{agreeing}',
        'max cos': '{max_cosine:.4f}',
        '|w|': '{norms[0]:.2f}..{norms[1]:.2f}',
        'b': '{bias[0]:.3f}..{bias[1]:.3f}',
        '% right': '{right:.0f}',
        'one threshold': '{separated}',
    }
    return (
        f'n = {SAMPLES}, lambda_W = lambda_H = {DECAY:g}; lowest of {STARTS} random starts '
        '("starts": so many ended there), not proved global. Softmax code: the K unit vectors with '
        f'the smallest largest cosine, which is given.\n{table(columns, result["rows"])}'
    )


def draw(result: dict[str, Any]) -> Figure:
    """Classifiers (arrows) and features (dots, scaled) where d = 2."""
    rows = [row for row in result['rows'] if row['weight'] is not None]
    drawn = figure(3.3 * len(rows), 4)
    for axes, row in zip(drawn.subplots(1, len(rows)), rows, strict=True):
        weight, features = np.array(row['weight']), np.array(row['features'])
        size = np.linalg.norm(weight, axis=1).max()
        features = features / np.linalg.norm(features, axis=1).max() * size
        style = dict(angles='xy', scale_units='xy', scale=1, color=LOSS_COLOURS[row['loss']])
        axes.quiver(*np.zeros_like(weight).T, *weight.T, **style)
        axes.plot(*features.T, 'o', color='0.35', markersize=5)
        axes.set(xlim=(-1.15 * size, 1.15 * size), ylim=(-1.15 * size, 1.15 * size))
        axes.set(aspect='equal', xticks=[], yticks=[])
        title = f'{row["loss"].upper()}, $\\lambda_b$ = {row["lambda_b"]:g}'
        axes.set_title(f'{title}\n{row["right"]:.0f} % right', fontsize=10)
    return drawn
