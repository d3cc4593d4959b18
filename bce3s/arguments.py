"""The arguments of ``tools/train.py`` and ``tools/test.py``; nothing here imports torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable

EXAMPLES = {
    'train': 'example: python tools/train.py configs/bce3s/digits.py --seed 1 --work-dir runs/1\n\n'
    'exit status: 0 done, or stopped by SIGTERM, SIGUSR1 or SIGHUP with all of it saved (continue\n'
    'with --resume); 1 an error, in one sentence; 2 wrong arguments; 130 stopped by Ctrl-C,\n'
    'everything saved (a second Ctrl-C stops at once)',
    'test': 'examples: python tools/test.py configs/bce3s/digits.py runs/1/epoch_130.pth\n'
    '          python tools/test.py work_dirs/my_folder --data NEW_PICTURES',
}


def parser(tool: str) -> argparse.ArgumentParser:
    """The argument parser of ``tool`` ('train' or 'test')."""
    what = {
        'train': 'Train a config, validate it and write its report.',
        'test': 'Evaluate a checkpoint of a config and write its report.',
    }[tool]
    p = argparse.ArgumentParser(
        prog=f'{tool}.py',
        description=what,
        epilog=EXAMPLES[tool],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own = '; or a folder, or list, of your own images'
    own = own if tool == 'train' else '; or the work dir of a run'
    p.add_argument('config', help=f'config file{own}')
    if tool == 'train':
        p.add_argument('--work-dir', help='where everything is written (work_dirs/<config name>)')
        p.add_argument(
            '--resume',
            nargs='?',
            const='auto',
            metavar='CKPT',
            help='continue: from CKPT, or else from the newest valid checkpoint in the work dir, '
            'with the config that the run was begun with and the --cfg-options given now',
        )
        p.add_argument(
            '--changed',
            action='store_true',
            help='resume although the config has another length or rate than the checkpoint',
        )
        p.add_argument('--amp', action='store_true', help='bfloat16 autocast in the model')
        p.add_argument(
            '--auto-scale-lr',
            action='store_true',
            help='scale the learning rate with the global batch (auto_scale_lr.base_batch_size)',
        )
        p.add_argument('--seed', type=int, help='seed of the run (the config says 0)')
        p.add_argument(
            '--overwrite',
            action='store_true',
            help='start again in a work dir that holds checkpoints; they are deleted',
        )
        p.add_argument(
            '--dry-run',
            action='store_true',
            help='show settings and class counts, and what looks wrong with your own images; '
            'nothing is trained or written',
        )
    else:
        p.add_argument(
            'checkpoint', nargs='?', help='checkpoint file (of a work dir: its newest valid one)'
        )
        p.add_argument(
            '--data',
            metavar='PATH',
            help='evaluate on these labelled images instead: a folder of class folders, or a list',
        )
        p.add_argument(
            '--work-dir',
            help='where the report is written (<folder of the checkpoint>/test; of --data PATH: '
            'test_<name of PATH>)',
        )
    p.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change the config: train_cfg.max_epochs=2 model.head.contrastive.tau=0.5',
    )
    p.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    p.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
    return p


def positive(kind: type) -> Callable[[str], int | float]:
    """A type of arguments: positive, finite numbers of ``kind`` (int or float)."""

    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < float('inf'):
            raise argparse.ArgumentTypeError(f'{text} is not positive')
        return value

    return number
