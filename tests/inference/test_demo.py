"""The page of a model: what it says of a picture; in a browser where gradio is installed."""

import shutil
import subprocess
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from trained_runs import picture

from bce3s.inference.demo import _predictor, answer, main
from bce3s.inference.hub import save_pretrained
from bce3s.inference.predictor import Prediction, Predictor

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope='module')
def bees():
    return picture('bee', np.random.default_rng(0))


@pytest.mark.parametrize('own', [None, -1e3, 1e3])
@pytest.mark.parametrize('asked', [None, -1e3, 1e3])
def test_what_it_says(trained_folder, bees, own, asked):
    predictor = Predictor(trained_folder, threshold=own)
    (found,) = predictor([bees])
    label, scores, about = answer(predictor, bees, asked)
    known = (own if asked is None else asked) != 1e3
    assert label == (found.best if known else f'none of these (nearest: {found.best})')
    assert scores == dict(found.top)
    assert f'{found.logit:.3f}' in about
    assert ('not above' in about) != known
    assert ('No picture is rejected' in about) == (own is None and asked is None)


def test_it_says_what_the_predictor_does_of_another_score_and_of_a_parent():
    found = Prediction('0', 'furniture', True, 'chair', logit=-1.5, compared=-8.0, threshold=-9.0)
    score = SimpleNamespace(score='Mahalanobis distance to the class means')
    predictor = Mock(classes=('chair', 'bee'), rejection=score, return_value=[found])
    label, _, about = answer(predictor, 'picture', None)
    assert label == 'furniture (nearest: chair)'
    assert about == 'Mahalanobis distance to the class means: -8.000, above the threshold, -9.000.'
    label, _, about = answer(predictor, 'picture', -1.0)
    assert label == 'none of these (nearest: chair)'
    assert about == 'Largest logit: -1.500, not above the threshold, -1.000.'


def test_what_is_no_picture(trained_folder):
    predictor = Predictor(trained_folder, threshold=None)
    assert answer(predictor, None, None) == ('', {}, '')
    assert answer(predictor, np.zeros((2, 2), np.float32), None)[0] == 'cannot be read'


def test_a_run_or_a_published_model(trained_folder, tmp_path):
    run = _predictor(str(trained_folder))
    save_pretrained(run.run, tmp_path / 'model')
    assert _predictor(str(tmp_path / 'model')).classes == run.classes


def test_without_gradio(trained_folder, monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, 'gradio', None)
    assert main([str(trained_folder)]) == 1
    assert 'pip install gradio' in capsys.readouterr().err


def test_the_page(trained_folder, bees, tmp_path):
    pytest.importorskip('gradio', reason='gradio is not installed: pip install bce3s[demo]')
    from gradio_client import Client, handle_file

    from bce3s.inference.demo import page

    predictor = Predictor(trained_folder, threshold=1e3)
    blocks = page(predictor)
    _, address, _ = blocks.launch(prevent_thread_lock=True, quiet=True, server_name='127.0.0.1')
    try:
        bees.save(tmp_path / 'bees.png')
        client = Client(address, verbose=False)
        found = client.predict(handle_file(str(tmp_path / 'bees.png')), None, api_name='/answer')
        assert found[0] == answer(predictor, bees, None)[0]
        assert {row['label'] for row in found[1]['confidences']} == set(predictor.classes)
        if BROWSER is None:
            pytest.skip('no Chromium on this machine')
        command = [BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--dump-dom']
        command += [f'--user-data-dir={tmp_path / "profile"}', '--virtual-time-budget=20000']
        shown = subprocess.run([*command, address], capture_output=True, text=True, timeout=120)
        for text in ('3 classes', 'Picture', 'None of these?', 'Threshold of the largest logit'):
            assert text in shown.stdout, text
    finally:
        blocks.close()
