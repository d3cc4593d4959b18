"""The images that the page shows: which ones, with what below them, from files and from memory."""

import io
import re

import numpy as np
import pytest
import torch
from page_cases import changed, run, with_unknown
from PIL import Image

from bce3s.evaluation.calibration import Sigmoid, Softmax
from bce3s.page import page
from bce3s.page.gallery import SHOWN, Said, gallery, hardest_of_rare, surest_errors
from bce3s.page.pictures import SIDE, Pictures, small_file


class InMemory:
    """Items as the data sets in memory have them."""

    def __init__(self, number, shape=(1, 8, 8)):
        self.number, self.shape = number, shape

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        return dict(inputs=torch.full(self.shape, index % 256, dtype=torch.uint8))


def pictured(tmp_path, threshold=None, **options):
    """A run of ten classes of 20 images, whose images are in memory."""
    made = run('a', tmp_path, full=True, **options)
    made.pictures = Pictures(InMemory(len(made.outputs.labels)))
    if threshold is not None:
        found = dict(groups=[], uniform=dict(threshold=threshold))
        if not isinstance(threshold, float):
            found = dict(groups=[1], thresholds=threshold, rate=5.0, uniform=None)
        made.report['rejection'] = found
    return made


def found(section, title):
    return next((g for g in section.galleries if g.title.endswith(title)), None)


def indices(shown):
    return [int(picture.name.split()[-1]) for picture in shown.pictures]


# --------------------------------------------------------------------------------------- which ones
@pytest.mark.parametrize('kind', [Sigmoid(), Softmax()])
def test_what_is_said_is_what_the_probabilities_say(kind, monkeypatch):
    monkeypatch.setattr('bce3s.evaluation.arrays.BLOCK', 40)  # several blocks
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (50, 7)).astype(np.float32)
    labels = rng.integers(0, 7, 50)
    said = Said.of(logits, labels, kind)
    z = torch.from_numpy(logits).double()
    each = z.sigmoid() if kind.name == 'sigmoid' else z.softmax(1)
    assert np.exp(said.score) == pytest.approx(kind.confidence(logits))
    assert np.exp(said.own) == pytest.approx(each[range(50), labels].numpy())
    assert said.called.tolist() == logits.argmax(1).tolist()
    assert said.largest.tolist() == logits.max(1).tolist()


def test_logits_of_which_all_scores_are_one_are_still_in_order():
    logits = np.array([[50, 0], [90, 0], [70, 0]], np.float32)
    for kind in (Sigmoid(), Softmax()):
        assert surest_errors(Said.of(logits, np.ones(3, int), kind)).tolist() == [1, 2, 0]


