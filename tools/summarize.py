"""Mean and standard deviation over seeds, from the reports of run directories, as a Markdown table.

python tools/summarize.py work_dirs/digits_seed? --selection "last + flip TTA"
"""

import argparse
import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import run_tool


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='summarize.py', description=__doc__.splitlines()[0])
    parser.add_argument('runs', nargs='+', metavar='RUN', help='run directory with a report.json')
    parser.add_argument(
        '--selection',
        default='last',
        help="which figures: 'last' (the default), 'last + flip TTA', 'best on test', "
        "'best on test + flip TTA', 'stage 1'",
    )
    args = parser.parse_args(argv)

    from bce3s.evaluation.summary import summarize

    return run_tool(lambda: print(summarize(args.runs, args.selection)))


if __name__ == '__main__':
    sys.exit(main())
