"""tools/feature_quality.py: features in order, sets of unknown images, figures, texts, mistakes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from PIL import Image
from torch import nn
from torch.utils.data import default_collate

from bce3s.config import load_config
from bce3s.datasets.whole_batches import DigitsLT
from bce3s.engine.feature_extraction import extract, feature_batches
from bce3s.engine.feature_quality import _checked_ks, feature_quality
from bce3s.engine.run_directory import RunDirectory, load_model
from bce3s.engine.unknown_sets import FittedImages, unknown_config, unknown_dataset
from bce3s.errors import BCE3SError
from bce3s.evaluation.feature_report import (
    closed_set_rows,
    format_features,
    format_tables,
    write_features,
)
from bce3s.evaluation.rejection import halves
from bce3s.evaluation.uniform_accuracy import uniform_accuracy
from bce3s.registry import MODELS
from bce3s.run_commands import main
from bce3s.tables import markdown_table

ROOT = Path(__file__).resolve().parents[1]
TOOL = str(ROOT / 'tools' / 'feature_quality.py')
CONFIG = str(ROOT / 'configs' / 'baselines' / 'digits_bce.py')
SEVEN = [f'{loader}_dataloader.dataset.keep_classes=[0,1,2,3,4,5,6]' for loader in ('train', 'val')]
OPTIONS = [*SEVEN, 'model.head.num_classes=7', 'model.backbone.depth=8']


# ------------------------------------------------------------ extraction
class Samples(torch.utils.data.Dataset):
    """Images whose only pixel is their index; ``unreadable`` cannot be read."""

    def __init__(self, size=10, unreadable=None):
        self.size, self.unreadable = size, unreadable

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        if i == self.unreadable:
            raise BCE3SError('damaged')
        samples = dict(labels=torch.tensor(i % 3), indices=torch.tensor(i))
        return dict(inputs=torch.full((1, 1, 1), i, dtype=torch.uint8), data_samples=samples)


class Batches(Samples):
    def __getitems__(self, indices):
        index = torch.as_tensor(indices)
        samples = dict(labels=index % 3, indices=index)
        return dict(inputs=index.to(torch.uint8).view(-1, 1, 1, 1), data_samples=samples)

    __getitem__ = None


class Toy(nn.Module):
    """Features (x, 2 x) through a BatchNorm, whose batch statistics would show."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(2), nn.Linear(2, 3)
        self.calls = []

    def data_preprocessor(self, data, training):
        assert not training
        return dict(inputs=data['inputs'].float(), data_samples=data['data_samples'])

    def features(self, inputs):
        self.calls.append((len(inputs), self.training, torch.is_grad_enabled()))
        x = inputs.flatten(1)
        return self.norm(torch.cat([x, 2 * x], dim=1))


