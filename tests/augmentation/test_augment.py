"""Batched augmentation against Pillow, image by image, and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from real_data import real_data_root
from sklearn.datasets import load_sample_images
from torchvision.transforms import autoaugment as torchvision_autoaugment
from torchvision.transforms import functional

from bce3s.augmentation.auto_augment import (
    AROUND_ONE,
    BOTH_SIGNS,
    LEVELS,
    POLICIES,
    BatchAutoAugment,
    strength,
)
from bce3s.augmentation.color import BatchColorJitter, BatchGrayscale
from bce3s.augmentation.image_ops import OPS, apply_op
from bce3s.augmentation.rand_augment import BatchRandAugment
from bce3s.augmentation.spatial import BatchCutout, BatchFlip, BatchPadCrop, BatchResizedCrop
from bce3s.datasets.in_memory import CIFAR100LT
from bce3s.errors import BCE3SError
from bce3s.registry import TRANSFORMS

ALL = (
    BatchPadCrop(),
    BatchFlip(),
    BatchAutoAugment(),
    BatchCutout(),
    BatchColorJitter(0.4, 0.4, 0.4, 0.1, prob=0.8),
    BatchRandAugment(),
    BatchGrayscale(),
    BatchResizedCrop(),
)
NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC
SHEARS = ('ShearX', 'ShearY')


# ------------------------------------------------------------------------------ Pillow, one image


def affine(image, matrix, resample=NEAREST):
    fill = (128,) * 3 if image.mode == 'RGB' else 128
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


def rotate(image, degrees):
    turned = image.convert('RGBA').rotate(degrees)
    ground = Image.new('RGBA', turned.size, (128,) * 4)
    return Image.composite(turned, ground, turned).convert(image.mode)


PILLOW = dict(
    ShearX=lambda i, m: affine(i, (1, m, 0, 0, 1, 0), BICUBIC),
    ShearY=lambda i, m: affine(i, (1, 0, 0, m, 1, 0), BICUBIC),
    TranslateX=lambda i, m: affine(i, (1, 0, m * i.size[0], 0, 1, 0)),
    TranslateY=lambda i, m: affine(i, (1, 0, 0, 0, 1, m * i.size[1])),
    Rotate=rotate,
    Color=lambda i, f: ImageEnhance.Color(i).enhance(f),
    Contrast=lambda i, f: ImageEnhance.Contrast(i).enhance(f),
    Brightness=lambda i, f: ImageEnhance.Brightness(i).enhance(f),
    Sharpness=lambda i, f: ImageEnhance.Sharpness(i).enhance(f),
    Hue=functional.adjust_hue,
    Posterize=lambda i, b: ImageOps.posterize(i, int(b)),
    Solarize=lambda i, t: ImageOps.solarize(i, t),
    Invert=lambda i, _: ImageOps.invert(i),
    AutoContrast=lambda i, _: ImageOps.autocontrast(i),
    Equalize=lambda i, _: ImageOps.equalize(i),
)


def pillow(images, *steps):
    """``steps`` of (operation, strength) on each of ``images`` (B, C, H, W), through Pillow."""
    results = []
    for array in images.numpy():
        image = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0).copy())
        for name, value in steps:
            image = PILLOW[name](image, value)
        array = np.asarray(image)
        results.append(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
    return torch.from_numpy(np.stack(results))


def difference(out, expected):
    assert out.dtype == torch.uint8
    assert out.shape == expected.shape
    return (out.int() - expected.int()).abs()


# ----------------------------------------------------------------------------------------- images


def synthetic(name):
    if name == 'photos':  # 54,000 values each: the look-up of large images
        crops = [photo[100:220, 200:350] for photo in load_sample_images().images]
        return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())
    noise = np.random.default_rng(0).integers
    y, x = np.mgrid[:32, :32]
    waves = [127 + 90 * np.sin(x / (3 + k) + y / (7 - k) + k) for k in range(3)]
    flat = np.full((2, 3, 32, 32), [[[[0]]], [[[200]]]])
    arrays = dict(
        noise=noise(0, 256, (6, 3, 32, 32)),
        smooth=np.stack([waves, waves[::-1], [w / 4 + 60 for w in waves]]),
        flat=flat,
        grey=noise(0, 256, (4, 1, 28, 28)),
        digits=noise(0, 17, (6, 1, 8, 8)) * 15,
        oblong=noise(0, 256, (3, 3, 17, 29)),
        tiny=noise(0, 256, (5, 3, 2, 1)),
        large=np.kron(noise(0, 256, (1, 3, 16, 20)), np.ones((5, 5))),
    )
    return torch.from_numpy(arrays[name].astype(np.uint8))


def real(n):
    if not (real_data_root() / 'cifar-100-python/test').is_file():
        pytest.skip('CIFAR-100 is not unpacked in data/cifar-100-python')
    return CIFAR100LT(real_data_root(), train=False, verify=False).images[:n]


KINDS = ('noise', 'smooth', 'flat', 'grey', 'digits', 'oblong', 'tiny', 'large', 'photos', 'real')


def pictures(kind, n=16):
    return real(n) if kind == 'real' else synthetic(kind)


def uniforms(op, n, seed=0):
    return torch.rand(n, op.draws, generator=torch.Generator().manual_seed(seed))


# ----------------------------------------------------------------- AutoAugment's operations, policy


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', OPS)
def test_each_operation_equals_pillows_at_every_level_and_sign(name, kind):
    images = pictures(kind)
    for level in range(10) if name in LEVELS else (None,):
        for sign in (-1, 1):
            value = sign * 0.37 if name == 'Hue' else strength(name, level, sign)
            out = apply_op(images, name, np.full(len(images), value))
            off = difference(out, pillow(images, (name, value)))
            # Cubic interpolation in float32 may round a value that is all but whole differently.
            # So may the hue, where the value between two others is a half.
            assert off.max() <= (name in (*SHEARS, 'Hue'))
            assert (off > 0).float().mean() < 0.02


@pytest.mark.parametrize('name', ['ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate'])
def test_warps_equal_pillows_at_strengths_off_the_grid(name):
    images = pictures('noise')
    scale = 60 if name == 'Rotate' else 0.7
    for value in np.random.default_rng(1).uniform(-scale, scale, 25):
        off = difference(
            apply_op(images, name, np.full(len(images), value)), pillow(images, (name, value))
        )
        assert off.max() <= (name in SHEARS)


@pytest.mark.parametrize(('name', 'axis'), [('TranslateX', 3), ('TranslateY', 2)])
def test_a_shift_of_half_a_pixel_goes_up(name, axis):
    """To the next whole pixel in the direction of larger shifts, as Pillow's; not to the even."""
    images = pictures('noise')
    size = images.shape[axis]
    for pixels, whole in ((0.5, 1), (1.5, 2), (2.5, 3), (-0.5, 0), (-1.5, -1), (-2.5, -2)):
        fraction = np.full(len(images), pixels / size)
        expected = images.roll(-whole, axis)
        if whole:
            edge = slice(size - whole, None) if whole > 0 else slice(None, -whole)
            expected[(slice(None),) * axis + (edge,)] = 128
        assert torch.equal(apply_op(images, name, fraction), expected)