def test_the_rare_classes_take_turns():
    """Against a loop that deals images out."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 6, 60)
    labels[labels == 5] = 0  # class 5 has no image
    said = Said.of(rng.normal(0, 1, (60, 6)).astype(np.float32), labels, Softmax())
    counts, rare = np.array([90, 9, 7, 3, 8, 5]), np.array([1, 2, 3, 5])
    piles = {k: sorted(np.flatnonzero(labels == k), key=lambda i: said.own[i]) for k in rare}
    dealt = {k: [] for k in rare}
    while sum(map(len, dealt.values())) < 10:
        for k in (3, 5, 2, 1):
            if piles[k] and sum(map(len, dealt.values())) < 10:
                dealt[k].append(int(piles[k].pop(0)))
    expected = [i for k in (3, 5, 2, 1) for i in dealt[k]]
    assert hardest_of_rare(said, counts, rare, 10).tolist() == expected


def test_the_galleries_are_of_the_images_they_speak_of(tmp_path):
    made = pictured(tmp_path, threshold=1.5)
    logits, labels = made.outputs.logits, made.outputs.labels
    shares = torch.from_numpy(logits).double().softmax(1).numpy()
    section = gallery([made])
    wrong = [i for i in range(200) if logits[i].argmax() != labels[i]]
    wrong.sort(key=lambda i: -shares[i].max())
    errors = found(section, 'The surest errors')
    assert indices(errors) == wrong[:SHOWN]
    i = wrong[0]
    assert errors.pictures[0].lines == [
        str(labels[i]),
        f'called {logits[i].argmax()} {shares[i].max():.3f}',
    ]
    assert f'{len(wrong)} of 200 images' in errors.caption
    few = [k for k, n in enumerate(made.report['class_counts']) if n < 20]
    rare = found(section, 'the hardest images')
    assert {int(labels[i]) for i in indices(rare)} == set(few)
    known = found(section, 'Known, but rejected')
    low = sorted((i for i in range(200) if logits[i].max() <= 1.5), key=lambda i: logits[i].max())
    assert indices(known) == low[:SHOWN]
    right = sum(logits[i].argmax() == labels[i] for i in low)
    assert f'{len(low)} of 200 images' in known.caption
    assert f'though {right} of them' in known.caption
    assert found(section, 'Unknown, but accepted') is None


def test_unknown_images_that_are_accepted_are_shown(tmp_path):
    limits = [None, *np.linspace(0, 1, 9).tolist()]
    made = with_unknown(pictured(tmp_path, threshold=limits))
    made.unknown_pictures = Pictures(InMemory(60))
    logits = made.unknown.logits
    shown = found(gallery([made]), 'Unknown, but accepted')
    above = [-np.inf, *limits[1:]]
    accepted = [i for i in range(60) if logits[i].max() > above[logits[i].argmax()]]
    assert 0 < len(accepted) < 60
    shares = torch.from_numpy(logits).double().softmax(1).amax(1)
    assert indices(shown) == sorted(accepted, key=lambda i: -shares[i])[:SHOWN]
    assert {picture.lines[0] for picture in shown.pictures} == {'?'}
    assert f'{len(accepted)} of 60 images' in shown.caption
    rejected = [i for i, row in enumerate(made.outputs.logits) if row.max() <= above[row.argmax()]]
    known = found(gallery([made]), 'Known, but rejected')
    assert 'at most 5 % of known images' in known.caption
    assert indices(known) == sorted(rejected, key=lambda i: made.outputs.logits[i].max())[:SHOWN]


def test_where_all_is_right_nothing_is_an_error(tmp_path):
    made = pictured(tmp_path)
    changed(made, logits=9 * np.eye(10, dtype=np.float32)[made.outputs.labels])
    section = gallery([made])
    assert found(section, 'The surest errors') is None
    assert found(section, 'the hardest images').pictures[0].lines[1].startswith('called right')
    made.report['class_counts'] = [300] * 10  # no Few class
    assert '6 classes of the fewest images' in gallery([made]).galleries[0].caption


def test_no_more_than_three_kinds_of_runs_are_pictured(tmp_path):
    runs = [pictured(tmp_path, config=f'{name}.py') for name in 'abcd']
    for one, name in zip(runs, 'abcd', strict=True):
        one.name = name
    section = gallery(runs)
    assert {each.title.split(':')[0] for each in section.galleries} == {'a', 'b', 'c'}
    assert 'none of d' in section.notes[-1]
    for one in runs:
        one.pictures = None
    assert gallery(runs) is None


# ------------------------------------------------------------------------------------------ images
def test_names_are_paths_from_the_folder_of_all(tmp_path):
    for name in ('a/1.png', 'b/<i>.png'):
        (tmp_path / name).parent.mkdir()
        Image.new('RGB', (300, 100), (255, 0, 0)).save(tmp_path / name)
    pictures = Pictures([str(tmp_path / name) for name in ('a/1.png', 'b/<i>.png', 'a/gone.png')])
    assert [pictures.name(i) for i in range(3)] == ['a/1.png', 'b/<i>.png', 'a/gone.png']
    shown, other, gone = (pictures.picture(i, 'x') for i in range(3))
    assert shown.image == other.image  # of equal pixels
    assert not gone.image
    (note,) = pictures.notes('run')
    assert note.startswith('run: 1 picture cannot be shown: ')
    assert 'gone.png' in note
    decoded = Image.open(io.BytesIO(shown.image))
    assert decoded.size == (SIDE, 32)
    assert decoded.convert('RGB').getpixel((50, 16))[0] > 240


@pytest.mark.parametrize('shape', [(8, 8, 1), (32, 32, 3), (5000, 4, 3), (96, 700, 3)])
def test_a_small_file_is_small(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = small_file(noise)
    assert file == small_file(noise)
    assert len(file) < 12_000  # noise is the worst; of photos about 3 KB
    assert file.startswith(b'\x89PNG' if max(shape) <= 48 else b'\xff\xd8')


def test_the_page_has_them_with_every_name_escaped(tmp_path):
    made = pictured(tmp_path)
    Image.new('RGB', (20, 20)).save(tmp_path / '"><b>&.png')
    made.pictures = Pictures([str(tmp_path / '"><b>&.png')] * 199 + [str(tmp_path / 'gone.png')])
    made.outputs.logits[199] = np.eye(10)[0] * 99  # the surest error is gone
    section = gallery([made])
    text = page.html('t', [section])
    images = re.findall(r'<li title="([^"]*)"><img src="data:image/png;base64,[^"]+" alt', text)
    assert len(images) == sum(len(each.pictures) for each in section.galleries) - 2
    assert set(images) == {'&#34;&gt;&lt;b&gt;&amp;.png'}
    assert text.count('<i>cannot be read</i>') == 2
    assert 'a: 1 picture cannot be shown: ' in text
    assert '\\<b\\>\\&.png: ' in page.markdown('t', [section])
