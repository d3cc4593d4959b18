"""The config file that is written for a cell."""

import os
from pathlib import Path

import pytest

from bce3s.config import load_config
from bce3s.engine.report_hook import config_digest
from bce3s.errors import BCE3SError
from reproduction.cells import Cell
from reproduction.configuration import digest, resolved, write_config

CONFIG = 'configs/baselines/digits_ce.py'
BACKBONE = {'_delete_': True, 'type': 'CIFARResNet', 'depth': 32}
OVERRIDES = {
    'train_cfg.max_epochs': 3,
    'model.backbone': BACKBONE,
    'optim_wrapper.optimizer.lr': 0.125,
    'default_hooks.schedule': {'_delete_': True, 'type': 'CosineLRHook', 'shift': 0.0},
    'train_dataloader.dataset.imbalance': 'exp',
}
CELL = Cell('a/b', CONFIG, OVERRIDES)


def test_the_file_trains_what_the_cell_says(tmp_path, monkeypatch):
    path = write_config(CELL, tmp_path / 'a' / 'b', 'a/b. small')
    monkeypatch.chdir('/')  # loadable from anywhere
    cfg = load_config(str(path), [])
    assert cfg.train_cfg == {'by_epoch': True, 'max_epochs': 3, 'val_interval': 10}
    assert cfg.model.backbone == {'type': 'CIFARResNet', 'depth': 32}  # in_channels=1 is gone
    assert cfg.optim_wrapper.optimizer.lr == 0.125
    assert cfg.default_hooks.schedule == {'type': 'CosineLRHook', 'shift': 0.0}
    assert cfg.model.head.joint.type == 'CEJoint'  # as the leaf has it
    assert cfg.work_dir == str(path.parent / 'seed0')
    assert path.read_text().startswith('"""a/b. small\n')


def test_the_path_to_the_leaf_is_relative(tmp_path):
    lines = write_config(CELL, tmp_path / 'x', '').read_text().splitlines()
    (base,) = [line for line in lines if line.startswith('_base_')]
    assert base.startswith("_base_ = '../")
    assert base.endswith(f"/{CONFIG}'")


def test_a_work_dir_behind_a_link(tmp_path):
    (tmp_path / 'far' / 'away').mkdir(parents=True)
    (tmp_path / 'near').symlink_to(tmp_path / 'far' / 'away')
    path = write_config(CELL, tmp_path / 'near' / 'run', '')
    assert load_config(str(path), []).train_cfg.max_epochs == 3
    assert "_base_ = '/" in path.read_text()


def test_the_digest_is_that_of_the_file_and_sees_every_change(tmp_path):
    cfg = load_config(str(write_config(CELL, tmp_path, '')), [])
    assert config_digest(cfg.to_dict()) == digest(CELL)
    others = [
        Cell('a/b', CONFIG, {**OVERRIDES, 'train_cfg.max_epochs': 4}),
        Cell('a/b', CONFIG, {**OVERRIDES, 'model.backbone': {**BACKBONE, 'depth': 20}}),
        Cell('a/b', 'configs/baselines/digits_bce.py', OVERRIDES),
    ]
    assert len({digest(cell) for cell in (CELL, *others)}) == 4
    assert digest(Cell('another key', CONFIG, OVERRIDES)) == digest(CELL)


def test_resolving_changes_nothing_for_the_next_cell():
    resolved(CELL).model.backbone.depth = 56
    assert resolved(CELL).model.backbone.depth == 32
    assert resolved(Cell('c', CONFIG)).model.backbone.depth == 20
    assert BACKBONE == {'_delete_': True, 'type': 'CIFARResNet', 'depth': 32}


def test_an_override_below_a_number_is_an_error():
    with pytest.raises(BCE3SError, match=r'overrides of cell x do not fit configs/baselines'):
        resolved(Cell('x', CONFIG, {'train_cfg.max_epochs.more': 1}))


@pytest.mark.skipif(os.geteuid() == 0, reason='root writes everywhere')
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BCE3SError, match='could not be written'):
        write_config(CELL, tmp_path / 'x', '')


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / 'x').write_text('')
    with pytest.raises(BCE3SError, match='give another --work-dir'):
        write_config(CELL, tmp_path / 'x', '')