def test_which_operations_have_either_sign():
    """Written down, as the code of the literature has them: a rotation has one."""
    signed = {name for name in OPS if name in LEVELS and strength(name, 9, -1) < 0}
    assert signed == {'ShearX', 'ShearY', 'TranslateX', 'TranslateY'} == set(BOTH_SIGNS)
    around = {name for name in LEVELS if strength(name, 9, -1) + strength(name, 9, 1) == 2}
    assert around == {'Color', 'Sharpness', 'Brightness', 'Contrast'} == set(AROUND_ONE)
    for name in signed:
        assert strength(name, 9, -1) == -strength(name, 9, 1) != 0


def test_each_image_has_its_own_strength():
    images = pictures('noise')
    for name in LEVELS:
        values = np.array([strength(name, level, 1 - 2 * (level % 2)) for level in range(3, 9)])
        together = apply_op(images, name, values)
        alone = [apply_op(images[i : i + 1], name, values[i : i + 1]) for i in range(6)]
        assert torch.equal(together, torch.cat(alone))


def test_equalize_of_few_pixels_leaves_the_image():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)  # fewer than 255: step 0
    assert torch.equal(apply_op(images, 'Equalize', np.zeros(1)), images)


def test_color_is_the_identity_on_grey_images():
    images = pictures('digits')
    assert torch.equal(apply_op(images, 'Color', np.full(6, 1.9)), images)


