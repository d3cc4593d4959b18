"""Features of a frozen network, kept: what they are, when they are made again, what fails."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from picture_folders import put, put_coloured
from torch import distributed, multiprocessing

from bce3s import Predictor, cli
from bce3s.config import load_config
from bce3s.datasets.image_files import ImageFiles, Images
from bce3s.datasets.whole_batches import DigitsLT
from bce3s.engine import embedding, feature_cache
from bce3s.engine.embedding import embed
from bce3s.engine.feature_extraction import extract
from bce3s.errors import BCE3SError
from bce3s.registry import MODELS
from bce3s.samplers import Draws

pytest.importorskip('timm')
ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/bce3s/my_folder_frozen.py')
COUNTS = {'red': 30, 'green': 12, 'blue': 4}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('BCE3S_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def model(seed=0, name='test_efficientnet', **options):
    cfg = load_config(CONFIG, [])
    torch.manual_seed(seed)
    cfg.model.backbone = dict(type='TimmBackbone', name=name, **options)
    cfg.model.neck.in_channels = cfg.model.head.in_channels = 256
    cfg.model.head.num_classes = 10
    return MODELS.build(cfg.model)


def pictures(folder, number=5, **options):
    names = [f'{k}.png' for k in range(number)]
    put(folder, *names, side=20)
    images = Images(str(folder), [str(folder / name) for name in names], [0] * (number - 1) + [1])
    meta = dict(dataset='d', split='train', classes=['a', 'b'], class_counts=[number - 1, 1])
    options = dict(size=32, resize=32) | options
    return ImageFiles(images, True, meta, **options)


class Calls:
    """How many images the network has seen."""

    def __init__(self, net):
        self.images = 0
        net.backbone.register_forward_hook(self)

    def __call__(self, _module, inputs, _output):
        self.images += len(inputs[0])


@pytest.mark.parametrize('kind', ['memory', 'files'])
def test_they_are_what_the_network_says_of_the_images(kind, tmp_path):
    net = model(size=32).eval()

    def fresh():
        return DigitsLT(split='test') if kind == 'memory' else pictures(tmp_path).unaugmented()

    data = fresh()
    images = torch.stack([data[i]['inputs'] for i in range(5)])
    with torch.no_grad():
        inputs = net.data_preprocessor(dict(inputs=images, data_samples={}))['inputs']
        expected = net.backbone(inputs)[0], net.features(inputs)
    embed(net, data)
    batch = data.__getitems__(range(5))
    torch.testing.assert_close(batch['inputs'], expected[0])
    assert batch['data_samples']['labels'].tolist() == data.labels[:5].tolist()
    item = data[3]
    assert torch.equal(item['inputs'], batch['inputs'][3])
    assert item['data_samples']['indices'] == 3
    seen = net.data_preprocessor(batch)['inputs']
    torch.testing.assert_close(net.features(seen), expected[1])  # they take the images' place
    calls, plain = Calls(net), fresh()
    found = extract(net, plain, 3)
    assert calls.images == 0
    torch.testing.assert_close(found.features[:5], expected[1])
    assert plain.vectors is None


def test_an_image_is_seen_once(tmp_path, cache):
    net = model(size=32)
    calls = Calls(net)
    data = pictures(tmp_path / 'a')
    embed(net, data, ('origin', 'flip'))
    assert calls.images == 10
    assert net.training
    again = pictures(tmp_path / 'a')
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    moved = pictures(tmp_path / 'b')
    embed(net, again, ('origin', 'flip'))
    embed(net, moved)
    assert calls.images == 10
    assert torch.equal(again.vectors, data.vectors)
    assert torch.equal(moved.vectors[:, 0], data.vectors[:, 0])

    put(tmp_path / 'b', 'another.png', side=20)
    (tmp_path / 'b/another.png').replace(tmp_path / 'b/2.png')  # its content is another one now
    changed = pictures_there(moved)
    embed(net, changed)
    assert calls.images == 11
    alike = (changed.vectors[:, 0] == data.vectors[:, 0]).all(1).tolist()
    assert alike == [True, True, False, True, True]

    embed(net, pictures(tmp_path / 'a', resize=40))  # other pixels
    embed(model(1, size=32), pictures(tmp_path / 'a'))  # other weights
    assert calls.images == 16
    assert len(list((cache / 'features_v1').iterdir())) == 3


def pictures_there(data):
    images = Images('there', data.paths, data.labels.tolist())
    return ImageFiles(images, True, data.metainfo, size=32, resize=32)


def test_views_are_drawn_by_their_place(tmp_path):
    net, data = model(size=32), pictures(tmp_path)
    embed(net, data, ('origin', 'flip', 'crop1'))
    assert not torch.equal(data.vectors[:, 0], data.vectors[:, 1])
    draws = Draws([0] * 60, 0, 3, list(range(60)))
    first = data.__getitems__(draws)['inputs']
    assert torch.equal(first, data.__getitems__(draws)['inputs'])
    shown = {next(v for v in range(3) if torch.equal(row, data.vectors[0, v])) for row in first}
    assert shown == {0, 1, 2}
    plain = data.unaugmented().__getitems__(draws)['inputs']
    assert (plain == data.vectors[0, 0]).all()
    with pytest.raises(BCE3SError, match="no view 'crop1': of a data set in memory"):
        embed(net, DigitsLT(), ('crop1',))


def test_what_cannot_be_read(tmp_path):
    net, data = model(size=32), pictures(tmp_path, unreadable='skip')
    Path(data.paths[1]).write_bytes(b'no image')
    Path(data.paths[2]).unlink()
    for _ in range(2):  # also where the others come from the cache
        data.vectors = None
        embed(net, data)
        batch = data.__getitems__(range(5))
        skipped = batch['data_samples']['skipped'].tolist()
        assert skipped == [False, True, True, False, False]
        assert torch.equal(batch['inputs'][1], batch['inputs'][3])  # the next one of its class
        assert torch.equal(batch['inputs'][2], batch['inputs'][3])
    Path(data.paths[4]).write_bytes(b'')  # the only one of its class
    data.vectors = None
    with pytest.raises(BCE3SError, match='No training image of class 1'):
        embed(net, data)
    data.unreadable, data.vectors = 'stop', None
    with pytest.raises(BCE3SError, match=r'1\.png'):
        embed(net, data)


def test_a_damaged_or_full_cache_loses_nothing(tmp_path, cache, monkeypatch):
    net, data = model(size=32), pictures(tmp_path)
    embed(net, data)
    expected, (file,) = data.vectors, cache.rglob('*.safetensors')
    file.write_bytes(file.read_bytes()[:-7])
    told = []
    monkeypatch.setattr(feature_cache, 'print_log', lambda text, *_: told.append(text))
    data.vectors = None
    embed(net, data)
    assert torch.equal(data.vectors, expected)
    assert 'is damaged' in told[0]

    def full(*_, **__):
        raise OSError(errno.ENOSPC, 'No space left on device')

    shutil.rmtree(cache)
    monkeypatch.setattr(feature_cache, 'written_whole', full)
    monkeypatch.setattr(embedding, 'CHUNK', 2)
    data.vectors = None
    embed(net, data)
    torch.testing.assert_close(data.vectors, expected)
    assert sum('not kept on the disk (No space left' in text for text in told) == 1


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('own') / 'pictures'
    put_coloured(root, COUNTS)
    return root


def train(folder, work, *options):
    options = ('own_data.size=32', 'own_data.weights=None', 'own_data.epochs=4', *options)
    options += ('visualizer=None', 'default_hooks.progress=None', 'own_data.batch_size=16')
    name = ['--backbone', 'test_efficientnet', '--work-dir', str(work)]
    return cli.main('train', [str(folder), *name, '--cfg-options', *options])


def test_from_pictures_to_predictions(folder, tmp_path, capsys):
    assert train(folder, tmp_path / 'run') == 0
    printed = capsys.readouterr().out
    assert 'frozen: each image is embedded once' in printed
    report = json.loads((tmp_path / 'run/report.json').read_text())
    assert report['epoch'] == 6
    # the network is in the checkpoint: neither weights nor features are needed any more
    shutil.rmtree(tmp_path / 'cache')
    predictor = Predictor(tmp_path / 'run', threshold=None)
    paths = [folder / name / f'{k}.png' for name in COUNTS for k in range(4)]
    found = [p.label for p in predictor(paths)]
    expected = [name for name in COUNTS for _ in range(4)]
    assert sum(map(str.__eq__, found, expected)) >= 9  # random features of colours
    assert cli.main('test', [str(tmp_path / 'run'), '--cfg-options', 'visualizer=None']) == 0
    again = json.loads((tmp_path / 'run/test/report.json').read_text())
    assert again['per_class'] == report['per_class']


def test_resuming_ends_alike(folder, tmp_path, capsys):
    options = ('default_hooks.checkpoint.interval=1', "custom_hooks.0.views=['origin','flip']")
    assert train(folder, tmp_path / 'run', *options) == 0
    expected = torch.load(tmp_path / 'run/epoch_6.pth', weights_only=True)['state_dict']
    (tmp_path / 'run/epoch_6.pth').unlink()
    arguments = [str(tmp_path / 'run/my_folder_frozen.py'), '--work-dir', str(tmp_path / 'run')]
    assert cli.main('train', [*arguments, '--resume']) == 0
    found = torch.load(tmp_path / 'run/epoch_6.pth', weights_only=True)['state_dict']
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert expected['neck.mean'].any()
    # by the folder too: which way the run took stands in its work dir
    (tmp_path / 'run/epoch_6.pth').unlink()
    arguments = [str(folder), '--work-dir', str(tmp_path / 'run'), '--resume']
    assert cli.main('train', arguments) == 0
    found = torch.load(tmp_path / 'run/epoch_6.pth', weights_only=True)['state_dict']
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    arguments[0] = str(tmp_path)
    assert cli.main('train', arguments) == 1
    assert 'was begun with the images in' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (['own_data.train={"blocks":1}', 'custom_hooks=[dict(type="FrozenFeaturesHook")]'],
         'a network that nothing changes'),
        (['model.flip_tta=True'], 'model.flip_tta is False'),
        (['custom_hooks.0.views=["flip"]'], "the first of 'views' is 'origin'"),
        (['custom_hooks.0.views=["origin","up"]'], "no view 'up'"),
        (['own_data.weights=nowhere.safetensors'], 'no such file'),
    ],
)  # fmt: skip
def test_bad_options_are_sentences(options, sentence, folder, tmp_path, capsys):
    assert train(folder, tmp_path / 'run', *options) == 1
    assert sentence in capsys.readouterr().err


def test_the_command_line(folder, tmp_path, capsys):
    def sentence(*arguments):
        assert cli.main('train', [*arguments, '--work-dir', str(tmp_path / 'run')]) == 1
        return capsys.readouterr().err

    assert 'say of which network, --backbone' in sentence(str(folder), '--weights', 'x')
    assert 'give lora=8' in sentence(str(folder), '--backbone', 'test_vit', '--tune', 'lora')
    assert 'are for a folder or list' in sentence(CONFIG, '--backbone', 'test_vit')
    assert "knows no network 'vitt'" in sentence(str(folder), '--backbone', 'vitt')


@pytest.mark.parametrize('way', ['lora=2', 'blocks=1'])
def test_a_part_of_the_network_is_trained(way, folder, tmp_path):
    work, options = tmp_path / 'run', ('own_data.size=32', 'own_data.weights=None')
    options += ('own_data.epochs=2', 'visualizer=None', 'default_hooks.progress=None')
    options += ('default_hooks.checkpoint.interval=1',)
    options += ('train_dataloader.num_workers=0', 'val_dataloader.num_workers=0')
    arguments = [str(folder), '--backbone', 'test_vit', '--tune', way, '--work-dir', str(work)]
    assert cli.main('train', [*arguments, '--cfg-options', *options]) == 0
    assert Predictor(work)([folder / 'red/0.png'])[0].best in COUNTS
    weights = torch.load(work / 'epoch_3.pth', weights_only=True)['state_dict']
    assert weights['neck.mean'].any()
    if way == 'lora=2':
        assert any(value.any() for name, value in weights.items() if name.endswith('lora_b'))
    resumed = work.with_name('again')
    shutil.copytree(work, resumed)
    (resumed / 'epoch_3.pth').unlink()
    arguments = [str(resumed / 'my_folder_frozen.py'), '--work-dir', str(resumed), '--resume']
    assert cli.main('train', arguments) == 0
    found = torch.load(resumed / 'epoch_3.pth', weights_only=True)['state_dict']
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def _shared(rank, folder, processes):
    """What one of the processes gets of five pictures, of which the last cannot be read."""
    rendezvous = f'file://{folder}/store{processes}'
    distributed.init_process_group('gloo', rendezvous, rank=rank, world_size=processes)
    init_default_scope('bce3s')
    dataset = pictures(folder / 'p')
    (folder / 'p/4.png').write_bytes(b'broken')
    chunk = [(i, 'origin') for i in range(5)]
    features, errors = embedding._shared(model(size=32).eval(), dataset, chunk)
    torch.save((torch.from_numpy(features), errors), folder / f'{rank}_of_{processes}.pt')
    distributed.destroy_process_group()


def test_processes_share_the_images(tmp_path):
    for processes in (1, 2):
        multiprocessing.spawn(_shared, (tmp_path, processes), nprocs=processes)
    (features, errors), *both = (
        torch.load(tmp_path / name) for name in ('0_of_1.pt', '0_of_2.pt', '1_of_2.pt')
    )
    assert list(errors) == [4]
    assert features[:4].any(1).all()
    assert not features[4].any()
    for shared, unread in both:
        assert unread == errors
        torch.testing.assert_close(shared, features)
