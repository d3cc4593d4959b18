"""ColorJitter, RandAugment and grey images against torchvision, image by image."""

from __future__ import annotations

import math
from functools import cache
from itertools import permutations

import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import ColorJitter, InterpolationMode, RandAugment, functional
from torchvision.transforms.autoaugment import _apply_op

from bce3s.augmentation import image_ops
from bce3s.augmentation.auto_augment import BatchAutoAugment
from bce3s.augmentation.color import BatchColorJitter, BatchGrayscale
from bce3s.augmentation.image_ops import OPS
from bce3s.augmentation.mixing import MixUpOrCutMix
from bce3s.augmentation.rand_augment import SPACE, BatchRandAugment
from bce3s.augmentation.spatial import BatchCutout, BatchFlip, BatchPadCrop

THEIRS = dict(
    Brightness=functional.adjust_brightness,
    Contrast=functional.adjust_contrast,
    Color=functional.adjust_saturation,
    Hue=functional.adjust_hue,
)


@cache
def whole_photos():
    return load_sample_images().images


def photos(n, size=96, grey=False):
    """(n, 3 or 1, size, size): crops of real photos."""
    rng, crops = np.random.default_rng(n), []
    for i in range(n):
        photo = whole_photos()[i % 2]
        top, left = rng.integers(photo.shape[0] - size), rng.integers(photo.shape[1] - size)
        crops.append(photo[top : top + size, left : left + size].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(crops))[:, : 1 if grey else 3].contiguous()


def as_image(tensor):
    return functional.to_pil_image(tensor)


def uniforms(op, n, seed=0):
    return torch.rand(n, op.draws, generator=torch.Generator().manual_seed(seed)).double()


def off(ours, theirs):
    return np.abs(ours.numpy().astype(int) - functional.pil_to_tensor(theirs).numpy().astype(int))


# ------------------------------------------------------------------------------------ ColorJitter


@pytest.mark.parametrize('size', [17, 96, 120])  # small, and larger than 2^15 values
@pytest.mark.parametrize('grey', [False, True])
@pytest.mark.parametrize('spans', [(0.4, 0.4, 0.4, 0), (0.4, 0.4, 0.4, 0.1), (0, 2, 0, 0.5)])
def test_jitter_equals_torchvisions_given_its_factors(spans, grey, size):
    images, op = photos(48, size, grey), BatchColorJitter(*spans, prob=0.8)
    u = uniforms(op, len(images))
    used = [
        (name, max(0, 1 - a) if name != 'Hue' else -a, 1 + a if name != 'Hue' else a)
        for name, a in zip(THEIRS, spans, strict=True)
        if a
    ]
    orders = list(permutations(range(len(used))))
    assert op.draws == 2 + len(used)
    seen = set()
    for image, row, out in zip(images, u.tolist(), op(images, u), strict=True):
        theirs = as_image(image)
        if row[0] < 0.8:
            order = orders[int(row[1] * len(orders))]
            seen.add(order)
            for k in order:
                name, low, high = used[k]
                theirs = THEIRS[name](theirs, low + (high - low) * row[2 + k])
        assert off(out, theirs).max() <= 1
    assert len(seen) > len(orders) / 2


def test_jitters_factors_and_orders_are_distributed_as_torchvisions():
    op, n = BatchColorJitter(0.4, 0.2, 1.5, 0.1), 40_000
    ops, strengths = op._decide(uniforms(op, n).numpy())
    theirs = ColorJitter(0.4, 0.2, 1.5, 0.1)
    ranges = (theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue)
    for name, (low, high) in zip(THEIRS, ranges, strict=True):
        values = strengths[ops == OPS.index(name)]
        assert len(values) == n  # each image has each operation once
        quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        expected = np.linspace(low, high, 5)
        assert np.abs(quantiles - expected).max() < 0.02 * (high - low)
    counts = np.unique(ops, axis=0, return_counts=True)[1]
    assert len(counts) == math.factorial(4)
    assert np.abs(counts / n * 24 - 1).max() < 0.12


def test_a_jitter_of_nothing_changes_nothing():
    images, op = photos(4), BatchColorJitter(0, 0, 0, 0)
    assert torch.equal(op(images, uniforms(op, 4)), images)
    op = BatchColorJitter(prob=0)
    assert torch.equal(op(images, uniforms(op, 4)), images)


def test_pieces_of_a_batch_give_what_the_whole_gives(monkeypatch):
    images, op = photos(10, 120), BatchColorJitter(hue=0.1)
    u, results = uniforms(op, 10), []
    for piece in (1, 3 * images[0].numel(), 2**30):
        monkeypatch.setattr(image_ops, 'PIECE', piece)
        results.append(op(images, u))
    monkeypatch.setattr(image_ops, 'LARGE', 2**30)  # as small images, by way of gathers
    for result in results:
        assert torch.equal(result, op(images, u))


