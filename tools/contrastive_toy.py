"""The contrastive branch on a toy: which remedy lets it live, at how many classes.

Prints a table; a minute or two.

    python tools/contrastive_toy.py [--classes 10 100] [--steps 3000]
"""

import argparse
import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import positive, run_tool


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--classes', type=positive(int), nargs='+', default=[10, 100], metavar='K')
    parser.add_argument('--steps', type=positive(int), default=3000)
    args = parser.parse_args(argv)
    return run_tool(lambda: show(args))


def show(args: argparse.Namespace) -> None:
    from studies.contrastive import text

    print(text(args.classes, args.steps))


if __name__ == '__main__':
    sys.exit(main())
