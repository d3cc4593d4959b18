"""A config for own images is completed: settings, splits written and kept, options that win."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from picture_folders import put
from PIL import Image

from bce3s.cli import with_own_data
from bce3s.config import load_config
from bce3s.datasets.parents import read_parents
from bce3s.datasets.pixels import Colours
from bce3s.errors import BCE3SError
from bce3s.own_data import complete as module
from bce3s.own_data.found import read_splits
from bce3s.own_data.pretrained import init_cfg_of
from bce3s.own_data.settings import EPOCHS, NETWORKS, SEEN, Facts, choose
from bce3s.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[2]
OURS, CE = (
    str(ROOT / f'configs/{name}.py') for name in ('bce3s/my_folder', 'baselines/my_folder_ce')
)


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / 'pictures'
    put(root, *(f'{name}/{i}.png' for name, n in dict(a=10, b=6, c=1).items() for i in range(n)))
    return root


def completed(pictures, work, *options, config=OURS, keep=False):
    options = [f'data_root={pictures}', *options]
    cfg = load_config(config, options)
    cfg.work_dir = str(work)
    found = with_own_data(cfg, options, keep)
    return cfg, found


# --------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize('device', ['cpu', 'cuda'])
@pytest.mark.parametrize('images', [4, 300, 2_300, 20_000, 150_000, 2_000_000])
@pytest.mark.parametrize('side', [8, 32, 64, 300])
def test_settings_are_sensible_at_every_size(images, side, device):
    facts = Facts(images, max(1, images // 3), 20, side, device)
    found = choose(facts)
    least, most = EPOCHS[device]
    assert least <= found.epochs <= most
    if least < found.epochs < most:
        assert found.epochs * images == pytest.approx(SEEN[device], abs=images)
    assert found.size <= found.resize
    assert found.network in NETWORKS
    assert 1 <= found.finetune_epochs <= found.epochs
    assert 0 < found.finetune_lr < found.lr <= 0.2
    assert 0 < found.beta < 1
    assert found == choose(facts)


def test_settings_of_some_sizes():
    laptop, server = Facts(2000, 500, 20, 32, 'cpu'), Facts(120_000, 1300, 1000, 400, 'cuda')
    small, large = choose(laptop), choose(server)
    assert (small.size, small.network, small.batch_size, small.random_crop) == (
        32,
        'cifar_resnet32',
        32,
        False,
    )
    assert (small.epochs, small.finetune_epochs) == (48, 5)
    assert (large.size, large.resize, large.network, large.batch_size) == (
        224,
        256,
        'resnet50',
        256,
    )
    assert large.resample == 0.4
    fixed = choose(laptop, dict(size=64, epochs=3, batch_size=16, network='resnet18'))
    assert (fixed.size, fixed.epochs, fixed.batch_size, fixed.network) == (64, 3, 16, 'resnet18')
    assert fixed.lr == pytest.approx(0.1 * 16 / 256, rel=1e-2)
    with pytest.raises(BCE3SError, match=r"own_data\.network='resnet99'"):
        choose(laptop, dict(network='resnet99'))
    with pytest.raises(BCE3SError, match=r'own_data\.epochs=0'):
        choose(laptop, dict(epochs=0))


@pytest.mark.parametrize('name', NETWORKS)
def test_each_network_has_the_features_that_are_said(name):
    backbone, features = NETWORKS[name]
    with DefaultScope.overwrite_default_scope('bce3s'), torch.no_grad():
        net = MODELS.build(dict(backbone))
        net.eval()  # mmpretrain's returns nothing
        assert net(torch.zeros(1, 3, 64, 64))[-1].shape[1] == features


# -------------------------------------------------------------------------------------- completed
@pytest.mark.parametrize('config', [OURS, CE])
def test_a_completed_config_is_whole(pictures, tmp_path, config):
    cfg, found = completed(pictures, tmp_path / 'run', config=config)
    assert 'own_data' not in cfg
    assert 'data_root' not in cfg
    assert found.counts('train') == [8, 5, 1]
    assert found.counts('val') == [2, 1, 0]
    assert cfg.model.head.num_classes == 3
    with DefaultScope.overwrite_default_scope('bce3s'):
        MODELS.build(cfg.model)
        train, val = (DATASETS.build(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'val'))
    assert train.metainfo['class_counts'] == val.metainfo['class_counts'] == [8, 5, 1]
    assert train.metainfo['classes'] == ['a', 'b', 'c']
    assert val.metainfo['split'] == 'val'
    assert train[0]['inputs'].shape == (3, 32, 32)
    assert 'test_dataloader' not in cfg
    two = cfg.train_cfg.get('finetune_epochs', 0)
    assert (two > 0) == (config == OURS)
    assert cfg.train_cfg.max_epochs == 200 + two  # 14 images: the most epochs


def test_large_images_are_cropped_at_random(pictures, tmp_path):
    cfg, _ = completed(pictures, tmp_path / 'run', 'own_data.size=96')
    train, val = (DATASETS.build(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'val'))
    assert (train.size, train.resize, train.random_crop) == (96, 110, True)
    once = train[0]['inputs']
    assert once.shape == val[0]['inputs'].shape == (3, 96, 96)
    assert not torch.equal(once, train[0]['inputs'])
    small, _ = completed(pictures, tmp_path / 'run', 'own_data.size=32')
    train = DATASETS.build(small.train_dataloader.dataset)
    once = train[0]['inputs']
    assert torch.equal(once, train[0]['inputs'])  # the preprocessor shifts and flips


def test_the_config_says_how_images_become_rgb(pictures, tmp_path):
    """As the training images have them: a model is taken elsewhere without these."""
    cfg, _ = completed(pictures, tmp_path / 'run')
    assert 'bits' not in cfg.train_dataloader.dataset
    values = np.full((40, 40), 4095, np.uint16)
    Image.fromarray(values).save(pictures / 'a/0.png')
    cfg, _ = completed(pictures, tmp_path / 'run', 'own_data.ground=0,1,2')
    for name in ('train_dataloader', 'val_dataloader'):
        assert (cfg[name].dataset.bits, cfg[name].dataset.ground) == (12, [0, 1, 2])
        assert DATASETS.build(cfg[name].dataset).colours == Colours(12, (0, 1, 2))


def test_what_was_written_is_what_was_found(pictures, tmp_path):
    put(pictures, 'rosé, 🌹\n/1.png', 'rosé, 🌹\n/2.png', '10/1.png')
    (pictures / 'a/0.png').write_bytes(b'')
    cfg, found = completed(pictures, tmp_path / 'run')
    folder = tmp_path / 'run' / 'data'
    assert sorted(path.name for path in folder.iterdir()) == ['data.json', 'train.csv', 'val.csv']
    again, facts = read_splits(folder)
    assert (again.classes, again.splits, again.root, again.made) == (
        ['10', 'a', 'b', 'c', 'rosé, 🌹'],
        found.splits,
        pictures,
        ['val'],
    )
    assert facts.images == sum(found.counts('train'))
    assert (
        (folder / 'train.csv').read_text(encoding='utf-8').startswith('path,label\n10/1.png,10\n')
    )
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset.metainfo['classes'] == again.classes
    assert [os.path.relpath(p, pictures) for p in dataset.paths] == [
        p for p, _ in found.splits['train']
    ]


def test_options_have_the_last_word(pictures, tmp_path):
    cfg, _ = completed(
        pictures,
        tmp_path / 'run',
        'own_data.epochs=4',
        'train_dataloader.batch_size=3',
        'train_cfg.finetune_epochs=2',
        'model.head.joint.resample=0.9',
        'val_dataloader.dataset.resize=40',
    )
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.train_cfg.finetune_epochs == 2
    assert cfg.train_cfg.max_epochs == 4 + 4
    assert cfg.model.head.joint.resample == 0.9
    assert (cfg.val_dataloader.dataset.resize, cfg.train_dataloader.dataset.resize) == (40, 32)
    with pytest.raises(BCE3SError, match=r"own_data has no key 'epoch'\. Did you mean 'epochs'"):
        completed(pictures, tmp_path / 'run', 'own_data.epoch=4')


def test_a_test_split_gets_a_loader(tmp_path):
    put(
        tmp_path / 'p',
        *(f'{s}/{c}/{i}.png' for s in ('train', 'test') for c in 'ab' for i in range(5)),
    )
    cfg, found = completed(tmp_path / 'p', tmp_path / 'run')
    assert found.made == ['val']
    assert {s: found.counts(s) for s in found.splits} == dict(train=[4, 4], val=[1, 1], test=[5, 5])
    assert cfg.test_dataloader.dataset.split == 'test'
    assert cfg.test_evaluator.type == 'LongTailedMetric'
    assert cfg.test_cfg == {}


def test_another_attempt_leaves_nothing_behind(pictures, tmp_path):
    put(
        tmp_path / 'p', *(f'{s}/{c}/{i}.png' for s in ('train', 'test') for c in 'ab' for i in '12')
    )
    completed(tmp_path / 'p', tmp_path / 'run')
    assert (tmp_path / 'run/data/test.csv').is_file()
    _, found = completed(pictures, tmp_path / 'run')
    assert read_splits(tmp_path / 'run/data')[0].splits == found.splits


def test_several_processes_share_the_batch(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('WORLD_SIZE', '3')
    monkeypatch.setenv('RANK', '1')
    cfg, found = completed(pictures, tmp_path / 'run')
    assert cfg.train_dataloader.batch_size == 11  # of 32
    assert cfg.auto_scale_lr.base_batch_size == 32
    assert not (tmp_path / 'run').exists()
    assert capsys.readouterr().out == ''
    monkeypatch.setenv('RANK', '0')
    first, same = completed(pictures, tmp_path / 'run')
    assert same.splits == found.splits
    assert first.pretty_text == cfg.pretty_text
    assert (tmp_path / 'run/data/train.csv').is_file()


# ------------------------------------------------------------------------------- a run that goes on
def test_a_run_that_goes_on_keeps_its_splits(pictures, tmp_path):
    cfg, found = completed(pictures, tmp_path / 'run')
    put(pictures, *(f'b/new{i}.png' for i in range(40)))
    kept, again = completed(pictures, tmp_path / 'run', keep=True)
    assert again.splits == found.splits
    assert kept.pretty_text == cfg.pretty_text
    _, anew = completed(pictures, tmp_path / 'run')
    assert anew.counts('train') != found.counts('train')
    _, nothing = completed(pictures, tmp_path / 'empty', keep=True)
    assert nothing.splits == anew.splits


def test_images_that_have_gone_since(pictures, tmp_path):
    completed(pictures, tmp_path / 'run')
    (pictures / 'a/3.png').unlink()
    with pytest.raises(BCE3SError, match=r'1 of the 17 images .* are gone .*a/3\.png'):
        completed(pictures, tmp_path / 'run', keep=True)
    put(tmp_path / 'others', 'a/1.png', 'b/1.png')
    with pytest.raises(BCE3SError, match=r'was begun with the images in .*pictures, not'):
        completed(tmp_path / 'others', tmp_path / 'run', keep=True)


def test_damaged_notes(pictures, tmp_path):
    completed(pictures, tmp_path / 'run')
    facts = tmp_path / 'run/data/data.json'
    facts.write_text(json.dumps(dict(classes=[])))
    with pytest.raises(BCE3SError, match=r'data\.json cannot be read'):
        completed(pictures, tmp_path / 'run', keep=True)


def test_no_data_root():
    cfg = load_config(OURS, [])
    with pytest.raises(BCE3SError, match=r'data_root, .* is not given: python tools/train\.py'):
        module.complete(cfg, 'nowhere')


@pytest.mark.parametrize(
    ('option', 'sentence'),
    [
        ('own_data=5', 'own_data=5: it must be a dict'),
        ('own_data.columns=3', 'the names of two columns'),
        ('own_data.val_fraction=much', 'val_fraction=much'),
        ('own_data.leave_out=train', 'give val, test, or both'),
        ('own_data.check=twice', "check is 'twice'"),
        ('own_data.size=-1', 'a whole number from 1'),
    ],
)
def test_bad_values(pictures, tmp_path, option, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        completed(pictures, tmp_path / 'run', option)


def test_a_comma_in_the_path_and_other_columns(tmp_path):
    put(tmp_path / 'a,b', '1.png', '2.png', '3.png', '4.png')
    rows = ''.join(f'{i}.png,{"xy"[i % 2]}\n' for i in range(1, 5))
    (tmp_path / 'a,b/t.csv').write_text(f'datei,sorte\n{rows}')
    _, found = completed(tmp_path / 'a,b/t.csv', tmp_path / 'run', 'own_data.columns=datei,sorte')
    assert found.counts('val') == [1, 1]


def test_data_root_is_for_own_data_only(tmp_path):
    """As an option; in a file it may be a variable, as OpenMMLab's configs have it."""
    with pytest.raises(BCE3SError, match="no key 'data_root'"):
        load_config(str(ROOT / 'configs/bce3s/digits.py'), ['data_root=x'])
    (tmp_path / 'c.py').write_text("data_root = 'x'\n")
    assert load_config(str(tmp_path / 'c.py'), []).data_root == 'x'


