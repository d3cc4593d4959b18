"""A loader that loses a worker process ends in a sentence, and soon."""

import os
import signal
from urllib.error import URLError

import pytest
from torch.utils.data import DataLoader, Dataset

from bce3s.datasets.workers import not_fetched, worker_death


class Deadly(Dataset):
    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index == 7:
            os.kill(os.getpid(), self.number)
        return index


@pytest.mark.parametrize(
    ('number', 'words'),
    [(signal.SIGKILL, 'is killed by signal: Killed)'), (signal.SIGBUS, 'by signal: Bus error)')],
)
def test_a_killed_worker_is_a_sentence(number, words):
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(Deadly(number), 4, num_workers=1))
    sentence = worker_death(caught.value)
    assert words in sentence
    assert 'Continue with --resume' in sentence


def test_other_errors_are_left_alone():
    assert worker_death(RuntimeError('shapes differ')) is None
    assert (
        worker_death(ValueError('DataLoader worker (pid 3) is killed by signal: Killed. ')) is None
    )
    gone = RuntimeError('DataLoader worker (pid(s) 3, 17) exited unexpectedly')
    assert '(pid(s) 3, 17) exited unexpectedly), most often' in worker_death(gone)


def test_weights_that_cannot_be_fetched():
    sentence = not_fetched(URLError('no network'))
    assert 'cannot be fetched (no network)' in sentence
    assert 'init_cfg=None' in sentence
    assert not_fetched(OSError('full')) is None
