"""CE and BCE on unit features and weights with a scale gamma: how fast the minimum is reached.

Rates in closed form (bce3s/theory/normalized.py) and measured, from random unit vectors down the
gradient, over gamma. It examines the claims of "Classification vs. Deep Feature Learning in
Normalized Spaces with Different Scaling", of which only the abstract is public.

python tools/normalized_space.py
python tools/normalized_space.py --scales 1 4 16 --classes 5
"""

import argparse
import json
import math
import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import run_tool

SCALES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
ALIGNED = 0.1  # root mean square of ||h - w|| below which features count as aligned


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog='normalized_space.py', description=__doc__.splitlines()[0])
    p.add_argument(
        '--scales', type=float, nargs='+', metavar='GAMMA', default=SCALES, help='values of gamma'
    )
    p.add_argument('--classes', type=int, default=10, metavar='K', help='classes (10)')
    p.add_argument('--samples', type=int, default=5, metavar='N', help='features per class (5)')
    p.add_argument('--dim', type=int, default=16, metavar='D', help='feature size (16)')
    p.add_argument('--steps', type=int, default=20_000, help='of each run at most (20000)')
    p.add_argument('--seed', type=int, default=0, help='of the random start (0)')
    p.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/normalized_space'),
        help='folder for normalized_space.json and rates.png (work_dirs/normalized_space)',
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_tool(lambda: show(args), folder=args.out)


def show(args: argparse.Namespace) -> None:
    """Runs the sweep, prints its table, writes figure and JSON."""
    from bce3s.files import written_whole
    from studies.common import steps, table

    cases = [(loss, scale) for scale in sorted(set(args.scales)) for loss in ('ce', 'bce')]
    for case in cases:
        predicted(*case, args)  # what makes no sense is found at once
    rows = [predicted(*case, args) | measured(*case, args) for case in steps(cases, 'scales')]
    columns = {
        'gamma': '{scale:g}',
        'loss': '{loss}',
        'rate': '{rate:.3g}',
        'measured': '{measured_rate:.3g}',
        'best bias': '{best_bias:.3f}',
        'time to alignment': '{time_to_alignment:.3g}',
        'at the end': '{distance:.0e}',
    }
    args.out.mkdir(parents=True, exist_ok=True)
    print(
        f'K = {args.classes}, n = {args.samples}, d = {args.dim}, seed {args.seed}; BCE starts '
        'with its best bias. A deviation shrinks as exp(-rate time) in the end; gradient descent '
        f'takes time / step size steps.\n{table(columns, rows)}'
    )
    with written_whole(args.out / 'normalized_space.json') as file:
        file.write(json.dumps(rows, indent=1, allow_nan=False).encode() + b'\n')
    draw(rows).savefig(args.out / 'rates.png')
    print(f'rates.png and normalized_space.json are in {args.out}.')


def predicted(loss: str, scale: float, args: argparse.Namespace) -> dict:
    """The slowest rate at the minimum, and the bias there (None: any, with CE)."""
    from bce3s.theory.normalized import convergence_rate, optimal_bias

    rate = convergence_rate(loss, scale, args.classes, args.samples, args.dim)
    bias = optimal_bias(scale, args.classes) if loss == 'bce' else None
    return {'loss': loss, 'scale': scale, 'rate': rate, 'best_bias': bias}


def measured(loss: str, scale: float, args: argparse.Namespace) -> dict:
    """Gradient flow from random unit features and weights: when features are aligned with their
    weights, how far from the minimum it ends, and the slope of -log(distance) over the end.
    """
    import numpy as np

    from bce3s.theory.normalized import optimal_bias

    k, labels = args.classes, np.repeat(np.arange(args.classes), args.samples)
    own, off = labels[:, None] == np.arange(k), ~np.eye(k, dtype=bool)
    rng = np.random.default_rng(args.seed)
    h, w = (unit(rng.normal(size=(rows, args.dim))) for rows in (len(labels), k))
    b = np.full(k, optimal_bias(scale, k) if loss == 'bce' else 0.0)
    time, course = 0.0, []
    for _ in range(args.steps):
        apart = math.sqrt(((h - w[labels]) ** 2).sum(1).mean())
        frame = math.sqrt((((w @ w.T)[off] + 1 / (k - 1)) ** 2).mean())
        course.append((time, apart, math.hypot(apart, frame)))
        if course[-1][2] < 1e-6:
            break
        slope = slopes(loss, scale * (h @ w.T - b), own)
        # at least half of the Hessian's largest eigenvalue: the bend of the spheres, the loss's
        bend, curve = (
            max(part.sum(1).max(), k * part.mean(0).max())
            for part in (abs(slope), abs(slope) * (1 - abs(slope)))
        )
        step = 0.4 / (2 * scale * bend + 3 * scale**2 * curve)
        pull, mean = scale * slope, k / len(h)  # every vector moves down the mean of its class
        moves = pull @ w, mean * pull.T @ h
        b = b + step * mean * pull.sum(0)
        h, w = (
            unit(x - step * (g - (g * x).sum(1, keepdims=True) * x))
            for x, g in zip((h, w), moves, strict=True)
        )
        time += step
    times, apart, distance = np.array(course).T
    end = np.flatnonzero((distance > 1e-6) & (distance < 1e-3))
    end = end[len(end) // 2 :]
    rate = None
    if len(end) > 3:
        x = times[end] / times[end[-1]]
        rate = -float(np.polyfit(x, np.log(distance[end]), 1)[0]) / float(times[end[-1]])
    near = np.flatnonzero(apart < ALIGNED)
    return {
        'measured_rate': rate,
        'time_to_alignment': float(times[near[0]]) if len(near) else None,
        'distance': float(distance[-1]),
    }


def unit(rows):
    return rows / (rows * rows).sum(1, keepdims=True) ** 0.5


def slopes(loss: str, z, own):
    """Derivatives of each sample's loss by its scores, (N, K), accurate where they are tiny."""
    import numpy as np

    if loss == 'bce':
        return np.where(own, -1, 1) * np.exp(-np.logaddexp(0, np.where(own, z, -z)))
    powers = np.exp(z - z.max(1, keepdims=True))
    others = np.where(own, 0.0, powers / powers.sum(1, keepdims=True))
    return np.where(own, -others.sum(1, keepdims=True), others)


def draw(rows: list[dict]):
    """Rates over gamma: linear (an exponential is a line) and logarithmic (a power is a line)."""
    from bce3s.plotting import LOSS_COLOURS
    from studies.common import figure, tidy

    drawn = figure(10, 4.2)
    for axes, ticks in zip(drawn.subplots(1, 2), ((), (0.1, 1, 10)), strict=True):
        for loss, colour in LOSS_COLOURS.items():
            shown = [row for row in rows if row['loss'] == loss]
            x = [row['scale'] for row in shown]
            y = [row['measured_rate'] or math.nan for row in shown]
            axes.plot(x, [row['rate'] for row in shown], color=colour, label=loss.upper())
            axes.plot(x, y, 'o', color=colour, fillstyle='none', label=f'{loss.upper()}, measured')
        axes.set_yscale('log')
        tidy(axes, 'Slowest rate at the minimum', 'gamma', 'rate', ticks)
    return drawn


if __name__ == '__main__':
    sys.exit(main())