# -------------------------------------------------------------------------------------- pretrained
@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.'])
def test_pretrained_weights_say_which_network_they_are_of(pictures, tmp_path, prefix):
    with DefaultScope.overwrite_default_scope('bce3s'):
        net = MODELS.build(dict(type='ResNet', depth=18))
    weights = {f'{prefix}{name}': torch.full_like(v, 0.5) for name, v in net.state_dict().items()}
    file = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=weights), file)
    cfg, _ = completed(
        pictures, tmp_path / 'run', f'own_data.pretrained={file}', 'own_data.size=32'
    )
    assert dict(cfg.model.backbone, init_cfg=None) == dict(type='ResNet', depth=18, init_cfg=None)
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    assert (model.backbone.conv1.weight == 0.5).all()
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.1 * 32 / 256 / 10, rel=1e-2)


def test_pretrained_files_that_are_none(tmp_path):
    assert init_cfg_of(None) == (None, None)
    assert init_cfg_of('torchvision://resnet50')[1] == 'resnet50'
    with pytest.raises(BCE3SError, match=r'none\.pth does not exist'):
        init_cfg_of(str(tmp_path / 'none.pth'))
    torch.save(dict(fc=torch.zeros(2)), tmp_path / 'x.pth')
    with pytest.raises(BCE3SError, match='not the weights of a ResNet'):
        init_cfg_of(str(tmp_path / 'x.pth'))


