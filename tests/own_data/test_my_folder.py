"""From a folder of pictures to a report, by the command line."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from picture_folders import put, put_coloured

from bce3s import cli
from bce3s.config import load_config
from bce3s.engine.run_directory import RunDirectory
from bce3s.inference.inputs import InputSpec
from bce3s.inference.model_facts import evaluated
from bce3s.own_data.later import LaterImages

ROOT = Path(__file__).resolve().parents[2]
OURS = str(ROOT / 'configs/bce3s/my_folder.py')
CE = str(ROOT / 'configs/baselines/my_folder_ce.py')
COUNTS = {'red one': 24, 'grün': 8, '7': 5, 'alone 🌹': 1}
SMALL = ('own_data.network=cifar_resnet20', 'own_data.size=16', 'own_data.batch_size=8')
SMALL += ('own_data.epochs=2', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0')
SMALL += ('visualizer=None', 'default_hooks.progress=None')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp('own') / 'my pictures'
    put_coloured(root, COUNTS)
    (root / 'red one' / '5.png').write_bytes(b'')
    (root / 'grün' / 'x.JPG').write_bytes(b'no image')
    (root / '.DS_Store').write_bytes(b'')
    return root


def train(pictures, work, *arguments, config=OURS):
    options = ('--cfg-options', f'data_root={pictures}', *SMALL)
    return cli.main('train', [config, '--work-dir', str(work), *arguments, *options])


@pytest.fixture(scope='module')
def run(pictures, tmp_path_factory):
    work = tmp_path_factory.mktemp('runs') / 'run'
    assert train(pictures, work) == 0
    return work


def report(folder):
    return json.loads((folder / 'report.json').read_text(encoding='utf-8'))


def test_a_run_leaves_a_report_and_its_splits(run):
    found = report(run)
    assert found['class_counts'] == [4, 1, 7, 19]  # 7, alone, grün, red one
    assert found['per_class'][1] is None
    assert all(0 <= found['per_class'][k] <= 100 for k in (0, 2, 3))
    written = (run / 'report.md').read_text(encoding='utf-8')
    assert 'alone' not in written.partition('## The worst classes')[2]
    assert found['epoch'] == 4
    val = (run / 'data/val.csv').read_text(encoding='utf-8').splitlines()
    assert val[0] == 'path,label'
    assert [line.split(',')[1] for line in val[1:]] == ['7', 'grün', *['red one'] * 4]
    assert 'red one/5.png is empty' in (run / 'data/data.json').read_text(encoding='utf-8')


@pytest.mark.parametrize('config', ['dumped', OURS])
def test_resuming_ends_alike(run, pictures, config):
    """With the config that the run wrote, and with the one it was begun with."""
    work = run.with_name(f'resumed{len(config)}')
    shutil.copytree(run, work)
    expected = torch.load(run / 'epoch_4.pth', weights_only=True)['state_dict']
    for path in work.glob('*4.pth'):
        path.unlink()
    put(pictures, 'grün/added later.png')
    try:
        if config == 'dumped':
            arguments = [str(work / 'my_folder.py'), '--work-dir', str(work), '--resume']
            assert cli.main('train', arguments) == 0
        else:
            assert train(pictures, work, '--resume') == 0
    finally:
        (pictures / 'grün/added later.png').unlink()
    found = torch.load(work / 'epoch_4.pth', weights_only=True)['state_dict']
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert report(work)['all'] == report(run)['all']


def test_the_written_config_is_tested_as_it_is(run, tmp_path, capsys):
    arguments = [str(run / 'my_folder.py'), str(run / 'epoch_4.pth'), '--work-dir', str(tmp_path)]
    assert cli.main('test', arguments) == 0
    assert report(tmp_path)['all'] == report(run)['all']
    assert cli.main('test', [str(run), '--work-dir', str(tmp_path / 'newest')]) == 0
    assert report(tmp_path / 'newest')['all'] == report(run)['all']
    assert cli.main('test', [str(run / 'my_folder.py')]) == 1
    assert 'is no work dir of a run: give one, or CONFIG CHECKPOINT' in capsys.readouterr().err
    assert 'val: held out of train.' in report(run)['data_notes']
    assert "Without a validation image, so not measured: 'alone 🌹'." in report(run)['data_notes']
    assert '\n- val: held out of train.\n' in (run / 'report.md').read_text()
    assert cli.main('test', [OURS, str(run / 'epoch_4.pth')]) == 1
    assert f'the run does: give {run}.' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['one class', 'list', 'splits', 'no training'])
def test_on_labelled_images_that_came_later(run, tmp_path, kind):
    root = tmp_path / 'later'
    counts = {'red one': 3, 'grün': 2, 'new': 2} if kind != 'one class' else {'grün': 2}
    put_coloured(root / 'test' if kind in ('splits', 'no training') else root, counts)
    if kind == 'no training':
        put_coloured(root / 'val', {'grün': 1})
    if kind == 'splits':
        put_coloured(root / 'train', dict.fromkeys(counts, 1))
    if kind == 'list':
        rows = [f'{p.relative_to(root)},{p.parent.name}\n' for p in sorted(root.glob('*/*.png'))]
        (root / 'l.csv').write_text('datei,sorte\n' + ''.join(rows), encoding='utf-8')
    data = root / 'l.csv' if kind == 'list' else root
    arguments = [str(run / 'my_folder.py'), str(run / 'epoch_4.pth'), '--data', str(data)]
    arguments += ['--work-dir', str(tmp_path / 'out')]
    if kind == 'list':
        arguments += ['--cfg-options', 'own_data.columns=datei,sorte']
    assert cli.main('test', arguments) == 0
    found, notes = report(tmp_path / 'out'), ' '.join(report(tmp_path / 'out')['data_notes'])
    assert found['class_counts'] == report(run)['class_counts']  # of the training
    measured = [accuracy is not None for accuracy in found['per_class']]
    assert measured == [False, False, True, kind != 'one class']
    assert 'Without an image, so not measured' in notes
    assert ('Of the splits val, test test is taken.' in notes) == (kind == 'no training')
    assert ("2 images of classes that the model does not know ('new')" in notes) == (
        kind != 'one class'
    )


@pytest.mark.parametrize(
    ('data', 'folder'),
    [
        ('batch.2024', 'test_batch.2024'),
        ('june.csv', 'test_june'),
        ('june/test', 'test_june_test'),  # beside which there may be may/test
        ('june/Val.csv', 'test_june_Val'),
    ],
)
def test_the_reports_of_several_data_lie_apart(tmp_path, data, folder):
    path = tmp_path / data
    if data.endswith('csv'):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    else:
        path.mkdir(parents=True)
    assert cli._folder_of(path) == folder


def test_a_renamed_run_keeps_its_splits(run, tmp_path):
    """Its config says where they were, and another run may be there since."""
    renamed = tmp_path / 'renamed'
    shutil.copytree(run, renamed)
    other = load_config(str(run / 'my_folder.py'), []).val_dataloader.dataset.lists
    try:
        Path(other).rename(tmp_path / 'away')
        assert cli.main('test', [str(renamed)]) == 0
    finally:
        (tmp_path / 'away').rename(other)
    assert report(renamed / 'test')['per_class'] == report(run)['per_class']


def test_an_export_is_not_compared_on_images_that_are_gone(run, pictures, tmp_path):
    directory = RunDirectory.open(run)
    spec = InputSpec.of(directory)
    assert evaluated(directory, spec, 4).source != 'random pixels'
    try:
        pictures.rename(tmp_path / 'away')
        assert evaluated(directory, spec, 4).source == 'random pixels'
    finally:
        (tmp_path / 'away').rename(pictures)


def test_later_images_are_labelled_by_name(run, pictures):
    """The images of the validation, listed by name in another order, score as in the run."""
    rows = (run / 'data/val.csv').read_text(encoding='utf-8').splitlines()
    (pictures / 'later.csv').write_text('\n'.join([rows[0], *reversed(rows[1:])]), 'utf-8')
    try:
        assert cli.main('test', [str(run), '--data', str(pictures / 'later.csv')]) == 0
    finally:
        (pictures / 'later.csv').unlink()
    assert report(run / 'test_later')['per_class'] == report(run)['per_class']
    assert not any('trained on' in note for note in report(run / 'test_later')['data_notes'])
    shutil.rmtree(run / 'test_later')


def test_later_images_that_were_trained_on_are_told(run, pictures, tmp_path):
    rows = (run / 'data/train.csv').read_text(encoding='utf-8').splitlines()[1:3]
    for i, row in enumerate(rows):
        path, name = row.split(',')
        (tmp_path / name).mkdir(exist_ok=True)
        shutil.copy(pictures / path, tmp_path / name / f'other_{i}.png')
    data = dict(data=str(tmp_path), classes=report(run)['classes'], class_counts=[1] * 4)
    train = str(pictures), str(run / 'data')
    notes = LaterImages(**data, trained_on=train, size=8, resize=8).metainfo['notes']
    assert sum('2 images of 2 were trained on' in note for note in notes) == 1
    assert notes[:-1] == LaterImages(**data, size=8, resize=8).metainfo['notes']


def test_later_images_that_cannot_be_used(run, tmp_path, capsys):
    put(tmp_path, 'new/1.png', 'newer/1.png')
    arguments = [str(run / 'my_folder.py'), str(run / 'epoch_4.pth')]
    assert cli.main('test', [*arguments, '--data', str(tmp_path)]) == 1
    assert 'none of the classes in' in capsys.readouterr().err
    part = f'test_dataloader.dataset.data_root={tmp_path}'
    assert cli.main('test', [*arguments, '--cfg-options', part]) == 1
    assert 'has no test split of which' in capsys.readouterr().err
    digits = str(ROOT / 'configs/bce3s/digits.py')
    assert cli.main('test', [digits, arguments[1], '--data', str(tmp_path)]) == 1
    assert 'was not trained on image files' in capsys.readouterr().err


def test_cross_entropy_on_the_same_images(run, pictures, tmp_path):
    assert train(pictures, tmp_path, config=CE) == 0
    for split in ('train', 'val'):
        assert (tmp_path / f'data/{split}.csv').read_text() == (
            run / f'data/{split}.csv'
        ).read_text()
    assert report(tmp_path)['class_counts'] == report(run)['class_counts']


# ------------------------------------------------------------------------------------------ dry run
def test_a_dry_run_shows_all_and_writes_nothing(pictures, tmp_path, capsys):
    assert train(pictures, tmp_path / 'run', '--dry-run') == 0
    assert not (tmp_path / 'run').exists()
    said = capsys.readouterr().out
    for part in (
        '4 classes, 37 images',
        'cifar_resnet20 at 16 x 16',
        'epochs     2 + 2',
        'red one/5.png is empty',
        "Without a validation image, so not measured: 'alone 🌹'.",
        'Few    (< 20)',
        'parameters with the head',
        '(3 steps were timed: ',
        'nothing was trained or written',
    ):
        assert part in said
    assert 'under 5' in said


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--backbone', 'resnet18', '--weights', 'nosuch.safetensors'], 'there is no such file'),
        (['--cfg-options', 'own_data.ground=0,0,300'], r'ground is [\[(]0, 0, 300'),
    ],
)
def test_a_dry_run_ends_where_the_run_would(options, said, pictures, tmp_path, capsys):
    arguments = [str(pictures), '--dry-run', '--work-dir', str(tmp_path / 'run'), *options]
    assert cli.main('train', arguments) == 1
    assert re.search(said, capsys.readouterr().err)


def test_a_dry_run_of_a_benchmark(tmp_path, capsys):
    config = str(ROOT / 'configs/bce3s/digits.py')
    args = [config, '--dry-run', '--work-dir', str(tmp_path / 'x')]
    assert cli.main('train', [*args, '--cfg-options', 'val_evaluator.few=51']) == 0
    said = capsys.readouterr().out
    assert '405 images' in said
    assert '500 images' in said
    assert 'CIFARResNet of depth 20' in said
    assert 'Few    (< 51)' in said
    assert not (tmp_path / 'x').exists()


# ---------------------------------------------------------------------------------------- bad input
def test_bad_input_is_a_sentence(pictures, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    put_coloured(tmp_path / 'one', dict(a=3))
    cases = {
        tmp_path / 'empty': 'holds no image',
        tmp_path / 'one': "one class only ('a')",
        tmp_path / 'gone': 'there is no folder or list',
    }
    for root, sentence in cases.items():
        assert train(root, tmp_path / 'run') == 1
        assert sentence in capsys.readouterr().err
        assert train(root, tmp_path / 'run', '--dry-run') == 1
        assert sentence in capsys.readouterr().err
    assert cli.main('train', [OURS, '--work-dir', str(tmp_path / 'run')]) == 1
    assert '--cfg-options data_root=PATH' in capsys.readouterr().err
    (tmp_path / 'file').write_text('')
    assert train(pictures, tmp_path / 'file') == 1
    assert 'no folder that can be written to' in capsys.readouterr().err


def test_a_second_run_does_not_touch_the_first(run, tmp_path, capsys):
    put_coloured(tmp_path / 'others', dict(a=4, b=4))
    before = (run / 'data/data.json').read_bytes()
    assert train(tmp_path / 'others', run) == 1
    assert 'already holds checkpoints' in capsys.readouterr().err
    assert train(tmp_path / 'others', run, '--resume') == 1
    assert 'was begun with the images in' in capsys.readouterr().err
    assert (run / 'data/data.json').read_bytes() == before
