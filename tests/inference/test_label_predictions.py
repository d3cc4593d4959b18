"""Runs whose images have several labels: thresholds, predictions, files, and what is refused."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trained_runs import digits_run

from bce3s.engine.posthoc_run import posthoc
from bce3s.engine.run_directory import RunDirectory
from bce3s.engine.runner import QuietRunner
from bce3s.errors import BCE3SError
from bce3s.evaluation import average_precision, f1_thresholds
from bce3s.inference import export_command, predict_command
from bce3s.inference.add_class import add_classes
from bce3s.inference.labels import separator
from bce3s.inference.predictor import Predictor
from bce3s.page.command import main as report_page

CONFIG = 'multilabel/digits_bce'


@pytest.fixture(scope='module')
def several(tmp_path_factory):
    """A BCE run of six epochs on canvases of digits."""
    return digits_run(tmp_path_factory.mktemp('several') / 'canvases', CONFIG, epochs=6)


@pytest.fixture
def copied(several, tmp_path):
    return Path(shutil.copytree(several, tmp_path / 'run'))


@pytest.fixture(scope='module')
def images(several, tmp_path_factory):
    """60 pictures of the test set, one after the other, in a folder called as a class is."""
    folder = tmp_path_factory.mktemp('pictures') / '3'
    folder.mkdir()
    for i, image in enumerate(RunDirectory.open(several).dataset('test').images[:60, 0].numpy()):
        Image.fromarray(image).save(folder / f'{i:02d}.png')
    return folder


def changed(run, change, name='report.json'):
    report = json.loads((run / 'report.json').read_text())
    change(report)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(json.dumps(report))


def test_the_report_is_of_the_validation_images(several):
    report = RunDirectory.open(several).report()
    predictor = Predictor(several)
    data = RunDirectory.open(several).dataset('val')
    logits = predictor.logits(data.images)
    expected = average_precision(data.labels, logits)
    assert report['per_class'] == pytest.approx(expected, abs=1e-4)
    assert report['all'] == pytest.approx(expected.mean(), abs=1e-4)
    assert predictor.threshold == pytest.approx(f1_thresholds(data.labels, logits), abs=1e-4)
    assert report['class_counts'] == [300, 194, 125, 81, 52, 34, 22, 14, 9, 6]
    assert 'rejection' not in report
    assert 'accuracy' not in report


def test_a_test_takes_the_thresholds_of_the_validation(several, tmp_path):
    run = RunDirectory.open(several)
    cfg = run.config.copy()
    cfg.update(load_from=str(run.checkpoint), work_dir=str(tmp_path), experiment_name='canvas_test')
    QuietRunner.from_cfg(cfg).test()
    report = json.loads((tmp_path / 'report.json').read_text())
    found, chosen = report['decisions'], run.report()['decisions']
    assert (found['chosen_on'], found['measured_on'], found['cross_fitted']) == ('val', 'test', 0)
    assert found['thresholds'] == chosen['thresholds']
    assert chosen['cross_fitted']
    assert found['f1'] != chosen['f1']


@pytest.mark.parametrize('threshold', ['auto', 0, 50])
def test_labels_are_those_above_their_thresholds(several, images, threshold):
    predictor = Predictor(several, threshold=threshold, top=3)
    data = predictor.run.dataset('test')
    logits = predictor.logits(data.images[:60]).double()
    scores, classes = logits.sigmoid(), predictor.classes
    limits = predictor.threshold if threshold == 'auto' else [float(threshold)] * len(classes)
    found = predictor([str(path) for path in sorted(images.iterdir())])
    for p, row, z in zip(found, scores.tolist(), logits.tolist(), strict=True):
        above = [k for k in range(len(z)) if z[k] > limits[k]]
        above.sort(key=lambda k: -row[k])
        assert p.labels == tuple(classes[k] for k in above)
        assert p.scores == pytest.approx([row[k] for k in above], abs=1e-6)
        assert [name for name, _ in p.top] == [classes[k] for k in np.argsort(row)[::-1][:3]]
    assert any(p.labels for p in found) == (threshold != 50)


@pytest.mark.parametrize('threshold', ['keep=90', 'uniform', None, float('nan'), True])
def test_thresholds_that_are_for_one_label_are_a_sentence(several, threshold):
    with pytest.raises(BCE3SError, match="several labels: give 'auto'"):
        Predictor(several, threshold=threshold)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda r: r['decisions'].update(network='0' * 64), 'are of another network than this'),
        (lambda r: r['decisions'].pop('network'), 'are of another network than this'),
        (lambda r: r['classes'].reverse(), 'are of 10 classes, not of the 10 of this model'),
        (lambda r: r.pop('decisions'), 'not a report of this project'),
        (lambda r: r['decisions']['thresholds'].pop(), 'not a report of this project'),
    ],
)
def test_thresholds_of_another_model_are_a_sentence(copied, change, says):
    changed(copied, change)
    with pytest.raises(BCE3SError, match=says) as found:
        Predictor(copied)
    assert 'tools/test.py' in str(found.value)
    assert Predictor(copied, threshold=0).threshold == 0.0


def test_an_earlier_checkpoint_has_thresholds_of_its_own_only(copied):
    with pytest.raises(BCE3SError, match=r'another network.*epoch_5.pth'):
        Predictor(copied, checkpoint='epoch_5.pth')
    (copied / 'test').mkdir()
    shutil.copy(copied / 'report.json', copied / 'test/report.json')  # as tools/test.py leaves it
    changed(copied, lambda r: r['decisions'].update(network='0' * 64))
    assert len(Predictor(copied).threshold) == 10


def test_files_of_predictions(several, images, tmp_path, capsys):
    (bad := tmp_path / 'bad.png').write_text('x')
    outs = [tmp_path / f'out.{kind}' for kind in ('csv', 'jsonl')]
    options = '--top', '2', '--workers', '0', '--page', str(tmp_path / 'p.html')
    arrays = ['--npz', str(tmp_path / 'a.npz')]
    for out in outs:
        given = [str(several), str(images), str(bad), '--out', str(out), *options, *arrays]
        assert predict_command.main(given) == 1  # for one cannot be read
    printed = capsys.readouterr().out
    assert 'no label' in printed
    found = Predictor(several, top=2)([str(path) for path in sorted(images.iterdir())])
    with outs[0].open(newline='') as file:
        table = {row['image']: row for row in csv.DictReader(file)}
    lines = {row['image']: row for row in map(json.loads, outs[1].read_text().splitlines())}
    assert table.keys() == lines.keys()
    assert len(table) == 61
    for p in found:
        row = table[p.image]
        assert tuple(filter(None, row['labels'].split(';'))) == p.labels
        scores = [float(score) for score in filter(None, row['scores'].split(';'))]
        assert scores == pytest.approx(p.scores, abs=1e-5)
        assert (row['class_1'], row['class_2']) == tuple(name for name, _ in p.top)
        assert lines[p.image]['labels'] == list(p.labels)
        assert lines[p.image]['scores'] == pytest.approx(p.scores, abs=1e-6)
    assert 'cannot be read' in table[str(bad)]['error']
    assert lines[str(bad)]['labels'] == []
    with np.load(tmp_path / 'a.npz') as file:
        assert len(file['paths']) == 60
        assert file['labels'].dtype == np.int8
        assert (file['labels'] == [-1, -1, -1, 1, *[-1] * 6]).all()  # the folder is called 3
        names = [tuple(file['classes'][row == 1]) for row in file['predicted']]
        assert [sorted(p.labels) for p in found] == [sorted(row) for row in names]
        expected = torch.from_numpy(file['logits']).sigmoid()
        np.testing.assert_allclose(file['probabilities'], expected, atol=1e-6)
    page = (tmp_path / 'p.html').read_text()
    assert 'By label' in page
    assert 'none of the classes' not in page


def test_a_separator_is_in_no_name():
    assert separator(['cat', 'dog']) == ';'
    assert separator(['cat; wild', 'dog']) == '|'


def test_an_exported_network_gives_the_same_labels(several, images, tmp_path):
    out = tmp_path / 'export'
    assert export_command.main([str(several), '--out', str(out)]) == 0
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(out / 'model.onnx')
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts['multilabel']) is True
    limits, classes = json.loads(facts['threshold']), json.loads(facts['classes'])
    predictor = Predictor(several)
    assert limits == list(predictor.threshold)
    pixels = predictor.run.dataset('test').images[:60]
    (logits,) = session.run(['logits'], {'images': pixels.numpy()})
    found = [{classes[k] for k in np.flatnonzero(row > limits)} for row in logits]
    assert found == [{*p.labels} for p in predictor(list(pixels))]
    card = (out / 'MODEL_CARD.md').read_text()
    assert '| probability 0.5 |' in card
    assert not re.search('ccuracy|None of these', card)
    (program,) = re.findall(r'```python\n(.+?)```', card, re.S)
    paths = [str(path) for path in sorted(images.iterdir())]
    command = [sys.executable, '-c', program, *paths]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=True)
    for path, labels, line in zip(paths, found, done.stdout.splitlines(), strict=True):
        said = line.removeprefix(f'{path} ')
        assert said == 'no label' if not labels else set(re.findall(r"'(\d)'", said)) == labels


def test_a_published_model_gives_the_same_labels(several, tmp_path):
    predictor = Predictor(several)
    again = Predictor.from_pretrained(predictor.save_pretrained(tmp_path / 'published'))
    pixels = list(predictor.run.dataset('test').images[:40])
    assert again.several
    assert again.threshold == predictor.threshold
    assert [p.labels for p in again(pixels)] == [p.labels for p in predictor(pixels)]


def test_the_page_of_the_run(several, tmp_path):
    out = tmp_path / 'page.html'
    assert report_page([str(several), '--out', str(out)]) == 0
    page = out.read_text()
    assert page.count('<h2') == 8  # nothing is missing
    for heading in ('AP per class', 'Labels above their thresholds', 'The missed labels'):
        assert heading in page
    assert 'Accuracy' not in page


def test_what_is_for_one_label_refuses_in_a_sentence(copied, images):
    run = RunDirectory.open(copied)
    for action in (lambda: posthoc(run), lambda: add_classes(run, images, copied / 'more')):
        with pytest.raises(BCE3SError, match='images with one label, and these have several'):
            action()
    (copied / 'parents.csv').write_text('class,parent\n0,round\n8,round\n')
    with pytest.raises(BCE3SError, match=r'parents.csv.*cannot have parents'):
        Predictor(copied)
