"""Sections that need outputs: their figures are sound, repeatable and small, and edges are met."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from figure_cases import changed, run, with_unknown
from page_cases import four_runs

from bce3s.evaluation.probabilities import Sigmoid
from bce3s.page import calibration as calibration_module
from bce3s.page.calibration import calibration
from bce3s.page.classifier import classifier_angles
from bce3s.page.confusion import confusion
from bce3s.page.embedding import embedding
from bce3s.page.open_set_curves import open_set_curves
from bce3s.page.score_distributions import score_distributions
from bce3s.page.svg import VARIABLES, style

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


@pytest.fixture(autouse=True)
def _style(monkeypatch):
    """The page's style, and a loss for runs whose folders do not exist."""
    monkeypatch.setattr(calibration_module, 'probabilities', lambda _: Sigmoid())
    monkeypatch.setattr('bce3s.page.embedding.ITERATIONS', 250)
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
        patch.setattr('bce3s.page.embedding.ITERATIONS', 250)
        return {make: make(runs) for make in SECTIONS}


# ------------------------------------------------------------------------------------ every section
@each
def test_figures_are_sound_svg_in_the_pages_colours(make, made):
    section = made[make]
    assert section.figures
    assert section.text.strip()
    for figure in section.figures:
        root = ET.fromstring(figure.svg.replace('xlink:', ''))
        assert root.get('aria-label')
        assert len(figure.svg) < LARGEST
        assert figure.caption.endswith('.')
        assert not any(colour in re.sub('base64.*?"', '', figure.svg) for colour in VARIABLES)
    for found in section.tables:
        assert found.rows
        assert {len(row) for row in found.rows} == {len(found.header)}
        assert all(isinstance(cell, str) for row in found.rows for cell in row)


@each
def test_the_same_runs_give_the_same_figures(make, runs, made):
    assert [f.svg for f in make(runs).figures] == [f.svg for f in made[make].figures]


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
@pytest.mark.parametrize('classes', [1, 2])
def test_few_classes(make, classes, tmp_path):
    section = make([with_unknown(run('a', tmp_path, full=True, classes=classes))])
    if section is None:
        assert (make, classes) == (classifier_angles, 1)
    else:
        assert section.figures


@each
def test_empty_splits_and_classes_without_images(make, tmp_path):
    few = run('a', tmp_path, full=True)
    few.report['thresholds'] = dict(many=1, few=0)  # all classes are Many
    seen = few.outputs.labels != 3
    arrays = {name: getattr(few.outputs, name)[seen] for name in ('features', 'logits', 'labels')}
    section = make([with_unknown(changed(few, **arrays))])
    assert section.figures
    texts = ' '.join(str(t.rows) for t in section.tables) + ' '.join(
        figure.caption for figure in section.figures
    )
    assert 'nan' not in texts


@each
def test_names_are_text_and_no_mathematics(make, tmp_path):
    names = ['$x$', '<b>', 'a & b', 'ü' * 60, '', '日本', 'x_1', '"', "'", '\\']
    for figure in make([run('a', tmp_path, full=True, names=names)]).figures:
        ET.fromstring(figure.svg.replace('xlink:', ''))


@each
def test_large_sets_of_classes_stay_small_files(make, tmp_path):
    many = run('a', tmp_path, full=True, classes=320, images=5)
    for figure in make([with_unknown(many)]).figures:
        assert len(figure.svg) < LARGEST
