"""CE and BCE in a normalised space with a scale gamma: rates, neural collapse, disturbances.

Sweeps gamma in the model of bce3s/theory/normalized.py (unit features and weights as free
variables), prints tables and writes figures and JSON. It examines the claims of "Classification vs.
Deep Feature Learning in Normalized Spaces with Different Scaling", of which only the abstract is
public.

python tools/normalized_space.py
python tools/normalized_space.py --scales 1 4 16 --classes 5 --budget 30
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import run_tool


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog='normalized_space.py', description=__doc__.splitlines()[0])
    p.add_argument(
        '--scales',
        type=float,
        nargs='+',
        metavar='GAMMA',
        help='values of gamma (0.05 0.1 0.25 0.5 1 2 4 8 16 32 64)',
    )
    p.add_argument('--classes', type=int, default=10, metavar='K', help='classes (10)')
    p.add_argument('--samples', type=int, default=5, metavar='N', help='features a class (5)')
    p.add_argument('--dim', type=int, default=16, metavar='D', help='feature size (16)')
    p.add_argument(
        '--budget',
        type=float,
        default=10.0,
        metavar='T',
        help='time, steps times step size, at which features are examined (10)',
    )
    p.add_argument('--max-steps', type=int, default=20_000, help='of each run (20000)')
    p.add_argument('--seed', type=int, default=0, help='of the random start and the noise (0)')
    p.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/normalized_space'),
        help='folder for normalized_space.json and the PNGs (work_dirs/normalized_space)',
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_tool(lambda: show(args), folder=args.out)


def show(args: argparse.Namespace) -> None:
    """Runs the sweep, prints its tables, writes figures and JSON."""
    from tqdm import tqdm

    from bce3s.files import written_whole
    from studies.normalized_figures import FIGURES
    from studies.normalized_report import text
    from studies.normalized_study import run
    from studies.sections.common import png

    options = checked(args)
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    result = run(options, lambda runs: tqdm(runs, desc='scales', leave=False, disable=None))
    print(text(result) + f'\n\n{len(result["rows"])} runs in {time.perf_counter() - start:.0f} s.')
    with written_whole(args.out / 'normalized_space.json') as file:
        file.write(json.dumps(result, indent=1, allow_nan=False).encode() + b'\n')
    for name, draw in FIGURES.items():
        with written_whole(args.out / f'{name}.png') as file:
            file.write(png(draw(result)))
    print(f'Figures and normalized_space.json are in {args.out}.')


def checked(args: argparse.Namespace):
    """The options of the study.

    Raises:
        BCE3SError: a budget or a number of steps with which nothing would move.
    """
    from bce3s.errors import BCE3SError
    from studies.normalized_study import SCALES, Options

    if not 0 < args.budget < math.inf:
        raise BCE3SError(f'--budget {args.budget:g} must be a positive time.')
    if args.max_steps < 1:
        raise BCE3SError(f'--max-steps {args.max_steps} must be at least 1.')
    return Options(
        scales=tuple(sorted(set(args.scales or SCALES))),
        classes=args.classes,
        samples=args.samples,
        dim=args.dim,
        budget=args.budget,
        seed=args.seed,
        max_steps=args.max_steps,
    )


if __name__ == '__main__':
    sys.exit(main())
