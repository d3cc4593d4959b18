"""The file of predictions: where it cannot be written, and what no spreadsheet may run."""

import csv
import json
import os
import subprocess
import sys

import pytest

from bce3s.errors import BCE3SError
from bce3s.inference.predictor import Prediction
from bce3s.inference.writing import PredictionFile

PREDICTIONS = [
    Prediction(f'{i}.png', 'cat', True, 'cat', 0.5, 1.25, 'few', (('cat', 0.5), ('dog', 0.25)))
    for i in range(9)
]
PROGRAM = """
import resource, sys
from test_prediction_file import PREDICTIONS
from bce3s.errors import BCE3SError
from bce3s.inference.writing import PredictionFile

path, most = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    with PredictionFile(path) as file:
        file.begin(dict(run='r'), 2)
        for i in range(0, len(PREDICTIONS), 3):
            file.write(PREDICTIONS[i : i + 3])
except BCE3SError as error:
    print(error)
"""


def written(path, predictions, top=2):
    with PredictionFile(path) as file:
        file.begin(dict(run='r'), top)
        file.write(predictions)
    return path.read_bytes()


@pytest.mark.parametrize('kind', ['csv', 'json'])
def test_on_a_full_disk_the_file_ends_with_a_whole_record(tmp_path, kind):
    path = tmp_path / f'o.{kind}'
    whole = written(tmp_path / f'whole.{kind}', PREDICTIONS)
    size = len(written(tmp_path / f'empty.{kind}', []))
    record = (len(whole) - size) // len(PREDICTIONS)
    here = {**os.environ, 'PYTHONPATH': os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(path), str(size + 4 * record - 3)],
        env=here,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 'cannot be written to (File too large' in done.stdout, done.stderr
    if kind == 'csv':
        assert path.read_bytes() == b''.join(whole.splitlines(keepends=True)[:4])
    else:
        found = json.loads(path.read_text())
        assert found['complete'] is False
        assert [row['image'] for row in found['predictions']] == ['0.png', '1.png', '2.png']


class FullDisk:
    """A file that takes so many bytes at ever higher places, and then no more of them."""

    def __init__(self, file, most):
        self.file, self.most = file, most

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self.file.__enter__()

    def __exit__(self, *args):
        return self.file.__exit__(*args)

    def write(self, data):
        room = self.most - self.file.tell()
        if room <= 0:
            raise OSError(28, 'No space left on device')
        return self.file.write(data[:room])


def write_until_full(path, most):
    with PredictionFile(path) as file:
        file.file = FullDisk(file.file, most)
        file.begin(dict(run='r'), 2)
        for prediction in PREDICTIONS:
            file.write([prediction])


@pytest.mark.parametrize('kind', ['csv', 'json'])
def test_wherever_the_disk_is_full_the_file_can_be_read(tmp_path, kind):
    size = len(written(tmp_path / f'a.{kind}', []))
    whole = written(tmp_path / f'b.{kind}', PREDICTIONS)
    path, counts = tmp_path / f'o.{kind}', []
    for most in range(size + 1, len(whole) - 1, 7):
        with pytest.raises(BCE3SError, match='No space left'):
            write_until_full(path, most)
        content = path.read_text()
        if kind == 'json':
            counts.append(len(json.loads(content)['predictions']))
        else:
            assert content.endswith('\n')
            counts.append(len(list(csv.DictReader(content.splitlines()))))
            assert whole.startswith(content.encode())
    assert counts == sorted(counts)
    assert {*range(8)} <= {*counts}


@pytest.mark.parametrize('kind', ['csv', 'json'])
def test_without_room_for_the_beginning_nothing_is_left(tmp_path, kind):
    path = tmp_path / f'o.{kind}'
    with pytest.raises(BCE3SError, match='No space left'):
        write_until_full(path, 9)
    assert not path.exists()


def test_a_file_can_be_read_after_every_batch(tmp_path):
    path = tmp_path / 'o.json'
    with PredictionFile(path) as file:
        file.begin(dict(run='r'), 2)
        for number, prediction in enumerate(PREDICTIONS, 1):
            file.write([prediction])
            found = json.loads(path.read_text())
            assert (found['complete'], len(found['predictions'])) == (False, number)
    assert json.loads(path.read_text())['complete'] is True


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'o.csv')
    with pytest.raises(BCE3SError, match=r'o\.csv is no regular file'):
        PredictionFile(tmp_path / 'o.csv')


def test_a_rejection_differs_from_a_class_of_its_name(tmp_path):
    name = 'none of these'
    known = Prediction('a', name, True, name, 0.5, 1.0, 'few', ((name, 0.5),))
    rejected = Prediction('b', None, False, name, 0.5, -1.0, 'few', ((name, 0.5),))
    with PredictionFile(tmp_path / 'o.csv') as file:
        file.begin(dict(classes=[name, 'cat']), 1)
        file.write([known, rejected])
    with (tmp_path / 'o.csv').open(newline='') as file:
        labels = [row['label'] for row in csv.DictReader(file)]
    assert labels == ['none of these', '(none of these)']


@pytest.mark.parametrize('name', ['=1+1', '+x', '@sum(a)', '\tx', '\r=x', '-x', '-', '-2+3'])
def test_no_cell_is_a_formula(tmp_path, name):
    prediction = Prediction(name, name, True, name, 0.5, -1.25, 'few', ((name, 0.5), (name, 0.1)))
    failed = Prediction('a.png', error=name)
    written(tmp_path / 'o.csv', [prediction, failed])
    with (tmp_path / 'o.csv').open(newline='') as file:
        row, other = csv.DictReader(file)
    for key in ('image', 'label', 'best', 'class_2'):
        assert row[key] == f"'{name}"
    assert row['logit'] == '-1.25'  # a number is none
    assert other['error'] == f"'{name}"
    found = json.loads(written(tmp_path / 'o.json', [prediction]))['predictions'][0]
    assert (found['image'], found['label'], found['best']) == (name, name, name)


@pytest.mark.parametrize('name', ['cat', '-5', '-0.5', 'a=b', "'x", '5+5'])
def test_other_cells_are_as_they_are(tmp_path, name):
    prediction = Prediction(name, name, True, name, 0.5, 1.0, 'few', ((name, 0.5),))
    written(tmp_path / 'o.csv', [prediction], 1)
    with (tmp_path / 'o.csv').open(newline='') as file:
        assert next(csv.DictReader(file))['label'] == name
