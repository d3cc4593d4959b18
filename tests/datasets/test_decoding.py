"""Decoding against Pillow and torchvision: crops, formats, orientations, damage."""

from __future__ import annotations

import io
import math
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, PngImagePlugin
from torchvision import transforms
from torchvision.transforms import functional as tf

from bce3s.datasets import decoding, pixels
from bce3s.datasets.decoding import Crop, random_crop, read_centre, read_random_crop
from bce3s.datasets.pixels import (
    ORIENTATION,
    Colours,
    ImageFile,
    pixels_of_file,
    pixels_of_picture,
)
from bce3s.datasets.pixels import upright as upright_pixels
from bce3s.errors import BCE3SError


def photo(height=150, width=200, seed=0):
    """Something smooth with edges and noise, as photos are: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / (height / 4)
    waves = [np.sin(x * (1 + k) + rng.random()) * np.cos(y * (3 - k)) for k in range(3)]
    pixels = 128 + 70 * np.stack(waves, 2) + 30 * np.sign(np.sin(3 * x + y))[..., None]
    return (pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)


def save(path, image, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return str(path)


def content(path):
    with open(path, 'rb') as file:
        return file.read()


def overwrite(path, data):
    with open(path, 'wb') as file:
        file.write(data)


def tensor(image):
    return torch.from_numpy(np.array(image.convert('RGB'))).permute(2, 0, 1)


def opaque(image, ground='white'):
    """RGB, by another way of Pillow than the one that is tested."""
    if image.has_transparency_data:
        below = Image.new('RGBA', image.size, ground)
        image = Image.alpha_composite(below, image.convert('RGBA'))
    return image.convert('RGB')


def expected_crop(image, size, seed):
    """By Pillow and torchvision, from the upright image."""
    crop = random_crop(image.height, image.width, seed)
    box = crop.top, crop.left, crop.height, crop.width
    out = tf.resized_crop(opaque(image), *box, [size, size])
    return tensor(ImageOps.mirror(out) if crop.mirrored else out)


def expected_centre(image, size, resize):
    return tensor(tf.center_crop(tf.resize(opaque(image), resize), size))


def off(out, expected):
    assert out.dtype == torch.uint8
    assert out.shape == expected.shape
    assert out.is_contiguous()
    return (out.int() - expected.int()).abs()


def assert_read_as(path, image, size=48, resize=56, seeds=6):
    """Both ways of reading equal Pillow's on the upright ``image``, to rounding."""
    assert off(read_centre(path, size, resize), expected_centre(image, size, resize)).max() <= 1
    for seed in range(seeds):
        out = read_random_crop(path, size, seed)
        assert off(out, expected_crop(image, size, seed)).max() <= 1


@pytest.fixture
def no_pillow(monkeypatch):
    """A test that uses it fails where the fast path is not taken."""

    def refuse(*_):
        raise AssertionError('decoded by Pillow')

    monkeypatch.setattr(pixels, '_by_pillow', refuse)


# ---------------------------------------------------------------------------------------- JPEG


@pytest.mark.usefixtures('no_pillow')
@pytest.mark.parametrize('shape', [(150, 200), (201, 133), (37, 41)])
@pytest.mark.parametrize(
    'options',
    [
        *(dict(subsampling=each) for each in (0, 1, 2, '4:1:1')),
        dict(progressive=True),
        dict(restart_marker_rows=1),
        dict(grey=True),
    ],
)
def test_jpegs_equal_pillows(tmp_path, options, shape):
    image = Image.fromarray(photo(*shape)).convert('L' if options.pop('grey', 0) else 'RGB')
    path = save(tmp_path / 'a.jpg', image, quality=92, **options)
    assert_read_as(path, Image.open(path), seeds=10)


