"""Labels to look at: flipped labels come first, with the path of their image."""

import numpy as np
from page_cases import run
from PIL import Image

from bce3s.page.confusion import confusion
from bce3s.page.pictures import Pictures
from bce3s.page.suspects import suspects


def with_files(tmp_path, flipped):
    """A run whose images are files, all classified right but for ``flipped`` labels."""
    one = run('a', tmp_path, full=True)
    labels = one.outputs.labels
    logits = 4 * np.eye(10, dtype=np.float32)[labels]
    shown = labels.copy()
    shown[flipped] = (labels[flipped] + 1) % 10
    folder = tmp_path / 'pictures'
    paths = [str(folder / str(k) / f'{i}.png') for i, k in enumerate(shown)]
    for i in flipped:
        path = folder / str(shown[i]) / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (40, 30), (255, 0, 0)).save(path)
    for name, value in dict(labels=shown, logits=logits, images=paths).items():
        object.__setattr__(one.outputs, name, value)
    one.pictures = Pictures(paths)
    return one, shown


def test_flipped_labels_are_listed_with_their_paths(tmp_path):
    flipped = [3, 40]
    one, shown = with_files(tmp_path, flipped)
    section = suspects([one])
    (table,) = section.tables
    names = one.outputs.classes
    assert {tuple(row[:3]) for row in table.rows} == {
        (f'{shown[i]}/{i}.png', names[shown[i]], names[(shown[i] - 1) % 10]) for i in flipped
    }
    (shown,) = section.galleries
    assert '2 most doubtful images' in shown.caption
    assert all(picture.image for picture in shown.pictures)
    assert {(p.name, *p.lines) for p in shown.pictures} == {
        (row[0], row[1], f'looks like {row[2]}') for row in table.rows
    }


def test_an_image_that_is_gone_is_said_to_be(tmp_path):
    one, shown = with_files(tmp_path, [3])
    (tmp_path / 'pictures' / str(shown[3]) / '3.png').unlink()
    assert not suspects([one]).galleries[0].pictures[0].image


def test_the_images_of_a_confusion_are_shown(tmp_path):
    one, _ = with_files(tmp_path, [3, 5, 40])  # two of one class, one of another
    (shown,) = confusion([one]).galleries
    assert 'most frequent confusions' in shown.caption
    assert len(shown.pictures) == 2  # what happened once may be chance
    one, other = with_files(tmp_path, range(40, 46))[0], run('b', tmp_path, full=True)
    assert len(confusion([one]).galleries[0].pictures) == 4
    assert not confusion([other]).galleries  # not at hand


def test_images_in_memory_have_no_such_section(tmp_path):
    assert suspects([run('a', tmp_path, full=True)]) is None


def test_what_is_usual_for_a_class_is_not_known_of_few_images(tmp_path):
    one, shown = with_files(tmp_path, [3])
    rare = int(shown[3])
    kept = np.flatnonzero((shown != rare) | (np.arange(len(shown)) == 3))
    for name in ('labels', 'logits', 'features'):
        object.__setattr__(one.outputs, name, getattr(one.outputs, name)[kept])
    one.pictures = Pictures([one.outputs.images[i] for i in kept])
    assert suspects([one]) is None