def test_the_table_is_torchvisions():
    source = torchvision_autoaugment.AutoAugment(torchvision_autoaugment.AutoAugmentPolicy.CIFAR10)
    assert list(POLICIES['cifar10']) == source.policies
    assert len(POLICIES['cifar10']) == 25


def test_strengths_at_the_ends_of_the_levels():
    assert strength('Rotate', 9, -1) == strength('Rotate', 9, 1) == 30
    assert strength('TranslateX', 9, -1) == -150 / 331
    assert strength('ShearY', 9, 1) == pytest.approx(0.3)
    assert [strength('Posterize', k, 1) for k in range(10)] == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    assert (strength('Solarize', 0, 1), strength('Solarize', 9, 1)) == (256, 0)
    for name in AROUND_ONE:
        assert strength(name, 9, 1) == pytest.approx(1.9)
        assert strength(name, 9, -1) == pytest.approx(0.1)


def rows_of(policy, coins, signs):
    """A row of ``u`` that chooses a sub-policy; an operation is applied where its coin is 0."""
    return [(policy + 0.5) / 25, *coins, *((sign + 1) / 4 + 0.25 for sign in signs)]


@pytest.mark.parametrize('kind', ['real', 'noise', 'digits'])
def test_whole_sub_policies_equal_pillows(kind):
    images = pictures(kind, 3)[:3]
    op = BatchAutoAugment()
    u, expected = [], []
    for index, pair in enumerate(POLICIES['cifar10']):
        for signs in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            used = [choice for choice in pair if choice[1] > 0]  # probability 0 is never applied
            steps = [(name, strength(name, level, signs[pair.index((name, prob, level))]))
                     for name, prob, level in used]  # fmt: skip
            if pair[0] == pair[1]:
                steps = [(pair[0][0], strength(pair[0][0], pair[0][2], s)) for s in signs]
            expected.append(pillow(images, *steps))
            u += [rows_of(index, (0, 0), signs)] * len(images)
    out = op(images.repeat(100, 1, 1, 1), torch.tensor(u))
    off = difference(out, torch.cat(expected)).view(25, -1)
    # A pixel that the cubic shear rounded differently may be seen by the operation after it.
    for index, pair in enumerate(POLICIES['cifar10']):
        sheared = pair[0][0] in SHEARS
        assert off[index].max() <= (16 if pair[1][0] == 'Posterize' else 1) * sheared
        assert (off[index] > 0).float().mean() < 0.01


def test_coins_at_their_probability():
    op, images = BatchAutoAugment(), pictures('noise')[:1]
    for index, pair in enumerate(POLICIES['cifar10']):
        for step in (0, 1):
            name, prob, level = pair[step]
            expected = apply_op(images, name, np.array([strength(name, level, 1)]))
            for coin, applied in ((prob - 1e-3, True), (prob, False), (prob + 1e-3, False)):
                coins = [0.9999, 0.9999]
                coins[step] = coin
                if coin < 0:
                    continue
                u = torch.tensor([rows_of(index, coins, (1, 1))], dtype=torch.float64)
                assert torch.equal(op(images, u), expected if applied else images)


def test_frequencies_of_sub_policies_operations_and_signs():
    op, n = BatchAutoAugment(), 100_000
    chosen, strengths = op._decide(uniforms(op, n).double().numpy())
    for step in (0, 1):
        expected = dict.fromkeys(OPS, 0.0)
        for pair in POLICIES['cifar10']:
            expected[pair[step][0]] += pair[step][1] / 25
        counts = np.bincount(chosen[:, step], minlength=len(OPS) + 1) / n
        for name, share in zip(OPS, counts, strict=False):
            assert share == pytest.approx(expected[name], abs=0.005)
        for name in BOTH_SIGNS:
            values = strengths[chosen[:, step] == OPS.index(name), step]
            if len(values):
                assert (values > 0).mean() == pytest.approx(0.5, abs=0.04)


