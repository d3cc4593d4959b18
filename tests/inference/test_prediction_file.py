"""The file of predictions where it cannot be written."""

import errno
import io

import pytest

from bce3s.errors import BCE3SError
from bce3s.inference.predictor import Prediction
from bce3s.inference.writing import PredictionFile


class FullDisk(io.StringIO):
    def flush(self):
        raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize('kind', ['csv', 'json'])
def test_a_full_disk_is_a_sentence(tmp_path, kind):
    with PredictionFile(tmp_path / f'o.{kind}') as file:
        file.begin({}, 1)
        file.file.close()
        file.file = FullDisk()
        with pytest.raises(BCE3SError, match=r'cannot be written to \(No space left'):
            file.write([Prediction('a.png', error='x')])