# ---------------------------------------------------------------------------------------- parents
def parents_of(work, classes='abc'):
    found = read_parents(work, list(classes))
    return found and [found.names[p] for p in found.of]


def test_parents_beside_the_images_are_kept(pictures, tmp_path):
    completed(pictures, tmp_path / 'none')
    assert parents_of(tmp_path / 'none') is None
    (pictures / 'parents.csv').write_text('class,parent\na, one\nb,two\nc,one\nz,three\n')
    completed(pictures, tmp_path / 'work')
    assert parents_of(tmp_path / 'work') == ['one', 'two', 'one']
    (pictures / 'parents.csv').write_text('class,parent\na,one\nb,two\n')
    with pytest.raises(BCE3SError, match="gives 1 class no parent, such as 'c'"):
        completed(pictures, tmp_path / 'other')


@pytest.mark.parametrize(
    ('parents', 'kept'),
    [('xxxy', ['x', 'x', 'y']), ('xx y', None), ('xyzz', None)],
)
def test_a_column_of_parents_is_one_where_each_class_has_one(pictures, tmp_path, parents, kept):
    """Else it says something else: what an image was cut from, say."""
    images = ('a/0.png,a', 'a/1.png,a', 'b/0.png,b', 'c/0.png,c')
    rows = [f'{image},{parent}' for image, parent in zip(images, parents, strict=True)]
    table = pictures / 'all.csv'
    table.write_text('\n'.join(['path,label,parent', *rows, '']))
    completed(table, tmp_path / 'work')
    assert parents_of(tmp_path / 'work') == kept