# -------------------------------------------------------------------------- crop, flip, Cutout


def whole(u, n):
    return int(u * n)


@pytest.mark.parametrize('kind', ['noise', 'digits', 'oblong', 'grey'])
@pytest.mark.parametrize(('padding', 'size'), [(4, None), (0, None), (2, 8), (0, 7), (1, 10)])
def test_crop_equals_a_loop(kind, padding, size):
    images, op = pictures(kind), BatchPadCrop(padding, size)
    u = uniforms(op, len(images))
    h, w = (size or n for n in images.shape[2:])
    for image, row, out in zip(images.numpy(), u.double().tolist(), op(images, u), strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        top, left = (
            whole(r, n - m + 1) for r, n, m in zip(row, padded.shape[1:], (h, w), strict=True)
        )
        assert np.array_equal(out, padded[:, top : top + h, left : left + w])


def test_crop_reaches_every_corner_and_both_ends_equally_often():
    op = BatchPadCrop(padding=1)
    images = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3).expand(9000, -1, -1, -1)
    windows, counts = op(images, uniforms(op, 9000)).flatten(1).unique(dim=0, return_counts=True)
    assert len(windows) == 9
    assert counts.min() > 880


@pytest.mark.parametrize('size', [None, 5, 40])
@pytest.mark.parametrize('kind', ['real', 'noise', 'oblong', 'grey'])
def test_resized_crop_equals_torchvisions_of_pillow(kind, size):
    """Given area, shape and place; within a level, for Pillow's weights have 22 bits."""
    images, op = pictures(kind), BatchResizedCrop(size)
    rows, columns = images.shape[2:]
    u = uniforms(op, len(images))
    for image, row, out in zip(images, u.double().tolist(), op(images, u), strict=True):
        for area, shape in zip(row[:20:2], row[1:20:2], strict=True):
            area, shape = (0.08 + 0.92 * area) * rows * columns, 3 / 4 * (16 / 9) ** shape
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= columns and 0 < h <= rows:
                break
        top, left = whole(row[-2], rows - h + 1), whole(row[-1], columns - w + 1)
        box = top, left, h, w
        shown = functional.resized_crop(
            functional.to_pil_image(image), *box, (size or rows, size or columns)
        )
        assert difference(out[None], functional.pil_to_tensor(shown)[None]).max() <= 1


def test_a_window_that_never_fits_is_the_largest():
    images = pictures('oblong')
    u = torch.zeros(len(images), 22)
    op = BatchResizedCrop(scale=(1, 1), ratio=(1, 1))
    side = min(images.shape[2:])
    shown = [
        functional.resized_crop(functional.to_pil_image(i), 0, 0, side, side, i.shape[1:])
        for i in images
    ]
    expected = torch.stack([functional.pil_to_tensor(i) for i in shown])
    assert difference(op(images, u), expected).max() <= 1


def test_flip_equals_a_loop():
    images, op = pictures('oblong').repeat(9, 1, 1, 1), BatchFlip(0.3)
    u = uniforms(op, len(images))
    for image, (row,), out in zip(images, u.tolist(), op(images, u), strict=True):
        assert torch.equal(out, image.flip(2) if row < 0.3 else image)
    assert torch.equal(BatchFlip(0)(images, u), images)
    assert torch.equal(BatchFlip(1)(images, u), images.flip(3))


@pytest.mark.parametrize('size', [1, 5, 16, 100])
def test_cutout_equals_a_loop(size):
    images, op = pictures('oblong').repeat(8, 1, 1, 1), BatchCutout(size)
    u = uniforms(op, len(images))
    for image, row, out in zip(images.numpy(), u.double().tolist(), op(images, u), strict=True):
        expected = image.copy()
        y, x = (whole(r, n) - size // 2 for r, n in zip(row, image.shape[1:], strict=True))
        expected[:, max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)] = 0
        assert np.array_equal(out, expected)


# ----------------------------------------------------------------------------------- every op


