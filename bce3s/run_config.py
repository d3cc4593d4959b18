"""The config of a run: file, options, flags, and somebody's own data; nothing here imports torch
before it is called.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.errors import BCE3SError
from bce3s.packaged import OWN_IMAGES, config_file

if TYPE_CHECKING:
    from mmengine.config import Config

    from bce3s.own_data.found import FoundImages

# of the training set and of the evaluation set that belongs to it
SHARED = {
    *('data_root', 'lists', 'manifest', 'verify', 'duplicates'),
    *('imbalance', 'imbalance_factor', 'n_max', 'rule', 'keep_classes'),
}


def load_config(path: str, options: list[str]) -> Config:
    """Reads a config file, checks its keys, and applies ``--cfg-options``.

    Raises:
        BCE3SError: no such file, a syntax error, an unknown key.
    """
    from bce3s.config_files import read_config
    from bce3s.strict_config import apply_options, check_arguments, check_top_level

    cfg = read_config(config_file(path))
    check_top_level(cfg)
    apply_options(cfg, options)
    share_shape(cfg)
    check_arguments(cfg)
    cfg.setdefault('default_scope', 'bce3s')
    return cfg


def share_shape(cfg: Config) -> None:
    """What shapes the training set, and where its files are, holds for the evaluation set of the
    same kind too, unless that says otherwise: Many, Medium and Few follow from training counts.
    """
    train = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    for name in ('val_dataloader', 'test_dataloader'):
        data = (cfg.get(name) or {}).get('dataset') or {}
        if data and data.get('type') == train.get('type'):
            for key in SHARED & train.keys():
                data.setdefault(key, train[key])


def train_config(args: argparse.Namespace) -> Config:
    """The config of ``tools/train.py`` with its flags; own data are still to be looked for. In the
    place of a config there may be a folder or list of somebody's own images. A run that is resumed
    takes the config that it wrote into its work dir, and options that are given now.
    """
    if Path(args.config).is_dir() or Path(args.config).suffix in ('.csv', '.tsv', '.txt'):
        args.cfg_options = [f'data_root={args.config}', *args.cfg_options]
        args.config = str(OWN_IMAGES)
    cfg = load_config(args.config, args.cfg_options)
    default = cfg.get('work_dir') or Path('work_dirs', Path(args.config).stem)
    work_dir = str(args.work_dir or default)
    own, name = Path(work_dir, Path(args.config).name), cfg.filename
    resumed = args.resume is not None or cfg.get('resume')
    if resumed and own.is_file() and not _of_own_data(args.cfg_options):
        if os.environ.get('RANK', '0') == '0':
            print(f'Resuming with {own}, the config that this run was begun with.')
        cfg = load_config(str(own), args.cfg_options)
        object.__setattr__(cfg, '_filename', name)  # which the report has
    cfg.work_dir = work_dir
    if args.amp:
        if not isinstance(cfg.get('model'), dict):
            raise BCE3SError(f'--amp sets model.precision, but {args.config} has no model.')
        cfg.model.precision = 'bf16'
    if args.auto_scale_lr:
        if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            raise BCE3SError(
                f'--auto-scale-lr: {args.config} does not say for which batch its rate is meant: '
                'set auto_scale_lr.base_batch_size.'
            )
        cfg.auto_scale_lr.enable = True
    if args.seed is not None:
        cfg.setdefault('randomness', {})
        cfg.randomness.seed = args.seed
    return cfg


def _of_own_data(options: list[str]) -> bool:
    """Whether some are read while images are looked for, which is over when a run is begun."""
    return any(option.startswith(('data_root=', 'own_data.')) for option in options)


def with_own_data(
    cfg: Config, options: list[str], keep: bool = False, write: bool = True
) -> FoundImages | None:
    """Completes a config for somebody's own images (:mod:`bce3s.own_data.complete`), after which
    the options have the last word; None and nothing for another config.

    Args:
        cfg: with its flags and options.
        options: ``--cfg-options``, applied once more.
        keep: whether splits that the work dir has stay as they are.
        write: whether splits are written down.
    """
    if 'own_data' not in cfg:
        return None
    from bce3s.own_data.complete import KEYS, complete
    from bce3s.strict_config import apply_options, check_arguments

    enabled = (cfg.get('auto_scale_lr') or {}).get('enable', False)
    found = complete(cfg, cfg.work_dir, keep, write)
    cfg.auto_scale_lr.enable = enabled
    apply_options(cfg, [o for o in options if o.partition('=')[0].split('.')[0] not in KEYS])
    check_arguments(cfg)
    return found