@pytest.mark.parametrize('header', ['path, label, Parent', '"path";"label";"parent"'])
def test_the_column_of_parents_in_tables_of_all_kinds(pictures, tmp_path, header, capsys):
    table, d = pictures / 'all.csv', ';' if ';' in header else ','
    rows = [d.join(row) for row in (('a/0.png', 'a', 'x'), ('b/0.png', 'b', 'y'))]
    rows += [f'a/1.png{d} a{d} x', f'c/0.png{d}c{d}x']
    table.write_text('\n'.join([header, *rows, '']))
    completed(table, tmp_path / 'work')
    assert parents_of(tmp_path / 'work') == ['x', 'y', 'x']
    table.write_text('\n'.join([header, *rows, f'c/1.png{d}c{d}', '']))
    put(pictures, 'c/1.png')
    completed(table, tmp_path / 'other')
    assert parents_of(tmp_path / 'other') is None
    assert "'c' has none" in capsys.readouterr().out


def test_folders_of_parents(tmp_path):
    root = tmp_path / 'pictures'
    put(root, *(f'{name}/{i}.png' for name in ('x/a', 'x/b', 'y/a') for i in range(4)))
    _, found = completed(root, tmp_path / 'work', 'own_data.parents=folders')
    assert found.classes == ['x/a', 'x/b', 'y/a']
    assert parents_of(tmp_path / 'work', found.classes) == ['x', 'x', 'y']
    _, found = completed(root, tmp_path / 'upper')
    assert found.classes == ['x', 'y']
    with pytest.raises(BCE3SError, match=r"own_data\.parents='yes'"):
        completed(root, tmp_path / 'other', 'own_data.parents=yes')
