"""Files appear whole or not at all."""

import os

import pytest

from bce3s.files import written_whole


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
