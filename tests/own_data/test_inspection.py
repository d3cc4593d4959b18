"""What the dry run says of pictures in which something is wrong, and of those that are fine."""

import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from bce3s.datasets.decoding import read_centre
from bce3s.own_data.found import FoundImages
from bce3s.own_data.inspection import inspect
from bce3s.own_data.thumbnails import SHOWN, Finding, format_findings, look_at_all, small_pixels

CLASSES = ['ant', 'bee', 'cat']


def scene(seed, side=64, grey=False):
    """Soft coloured shapes, no two alike."""
    grid = np.random.default_rng(seed).normal(size=(7, 7, 3)).astype(np.float32)
    if grey:
        grid = np.repeat(grid[..., :1], 3, axis=2)
    large = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 60 * large, 0, 255).astype(np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def root(tmp_path):
    """Six training and two validation images of each of three classes."""
    for k, name in enumerate(CLASSES):
        for split, number in (('train', 6), ('val', 2)):
            for i in range(number):
                seed = [k, i, split == 'val']
                save(tmp_path / split / name / f'{i}.jpg', scene(seed), quality=95)
    return tmp_path


def found(root, classes=None):
    """As the folders have it."""
    classes = sorted(p.name for p in (root / 'train').iterdir()) if classes is None else classes
    splits = {
        split: sorted(
            (str(path.relative_to(root)), k)
            for k, name in enumerate(classes)
            for path in (root / split / name).rglob('*.*')
        )
        for split in ('train', 'val')
    }
    return FoundImages(root, classes, splits)


def findings(root, classes=None):
    return {finding.kind: finding for finding in inspect(found(root, classes))}


def test_nothing_is_said_of_pictures_that_are_fine(root):
    assert inspect(found(root)) == []
    assert format_findings([]) == 'Nothing about the pictures looks wrong.'


def test_copies_of_a_file(root):
    shutil.copy(root / 'train/ant/0.jpg', root / 'train/ant/again.jpg')
    shutil.copy(root / 'train/ant/1.jpg', root / 'train/bee/moved.jpg')
    shutil.copy(root / 'train/cat/2.jpg', root / 'val/cat/leak.jpg')
    pixels = (root / 'train/bee/3.jpg').read_bytes()
    (root / 'train/bee/tagged.jpg').write_bytes(pixels[:2] + b'\xff\xfe\x00\x06Hi!!' + pixels[2:])
    said = findings(root)
    assert sorted(said) == ['copies', 'label_conflict', 'leak']
    assert said['copies'].lines == [
        'train/ant/again.jpg = train/ant/0.jpg',
        'train/bee/tagged.jpg = train/bee/3.jpg (another file, the same pixels)',
    ]
    assert said['copies'].headline.startswith('2 pictures are there already')
    assert said['label_conflict'].lines == ['train/bee/moved.jpg and train/ant/1.jpg']
    assert said['leak'].lines == ['val/cat/leak.jpg and train/cat/2.jpg']


def test_copies_of_what_is_seen(root):
    small = Image.open(root / 'train/ant/0.jpg').resize((40, 40), Image.Resampling.BICUBIC)
    small.save(root / 'val/ant/small.png')
    darker = Image.open(root / 'train/bee/1.jpg').point(lambda value: int(value * 0.8))
    darker.save(root / 'train/cat/darker.jpg', quality=60)
    inside = Image.open(root / 'train/cat/4.jpg').crop((2, 1, 62, 63))
    inside.save(root / 'train/cat/cropped.jpg')  # one class, one split: a burst, as usual
    inside.save(root / 'val/bee/cropped.jpg', quality=50)
    said = findings(root)
    assert sorted(said) == ['near_label_conflict', 'near_leak']
    cropped = [f'val/bee/cropped.jpg and train/cat/{name}.jpg' for name in ('4', 'cropped')]
    assert said['near_label_conflict'].lines == [
        'train/cat/darker.jpg and train/bee/1.jpg',
        *cropped,
    ]
    assert said['near_leak'].lines == ['val/ant/small.png and train/ant/0.jpg', *cropped]
    assert said['near_leak'].headline.startswith('2 pictures of one split are almost the same')


def test_a_list_that_names_a_file_in_two_splits(root):
    images = found(root)
    images.splits['val'].append(('train/cat/5.jpg', 2))
    (finding,) = inspect(images)
    assert (finding.kind, finding.headline[:10]) == ('leak', '1 picture ')
    assert finding.lines == ['train/cat/5.jpg (val) and train/cat/5.jpg']


def test_a_class_that_is_in_another_one(root):
    for i in range(4):
        shutil.copy(root / f'train/bee/{i}.jpg', root / f'train/ant/b{i}.jpg')
    said = findings(root)
    assert said['same_class'].lines == ['bee: 4 of 8 are also in ant']
    assert len(said['label_conflict'].lines) == 4


def test_pictures_that_cannot_be_read(root):
    whole = (root / 'train/bee/0.jpg').read_bytes()
    (root / 'train/ant/0.jpg').write_bytes(b'')
    (root / 'train/bee/0.jpg').write_bytes(whole[: len(whole) // 2])
    (root / 'val/cat/1.jpg').write_bytes(b'no picture')
    (root / 'val/cat/0.jpg').unlink()
    images = found(root)
    images.splits['val'].append(('val/cat/0.jpg', 2))
    os.mkfifo(root / 'val/bee/pipe.jpg')
    images.splits['val'].append(('val/bee/pipe.jpg', 1))
    (finding,) = inspect(images)
    assert finding.headline.startswith('5 pictures cannot be read')
    reasons = dict(line.split(': ', 1) for line in finding.lines)
    assert reasons['train/ant/0.jpg'] == 'the file is empty'
    assert 'truncated' in reasons['train/bee/0.jpg']
    assert reasons['val/cat/1.jpg'] == 'damaged, or no image'
    assert reasons['val/cat/0.jpg'] == 'No such file or directory'
    assert reasons['val/bee/pipe.jpg'] == 'it is no regular file'


def test_odd_pictures(root):
    for name in ('white', 'paper'):  # alike, but not reported as copies
        save(root / f'train/ant/{name}.png', np.full((40, 40, 3), 250, np.uint8))
    save(root / 'train/bee/tiny.png', scene(77, 12))
    save(root / 'train/cat/long.png', np.tile(scene(78, 32), (1, 9, 1)))
    said = findings(root)
    assert sorted(said) == ['long', 'one_colour', 'tiny']
    assert said['one_colour'].lines == ['train/ant/paper.png', 'train/ant/white.png']
    assert said['tiny'].lines == ['train/bee/tiny.png: 12 x 12 pixels']
    assert said['long'].lines == ['train/cat/long.png: 288 x 32 pixels']


def test_classes_that_something_else_gives_away(root):
    for i in range(6):
        save(root / f'train/dog/{i}.png', scene([9, i], grey=True))
        save(root / f'train/elk/{i}.png', scene([10, i], side=400))
    for i in range(2):
        save(root / f'val/dog/{i}.jpg', scene([11, i], grey=True))
        save(root / f'val/elk/{i}.jpg', scene([12, i], side=400))
    said = findings(root)
    assert sorted(said) == ['grey_class', 'sizes']
    assert said['grey_class'].lines == ['dog: 8 of 8 are grey']
    assert said['sizes'].lines == ['elk: 400 pixels']
    assert 'usual 64 pixels' in said['sizes'].headline


def test_rare_and_unmeasured_classes(root):
    save(root / 'train/Ant/0.png', scene(50))
    for i in (1, 2):
        (root / f'train/bee/{i}.jpg').unlink()
    said = findings(root)
    assert said['few_images'].lines == ['Ant: 1 image', 'bee: 4 images']
    assert '2 classes have under 5 training images (1 of them one only)' in (
        said['few_images'].headline
    )
    assert said['no_validation'].lines == ['Ant']
    assert said['twin_names'].lines == ["'Ant' and 'ant'"]
    only_train = FoundImages(root, CLASSES, {'train': found(root, CLASSES).splits['train']})
    assert [finding.kind for finding in inspect(only_train)] == ['few_images']


def test_the_same_is_said_every_time(root):
    for i in range(3):
        shutil.copy(root / f'train/bee/{i}.jpg', root / f'train/ant/b{i}.jpg')
        (root / f'train/cat/broken{i}.jpg').write_bytes(b'')
    first = inspect(found(root))
    assert first == inspect(found(root))
    assert [finding.kind for finding in first] == ['unreadable', 'label_conflict']


def test_the_text_shows_ten_lines_and_counts_the_rest():
    text = format_findings([Finding('a', 'Many.', [f'{i}.jpg' for i in range(1234)])])
    lines = text.split('\n')
    assert lines[:2] == ['* Many.', '  0.jpg']
    assert len(lines) == SHOWN + 2
    assert lines[-1] == '  and 1,224 more'
    text = format_findings([Finding('a', 'One.', ['\udcff.jpg']), Finding('b', 'Two.', [])])
    assert text.split('\n') == ['* One.', '  \\udcff.jpg', '* Two.']


# -------------------------------------------------------------------------------------- thumbnails
def test_large_and_turned_jpegs(tmp_path):
    pixels = scene(0, 1200)[:900]
    exif = Image.Exif()
    exif[0x112] = 6  # a quarter turn
    save(tmp_path / 'a.jpg', pixels, quality=95)
    save(tmp_path / 'turned.jpg', pixels, quality=95, exif=exif)
    looks = look_at_all([str(tmp_path / name) for name in ('a.jpg', 'turned.jpg')])
    assert looks.sides.tolist() == [[900, 1200], [1200, 900]]
    rgb, _ = small_pixels('a.jpg', (tmp_path / 'a.jpg').read_bytes())
    assert rgb.shape == (113, 150, 3)
    difference = np.rot90(looks.grey[0], -1).astype(int) - looks.grey[1]
    assert abs(difference).max() <= 2
    exact = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
    assert abs(cv2.cvtColor(exact, cv2.COLOR_RGB2GRAY).astype(int) - looks.grey[0]).max() <= 4


def test_pixels_are_those_of_the_training(tmp_path):
    """16 bits, palettes, transparency: as :mod:`bce3s.datasets.decoding` has them."""
    deep = (np.arange(32 * 32).reshape(32, 32) * 60).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    Image.fromarray(scene(1, 32)).convert('P').save(tmp_path / 'palette.png')
    Image.fromarray(scene(2, 32)).convert('RGBA').save(tmp_path / 'alpha.png')
    for path in sorted(tmp_path.iterdir()):
        rgb, sides = small_pixels(str(path), path.read_bytes())
        assert sides == (32, 32)
        assert np.array_equal(rgb.transpose(2, 0, 1), read_centre(str(path), 32, 32).numpy())


def test_memory_does_not_grow_with_the_size_of_the_pictures(tmp_path):
    save(tmp_path / 'a.png', scene(0, 500))
    looks = look_at_all([str(tmp_path / 'a.png')] * 40)
    kept = sum(getattr(looks, name).nbytes for name in ('grey', 'pixels', 'files', 'sides'))
    assert kept < 40 * 1100
    assert looks.read.all()
    assert len(set(looks.pixels.tolist())) == 1