@pytest.mark.usefixtures('no_pillow')
@pytest.mark.parametrize(('side', 'reduction'), [(255, 1), (256, 2), (600, 4), (1104, 8)])
def test_large_jpegs_are_decoded_smaller(tmp_path, monkeypatch, side, reduction):
    """The crop of a picture is the crop of the whole; close to the antialiased one."""
    path = save(tmp_path / 'a.jpg', photo(side, side), quality=92)
    crop = Crop(0, 0, side, side, True)
    monkeypatch.setattr(decoding, 'random_crop', lambda *_: crop)
    assert pixels.reduction_for(side, 64) == reduction
    expected = tensor(ImageOps.mirror(tf.resize(Image.open(path), [64, 64])))
    assert off(read_random_crop(path, 64, 0), expected).float().mean() < 0.6
    assert off(read_centre(path, 64, 64), expected.flip(2)).max() <= 1  # never in the test


@pytest.mark.parametrize('reduction', [2, 4, 8])
def test_smaller_crops_lie_where_they_should(tmp_path, reduction):
    """In a picture whose colour is the place, a shift by a pixel of the crop would be seen."""
    side = 512 * reduction // 2
    ramp = np.linspace(0, 255, side)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp, 128.0), 2).astype(np.uint8)
    path = save(tmp_path / 'a.jpg', image, quality=98)
    crop = Crop(side // 5 + 1, side // 7 + 3, side * 3 // 5, side // 2)
    part = ImageFile(path).pixels(reduction=reduction)
    out = decoding.resized_crop(part, decoding._shrunk(crop, reduction), 40)
    box = crop.top, crop.left, crop.height, crop.width
    expected = tensor(tf.resized_crop(Image.open(path), *box, [40, 40]))
    assert off(out, expected).max() <= 2  # a pixel of the crop is worth 3 to 4


# -------------------------------------------------------------------------------- orientation


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


@pytest.mark.usefixtures('no_pillow')
@pytest.mark.parametrize('orientation', range(1, 9))
def test_jpegs_are_turned_upright(tmp_path, orientation):
    path = save(tmp_path / 'a.jpg', photo(), quality=92, exif=exif(orientation))
    assert ImageFile(path).sides == ((150, 200) if orientation < 5 else (200, 150))
    assert_read_as(path, ImageOps.exif_transpose(Image.open(path)))


@pytest.mark.parametrize('suffix', ['png', 'tif', 'webp'])
@pytest.mark.parametrize('orientation', [1, 3, 5, 6, 8])
def test_other_files_are_turned_upright(tmp_path, suffix, orientation):
    options = dict(lossless=True) if suffix == 'webp' else {}
    path = save(tmp_path / f'a.{suffix}', photo(), exif=exif(orientation), **options)
    upright = Image.fromarray(upright_pixels(photo(), orientation))
    assert_read_as(path, upright)


@pytest.mark.parametrize(
    'tags', [exif(0), exif(9), exif(6)[:18], b'Exif\0\0', b'Exif\0\0II*\0\xff\xff\xff\xff']
)
def test_damaged_orientations_are_upright(tmp_path, tags):
    path = save(tmp_path / 'a.jpg', photo(), quality=92, exif=tags)
    assert_read_as(path, Image.fromarray(np.array(Image.open(path))), seeds=1)


def xmp(orientation):
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize(('tags', 'orientation'), [(b'', 6), (exif(1), 1), (exif(8), 8)])
def test_the_orientation_of_xmp_counts_where_exif_has_none(tmp_path, suffix, tags, orientation):
    options = dict(jpg=dict(quality=92), webp=dict(lossless=True)).get(suffix, {})
    if suffix == 'png':
        options['pnginfo'] = PngImagePlugin.PngInfo()
        options['pnginfo'].add_itxt('XML:com.adobe.xmp', xmp(6).decode())
    else:
        options['xmp'] = xmp(6)
    path = save(tmp_path / f'a.{suffix}', photo(), exif=tags, **options)
    stored = Image.fromarray(np.array(Image.open(path).convert('RGB')))
    upright = Image.fromarray(upright_pixels(np.array(stored), orientation))
    assert_read_as(path, upright, seeds=2)


# -------------------------------------------------------------------------------- other formats


def palette(transparent=False):
    image = Image.fromarray(photo()).quantize(64)
    if transparent:
        image.info['transparency'] = 3
    return image


def with_alpha(mode):
    image = Image.fromarray(photo()).convert(mode)
    image.putalpha(Image.fromarray(photo(seed=1)[..., 0]))
    return image


OTHERS = dict(
    rgb_png=lambda: ('png', Image.fromarray(photo())),
    grey_png=lambda: ('png', Image.fromarray(photo()[..., 0])),
    palette_png=lambda: ('png', palette()),
    transparent_palette_png=lambda: ('png', palette(transparent=True)),
    rgba_png=lambda: ('png', with_alpha('RGB')),
    grey_alpha_png=lambda: ('png', with_alpha('L')),
    two_colours_png=lambda: ('png', Image.fromarray(photo()).convert('1')),
    cmyk_jpeg=lambda: ('jpg', Image.fromarray(photo()).convert('CMYK')),
    bmp=lambda: ('bmp', Image.fromarray(photo())),
    ppm=lambda: ('ppm', Image.fromarray(photo())),
    pgm=lambda: ('pgm', Image.fromarray(photo()[..., 0])),
    tiff=lambda: ('tif', Image.fromarray(photo())),
    cmyk_tiff=lambda: ('tiff', Image.fromarray(photo()).convert('CMYK')),
    webp=lambda: ('webp', Image.fromarray(photo())),
    rgba_webp=lambda: ('webp', with_alpha('RGB')),
    grey_alpha_tiff=lambda: ('tif', with_alpha('L')),
    two_colours_tiff=lambda: ('tif', Image.fromarray(photo()).convert('1')),
    palette_gif=lambda: ('gif', palette()),
    ycbcr_tiff=lambda: ('tif', Image.fromarray(photo()).convert('YCbCr')),
    lab_tiff=lambda: ('tif', Image.fromarray(photo()).convert('LAB')),
)


@pytest.mark.parametrize('kind', OTHERS)
def test_other_formats_equal_pillows(tmp_path, kind):
    suffix, image = OTHERS[kind]()
    path = save(tmp_path / f'a.{suffix}', image)
    assert_read_as(path, Image.open(path))


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png', 'tif'])
def test_of_an_animation_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.fromarray(np.full((60, 60, 3), 40 + 60 * k, np.uint8)) for k in range(3)]
    options = dict(lossless=True) if suffix == 'webp' else {}
    path = save(
        tmp_path / f'a.{suffix}', frames[0], save_all=True, append_images=frames[1:], **options
    )
    assert (read_centre(path, 48, 56) == 40).all()


