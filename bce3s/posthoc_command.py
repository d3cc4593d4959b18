"""What ``tools/posthoc.py`` does: what can be mended after the training, and how much it helps.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bce3s.arguments import add_data_root, add_run, positive, run_tool

EXAMPLES = """example:
  python tools/posthoc.py work_dirs/digits
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='posthoc.py',
        description='Logit adjustment, tau-normalisation, nearest class mean and temperature on '
        'the scores and features of a trained network. Parameters are chosen on the validation '
        'images; without any, on halves of the test images, each measured with what the other '
        'chose.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(p)
    add_data_root(p)
    p.add_argument('--out', type=Path, metavar='DIR', help='where to write (RUN/posthoc)')
    p.add_argument(
        '--batch-size', type=positive(int), default=500, help='images at a time (default: 500)'
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing or cannot be written."""
    args = parser().parse_args(argv)
    folder = Path(args.run).expanduser()
    if not folder.is_dir() and args.checkpoint:
        folder = Path(args.checkpoint).expanduser().parent
    out = args.out or folder / 'posthoc'
    hint = 'What was computed of the images is kept in RUN/outputs.'
    return run_tool(lambda: posthoc_tool(args, out), hint, out)


def posthoc_tool(args: argparse.Namespace, out: Path) -> None:
    """Raises BCE3SError where something is missing or wrong, OSError where it cannot write."""
    from bce3s.config import explained
    from bce3s.engine.posthoc_run import posthoc
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.evaluation.posthoc_report import how_chosen, posthoc_table, write_posthoc

    run = RunDirectory.open(args.run, args.checkpoint, data_root=args.data_root)
    out.mkdir(parents=True, exist_ok=True)  # or the work would be in vain
    with explained(run.config):
        report = posthoc(run, args.batch_size, lambda text: print(text, flush=True))
    path = write_posthoc(report, out)
    print('', posthoc_table(report), '', how_chosen(report), *report['notes'], sep='\n')
    print(f'\nWhat the columns mean: {path}')
