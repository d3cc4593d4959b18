"""``bce3s posthoc``, ``feature-quality`` and ``summarize``: more numbers of runs that were trained.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bce3s.arguments import (
    add_data_root,
    add_options,
    add_run,
    add_unknown,
    positive,
    run_tool,
)

ABOUT = {
    'posthoc': 'Logit adjustment, tau-normalisation, nearest class mean and temperature on the '
    'scores and features of a trained network. Parameters are chosen on the validation images; '
    'without any, on halves of the test images, each measured with what the other chose.',
    'feature-quality': 'How good the features of a checkpoint are: nearest neighbours, class '
    'means, retrieval, open set.',
    'summarize': 'Mean and standard deviation over seeds, from the reports of run directories, as '
    'a Markdown table.',
}
EXAMPLES = {
    'posthoc': 'example: bce3s posthoc work_dirs/digits',
    'feature-quality': 'examples: bce3s feature-quality RUN --unknown held-out\n'
    '          bce3s feature-quality CONFIG CHECKPOINT --unknown cifar100 --out features',
    'summarize': 'example: bce3s summarize work_dirs/digits_seed? --selection "last + flip TTA"',
}


def parser(command: str) -> argparse.ArgumentParser:
    """The argument parser of ``posthoc``, ``feature-quality`` or ``summarize``."""
    p = argparse.ArgumentParser(
        prog=f'bce3s {command}',
        description=ABOUT[command],
        epilog=EXAMPLES[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command == 'summarize':
        p.add_argument('runs', nargs='+', metavar='RUN', help='run directory with a report.json')
        p.add_argument(
            '--selection',
            default='last',
            help="which figures: 'last' (the default), 'last + flip TTA', 'best on test', "
            "'best on test + flip TTA', 'stage 1'",
        )
        return p
    add_run(p, positional=True)
    folder = 'posthoc' if command == 'posthoc' else 'features'
    p.add_argument('--out', type=Path, metavar='DIR', help=f'where to write (RUN/{folder})')
    if command == 'feature-quality':
        add_unknown(p, nargs='+', default=[])
        p.add_argument(
            '--k',
            nargs='+',
            type=int,
            help='numbers of neighbours (default: those of 1 5 10 20 that the data set allows)',
        )
    p.add_argument(
        '--batch-size', type=positive(int), default=500, help='images at a time (default: 500)'
    )
    add_data_root(p)
    add_options(p)
    return p


def main(command: str, argv: list[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing or cannot be written."""
    args = parser(command).parse_args(argv)
    if command == 'summarize':
        return run_tool(lambda: summarize(args))
    action = {'posthoc': posthoc, 'feature-quality': feature_quality}[command]
    hint = 'What was computed of the images is kept in RUN/outputs.' if command == 'posthoc' else ''
    return run_tool(lambda: action(args), hint, args.out or args.run)


def summarize(args: argparse.Namespace) -> None:
    """Prints the table."""
    from bce3s.evaluation import summary

    print(summary.summarize(args.runs, args.selection))


def posthoc(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong, OSError where it cannot write."""
    from bce3s.config import explained
    from bce3s.engine import posthoc_run
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.evaluation.posthoc_report import how_chosen, posthoc_table, write_posthoc

    run = RunDirectory.open(args.run, args.checkpoint, args.cfg_options, args.data_root)
    out = args.out or run.folder / 'posthoc'
    out.mkdir(parents=True, exist_ok=True)  # or the work would be in vain
    with explained(run.config):
        report = posthoc_run.posthoc(run, args.batch_size, lambda text: print(text, flush=True))
    path = write_posthoc(report, out)
    print('', posthoc_table(report), '', how_chosen(report), *report['notes'], sep='\n')
    print(f'\nWhat the columns mean: {path}')


def feature_quality(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong, OSError where it cannot write."""
    from bce3s.config import explained
    from bce3s.engine import feature_quality
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.engine.unknown_sets import unknown_options
    from bce3s.evaluation.feature_report import format_tables, write_features

    run = RunDirectory.open(args.run, args.checkpoint, args.cfg_options, args.data_root)
    options = unknown_options(args.unknown_options)
    out = args.out or run.folder / 'features'
    out.mkdir(parents=True, exist_ok=True)  # or the work would be in vain
    with explained(run.config):
        report = feature_quality.feature_quality(
            run, args.unknown, args.k, args.batch_size, options
        )
    path = write_features(report, out)
    print(format_tables(report))
    print(f'\nPercent. What the figures mean: {path}')