@pytest.mark.parametrize(('dtype', 'factor'), [(np.int32, 1), (np.int32, 256), (np.uint16, 1)])
def test_integers_of_more_bits_than_they_need(tmp_path, dtype, factor):
    """Without a set to go by, the bits are those that the image itself needs."""
    grey = photo()[..., 0]
    path = save(tmp_path / 'a.tif', grey.astype(dtype) * factor)
    assert_read_as(path, Image.fromarray(grey))


def test_16_bits_in_colour_and_with_the_other_end_first(tmp_path):
    pixels = photo()
    low = np.random.default_rng(0).integers(0, 256, pixels.shape)
    wide = (pixels.astype(np.uint16) << 8 | low).astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / 'a.png'), wide[..., ::-1])
    assert_read_as(str(tmp_path / 'a.png'), Image.fromarray(pixels))
    path = tmp_path / 'b.tif'
    save(path, Image.fromarray(wide[..., 0].astype('>u2')))
    assert path.read_bytes()[:2] == b'MM'
    assert_read_as(str(path), Image.fromarray(pixels[..., 0]))


@pytest.mark.parametrize(
    ('pixels', 'reason'),
    [
        (np.ones((30, 30), np.float32), 'no fixed range'),
        (np.full((30, 30), 70000, np.int32), 'more than 16 bits'),
    ],
)
def test_pixels_without_a_range_are_refused(tmp_path, pixels, reason):
    path = save(tmp_path / 'a.tif', pixels)
    with pytest.raises(BCE3SError, match=rf'a\.tif cannot be read as an image .*{reason}'):
        read_centre(path, 16, 16)


