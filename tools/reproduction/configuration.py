"""From a cell to a config file: what is changed is written down, so that `tools/train.py` trains it
as it trains any config.
"""

from __future__ import annotations

import functools
import os
import pprint
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bce3s
from bce3s.config import read_config
from bce3s.config.reading import share_shape
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from reproduction.cells import Cell

if TYPE_CHECKING:
    from mmengine.config import Config

ROOT = Path(bce3s.__file__).resolve().parents[1]
# One checkpoint a run is enough to resume it; a table has dozens of runs.
KEPT = {'default_hooks.checkpoint.max_keep_ckpts': 1}


def resolved(cell: Cell) -> Config:
    """The config that the cell trains, its overrides applied but not yet checked.

    Raises:
        BCE3SError: the config file does not exist or cannot be read.
    """
    cfg = deepcopy(_leaf(cell.config))
    try:
        cfg.merge_from_dict(_overrides(cell))
    except (TypeError, KeyError, AssertionError) as error:
        raise BCE3SError(
            f'The overrides of cell {cell.key} do not fit {cell.config}: {error}'
        ) from error
    share_shape(cfg)
    return cfg


@functools.cache
def _leaf(config: str) -> Config:
    return read_config(str(ROOT / config))


def _overrides(cell: Cell) -> dict[str, Any]:
    return deepcopy({**KEPT, **cell.overrides})


def check(cell: Cell) -> None:
    """As ``--cfg-options`` are checked: a key that the config does not have and nothing would read
    is an error.

    Raises:
        BCE3SError: such a key.
    """
    from bce3s.config import check_option

    cfg = _leaf(cell.config)
    for key in cell.overrides:
        try:
            check_option(cfg, key)
        except BCE3SError as error:
            text = str(error).removeprefix('--cfg-options ')
            raise BCE3SError(f'Cell {cell.key}, override {text}') from error


def missing_data(configs: Iterable[Config]) -> list[str]:
    """What the data sets of these configs lack, a sentence each; nothing is downloaded."""
    from bce3s.datasets import sources
    from bce3s.datasets.download import require_archive, require_idx

    archives = {'CIFAR10LT': sources.CIFAR10, 'CIFAR100LT': sources.CIFAR100}
    idx = {'MNISTLT': sources.MNIST, 'FashionMNISTLT': sources.FASHION_MNIST}

    loaders = ('train_dataloader', 'val_dataloader')
    wanted = [cfg[name].dataset for cfg in configs for name in loaders if cfg.get(name)]
    alike = {tuple(data.get(k) for k in ('type', 'data_root', 'split')): data for data in wanted}
    said = []
    for data in alike.values():
        kind, root = data['type'], Path(data.get('data_root', 'data')).expanduser()
        try:
            if kind in archives:
                require_archive(archives[kind], root, data['split'])
            elif kind in idx:
                prefix = 'train' if data['split'] == 'train' else 't10k'
                for name in idx[kind].md5:
                    if name.startswith(prefix):
                        require_idx(idx[kind], root, name)
            elif kind != 'DigitsLT' and not root.exists():
                raise BCE3SError(f'{root} does not exist.')
        except BCE3SError as error:
            said.append(str(error))
    return list(dict.fromkeys(said))


def digest(cell: Cell) -> str:
    """SHA-256 of the experiment, as ``config_sha256`` in its report: of the whole config without
    what may differ between runs of one experiment.
    """
    from bce3s.engine.report_hook import config_digest

    cfg = resolved(cell)
    cfg.setdefault('default_scope', 'bce3s')
    return config_digest(cfg.to_dict())


def config_text(cell: Cell, folder: Path, heading: str) -> str:
    """The config file of ``cell`` in ``folder``: the leaf's settings by ``_base_``, then the
    overrides. A run goes to a folder below, since MMEngine writes a config of that name there.
    """
    base = os.path.relpath(ROOT / cell.config, folder.resolve())
    if folder.resolve() != Path(os.path.abspath(folder)):  # '..' behind a link means two things
        base = ROOT / cell.config
    lines = [f'"""{heading}\n\nWritten by tools/reproduce.py: changes here are lost.\n"""\n']
    lines.append(f'_base_ = {Path(base).as_posix()!r}\n')
    for key, value in _nested(_overrides(cell)).items():
        lines.append(f'{key} = {pprint.pformat(value, width=96, sort_dicts=False)}')
    lines.append("work_dir = '{{ fileDirname }}/seed0'")
    return '\n'.join(lines) + '\n'


def _nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """``{'a.b': 1}`` -> ``{'a': {'b': 1}}``."""
    result: dict[str, Any] = {}
    for key, value in dotted.items():
        node = result
        *parents, name = key.split('.')
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return result


def write_config(cell: Cell, folder: Path, heading: str) -> Path:
    """Writes ``folder/config.py``, which all seeds share.

    Raises:
        BCE3SError: it cannot be written.
    """
    path = folder / 'config.py'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(path, shared=True) as file:
            file.write(config_text(cell, folder, heading).encode())
    except OSError as error:
        raise BCE3SError(
            f'{path} could not be written ({error.strerror or error}): make room, or give another '
            '--work-dir.'
        ) from error
    return path
