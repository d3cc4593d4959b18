"""Labels to look at: flipped labels come first, with the path of their image."""

import numpy as np
from page_cases import run
from PIL import Image

from bce3s.page.confusion import confusion
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
    assert '2 most doubtful' in section.figures[0].caption
    assert section.figures[0].svg.count('<image') == 2


def test_an_image_that_is_gone_is_said_to_be(tmp_path):
    one, shown = with_files(tmp_path, [3])
    (tmp_path / 'pictures' / str(shown[3]) / '3.png').unlink()
    assert '>gone<' in suspects([one]).figures[0].svg


def test_the_images_of_a_confusion_are_shown(tmp_path):
    one, _ = with_files(tmp_path, [3, 5, 40])  # two of one class, one of another
    *_, figure = confusion([one]).figures
    assert 'images of the most frequent confusions' in figure.caption
    assert figure.svg.count('<image') == 2  # what happened once may be chance
    one, other = with_files(tmp_path, range(40, 46))[0], run('b', tmp_path, full=True)
    assert confusion([one]).figures[-1].svg.count('<image') == 4
    assert 'images of' not in confusion([other]).figures[-1].caption  # in memory


def test_images_in_memory_have_no_such_section(tmp_path):
    assert suspects([run('a', tmp_path, full=True)]) is None


def test_what_is_usual_for_a_class_is_not_known_of_few_images(tmp_path):
    one, shown = with_files(tmp_path, [3])
    rare = int(shown[3])
    kept = np.flatnonzero((shown != rare) | (np.arange(len(shown)) == 3))
    for name in ('labels', 'logits', 'features'):
        object.__setattr__(one.outputs, name, getattr(one.outputs, name)[kept])
    object.__setattr__(one.outputs, 'images', [one.outputs.images[i] for i in kept])
    assert suspects([one]) is None
