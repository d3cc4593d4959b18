"""How good the features of a checkpoint are: nearest neighbours, class means, retrieval, open set.

python tools/feature_quality.py RUN --unknown held-out
python tools/feature_quality.py CONFIG CHECKPOINT --unknown cifar100 --out features
"""

import argparse
import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import positive, run_tool
from bce3s.config import load_config


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog='feature_quality.py', description=__doc__.splitlines()[0])
    p.add_argument('config', help='config of the training, or the work dir of a run')
    p.add_argument(
        'checkpoint', nargs='?', help='checkpoint file (default: the newest one of the run)'
    )
    p.add_argument(
        '--unknown',
        nargs='+',
        default=[],
        metavar='SET',
        help='images of classes that the model was not trained on: a folder, held-out (those that '
        'keep_classes leaves out), cifar10, cifar100, digits, fashion-mnist, mnist, or a config '
        'file (its test data)',
    )
    p.add_argument(
        '--unknown-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='arguments of these data sets, such as verify=False or data_root=elsewhere',
    )
    p.add_argument(
        '--k',
        nargs='+',
        type=int,
        help='numbers of neighbours (default: those of 1 5 10 20 that the data set allows)',
    )
    p.add_argument('--out', help='where to write (<folder of the checkpoint>/features)')
    p.add_argument(
        '--batch-size', type=positive(int), default=500, help='images at a time (default: 500)'
    )
    p.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change the config, as the training did: train_dataloader.dataset.imbalance_factor=10',
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_tool(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    from bce3s.config import explained
    from bce3s.engine.feature_quality import feature_quality
    from bce3s.engine.unknown_sets import unknown_options
    from bce3s.evaluation.feature_report import format_tables, write_features

    config, checkpoint = _files(args)
    cfg = load_config(config, args.cfg_options)
    options = unknown_options(args.unknown_options)
    out = Path(args.out or checkpoint.parent / 'features')
    if checkpoint.is_file():
        out.mkdir(parents=True, exist_ok=True)  # or the work would be in vain
    with explained(cfg):
        report = feature_quality(cfg, checkpoint, args.unknown, args.k, args.batch_size, options)
    path = write_features(report, out)
    print(format_tables(report))
    print(f'\nPercent. What the figures mean: {path}')


def _files(args: argparse.Namespace) -> tuple[str, Path]:
    """Config and checkpoint."""
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.errors import BCE3SError

    if Path(args.config).is_dir():
        run = RunDirectory.open(args.config, args.checkpoint)
        return str(run.config.filename), run.checkpoint
    if args.checkpoint is None:
        raise BCE3SError(
            f'{args.config} is no folder of a run: give one, or a config and a checkpoint.'
        )
    return args.config, Path(args.checkpoint)


if __name__ == '__main__':
    sys.exit(main())
