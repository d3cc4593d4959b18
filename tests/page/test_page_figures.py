"""Sections that need outputs: their figures are sound, repeatable and small, and edges are met."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from page_cases import changed, four_runs, run, with_unknown

from bce3s.evaluation.calibration import Sigmoid
from bce3s.page import calibration as calibration_module
from bce3s.page.calibration import calibration
from bce3s.page.classifier import classifier_angles
from bce3s.page.confusion import confusion
from bce3s.page.embedding import embedding
from bce3s.page.open_set import open_set_curves
from bce3s.page.scores import score_distributions
from bce3s.plotting import style

SECTIONS = (
    confusion,
    classifier_angles,
    score_distributions,
    embedding,
    calibration,
    open_set_curves,
)
LARGEST = 150_000  # bytes of a figure
each = pytest.mark.parametrize('make', SECTIONS, ids=lambda make: make.__name__)


def flat(features):
    """Places in the plane, at once."""
    return features[:, :2]


@pytest.fixture(autouse=True)
def _style(monkeypatch):
    """The page's style, and a loss for runs whose folders do not exist."""
    monkeypatch.setattr(calibration_module, 'probabilities', lambda _: Sigmoid())
    monkeypatch.setattr('bce3s.page.embedding.tsne', flat)
    with style():
        yield


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    return four_runs(tmp_path_factory.mktemp('runs'), full=True)


@pytest.fixture(scope='module')
def made(runs):
    """All sections of them, made once."""
    with pytest.MonkeyPatch.context() as patch, style():
        patch.setattr(calibration_module, 'probabilities', lambda _: Sigmoid())
        patch.setattr('bce3s.page.embedding.tsne', flat)
        return {make: make(runs) for make in SECTIONS}


# ------------------------------------------------------------------------------------ every section
@each
def test_figures_are_sound_svg(make, made):
    section = made[make]
    assert section.figures
    assert section.text.strip()
    for figure in section.figures:
        ET.fromstring(figure.svg)
        assert figure.title
        assert len(figure.svg) < LARGEST
        assert figure.caption.endswith('.')
    for found in section.tables:
        assert found.rows
        assert {len(row) for row in found.rows} == {len(found.header)}
        assert all(isinstance(cell, str) for row in found.rows for cell in row)


@each
def test_nothing_to_show(make, tmp_path):
    assert make([]) is None
    assert make([run('a', tmp_path)]) is None


@each
def test_a_run_that_diverged_is_left_out_and_named(make, tmp_path):
    logits = np.full((200, 10), np.nan, np.float32)
    broken = changed(run('broken', tmp_path, full=True, config='b.py'), logits=logits)
    assert make([broken]) is None
    section = make([broken, run('sound', tmp_path, full=True)])
    assert any('broken' in note and 'not finite' in note for note in section.notes)
    assert not any('broken' in figure.caption for figure in section.figures)


@each
@pytest.mark.parametrize('classes', [1, 2, 320])
def test_few_and_many_classes(make, classes, tmp_path):
    section = make([with_unknown(run('a', tmp_path, full=True, classes=classes, images=12))])
    if section is None:
        assert (make, classes) == (classifier_angles, 1)
    else:
        assert section.figures
        assert all(len(figure.svg) < LARGEST for figure in section.figures)


@each
def test_empty_splits_and_classes_without_images(make, tmp_path):
    names = ['$x$', '<b>', 'a & b', 'ü' * 60, '', '日本', 'x_1', '"', "'", '\\']
    few = run('a', tmp_path, full=True, names=names)
    few.report['thresholds'] = dict(many=1, few=0)  # all classes are Many
    seen = few.outputs.labels != 3
    arrays = {name: getattr(few.outputs, name)[seen] for name in ('features', 'logits', 'labels')}
    section = make([with_unknown(changed(few, **arrays))])
    assert section.figures
    for figure in section.figures:
        ET.fromstring(figure.svg)
        assert 'nan' not in figure.caption
    assert 'nan' not in ' '.join(str(table.rows) for table in section.tables)