# ------------------------------------------------------------------- transparency, more than 8 bits


def png(values, colour_type, chunks=b''):
    """Of 16 bits, as PNG stores them: (H, W, channels)."""

    def chunk(name, data):
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    height, width = values.shape[:2]
    header = struct.pack('>IIBBBBB', width, height, 16, colour_type, 0, 0, 0)
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
    parts = [chunk(b'IHDR', header), chunks and chunk(b'tRNS', chunks)]
    parts += [chunk(b'IDAT', zlib.compress(rows)), chunk(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def half_transparent(mode):
    """A dark disc in the middle, by the mode's way of saying that the rest is transparent."""
    y, x = np.mgrid[:40, :40] - 19.5
    disc = (x**2 + y**2 < 150).astype(np.uint8)
    colours = np.stack([10 * disc, 20 * disc, 30 * disc], 2)
    if mode in ('RGBA', 'LA', 'PA'):
        image = Image.fromarray(colours)
        image = image.convert(mode.removesuffix('A')) if mode != 'RGBA' else image
        image.putalpha(Image.fromarray(disc * 200))
        return image, {}
    if mode == 'P':
        image = Image.fromarray(disc)
        image.putpalette([1, 2, 3, 10, 20, 30])
        return image, dict(transparency=0)
    image = Image.fromarray(dict(RGB=colours, L=disc * 9)[mode])
    return image, dict(transparency=(0, 0, 0) if mode == 'RGB' else 0)


@pytest.mark.parametrize('ground', [(255, 255, 255), (0, 128, 7)])
@pytest.mark.parametrize(
    ('mode', 'suffix'),
    [*((m, 'png') for m in ('RGBA', 'LA', 'P', 'RGB', 'L')), ('RGBA', 'tif'), ('LA', 'tif'),
     ('RGBA', 'webp'), ('P', 'gif')],
)  # fmt: skip
def test_transparent_parts_show_the_ground(tmp_path, mode, suffix, ground):
    image, options = half_transparent(mode)
    options |= dict(lossless=True) if suffix == 'webp' else {}
    path = save(tmp_path / f'a.{suffix}', image, **options)
    expected = np.array(opaque(Image.open(path), ground))
    colours = Colours(ground=ground)
    assert np.array_equal(expected[0, 0], ground)
    assert not np.array_equal(expected[20, 20], ground)
    assert abs(pixels_of_file(path, colours).astype(int) - expected).max() <= 1
    found = pixels_of_picture(Image.open(path), colours)
    assert np.array_equal(found, pixels_of_file(path, colours))
    centre = read_centre(path, 40, 40, colours).permute(1, 2, 0)
    crop = read_random_crop(path, 40, 0, colours)
    assert np.array_equal(centre.numpy(), found)
    assert torch.equal(crop, cropped(found, 40, 0))


def cropped(pixels, size, seed):
    crop = random_crop(*pixels.shape[:2], seed)
    return decoding.resized_crop(pixels, crop, size)


def test_premultiplied_colours_are_divided_by_their_alpha(tmp_path):
    """TIFF's ExtraSamples 1: (100, 50, 0) of alpha 128 are (199, 100, 0) half seen."""
    values = np.full((8, 8, 4), (100, 50, 0, 128), np.uint8)
    path = save(tmp_path / 'a.tif', values)
    extra_samples = b'\x52\x01\x03\0\x01\0\0\0'
    assert extra_samples + b'\x02' in content(path)
    overwrite(path, content(path).replace(extra_samples + b'\x02', extra_samples + b'\x01'))
    assert (abs(pixels_of_file(path) - np.array([227.0, 177, 127])) <= 1).all()


@pytest.mark.parametrize('bits', [8, 9, 10, 12, 16])
@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('colour', [False, True])
def test_the_bits_that_are_used_are_kept(tmp_path, bits, suffix, colour):
    """10 or 12 of 16 bits, as instruments write: not black, of one file and of a set alike."""
    image = photo() if colour else photo()[..., 0]
    image[0, 0] = 255
    wide = image.astype(np.uint16) << (bits - 8)
    stored = wide[..., ::-1] if colour else wide
    path = str(tmp_path / f'a.{suffix}')
    assert cv2.imwrite(path, np.ascontiguousarray(stored))
    expected = image if colour else np.repeat(image[..., None], 3, 2)
    for known in (None, bits):
        assert np.array_equal(pixels_of_file(path, Colours(known)), expected)
        assert np.array_equal(pixels_of_picture(Image.open(path), Colours(known)), expected)
    if bits <= 12:  # darker in a set that uses more, white where it uses fewer
        darker = pixels_of_file(path, Colours(bits + 2))
        assert np.array_equal(darker, expected >> 2)
        assert (pixels_of_file(path, Colours(8))[expected > 200] == 255).all() or bits == 8


def test_transparency_in_16_bits(tmp_path):
    """Grey and colours with alpha, and with one value that stands for nothing."""
    rgb = np.full((6, 6, 3), (4095, 2048, 0), np.uint16)
    rgb[:3] = 7
    alpha = np.full((6, 6, 1), 65535, np.uint16)
    alpha[:3] = 0
    seven = struct.pack('>H', 7)
    files = dict(
        rgba=png(np.concatenate([rgb, alpha], 2), 6),
        la=png(np.concatenate([rgb[..., :1], alpha], 2), 4),
        rgb=png(rgb, 2, seven * 3),
        grey=png(rgb[..., :1], 0, seven),
    )
    for name, data in files.items():
        path = tmp_path / f'{name}.png'
        path.write_bytes(data)
        below = (255, 128, 0) if name.startswith('rgb') else (255,) * 3
        for found in (pixels_of_file(str(path)), pixels_of_picture(Image.open(path))):
            assert (found[:3] == 255).all()
            assert (found[3:] == below).all()


# ------------------------------------------------------------------------------- huge images


@pytest.fixture
def huge(monkeypatch):
    """What is above 10,000 pixels counts as huge."""
    monkeypatch.setattr(pixels, 'HUGE', 10_000)


@pytest.mark.usefixtures('huge')
@pytest.mark.parametrize(
    ('suffix', 'mode'),
    [('jpg', 'RGB'), ('png', 'RGBA'), ('tif', 'I;16')],
)
def test_huge_images_are_read_smaller(tmp_path, suffix, mode, monkeypatch):
    """In the test too: close to the picture, with at least twice the pixels asked for."""
    image = Image.fromarray(photo(600, 500))
    image = Image.fromarray(photo(600, 500)[..., 0].astype(np.uint16) << 8) if ';' in mode else (
        image.convert(mode))  # fmt: skip
    path = save(tmp_path / f'a.{suffix}', image)
    sides = []
    whole = decoding.centre

    def watched(pixels, *args):
        sides.append(pixels.shape[:2])
        return whole(pixels, *args)

    monkeypatch.setattr(decoding, 'centre', watched)
    small = read_centre(path, 48, 56)
    assert sides == [(150, 125)]
    monkeypatch.setattr(pixels, 'HUGE', 1 << 25)
    assert off(small, read_centre(path, 48, 56)).float().mean() < 1.5
    monkeypatch.setattr(pixels, 'HUGE', 10_000)
    for seed in range(4):
        crop = read_random_crop(path, 32, seed)
        monkeypatch.setattr(pixels, 'HUGE', 1 << 25)
        assert off(crop, read_random_crop(path, 32, seed)).float().mean() < 2.5
        monkeypatch.setattr(pixels, 'HUGE', 10_000)


# -------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize('read', [read_centre, read_random_crop])
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif', 'bmp'])
@pytest.mark.parametrize('kept', [0, 0.02, 0.5, 0.97])
def test_truncated_files_are_named(tmp_path, read, suffix, kept):
    path = save(tmp_path / f'a.{suffix}', photo())
    data = content(path)
    overwrite(path, data[: int(len(data) * kept)])
    with pytest.raises(BCE3SError, match=rf'a\.{suffix} cannot be read as an image'):
        read(path, 32, 40)


def test_a_jpeg_cut_within_its_thumbnail_is_named(tmp_path):
    """Its last bytes are the end marker, of the thumbnail."""
    thumbnail = io.BytesIO()
    Image.fromarray(photo(20, 20)).save(thumbnail, 'jpeg')
    path = save(tmp_path / 'a.jpg', photo(), exif=b'Exif\0\0' + thumbnail.getvalue())
    data = content(path)
    end = data.index(b'\xff\xd9') + 2
    assert end < len(data) / 2
    overwrite(path, data[:end])
    with pytest.raises(BCE3SError, match=r'a\.jpg cannot be read'):
        read_centre(path, 32, 40)


def test_pipes_are_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'a.jpg')
    with pytest.raises(BCE3SError, match=r'a\.jpg cannot be read .*no regular file'):
        read_centre(str(tmp_path / 'a.jpg'), 16, 16)
    with pytest.raises(BCE3SError, match=r'zero cannot be read .*no regular file'):
        read_centre('/dev/zero', 16, 16)


def test_more_pixels_than_pillow_takes(tmp_path, monkeypatch):
    path = save(tmp_path / 'a.png', photo(40, 60))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1199)
    with pytest.raises(BCE3SError, match=r'more than 2,398 pixels.*make it smaller'):
        read_centre(path, 16, 16)


