"""Classes that a trained network gets from a few images: what changes, and what does not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import softplus
from trained_runs import ROOT, once, picture, train

from bce3s import cli
from bce3s.config import load_config
from bce3s.datasets.in_memory import DigitsLT
from bce3s.engine.run_directory import RunDirectory
from bce3s.inference.add_class import main
from bce3s.inference.new_rows import OldClasses, fitted_direction, new_rows
from bce3s.inference.predictor import Predictor

SHOWN = 10  # images of a new class


def saved(dataset, label, folder, numbers):
    folder.mkdir(parents=True)
    rows = (dataset.labels == label).nonzero()[:, 0].tolist()
    for i in rows[numbers]:
        Image.fromarray(dataset.images[i, 0].numpy()).save(folder / f'{i:04d}.png')
    return folder


@pytest.fixture(scope='module')
def eight(tmp_path_factory):
    """A BCE3S run on the digits 0 to 7."""

    def make(folder):
        cfg = load_config(str(ROOT / 'configs/bce3s/digits_one_stage.py'), [])
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            loader.dataset.update(keep_classes=list(range(8)), imbalance='none')
        cfg.model.head.num_classes = 8
        cfg.model.head.contrastive = dict(type='BCEContrastive')
        train(cfg, folder, 5)

    return once('eight-digits', tmp_path_factory.mktemp('eight') / 'run', make)


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """Training images of 8 and 9, and a folder with their test images."""
    root = tmp_path_factory.mktemp('two')
    digits = [DigitsLT(imbalance='none', train=t) for t in (True, False)]
    for label in (8, 9):
        saved(digits[0], label, root / 'new' / f'digit {label}', slice(SHOWN))
        saved(digits[1], label, root / 'test' / f'digit {label}', slice(50))
    return root


@pytest.fixture(scope='module', params=['fit', 'mean'])
def ten(request, eight, two, tmp_path_factory):
    out = tmp_path_factory.mktemp('ten') / 'run'
    before = {path: path.read_bytes() for path in eight.glob('*.*')}
    assert main([str(eight), str(two / 'new'), '--out', str(out), '--way', request.param]) == 0
    assert before == {path: path.read_bytes() for path in eight.glob('*.*')}
    return out


def test_old_classes_are_kept_and_new_ones_recognised(eight, two, ten):
    old, new = Predictor(eight, threshold=None), Predictor(ten, threshold=None)
    assert new.classes == [*old.classes, 'digit 8', 'digit 9']
    assert new.class_counts == [*old.class_counts, SHOWN, SHOWN]
    data = RunDirectory.open(eight).dataset('val')
    logits = new.logits(data.images)
    assert torch.equal(logits[:, :8], old.logits(data.images))
    right = [
        (z.argmax(1) == data.labels).double().mean() for z in (old.logits(data.images), logits)
    ]
    assert right[0] > 0.85
    assert right[1] > right[0] - 0.1
    for name in ('digit 8', 'digit 9'):
        found = [p.best for p in new(sorted((two / 'test' / name).iterdir()))]
        assert found.count(name) > 15  # by chance 5


def test_every_old_row_is_the_same_and_the_rest_has_new_ones(eight, ten):
    old, new = (
        torch.load(RunDirectory.open(run).checkpoint, weights_only=True) for run in (eight, ten)
    )
    grown = set()
    for name, value in old['state_dict'].items():
        assert torch.equal(value, new['state_dict'][name][: len(value)] if value.dim() else value)
        if value.shape != new['state_dict'][name].shape:
            grown.add(name)
            assert len(new['state_dict'][name]) == 10
    rows = ('class_counts', 'classifier.weight', 'classifier.bias', 'bank.features', 'bank.filled')
    assert grown == {f'head.{name}' for name in rows}
    assert new['state_dict']['head.bank.filled'].all()
    assert new['meta']['added_classes'][0]['images'] == [SHOWN, SHOWN]


def test_the_report_says_what_was_added_and_keeps_the_threshold(eight, ten):
    old, new = (json.loads((run / 'report.json').read_text()) for run in (eight, ten))
    assert new['classes'][8:] == ['digit 8', 'digit 9']
    assert new['per_class'][8:] == [None, None]
    assert any("'digit 8' (10 images)" in note for note in new['data_notes'])
    assert new['rejection']['thresholds'][:8] == old['rejection']['thresholds']
    chosen = [Predictor(run).threshold for run in (eight, ten)]
    assert chosen[1][:8] == chosen[0]
    assert set(chosen[1][8:]) == {min(chosen[0])}


def test_a_run_on_pictures_knows_them_everywhere(trained_folder, tmp_path, capsys):
    """A class of another colour; then ``predict``, ``test --data``, ``export`` and once more."""
    rng, shown, later = np.random.default_rng(1), tmp_path / 'dog', tmp_path / 'later'
    for folder, number in ((shown, 6), (later / 'dog', 6), (later / 'ant', 3)):
        folder.mkdir(parents=True)
        for i in range(number):
            image = picture('ant', rng)
            if folder.name == 'dog':
                pixels = np.array((230, 230, 60)) + rng.normal(0, 40, (30, 40, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / f'{i}.png')
    (shown / 'broken.png').write_bytes(b'no picture')
    out = tmp_path / 'plus'
    (trained_folder / 'parents.csv').write_text('class,parent\n')
    assert main([str(trained_folder), str(shown), '--out', str(out)]) == 0
    (trained_folder / 'parents.csv').unlink()
    assert 'dog (6 images)' in (said := capsys.readouterr().out)
    assert 'Parents are not taken along' in said
    assert 'Left out: 1 image' in said
    train_set = RunDirectory.open(out).dataset('train')
    assert train_set.metainfo['class_counts'] == [9, 5, 2, 6]
    assert (
        cli.main('test', [str(out), '--data', str(later), '--work-dir', str(tmp_path / 't')]) == 0
    )
    report = json.loads((tmp_path / 't' / 'report.json').read_text())
    assert report['per_class'][3] is not None
    from bce3s.inference.export_command import main as export

    assert export([str(out)]) == 0
    assert json.loads((out / 'export' / 'model.json').read_text())['classes'][3] == 'dog'
    shutil.move(shown, tmp_path / 'eel')
    assert main([str(out), str(tmp_path / 'eel'), '--out', str(tmp_path / 'more')]) == 0
    assert Predictor(tmp_path / 'more', threshold=None).classes == [
        'ant',
        'bee',
        'cat',
        'dog',
        'eel',
    ]


def folder_of(tmp_path, *names):
    for name in names:
        path = tmp_path / 'new' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return tmp_path / 'new'


@pytest.mark.parametrize(
    ('names', 'said'),
    [
        (['7/a.png', 'x/b.png'], "'7': the model has a class of this name"),
        (['x/a.png', 'b.png'], 'beside folders of images'),
        ([], 'is no folder'),
    ],
)
def test_a_folder_that_cannot_be_added(eight, tmp_path, capsys, names, said):
    folder = folder_of(tmp_path, *names) if names else tmp_path / 'none'
    assert main([str(eight), str(folder), '--out', str(tmp_path / 'out')]) == 1
    assert said in (error := capsys.readouterr().err)
    assert error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_images_that_cannot_be_read_and_a_folder_in_the_way(eight, tmp_path, capsys):
    folder = folder_of(tmp_path, 'x/a.png')
    assert main([str(eight), str(folder), '--out', str(tmp_path)]) == 1
    assert 'is there already' in capsys.readouterr().err
    (folder / 'x' / 'a.png').write_bytes(b'')
    assert main([str(eight), str(folder), '--out', str(tmp_path / 'out')]) == 1
    assert "None of the 1 image of 'x' can be read" in capsys.readouterr().err


def test_another_head(eight, tmp_path, capsys):
    run = Path(shutil.copytree(eight, tmp_path / 'run'))
    config = next(run.glob('*.py'))
    config.write_text(config.read_text().replace("'LinearClassifier'", "'ETFClassifier'"))
    path = RunDirectory.open(run).checkpoint
    saved = torch.load(path, weights_only=True)
    model = RunDirectory.open(run).config.model
    from bce3s.registry import MODELS

    saved['state_dict'] = MODELS.build(model).state_dict()
    torch.save(saved, path)
    assert main([str(run), str(folder_of(tmp_path, 'x/a.png'))]) == 1
    assert 'TripartiteHead with ETFClassifier' in capsys.readouterr().err


# ------------------------------------------------------------------------------------- the rows
def example(length=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.double)  # noqa: E731
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 2)
    centres = 3 * draw(4, 5)
    old = OldClasses(centres[labels] + draw(11, 5), labels, draw(3, 5), draw(3), length)
    return centres[3] + draw(4, 5), old


def test_the_fitted_direction_is_where_the_gradient_vanishes():
    """Of the objective in its docstring, written as loops."""
    images, old = example()
    means = [old.features[old.labels == k].mean(0) for k in range(3)]
    centre = sum(means) / 3
    square = [((old.features[old.labels == k] - centre) ** 2).sum(1).mean() for k in range(3)]
    spread = (sum(square) / 3).sqrt()
    w = (fitted_direction(images, old, ridge=0.1) / spread).requires_grad_()
    b = torch.zeros((), dtype=torch.double, requires_grad=True)
    steps = torch.optim.LBFGS([b], 1, 200, None, 1e-12, 1e-15, line_search_fn='strong_wolfe')

    def loss():
        value = sum(softplus(-(x - centre) @ w - b) for x in images) / 4
        for k in range(3):
            rows = old.features[old.labels == k]
            value += sum(softplus((x - centre) @ w + b) for x in rows) / len(rows)
        return value + 0.05 * (spread * w).square().sum()

    def closure():
        steps.zero_grad()
        value = loss()
        value.backward()
        return value

    steps.step(closure)
    (gradient,) = torch.autograd.grad(loss(), w)
    assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize('way', ['fit', 'mean'])
@pytest.mark.parametrize('length', [None, 1.5])
def test_new_logits_lie_on_the_scale_of_the_old_ones(way, length):
    """The middle of own and other logits is the old classes', and their distance where it is
    free; a row of fixed length has that length."""
    images, old = example(length)
    (weight,), (bias,) = new_rows([images], old, way)
    z, each = old.logits(old.features), [(old.labels == k) for k in range(3)]
    own = sum(z[rows, k].mean() for k, rows in enumerate(each)) / 3
    other = (
        sum(z[rows][:, [j for j in range(3) if j != k]].mean() for k, rows in enumerate(each)) / 3
    )
    new_own = (images @ weight + bias).mean()
    new_other = sum((old.features[rows] @ weight + bias).mean() for rows in each) / 3
    torch.testing.assert_close((new_own + new_other) / 2, (own + other) / 2)
    if length is None:
        longest = 3 * old.weight.norm(dim=1).mean()
        assert weight.norm() <= longest * (1 + 1e-9)
        if weight.norm() < longest and own > other:
            torch.testing.assert_close(new_own - new_other, own - other)
    else:
        torch.testing.assert_close(weight.norm(), torch.tensor(length, dtype=torch.double))
