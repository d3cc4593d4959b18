"""Outputs of a run: those of the model image by image, kept as long as its checkpoint stays."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_runs import TRAIN, digits_run, folder_run, write_pictures

from bce3s.engine import outputs as module
from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return digits_run(tmp_path_factory.mktemp('trained'))


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    root = write_pictures(tmp_path_factory.mktemp('pictures'))
    return root, folder_run(tmp_path_factory.mktemp('folder'), root)


@pytest.fixture
def run(trained, tmp_path):
    """A run to be changed."""
    return RunDirectory.open(shutil.copytree(trained, tmp_path / 'run'))


@pytest.fixture
def no_model(monkeypatch):
    """Whoever computes anything fails."""

    def fail(*_):
        raise AssertionError('the outputs are computed')

    return lambda: monkeypatch.setattr(module, '_compute', fail)


def equal(a, b):
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in module.ARRAYS)
    names = ('split', 'classes', 'class_counts')
    return arrays and all(getattr(a, name) == getattr(b, name) for name in names)


def test_they_are_those_of_the_model(run):
    found = run_outputs(run, 'val', batch_size=64)
    model, _ = run.model()
    dataset = run.dataset('val')
    with torch.no_grad():
        device = next(model.parameters()).device
        feats = model.features(model.data_preprocessor.normalize(dataset.images.to(device)))
        logits = model.head(feats)
    assert found.features == pytest.approx(feats.cpu().numpy(), abs=1e-4)
    assert found.logits == pytest.approx(logits.cpu().numpy(), abs=1e-4)
    assert found.labels.tolist() == dataset.labels.tolist()
    assert [found.features.dtype, found.logits.dtype] == [np.float32] * 2
    assert found.split == 'test'  # the validation of this benchmark
    assert found.classes == list('0123456789')
    assert found.class_counts == run.dataset('train').metainfo['class_counts']


@pytest.mark.parametrize('config', ['bce3s/digits_one_stage', 'baselines/digits_ce'])
def test_the_classifier_gives_the_logits(config, tmp_path):
    """With normalised weights (BCE3S) and without (CE)."""
    found = run_outputs(RunDirectory.open(digits_run(tmp_path, config, epochs=1)), 'val')
    expected = found.features @ found.weight.T + found.bias
    assert found.logits == pytest.approx(expected, abs=1e-4)
    unit = np.allclose(np.linalg.norm(found.weight, axis=1), 1, atol=1e-5)
    assert unit == (config == 'bce3s/digits_one_stage')


def test_the_training_set_is_seen_without_augmentation(pictures):
    run = RunDirectory.open(pictures[1])
    first = run_outputs(run, 'train')
    (run.folder / 'outputs/train.npz').unlink()
    assert equal(run_outputs(run, 'train'), first)  # random crops would differ
    assert first.class_counts == list(TRAIN.values())
    assert len(first.labels) == sum(TRAIN.values())
    assert first.split == 'train'


def test_they_are_kept(run, no_model):
    first = run_outputs(run, 'val')
    assert [path.name for path in (run.folder / 'outputs').iterdir()] == ['val.npz']
    no_model()
    assert equal(run_outputs(run, 'val'), first)


def test_kept_ones_need_no_data(pictures, tmp_path):
    root, folder = pictures
    run = RunDirectory.open(shutil.copytree(folder, tmp_path / 'run'))
    first = run_outputs(run, 'val')
    hidden = root.rename(root.with_name('away'))
    try:
        kept = run_outputs(run, 'val')
        assert equal(kept, first)
        assert 'val.npz, for the data cannot be read now: ' in kept.note
        assert not first.note
        shutil.rmtree(run.folder / 'outputs')
        with pytest.raises(BCE3SError, match='is not a folder of classes'):
            run_outputs(run, 'val')
    finally:
        hidden.rename(root)


def test_of_another_checkpoint_they_are_computed_anew(run):
    last = run_outputs(run, 'val')
    first = run_outputs(RunDirectory.open(run.folder, 'epoch_1.pth'), 'val')
    assert not np.array_equal(first.logits, last.logits)
    assert equal(run_outputs(run, 'val'), last)
    shutil.copy(run.folder / 'epoch_1.pth', run.checkpoint)  # trained again, under the same name
    os.utime(run.checkpoint, (5, 5))
    assert equal(run_outputs(run, 'val'), first)


def test_of_other_images_or_labels_they_are_computed_anew(pictures, tmp_path):
    root = Path(shutil.copytree(pictures[0], tmp_path / 'pictures'))
    run = RunDirectory.open(shutil.copytree(pictures[1], tmp_path / 'run'))
    for loader in (run.config.train_dataloader, run.config.val_dataloader):
        loader.dataset.data_root = str(root)
    first = run_outputs(run, 'val')
    (root / 'val/ant/0.png').rename(root / 'val/bee/9.png')  # another label
    second = run_outputs(run, 'val')
    assert np.bincount(first.labels).tolist() == [4, 4, 4]
    assert np.bincount(second.labels).tolist() == [3, 5, 4]
    picture = root / 'val/ant/3.png'
    before = picture.stat()
    shutil.copyfile(root / 'val/cat/3.png', picture)  # other pixels under the same name
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    third = run_outputs(run, 'val')
    assert third.labels.tolist() == second.labels.tolist()
    assert not np.array_equal(third.logits, second.logits)
    (root / 'train/ant/0.png').unlink()  # the counts by which classes are rare
    assert run_outputs(run, 'val').class_counts == [8, 5, 2]


def test_the_files_are_those_that_can_be_read(pictures, tmp_path):
    root = Path(shutil.copytree(pictures[0], tmp_path / 'pictures'))
    run = RunDirectory.open(shutil.copytree(pictures[1], tmp_path / 'run'))
    for loader in (run.config.train_dataloader, run.config.val_dataloader):
        loader.dataset.update(data_root=str(root), unreadable='skip', check='none')
    whole = run_outputs(run, 'val').images
    picture = root / 'val/bee/0.png'
    assert str(picture) in whole
    picture.write_bytes(picture.read_bytes()[:200])
    found = run_outputs(run, 'val')
    assert found.images == [path for path in whole if path != str(picture)]
    assert len(found.labels) == len(whole) - 1


def test_of_other_data_in_memory_they_are_computed_anew(run, monkeypatch):
    first = run_outputs(run, 'val')
    build = RunDirectory.dataset

    def changed(self, split, **options):
        dataset = build(self, split, **options)
        dataset.labels = dataset.labels.flip(0)
        return dataset

    monkeypatch.setattr(RunDirectory, 'dataset', changed)
    assert run_outputs(run, 'val').labels.tolist() == first.labels.tolist()[::-1]


def test_of_other_settings_they_are_computed_anew(run):
    first = run_outputs(run, 'val')
    run.config.model.data_preprocessor.mean = [0.0]  # of a config that was edited
    second = run_outputs(run, 'val')
    assert not np.array_equal(second.logits, first.logits)
    run.config.val_dataloader.dataset.keep_classes = list(range(9, -1, -1))
    assert run_outputs(run, 'val').classes == list('9876543210')


def test_a_run_and_its_outputs_may_be_copied(run, no_model, tmp_path):
    first = run_outputs(run, 'val')
    copied = RunDirectory.open(shutil.copytree(run.folder, tmp_path / 'elsewhere'))
    os.utime(copied.checkpoint, (5, 5))
    no_model()
    assert equal(run_outputs(copied, 'val'), first)


def test_damaged_ones_are_computed_anew(run):
    first = run_outputs(run, 'val')
    path = run.folder / 'outputs/val.npz'
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    objects = dict(facts=np.array(['x'], object))
    for damaged in (b'', content[:-50], bytes(changed), b'PK\x03\x04 nothing'):
        path.write_bytes(damaged)
        assert equal(run_outputs(run, 'val'), first)
        assert path.read_bytes() == content
    np.savez(path, **objects)  # pickled, which is not read
    assert equal(run_outputs(run, 'val'), first)


def test_a_folder_that_cannot_be_written_to_is_told(run, monkeypatch):
    told = []
    monkeypatch.setattr(module, 'print_log', lambda text, *_: told.append(text))
    (run.folder / 'outputs').write_text('a file')
    found = run_outputs(run, 'val')
    assert len(found.labels) == 500
    assert len(told) == 1
    assert 'val.npz cannot be kept (File exists' in told[0]


def test_what_has_no_outputs(run):
    with pytest.raises(BCE3SError, match='no test_dataloader'):
        run_outputs(run, 'test')
    assert not Path(run.folder, 'outputs').exists()
