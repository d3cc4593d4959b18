"""The page of new images: what is shown first, what is left out, and that it says so."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bce3s.errors import BCE3SError
from bce3s.inference.predictor import Prediction
from bce3s.page import predictions as module
from bce3s.page.predictions import FIRST, LEAD, SHOWN, PredictionPage

CLASSES = [f'class {k}' for k in range(4)]


def predictor(classes=CLASSES):
    return SimpleNamespace(
        classes=classes,
        splits=['many'] * len(classes),
        score='sigmoid',
        several=False,
        rejection=SimpleNamespace(threshold=0.0, about='no logit above 0'),
        run=SimpleNamespace(folder=Path('work_dirs/a')),
    )


def predicted(folder, number, classes=CLASSES):
    rng = np.random.default_rng(0)
    found = []
    for i in range(number):
        best, second = sorted(rng.random(2).round(2), reverse=True)
        one, other = rng.choice(len(classes), 2, replace=False)
        known = best > 0.3
        top = ((classes[one], best), (classes[other], second))
        label = classes[one] if known else None
        path = str(folder / f'{i:04d}.png')
        found.append(Prediction(path, label, known, classes[one], best, split='many', top=top))
    return found


def names(section):
    return [[int(p.name[:4]) for p in each.pictures] for each in section.galleries]


def test_those_to_look_at_are_first(tmp_path):
    found = predicted(tmp_path, 400)
    page = PredictionPage(tmp_path / 'page.html')
    for start in range(0, 400, 7):
        page.add(found[start : start + 7])
    overview, none, doubtful, sure = page.sections(predictor())

    def lead(i):
        return found[i].score - found[i].top[1][1]

    rejected = [i for i in range(400) if not found[i].known]
    unclear = [i for i in range(400) if found[i].known and lead(i) < LEAD]
    assert names(none) == [sorted(rejected, key=lambda i: -found[i].score)[:FIRST]]
    assert names(doubtful) == [sorted(unclear, key=lead)[:FIRST]]
    assert none.galleries[0].caption == (
        f'{len(rejected)} images, of which {len(rejected) - FIRST} are not shown'
    )
    others = set(range(400)) - set(rejected) - set(unclear)
    for name, shown, each in zip(CLASSES, names(sure), sure.galleries, strict=True):
        mine = sorted((i for i in others if found[i].label == name), key=lambda i: found[i].score)
        assert each.title == name
        assert shown == mine[:SHOWN]
        assert each.caption == f'{len(mine)} images, of which {len(mine) - SHOWN} are not shown'
    rows = {row[0]: row[2:] for row in overview.tables[0].rows}
    for name in CLASSES:
        theirs = [i for i in range(400) if found[i].label == name]
        assert rows[name] == [str(len(theirs)), str(len({*theirs} & {*unclear}))]
    assert 'cannot be shown: ' in overview.notes[0]  # no such file


def test_many_classes_share_the_places(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'MOST', 30)
    classes = [f'{k:02d}' for k in range(40)]
    found = [
        Prediction(str(tmp_path / f'{i:04d}.png'), k, True, k, 0.9, split='many', top=((k, 0.9),))
        for i, k in enumerate(classes[:35] * 2)
    ]
    page = PredictionPage(tmp_path / 'page.html')
    page.add(found)
    overview, sure = page.sections(predictor(classes))
    assert [each.title for each in sure.galleries] == classes[:30]
    assert names(sure) == [[i] for i in range(30)]
    assert '5 further classes without a picture here.' in overview.notes


def test_equal_predictions_give_equal_pages(tmp_path):
    for i in range(30):
        colour = (8 * i, 0, 0)
        Image.new('RGB', (100, 60), colour).save(tmp_path / f'{i:04d}.png')
    texts = []
    for _ in range(2):
        page = PredictionPage(tmp_path / 'page.html')
        page.add(predicted(tmp_path, 30))
        page.add([Prediction(f'{i}', error=f'{i} is no image.') for i in range(30)])
        assert page.write(predictor()).endswith('of 60 images')
        texts.append((tmp_path / 'page.html').read_bytes())
    assert texts[0] == texts[1]
    assert texts[0].count(b'src="data:image/jpeg') > 20
    assert b'20 more cannot be read.' in texts[0]
    assert b'"None of these": ' in texts[0].replace(b'&#34;', b'"')


def test_where_nothing_was_read_the_page_says_so(tmp_path):
    page = PredictionPage(tmp_path / 'page.html')
    page.add([Prediction('a.png', error='a.png is no image.')])
    (overview,) = page.sections(predictor())
    assert overview.notes == ['a.png is no image.']
    assert not overview.tables


@pytest.mark.parametrize('name', ['page.txt', 'file/page.html', 'folder.html'])
def test_a_page_that_cannot_be_written_is_said_before_the_work(tmp_path, name):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder.html').mkdir()
    with pytest.raises(BCE3SError, match='--page'):
        PredictionPage(tmp_path / name)
