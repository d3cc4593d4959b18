"""Files appear whole or not at all; a folder is written by one run at a time."""

import os
import subprocess
import sys

import pytest

from bce3s.errors import BCE3SError
from bce3s.files import exclusive, written_whole


def write(target, content, **options):
    with written_whole(target, **options) as file:
        file.write(content)


@pytest.mark.parametrize('shared', [False, True])
def test_an_interrupted_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, shared):
    target = tmp_path / 'file'
    write(target, b'old', shared=shared)
    with pytest.raises(TypeError):
        write(target, 'text, where bytes are due', shared=shared)
    assert target.read_bytes() == b'old'

    def full(*_):
        raise OSError('disk')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='disk'):
        write(target, b'new', shared=shared)
    assert target.read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / '.file.tmp').write_bytes(b'half of a former, longer one')
    write(tmp_path / 'file', b'new')
    assert [path.name for path in tmp_path.iterdir()] == ['file']
    assert (tmp_path / 'file').read_bytes() == b'new'


def test_one_run_at_a_time_even_after_a_kill(tmp_path):
    """The lock is the process's: a second process is refused, and a killed one leaves none."""
    hold = (
        'import sys, time; from pathlib import Path; from bce3s.files import exclusive\n'
        'with exclusive(Path(sys.argv[1])): print("held", flush=True); time.sleep(60)'
    )
    holder = subprocess.Popen(
        [sys.executable, '-c', hold, str(tmp_path / 'run')], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == 'held\n'
    with (
        pytest.raises(BCE3SError, match=f'another run .process {holder.pid} '),
        exclusive(tmp_path / 'run'),
    ):
        pass
    holder.kill()
    holder.wait()
    with exclusive(tmp_path / 'run'):
        pass


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with pytest.raises(OSError, match='no regular file'):
        write(pipe, b'content')
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ['pipe']