# --------------------------------------------------------------------------------- the crop


def test_crops_are_distributed_as_torchvisions():
    n, shape = 4000, (300, 500)
    ours = [random_crop(*shape, seed) for seed in range(n)]
    torch.manual_seed(0)
    draw = transforms.RandomResizedCrop.get_params
    blank = torch.empty(1, *shape)
    theirs = [draw(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(n)]
    rows = np.array([(c.top, c.left, c.height, c.width) for c in ours])
    for mine, other in zip(rows.T, np.array(theirs).T, strict=True):
        quantiles = np.linspace(0.05, 0.95, 10)
        assert np.allclose(np.quantile(mine, quantiles), np.quantile(other, quantiles), atol=16)
    assert abs(sum(c.mirrored for c in ours) - n / 2) < 4 * math.sqrt(n / 4)
    assert (rows[:, 0] + rows[:, 2]).max() <= 300
    assert (rows[:, 1] + rows[:, 3]).max() <= 500


def test_crops_are_a_function_of_their_arguments():
    assert random_crop(300, 500, 7) == random_crop(300, 500, 7)
    assert len({random_crop(300, 500, seed) for seed in range(100)}) == 100
    # Written down: a later change would change every run that is resumed.
    assert random_crop(300, 500, 7) == Crop(24, 20, 263, 215, False)


@pytest.mark.parametrize('shape', [(1, 1), (1, 50), (50, 1), (3, 1000), (2, 3)])
def test_images_of_any_shape(tmp_path, shape):
    path = save(tmp_path / 'a.png', photo(*shape))
    for seed in range(20):
        crop = random_crop(*shape, seed)
        assert 0 <= crop.top <= shape[0] - crop.height
        assert 0 <= crop.left <= shape[1] - crop.width
        assert min(crop.height, crop.width) >= 1
    if min(shape) > 1 or max(shape) < 100:
        assert_read_as(path, Image.open(path), size=8, resize=8)
