"""What the network of a config takes, how pictures are brought to it, and many of them read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bce3s.config import load_config
from bce3s.datasets.fitted import fitted
from bce3s.datasets.pixels import Colours
from bce3s.engine.run_directory import RunDirectory
from bce3s.inference.inputs import InputSpec, batches, to_uint8

ROOT = Path(__file__).resolve().parents[2]
DIGITS = InputSpec(1, 8, 8, None, 'fit')


def spec_of(config, options=()):
    cfg = load_config(str(ROOT / f'configs/{config}.py'), list(options))
    return InputSpec.of(RunDirectory(Path('run'), cfg, Path('epoch_1.pth')))


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        ('bce3s/digits', (1, 8, 8, None, 'fit')),
        ('bce3s/cifar10lt_if100', (3, 32, 32, None, 'fit')),
        ('bce3s/cifar100lt_if100', (3, 32, 32, None, 'fit')),
        ('icml/nc/mnist_r18_sgd', (1, 28, 28, None, 'fit')),
        ('bce3s/imagenet_lt_r50', (3, 224, 224, 256, 'centre')),
        ('icml/imagenet_r50', (3, 224, 224, 256, 'centre')),
    ],
)
def test_the_input_follows_from_the_config_alone(config, expected):
    assert spec_of(config) == InputSpec(*expected)


def test_sizes_of_the_config():
    options = [f'val_dataloader.dataset.{value}' for value in ('size=96', 'resize=110')]
    assert spec_of('bce3s/places_lt_r50', options) == InputSpec(3, 96, 96, 110, 'centre')


def test_the_bits_and_the_ground_are_those_of_the_training():
    option = ['val_dataloader.dataset.ground=[0,1,2]']
    cfg = load_config(str(ROOT / 'configs/bce3s/places_lt_r50.py'), option)
    run = RunDirectory(Path('run'), cfg, Path('epoch_1.pth'))
    meta = dict(dataset_meta=dict(bits=12))
    assert InputSpec.of(run).colours == Colours(None, (0, 1, 2))
    assert InputSpec.of(run, meta).colours == Colours(12, (0, 1, 2))
    cfg.val_dataloader.dataset.bits = 10  # what a config says has the last word
    assert InputSpec.of(run, meta).bits == 10


@pytest.mark.parametrize('kind', ['fit', 'centre'])
def test_a_picture_becomes_rgb_as_in_the_training(tmp_path, kind):
    """As a path, as Pillow's picture, as an array and a tensor."""
    spec = InputSpec(3, 20, 20, 20 if kind == 'centre' else None, kind, 12, (0, 100, 200))
    values = np.full((20, 20), 1024, np.uint16)  # dark, in a set of 12 bits
    Image.fromarray(values).save(tmp_path / 'wide.png')
    wide = tmp_path / 'wide.png'
    for given in (wide, Image.open(wide)):
        assert (to_uint8(given, spec) == 64).all()
    drawing = np.zeros((20, 20, 4), np.uint8)
    drawing[10:, :, 3] = 255
    Image.fromarray(drawing).save(tmp_path / 'drawing.png')
    tensor = torch.tensor(drawing).permute(2, 0, 1)
    for given in (tmp_path / 'drawing.png', Image.fromarray(drawing), drawing, tensor):
        found = to_uint8(given, spec)
        assert found[:, 0, 0].tolist() == [0, 100, 200]
        assert (found[:, 10:] == 0).all()


def test_other_sizes_and_channels_are_fitted():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 20, 3), np.uint8)
    tensor = torch.tensor(image).permute(2, 0, 1)
    expected = fitted(tensor[None], (1, 8, 8))[0]
    assert to_uint8(image, DIGITS).equal(expected)
    grey = (tensor.double().permute(1, 2, 0) @ torch.tensor([0.299, 0.587, 0.114]).double())[None]
    down = torch.nn.functional.interpolate(
        grey[None], (8, 8), mode='bilinear', antialias=True
    ).round()
    assert (down[0] - expected).abs().max() <= 1
    colour = to_uint8(image[..., 0], InputSpec(3, 12, 20, None, 'fit'))
    assert all(channel.equal(tensor[0]) for channel in colour)


def test_processes_read_in_order_and_name_what_they_cannot_read(tmp_path):
    paths = []
    for i in range(23):
        paths.append(str(tmp_path / f'{i}.png'))
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(paths[-1])
    Path(paths[9]).write_bytes(b'')
    for workers in (0, 2):
        found = list(batches(paths, DIGITS, 4, workers))
        assert [name for batch in found for name in batch.names] == paths
        values = torch.cat([batch.images for batch in found])[:, 0, 0, 0].tolist()
        assert values == [i for i in range(23) if i != 9]
        errors = [error for batch in found for error in batch.errors]
        assert [i for i, error in enumerate(errors) if error] == [9]