def test_a_data_set_that_augments_by_itself_gives_its_plain_images():
    class Plain(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return dict(inputs=torch.full((1,), float(index)), data_samples=dict(labels=index))

    class Augmenting(Plain):
        def __getitem__(self, index):
            raise AssertionError('augmented')

        def unaugmented(self):
            return Plain()

    assert [labels.tolist() for _, labels in feature_batches(Toy(), Augmenting(), 2)] == [
        [0, 1],
        [2],
    ]


@pytest.mark.parametrize('dataset', [Samples(), Batches()])
@pytest.mark.parametrize('batch_size', [1, 4, 10, 99])
def test_features_come_in_the_order_of_the_data_set(dataset, batch_size):
    model = Toy()
    found = extract(model, dataset, batch_size)
    index = torch.arange(10.0)
    expected = torch.stack([index, 2 * index], dim=1) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(found.features, expected)
    assert found.labels.tolist() == [i % 3 for i in range(10)]
    assert found.labels.dtype == torch.int64
    torch.testing.assert_close(found.logits, model.head(expected).detach())
    assert not any(part.requires_grad for part in found)
    sizes, training, grad = zip(*model.calls, strict=True)
    assert list(sizes) == [min(batch_size, 10 - i) for i in range(0, 10, batch_size)]
    assert not any(training)
    assert not any(grad)


def test_a_share_of_the_data_set():
    batches = list(feature_batches(Toy(), Batches(), 2, indices=range(1, 10, 4)))
    assert [labels.tolist() for _, labels in batches] == [[1, 2], [0]]


def test_one_test_image_has_no_neighbour():
    with pytest.raises(BCE3SError, match='two test images at least, but there are 10 and 1'):
        _checked_ks(None, Samples(10), Samples(1))
    assert _checked_ks(None, Samples(10), Samples(2)) == [1]


@pytest.mark.parametrize('mode', [True, False])
@pytest.mark.parametrize('way', ['to its end', 'left', 'broken off'])
def test_the_model_is_as_before_and_nothing_random_is_drawn(mode, way):
    model, state = Toy().train(mode), torch.get_rng_state()
    dataset = Samples(unreadable=7 if way == 'broken off' else None)
    try:
        for _ in feature_batches(model, dataset, 3):
            assert torch.is_grad_enabled()  # that of the consumer is its own
            if way == 'left':
                break
    except BCE3SError:
        assert way == 'broken off'
    assert model.calls
    assert not any(training or grad for _, training, grad in model.calls)
    assert model.training is mode
    assert model.norm.training is mode
    assert model.norm.num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_worker_processes_read_the_same():
    one, two = (extract(Toy().eval(), Samples(), 3, num_workers=n).labels for n in (0, 2))
    assert torch.equal(one, two)


def test_an_empty_data_set_is_a_sentence():
    with pytest.raises(BCE3SError, match='no image to extract features of'):
        extract(Toy(), Samples(0))


# ------------------------------------------------------------ unknown images
def images(shape, size=6):
    class Images(Samples):
        metainfo = dict(classes=['a', 'b'])
        data = torch.randint(0, 256, (size, *shape), dtype=torch.uint8)

        def __getitem__(self, i):
            return {**super().__getitem__(i), 'inputs': self.data[i]}

    return Images(size)


def test_grey_becomes_colour_and_colour_grey():
    grey, colour = images((1, 4, 4)), images((3, 4, 4))
    found = FittedImages(grey, (3, 4, 4))[1]['inputs']
    assert torch.equal(found, grey.data[1].expand(3, 4, 4))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    fitted = FittedImages(colour, (1, 4, 4))
    found = torch.stack([fitted[i]['inputs'] for i in (2, 0)])
    expected = (colour.data[[2, 0]] * luma).sum(dim=1, keepdim=True).round()
    assert torch.equal(found, expected.to(torch.uint8))
    assert torch.equal(FittedImages(found_set := grey, (1, 4, 4))[0]['inputs'], found_set.data[0])
    with pytest.raises(BCE3SError, match='Images of 2 channels cannot be made images of 3'):
        FittedImages(images((2, 4, 4)), (3, 4, 4))


def test_another_size():
    constant = images((1, 9, 7))
    constant.data = torch.full_like(constant.data, 77)
    fitted = FittedImages(constant, (3, 32, 32))
    batch = default_collate([fitted[i] for i in (0, 3, 5)])
    assert batch['inputs'].shape == (3, 3, 32, 32)
    assert batch['inputs'].dtype == torch.uint8
    assert (batch['inputs'] == 77).all()
    assert batch['data_samples']['indices'].tolist() == [0, 3, 5]
    assert len(fitted) == 6


def test_shrinking_is_antialiased():
    """One bright column in four: without antialiasing the dark ones between are sampled."""
    stripes = images((1, 16, 16))
    stripes.data = torch.zeros_like(stripes.data)
    stripes.data[..., ::4] = 200
    found = FittedImages(stripes, (1, 4, 4))[0]['inputs'].float()
    assert found[0, 1, 1:3].tolist() == pytest.approx([50, 50], abs=15)


def test_the_classes_left_out_are_unknown():
    known_config = ConfigDict(type='DigitsLT', split='test', keep_classes=[7, 0, 2])
    known = DigitsLT('test', keep_classes=[7, 0, 2])
    found = unknown_dataset('held-out', known_config, known)
    whole = DigitsLT('test')
    assert found.metainfo['classes'] == [whole.classes[k] for k in (1, 3, 4, 5, 6, 8, 9)]
    assert len(found) == 7 * 50
    expected = torch.cat([whole.images[whole.labels == k] for k in (1, 3, 4, 5, 6, 8, 9)])
    rows = lambda data: {row.numpy().tobytes() for row in data}  # noqa: E731
    assert rows(found.images) == rows(expected)
    assert not rows(found.images) & rows(known.images)


def test_names_and_config_files():
    known = ConfigDict(type='CIFAR100LT', split='train', data_root='x', verify=False, rule='ldam')
    found = unknown_config('mnist', known)
    assert found == dict(type='MNISTLT', split='test', data_root='x', verify=False)
    assert unknown_config('digits', known) == dict(type='DigitsLT', split='test')
    assert unknown_config(CONFIG, known)['type'] == 'DigitsLT'
    assert unknown_config(CONFIG, known)['split'] == 'test'


@pytest.mark.parametrize(
    ('spec', 'known', 'options', 'sentence'),
    [
        ('imagenet', {}, {}, "use 'held-out', one of cifar10, .* or a config file"),
        ('missing.py', {}, {}, 'missing.py does not exist'),
        ('held-out', {}, {}, 'the config trains on every class'),
        ('held-out', {'keep_classes': list(range(10))}, {}, 'none is left out'),
        ('digits', {}, {}, 'knows 10 of its 10 classes'),
        ('digits', {}, {'verfy': False}, "'verfy'.*--unknown-options"),
        ('mnist', {}, {'data_root': '/nowhere', 'download': False}, 'mnist: .*--unknown-options'),
    ],
)
def test_sets_that_cannot_be_had(spec, known, options, sentence):
    config = ConfigDict(type='DigitsLT', split='test', **known)
    init_default_scope('bce3s')
    with pytest.raises(BCE3SError, match=sentence):
        unknown_dataset(spec, config, DigitsLT('test'), options)


# ------------------------------------------------------------ the whole
@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Random weights on seven digits: features of a random network tell digits quite well."""
    init_default_scope('bce3s')
    torch.manual_seed(0)
    model = MODELS.build(load_config(CONFIG, OPTIONS).model)
    path = tmp_path_factory.mktemp('checkpoint') / 'epoch_3.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=3, seed=5)), path)
    return path


@pytest.fixture(scope='module')
def report(checkpoint):
    run = RunDirectory.open(CONFIG, checkpoint, OPTIONS)
    return feature_quality(run, ['held-out'], (1, 5), batch_size=64)


def test_figures_are_those_of_the_features(report, checkpoint):
    model, _ = load_model(load_config(CONFIG, OPTIONS), checkpoint)
    sets = [DigitsLT(split, keep_classes=range(7)) for split in ('train', 'test')]
    train, test = (extract(model, dataset) for dataset in sets)
    unit = [
        part.features.double() / part.features.double().norm(dim=1, keepdim=True)
        for part in (train, test)
    ]
    nearest = train.labels[(unit[1] @ unit[0].T).argmax(dim=1)]
    right = (nearest == test.labels).double()
    counts = sets[0].metainfo['class_counts']
    few = [k for k in range(7) if counts[k] < 20]
    expected = 100 * np.mean([right[test.labels == k].mean() for k in few])
    figures = report['from_training']['figures']
    assert figures['knn_1']['few'] == pytest.approx(expected)
    assert figures['knn_1']['plain'] == pytest.approx(100 * float(right.mean()))
    assert 40 < figures['knn_1']['plain'] < 100
    predicted = test.logits.argmax(dim=1)
    accuracy = 100 * float((predicted == test.labels).double().mean())
    assert report['classifier']['plain'] == pytest.approx(accuracy)
    assert report['class_counts'] == counts
    assert (report['train_samples'], report['test_samples'], report['dimensions']) == (
        len(sets[0]),
        350,
        64,
    )
    assert (report['epoch'], report['seed'], report['checkpoint']) == (3, 5, 'epoch_3.pth')


def test_open_set_figures(report):
    scores = ['largest logit', 'largest softmax probability', 'energy']
    scores.append('Mahalanobis distance to the class means')
    scores.append('cosine to the 10th nearest training feature')
    assert [entry['score'] for entry in report['open_set']] == scores
    for entry in report['open_set']:
        assert entry['unknown'] == 150
        assert entry['unknown_set'] == 'DigitsLT, held-out classes'
    first, *_, last = report['open_set']
    assert set(first['at']) == {'95 % TPR', 'zero', 'uniform', 'uniform (test images)'}
    accuracy = report['classifier']
    for entry in (first, last):
        assert entry['curve']['ccr'][-1] == pytest.approx(accuracy['plain'])
        for split in ('all', 'many', 'medium', 'few'):
            assert entry['oscr'][split] <= accuracy[split] + 1e-9


def test_rejection_at_the_uniform_threshold_of_the_test_images(report, checkpoint):
    """Known images at the threshold of the other half, unknown ones at that of both."""
    model, _ = load_model(load_config(CONFIG, OPTIONS), checkpoint)
    test, others = (
        extract(model, DigitsLT('test', keep_classes=keep)) for keep in (range(7), (7, 8, 9))
    )
    half, largest = halves(test.labels), test.logits.amax(dim=1).numpy()
    chosen = [uniform_accuracy(test.logits[half == h], test.labels[half == h])[1] for h in (0, 1)]
    both = uniform_accuracy(test.logits, test.labels).threshold
    rejected = largest <= np.where(half == 0, chosen[1], chosen[0])
    found = report['open_set'][0]['at']['uniform (test images)']
    assert found['threshold'] == both
    assert found['known_rejected']['plain'] == pytest.approx(100 * rejected.mean())
    accepted = float((others.logits.amax(dim=1) > both).double().mean())
    assert found['unknown_accepted'] == pytest.approx(100 * accepted)
    line = next(line for line in format_tables(report).splitlines() if 'at uniform (test' in line)
    assert line.split('|')[4].strip() == f'{100 - found["unknown_accepted"]:.2f}'


def test_files(report, tmp_path):
    path = write_features(report, tmp_path / 'new' / 'folder')
    assert path.name == 'features.md'
    assert {file.name for file in path.parent.iterdir()} == {
        'features.json',
        'features.md',
        'features.png',
    }
    assert (path.parent / 'features.png').read_bytes().startswith(b'\x89PNG')
    assert json.loads((path.parent / 'features.json').read_text()) == report
    text = path.read_text()
    assert 'NaN' not in text
    assert 'None' not in text
    assert str(ROOT) not in text + (path.parent / 'features.json').read_text()
    for name, means in closed_set_rows(report):
        cells = [f'{means[key]:.2f}' for key in ('all', 'many', 'medium', 'few', 'plain')]
        line = next(line for line in text.splitlines() if line.startswith(f'| {name} '))
        assert [cell.strip() for cell in line.split('|')[2:-1]] == cells


def test_texts_without_unknown_sets_and_with_empty_splits(report):
    none = dict.fromkeys(('all', 'many', 'medium', 'few', 'plain'))
    figures = dict.fromkeys(report['from_training']['figures'], none)
    bare = {
        **report,
        'open_set': [],
        'from_training': {**report['from_training'], 'figures': figures, 'without_relevant': 3},
    }
    text = format_features(bare)
    assert 'Open set' not in text
    assert re.search(r'\| MAP@R from training set +\| +- \|', text)
    assert '3 queries have no image of their class in the training set' in text
    assert format_tables(bare).count('\n\n') == 0
    assert format_tables(report).count('\n\n') == 2


def test_aligned_table():
    lines = markdown_table(
        ['a', 'wide'], [['longer', '1'], ['b', '22.5']], aligned=True
    ).splitlines()
    assert lines[0] == '| a      | wide |'
    assert lines[1] == '| ------ | ---: |'
    assert lines[3] == '| b      | 22.5 |'


# ------------------------------------------------------------ the tool
@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # the tool sets it for good
    options = ['--cfg-options', *OPTIONS]
    return lambda *args: main('feature-quality', [*map(str, args), *options])


def test_the_tool_prints_tables_and_writes_files(tool, checkpoint, tmp_path, capsys):
    assert tool(CONFIG, checkpoint, '--unknown', 'held-out', '--k', 1, 7, '--out', tmp_path) == 0
    printed = capsys.readouterr()
    assert re.search(r'\| kNN, k = 7, weighted +\| +\d', printed.out)
    assert 'DigitsLT, held-out classes' in printed.out
    assert 'nan' not in printed.out
    assert not printed.err
    assert (tmp_path / 'features.md').is_file()


def test_a_run_folder_is_config_and_checkpoint(tool, checkpoint, tmp_path, capsys):
    load_config(CONFIG, []).dump(str(tmp_path / 'digits.py'))
    assert tool(tmp_path, checkpoint, '--k', 1, '--out', tmp_path / 'features') == 0
    assert (tmp_path / 'features/features.md').is_file()
    assert tool(CONFIG) == 1
    assert 'is no work dir of a run: give one, or CONFIG CHECKPOINT' in capsys.readouterr().err
    assert tool(tmp_path) == 1
    assert 'no valid checkpoint' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('args', 'sentence'),
    [
        (['--k', 1000], 'error: --k 1000: there are'),
        (['--unknown', 'mnist', '--unknown-options', 'verify'], 'verify: write KEY=VALUE'),
        (['--unknown', 'digits'], 'error: --unknown digits: the model knows 7 of its 10 classes'),
    ],
)
def test_the_tool_prints_mistakes(tool, checkpoint, capsys, args, sentence):
    assert tool(CONFIG, checkpoint, *args) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count('\n') == 1
    assert not printed.out


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'ks': (1, 350)}, '--k 350: there are .* training and 350 test images, .* 1 and 2'),
        ({'ks': (0,)}, '--k 0'),
        ({'options': OPTIONS[:2] + OPTIONS[3:]}, 'trained with 7 classes, this config has 10'),
        ({'options': OPTIONS[2:]}, 'The model has 7 classes, the data 10'),
        ({'options': OPTIONS[1:]}, 'different classes'),
        ({'checkpoint': 'none.pth'}, 'Checkpoint none.pth does not exist'),
        ({'unknown': ['nothing']}, '--unknown nothing'),
    ],
)
def test_mistakes_are_sentences(change, sentence, checkpoint):
    given = dict(options=OPTIONS, checkpoint=checkpoint, ks=(1,), unknown=[]) | change
    with pytest.raises(BCE3SError, match=sentence):
        feature_quality(
            RunDirectory.open(CONFIG, given['checkpoint'], given['options']),
            given['unknown'],
            given['ks'],
        )


def test_a_diverged_model_is_a_sentence(checkpoint, tmp_path):
    saved = torch.load(checkpoint, weights_only=True)
    name = next(key for key in saved['state_dict'] if 'running_mean' in key)
    saved['state_dict'][name] += float('nan')
    torch.save(saved, tmp_path / 'nan.pth')
    with pytest.raises(BCE3SError, match='not finite'):
        feature_quality(RunDirectory.open(CONFIG, tmp_path / 'nan.pth', OPTIONS), ks=(1,))


def test_a_folder_of_pictures_is_unknown(tmp_path):
    (tmp_path / 'deep').mkdir()
    Image.new('RGB', (30, 20), (255, 0, 0)).save(tmp_path / 'deep/a.png')
    Image.new('L', (8, 8), 7).save(tmp_path / 'b.png')
    (tmp_path / 'broken.png').write_bytes(b'no image')
    known = DigitsLT(split='test', imbalance_factor=20)
    dataset = unknown_dataset(str(tmp_path), ConfigDict(type='DigitsLT'), known)
    assert len(dataset) == 3
    batch = [dataset[i] for i in range(3)]
    assert {tuple(sample['inputs'].shape) for sample in batch} == {(1, 8, 8)}
    assert (batch[0]['inputs'] == 7).all()  # b.png
    assert [bool(sample['data_samples']['skipped']) for sample in batch] == [False, True, False]
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(BCE3SError, match='holds no image'):
        unknown_dataset(str(empty), ConfigDict(type='DigitsLT'), known)