@pytest.mark.parametrize('op', ALL, ids=lambda op: type(op).__name__)
class TestEveryOp:
    def batch(self, op, n=48):
        images = pictures('noise').repeat(n // 6, 1, 1, 1)
        return images + torch.arange(n, dtype=torch.uint8)[:, None, None, None], uniforms(op, n)

    def test_is_a_function_of_each_row_alone(self, op):
        images, u = self.batch(op)
        out = op(images, u)
        assert torch.equal(out, op(images, u))
        assert not torch.equal(out, images)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))
        assert torch.equal(op(images[order], u[order]), out[order])
        assert torch.equal(torch.cat([op(images[:17], u[:17]), op(images[17:], u[17:])]), out)

    def test_leaves_its_input_and_returns_contiguous_memory(self, op):
        images, u = self.batch(op)
        before = images.clone()
        out = op(images, u)
        assert torch.equal(images, before)
        assert out.is_contiguous()
        out.zero_()
        assert torch.equal(images, before)

    def test_takes_images_that_are_not_contiguous(self, op):
        images, u = self.batch(op)
        strided = images.to(memory_format=torch.channels_last)
        assert torch.equal(op(strided, u), op(images, u))

    def test_empty_batch_and_batch_of_one(self, op):
        images, u = self.batch(op)
        assert op(images[:0], u[:0]).shape == (0, 3, 32, 32)
        assert torch.equal(op(images[:1], u[:1]), op(images, u)[:1])

    def test_largest_uniform_number(self, op):
        images, _ = self.batch(op)
        u = torch.full((len(images), op.draws), 1 - 2**-24)
        assert op(images, u).shape == images.shape

    def test_is_in_the_registry(self, op):
        assert type(TRANSFORMS.build(dict(type=type(op).__name__))) is type(op)

    @pytest.mark.parametrize('fault', ['float images', 'one image', 'few rows', 'few draws', 'int'])
    def test_bad_input_is_named(self, op, fault):
        images, u = self.batch(op)
        images = images.float() if fault == 'float images' else images
        images = images[0] if fault == 'one image' else images
        u = dict(
            zip(('few rows', 'few draws', 'int'), (u[1:], u[:, 1:], u.long()), strict=True)
        ).get(fault, u)
        with pytest.raises(BCE3SError, match=type(op).__name__):
            op(images, u)

    @pytest.mark.gpu
    def test_gpu_gives_the_same_without_waiting_for_the_host(self, op):
        images, u = self.batch(op)
        on_gpu = images.cuda()
        op(on_gpu, u)
        torch.cuda.set_sync_debug_mode('error')
        try:
            out = op(on_gpu, u)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert difference(out.cpu(), op(images, u)).max() <= 1


@pytest.mark.parametrize(
    'build',
    [
        lambda: BatchPadCrop(-1),
        lambda: BatchPadCrop(4, 0),
        lambda: BatchFlip(1.5),
        lambda: BatchResizedCrop(0),
        lambda: BatchResizedCrop(scale=(0, 1)),
        lambda: BatchResizedCrop(scale=(0.5, 1.1)),
        lambda: BatchResizedCrop(ratio=(2, 1)),
        lambda: BatchCutout(0),
        lambda: BatchAutoAugment('cifar11'),
        lambda: BatchColorJitter(-0.1),
        lambda: BatchColorJitter(hue=0.6),
        lambda: BatchColorJitter(prob=2),
        lambda: BatchGrayscale(-1),
        lambda: BatchRandAugment(0),
        lambda: BatchRandAugment(magnitude=31),
        lambda: BatchRandAugment(num_levels=1, magnitude=0),
        lambda: BatchRandAugment(prob=1.5),
    ],
)
def test_settings_out_of_range_are_refused(build):
    with pytest.raises(BCE3SError):
        build()


def test_a_window_larger_than_the_padded_image_is_refused():
    with pytest.raises(BCE3SError, match='raise padding or lower size'):
        BatchPadCrop(1, 12)(pictures('digits'), torch.rand(6, 2))


@pytest.mark.parametrize('op', ALL[2:3] + ALL[4:7], ids=lambda op: type(op).__name__)
def test_what_knows_colours_refuses_other_channels(op):
    with pytest.raises(BCE3SError, match=f'{type(op).__name__} takes grey or RGB.* 4 channels'):
        op(torch.zeros(1, 4, 8, 8, dtype=torch.uint8), torch.rand(1, op.draws))