def test_every_hue_and_saturation_of_a_coarse_cube():
    """All colours of a 16 x 16 x 16 grid, turned by many angles, bit by bit within 1 of 255."""
    values = torch.arange(0, 256, 17, dtype=torch.uint8)
    cube = torch.cartesian_prod(values, values, values).T.reshape(1, 3, 64, 64)
    for turn in np.linspace(-0.5, 0.5, 21):
        ours = image_ops.apply_op(cube, 'Hue', np.array([turn]))[0]
        assert off(ours, functional.adjust_hue(as_image(cube[0]), turn)).max() <= 1


# ----------------------------------------------------------------------------------------- grey


@pytest.mark.parametrize('grey', [False, True])
def test_grayscale_equals_torchvisions(grey):
    images, op = photos(40, 24, grey), BatchGrayscale(0.3)
    u = uniforms(op, 40)
    for image, (coin,), out in zip(images, u.tolist(), op(images, u), strict=True):
        theirs = as_image(image)
        if coin < 0.3:
            theirs = functional.to_grayscale(theirs, 1 if grey else 3)
        assert off(out, theirs).max() == 0


# ---------------------------------------------------------------------------------- RandAugment


def theirs_of(image, name, magnitude):
    """One operation as torchvision applies it, with the fill and interpolation of ours."""
    fill = [128.0] * len(image.getbands())
    if name in ('TranslateX', 'TranslateY'):  # by the nearest whole pixel, left or up
        size = image.size[name == 'TranslateY']
        magnitude = -math.floor(magnitude * size + 0.5)
    if name in ('Brightness', 'Color', 'Contrast', 'Sharpness'):
        magnitude -= 1
    shear = name.startswith('Shear')
    mode = InterpolationMode.BICUBIC if shear else InterpolationMode.NEAREST
    return _apply_op(image, name, magnitude, mode, fill)


@pytest.mark.parametrize('grey', [False, True])
@pytest.mark.parametrize(('magnitude', 'levels'), [(9, 31), (30, 31), (10, 11), (0, 31)])
def test_each_of_the_14_operations_equals_torchvisions(magnitude, levels, grey):
    op, images = BatchRandAugment(1, magnitude, levels), photos(2, 60, grey)
    for which, name in enumerate(SPACE):
        for sign in (0, 1):
            row = [(which + 0.5) / 14, 0.25 + 0.5 * sign, 0.0]
            value = op._strength[which, sign]
            out = op(images, torch.tensor([row] * 2, dtype=torch.float64))
            for image, ours in zip(images, out, strict=True):
                theirs = theirs_of(as_image(image), name, value)
                assert off(ours, theirs).max() <= name.startswith('Shear'), (name, sign)


@pytest.mark.parametrize(('magnitude', 'levels'), [(9, 31), (17, 31), (30, 31), (7, 11)])
def test_strengths_are_torchvisions(magnitude, levels):
    op, size = BatchRandAugment(2, magnitude, levels), 331
    space = RandAugment(num_magnitude_bins=levels)._augmentation_space(levels, (size, size))
    assert list(SPACE) == list(space)
    for (name, (values, signed)), (minus, plus) in zip(space.items(), op._strength, strict=True):
        value = float(values[magnitude]) if values.ndim else 0.0
        start = SPACE[name][0] if signed else 0
        value = value / size if name.startswith('Translate') else value
        assert plus == pytest.approx(start + value, abs=1e-5)
        assert minus == pytest.approx(start - value if signed else value, abs=1e-5)


def test_two_operations_follow_each_other():
    op, images = BatchRandAugment(2), photos(30, 48)
    u = uniforms(op, 30)
    out, names = op(images, u), list(SPACE)
    for image, row, ours in zip(images, u.view(30, 2, 3).tolist(), out, strict=True):
        theirs, used = as_image(image), []
        for which, sign, _ in row:
            k = int(which * 14)
            used.append(names[k])
            theirs = theirs_of(theirs, names[k], op._strength[k, int(sign >= 0.5)])
        apart = off(ours, theirs)
        # What the cubic shear rounded differently, an operation after it may spread.
        sheared = used[0].startswith('Shear')
        assert apart.max() <= (32 if sheared else used[1].startswith('Shear')), used
        assert (apart > 0).mean() < 0.05


