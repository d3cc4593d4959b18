"""What is found in the folder of a run, and the sentences where something is missing."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from trained_runs import digits_run

from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return digits_run(tmp_path_factory.mktemp('trained'))


@pytest.fixture
def run(trained, tmp_path):
    """A run to be changed."""
    return Path(shutil.copytree(trained, tmp_path / 'run'))


def test_a_run_is_found_whole(run):
    found = RunDirectory.open(str(run))
    assert (found.folder, found.checkpoint.name) == (run, 'epoch_2.pth')
    assert found.config.train_cfg.max_epochs == 2  # with the options of the training
    assert found.splits == ['train', 'val']
    assert found.report()['epoch'] == 2
    assert len(found.dataset('val')) == 500
    assert found.dataset('train').metainfo['split'] == 'train'
    with pytest.raises(BCE3SError, match='no test_dataloader'):
        found.dataset('test')


def test_a_model_is_built_without_a_change_of_the_config(run):
    found = RunDirectory.open(run)
    before = found.config.to_dict()
    found.model()
    found.dataset('val')
    assert found.config.to_dict() == before


def test_the_model_has_the_weights_and_evaluates(run):
    model, meta = RunDirectory.open(run).model()
    saved = torch.load(run / 'epoch_2.pth', weights_only=True)
    assert not model.training
    assert meta['epoch'] == 2
    assert meta['dataset_meta']['classes'] == list('0123456789')
    for name, value in model.state_dict().items():
        assert value.cpu().equal(saved['state_dict'][name]), name


def test_weights_of_a_wrapped_model(run):
    saved = torch.load(run / 'epoch_2.pth', weights_only=True)
    wrapped = {f'module.{name}': value for name, value in saved['state_dict'].items()}
    torch.save(wrapped, run / 'plain.pth')  # nothing but weights
    model, meta = RunDirectory.open(run, run / 'plain.pth').model()
    assert meta == {}
    weight = saved['state_dict']['head.classifier.weight']
    assert model.head.classifier.weight.cpu().equal(weight)


def test_a_checkpoint_by_path_or_by_name(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    for name in (run / 'epoch_1.pth', 'run/epoch_1.pth', 'epoch_1.pth'):
        assert RunDirectory.open('run', name).checkpoint.samefile(run / 'epoch_1.pth')
    with pytest.raises(BCE3SError, match=r'epoch_9\.pth does not exist'):
        RunDirectory.open(run, 'epoch_9.pth')


def test_a_damaged_newest_checkpoint_is_passed_over(run):
    path = run / 'epoch_2.pth'
    path.write_bytes(path.read_bytes()[:-1000])
    assert RunDirectory.open(run).checkpoint.name == 'epoch_1.pth'
    (run / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(BCE3SError, match=r'no valid checkpoint \(damaged: .*epoch_2\.pth'):
        RunDirectory.open(run)
    for path in run.glob('*.pth'):
        path.unlink()
    with pytest.raises(BCE3SError, match='no valid checkpoint: the run has not saved one yet'):
        RunDirectory.open(run)


def test_of_several_configs_the_last_one_counts(run):
    config = next(run.glob('*.py'))
    text = config.read_text().replace('max_epochs=2', 'max_epochs=7')
    (run / 'a.py').write_text(text)
    os.utime(config, (1, 1))
    assert RunDirectory.open(run).config.train_cfg.max_epochs == 7
    os.utime(run / 'a.py', (0, 0))
    assert RunDirectory.open(run).config.train_cfg.max_epochs == 2


def test_folders_that_are_no_runs(run, tmp_path):
    (tmp_path / 'file').touch()
    for path in ('nowhere', 'file'):
        with pytest.raises(BCE3SError, match='is no work dir of a run'):
            RunDirectory.open(tmp_path / path)
    with pytest.raises(BCE3SError, match='holds no config'):
        RunDirectory.open(tmp_path)
    (run / 'report.json').unlink()
    with pytest.raises(BCE3SError, match=r'no report\.json'):
        RunDirectory.open(run).report()
    next(run.glob('*.py')).write_text('model = dict(')
    with pytest.raises(BCE3SError, match='config cannot be read'):
        RunDirectory.open(run)


def test_a_config_and_a_checkpoint_are_a_run(run):
    config = next(run.glob('*.py'))
    for checkpoint in (run / 'epoch_1.pth', str(run / 'epoch_1.pth')):
        opened = RunDirectory.open(config, checkpoint, ['train_cfg.max_epochs=9'])
        assert (opened.folder, opened.checkpoint) == (run, run / 'epoch_1.pth')
        assert opened.config.train_cfg.max_epochs == 9
    with pytest.raises(BCE3SError, match='give one, or CONFIG CHECKPOINT'):
        RunDirectory.open(config)


def test_a_checkpoint_of_another_architecture(run):
    config = next(run.glob('*.py'))
    config.write_text(config.read_text().replace('num_classes=10', 'num_classes=11'))
    with pytest.raises(BCE3SError, match=r'10 .*11|11 .*10'):
        RunDirectory.open(run).model()
