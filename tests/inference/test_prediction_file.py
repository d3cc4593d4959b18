"""The file of predictions: where it cannot be written, and what no spreadsheet may run."""

import csv
import json
import os

import pytest

from bce3s.errors import BCE3SError
from bce3s.inference.predictor import Prediction
from bce3s.inference.writing import PredictionFile

PREDICTIONS = [
    Prediction(f'{i}.png', 'cat', True, 'cat', 0.5, 1.25, 'few', (('cat', 0.5), ('dog', 0.25)))
    for i in range(9)
]


def written(path, predictions, top=2, classes=('cat', 'dog')):
    file = PredictionFile(path)
    file.begin(classes, top)
    file.write(predictions)
    file.close()
    return path.read_bytes()


def rows(path):
    if path.suffix == '.jsonl':
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


class FullDisk:
    """A file that takes so many bytes at ever higher places, and then no more of them."""

    def __init__(self, file, most):
        self.file, self.most = file, most

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        room = self.most - self.file.tell()
        if room <= 0:
            raise OSError(28, 'No space left on device')
        return self.file.write(data[:room])


@pytest.mark.parametrize('kind', ['csv', 'jsonl'])
def test_wherever_the_disk_is_full_the_file_ends_with_a_whole_row(tmp_path, kind):
    size = len(written(tmp_path / f'a.{kind}', []))
    whole = written(tmp_path / f'b.{kind}', PREDICTIONS)
    path, counts = tmp_path / f'o.{kind}', []
    for most in range(size + 1, len(whole) - 1, 7):
        file = PredictionFile(path)
        file.begin(['cat', 'dog'], 2)
        file.file = FullDisk(file.file, most)
        with pytest.raises(BCE3SError, match='No space left'):
            list(map(file.write, ([prediction] for prediction in PREDICTIONS)))
        file.close()
        assert whole.startswith(path.read_bytes())
        counts.append(len(rows(path)))
    assert counts == sorted(counts)
    assert {*range(len(PREDICTIONS) - 1)} <= {*counts}


def test_a_file_can_be_read_after_every_batch(tmp_path):
    path = tmp_path / 'o.jsonl'
    file = PredictionFile(path)
    file.begin(['cat', 'dog'], 2)
    for number, prediction in enumerate(PREDICTIONS, 1):
        file.write([prediction])
        assert len(rows(path)) == number


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'o.csv')
    with pytest.raises(BCE3SError, match=r'o\.csv is no regular file'):
        PredictionFile(tmp_path / 'o.csv')


def test_a_rejection_differs_from_a_class_of_its_name(tmp_path):
    name, path = 'none of these', tmp_path / 'o.csv'
    known = Prediction('a', name, True, name, 0.5, 1.0, 'few', ((name, 0.5),))
    rejected = Prediction('b', None, False, name, 0.5, -1.0, 'few', ((name, 0.5),))
    written(path, [known, rejected], 1, [name, 'cat'])
    assert [row['label'] for row in rows(path)] == ['none of these', '(none of these)']


@pytest.mark.parametrize('name', ['=1+1', '+x', '@sum(a)', '\tx', '\r=x', '-x', '-', '-2+3'])
def test_no_cell_is_a_formula(tmp_path, name):
    prediction = Prediction(name, name, True, name, 0.5, -1.25e-7, 'few', ((name, 1), (name, 0.1)))
    written(tmp_path / 'o.csv', [prediction, Prediction('a.png', error=name)])
    row, other = rows(tmp_path / 'o.csv')
    assert [row[key] for key in ('image', 'label', 'best', 'class_2')] == [f"'{name}"] * 4
    assert row['logit'] == '-1.25e-07'  # a number is none
    assert other['error'] == f"'{name}"
    written(tmp_path / 'o.jsonl', [prediction])
    assert rows(tmp_path / 'o.jsonl')[0]['image'] == name


@pytest.mark.parametrize('name', ['cat', '-5', '-0.5', 'a=b', "'x", '5+5'])
def test_other_cells_are_as_they_are(tmp_path, name):
    prediction = Prediction(name, name, True, name, 0.5, 1.0, 'few', ((name, 0.5),))
    written(tmp_path / 'o.csv', [prediction], 1)
    assert rows(tmp_path / 'o.csv')[0]['label'] == name