def test_operations_are_drawn_equally_often_and_left_out_with_probability():
    op, n = BatchRandAugment(3, 10, 11, prob=0.5), 60_000
    ops, strengths = op._decide(uniforms(op, n).numpy())
    assert ops.shape == strengths.shape == (n, 3)
    for step in range(3):
        shares = np.bincount(ops[:, step], minlength=len(OPS) + 1) / n
        expected = np.array([0.5 / 14 * (name in SPACE) for name in OPS] + [0.5 + 0.5 / 14])
        assert np.abs(shares - expected).max() < 0.006
    turned = strengths[ops == OPS.index('Rotate')]
    assert set(np.unique(turned)) == {-30.0, 30.0}
    assert (turned > 0).mean() == pytest.approx(0.5, abs=0.03)
    again, _ = op._decide(uniforms(op, n).numpy())
    assert np.array_equal(again, ops)


# ------------------------------------------------------------------------------------------- GPU


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
    'op', [BatchColorJitter(hue=0.1), BatchRandAugment(), BatchGrayscale()], ids=lambda op: op.draws
)
def test_the_host_does_not_wait_for_a_gpu(op, channels):
    u = uniforms(op, 64)
    with fake_gpu():
        images = torch.zeros(64, channels, 24, 24, dtype=torch.uint8, device='cuda')
        out = op(images, u)
        assert (out.device.type, out.shape, out.dtype) == ('cuda', images.shape, torch.uint8)


def test_large_images_are_looked_up_as_small_ones():
    """OpenCV on a CPU gives what the gather gives, which a GPU uses."""
    images, rng = photos(3, 120), np.random.default_rng(0)
    for channels in (1, 3):
        tables = torch.from_numpy(rng.integers(0, 256, (3, channels, 256), np.uint8))
        large = image_ops.look_up(images, tables)
        small = torch.cat(
            [image_ops.look_up(part, tables) for part in images.split(60, dim=2)], dim=2
        )
        assert torch.equal(large, small)


# ---------------------------------------------------------------------------------- edges of draws
def test_grey_values_of_a_half_are_rounded_as_pillows():
    """All colours whose luma is a whole number and a half of 256ths of 256ths: 274 of them."""
    red, green, blue = np.ogrid[:256, :256, :256]
    luma = (19595 * red + 38470 * green).astype(np.int32) + (7471 * blue).astype(np.int32)
    colours = np.argwhere(luma % 65536 == 32768).astype(np.uint8)[None]
    assert colours.shape == (1, 274, 3)
    ours = image_ops.grey(torch.from_numpy(colours).permute(0, 2, 1)[..., None].contiguous())
    theirs = np.asarray(Image.fromarray(colours).convert('L'))
    assert np.array_equal(ours[0, 0, :, 0].numpy(), theirs[0])


@pytest.mark.parametrize(
    ('op', 'coin'),
    [
        (BatchColorJitter(prob=0.5), 0),
        (BatchGrayscale(0.5), 0),
        (BatchRandAugment(1, 30, 31, prob=0.5), 2),
        (BatchFlip(0.5), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_coin_that_equals_the_probability_applies_nothing(op, coin):
    """Of [0, 1) the part below p has the size p; so probability 0 is never."""
    images = photos(1, 24)
    u = torch.full((1, op.draws), 0.4, dtype=torch.float64)
    u[0, coin] = 0.5
    assert torch.equal(op(images, u), images)
    u[0, coin] = 0.4999
    assert not torch.equal(op(images, u), images)


def test_a_sign_of_a_half_is_plus():
    """Of [0, 1) each sign has a half."""
    ops, strengths = BatchRandAugment(1, 30, 31)._decide(np.array([[1.5 / 14, 0.5, 0.0]]))
    assert (OPS[ops[0, 0]], strengths[0, 0]) == ('ShearX', pytest.approx(0.3))
    at_random = np.array([[3.5 / 25, 0.0, 0.0, 0.5, 0.5]])  # (ShearY, TranslateY)
    _, strengths = BatchAutoAugment()._decide(at_random)
    assert (strengths > 0).all()


def test_factors_are_never_negative():
    """torchvision's [max(0, 1 - a), 1 + a]."""
    op = BatchColorJitter(1.5, 2.0, 0.5, 0)
    assert op._low.tolist() == [0, 0, 0.5]
    assert op._high.tolist() == [2.5, 3, 1.5]


def test_defaults_are_those_of_the_papers():
    assert BatchGrayscale().prob == 0.2
    jitter = BatchColorJitter()
    assert (jitter._low.tolist(), jitter.prob) == ([0.6] * 3, 1)
    assert (BatchCutout().size, BatchPadCrop().padding, BatchFlip().prob) == (16, 4, 0.5)
    mix = MixUpOrCutMix()  # settings 5 and 6 of the ICML paper's Table 5
    assert (mix.mixup_alpha, mix.cutmix_alpha, mix.prob, mix.switch_prob) == (0.8, 1.0, 0.8, 0.5)
