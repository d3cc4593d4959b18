"""The unconstrained-features model: theorems of "BCE vs. CE in Deep Feature Learning", checked.

Minimises f(W, H, b) for CE and BCE from random starts, compares with the theory and with the
paper's tables, prints tables and writes figures and JSON.

python tools/unconstrained.py
python tools/unconstrained.py --only beyond --classes 5 --lambda-b 1e-3
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import run_tool

# The products are small: threads would wait for each other most of the time. Read by NumPy's
# libraries when they are imported, which is in the functions below.
for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

SECTIONS = {
    'collapse': 'Theorems 3.1 and 3.2: neural collapse from random starts',
    'beyond': 'Where Theorem 3.2 stops: the cap of the bias, and the minimum beyond it',
    'table11': "The closed form against the paper's Tables 8-11",
    'ridge': 'The ridge of CE: its bias with lambda_b = 0',
    'imbalance': 'Minority collapse with CE and BCE',
    'kd': 'More classes than dimensions',
}
MODULES = {'table11': 'published', 'kd': 'more_classes'}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='unconstrained.py',
        description=__doc__.splitlines()[0],
        epilog='sections: '
        + '; '.join(f'{name}: {title}' for name, title in SECTIONS.items())
        + '. table11 and kd have sizes and decays of their own, imbalance decays.',
    )
    p.add_argument('--classes', type=int, default=10, metavar='K', help='classes (10)')
    p.add_argument('--dim', type=int, default=32, metavar='D', help='feature size (32)')
    p.add_argument(
        '--samples', type=int, default=100, metavar='N', help='per class, in section collapse (100)'
    )
    for name, symbol in (('w', 'W'), ('h', 'H'), ('b', 'b')):
        p.add_argument(
            f'--lambda-{name}',
            type=float,
            default=5e-4,
            metavar='X',
            help=f'lambda_{symbol}, decay of {symbol} (5e-4)',
        )
    p.add_argument('--seed', type=int, default=0, help='of the first random start (0)')
    p.add_argument(
        '--only', nargs='+', choices=SECTIONS, default=list(SECTIONS), help='these sections'
    )
    p.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/unconstrained'),
        help='folder for unconstrained.json and figures (work_dirs/unconstrained)',
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_tool(lambda: show(args), folder=args.out)


def show(args: argparse.Namespace) -> None:
    """Runs the sections in their order, prints their tables, writes figures and JSON."""
    import importlib

    from bce3s.files import written_whole

    options = checked(args)
    args.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in (name for name in SECTIONS if name in args.only):
        module = importlib.import_module(f'studies.{MODULES.get(name, name)}')
        start = time.perf_counter()
        results[name] = module.run(options)
        seconds = time.perf_counter() - start
        print(f'== {name}: {SECTIONS[name]} ({seconds:.1f} s)\n')
        print(module.text(results[name]) + '\n', flush=True)
        if hasattr(module, 'draw'):
            module.draw(results[name]).savefig(args.out / f'{name}.png')
        with written_whole(args.out / 'unconstrained.json') as file:
            file.write(json.dumps(results, indent=1, allow_nan=False).encode() + b'\n')
    print(f'Figures and unconstrained.json are in {args.out}.')


def checked(args: argparse.Namespace):
    """The sections' options.

    Raises:
        BCE3SError: sizes for which there is nothing to show.
    """
    from bce3s.errors import BCE3SError
    from bce3s.theory.decays import Decays, check_classes, check_no_collapse
    from studies.common import Options

    check_classes(args.classes)
    if args.seed < 0:
        raise BCE3SError(f'--seed {args.seed}: give 0 or more.')
    decays = Decays(args.lambda_w, args.lambda_h, args.lambda_b)
    if args.dim < args.classes and set(args.only) & {'collapse', 'beyond', 'ridge'}:
        raise BCE3SError(
            f'--dim {args.dim} is below --classes {args.classes}: the closed form needs d >= K; '
            'give a larger --dim (section kd shows K > d).'
        )
    check_no_collapse(args.classes, args.samples, decays)
    return Options(args.classes, args.dim, args.samples, decays, args.seed)


if __name__ == '__main__':
    sys.exit(main())
