"""Config files are code: they are read from this machine, and nothing runs before that is known."""

import os
import re
import sys

import pytest

from bce3s.config import check_local, read_config
from bce3s.errors import BCE3SError


@pytest.fixture
def write(tmp_path):
    def run(text, name='a.py'):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return run


def test_a_config_with_bases_is_read(write):
    write('a = 1\nb = dict(c=2, d=3)\n', 'base.py')
    cfg = read_config(write("_base_ = ['./base.py']\nb = dict(c=4)\n"))
    assert (cfg.a, cfg.b) == (1, dict(c=4, d=3))


@pytest.mark.parametrize(
    'name',
    [
        'http://example.org/a.py',
        'https://example.org/a.py',
        's3://bucket/a.py',
        'petrel://bucket/a.py',
        'file:///etc/a.py',
        '//host/share/a.py',
    ],
)
def test_what_is_elsewhere_is_refused_before_anything_runs(write, name):
    with pytest.raises(BCE3SError, match=r'is not on this machine\. Config files are Python code'):
        read_config(name)
    text = f"import sys\nsys.was_run = True\n_base_ = ['./base.py', {name!r}]\n"
    write('import sys\nsys.was_run = True\n', 'base.py')
    with pytest.raises(BCE3SError, match=rf'a\.py:3: {re.escape(name)} is not on this machine'):
        read_config(write(text))
    assert not hasattr(sys, 'was_run')


def test_a_base_of_a_base_is_looked_at_too(write):
    write("_base_ = 'https://example.org/a.py'\n", 'base.py')
    with pytest.raises(BCE3SError, match=r'base\.py:1: https'):
        check_local(write("_base_ = './base.py'\n"))


@pytest.mark.parametrize('name', ['a.yaml', 'a.yml', 'a.json', 'a'])
def test_only_python_files_are_configs(write, name):
    """MMEngine reads YAML with a loader that calls what the file names."""
    path = write('a: !!python/object/apply:os.mkdir [made]\n', name)
    with pytest.raises(BCE3SError, match='config files are Python files'):
        read_config(path)
    with pytest.raises(BCE3SError, match=r'b\.py:1: config files are Python files'):
        read_config(write(f"_base_ = './{name}'\n", 'b.py'))
    assert not os.path.exists('made')


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a = 1\nb = (\n', r'a\.py:2: the config cannot be read: .*never closed'),
        ('a = 1\nb = c\n', r"a\.py:2: the config cannot be read: NameError: name 'c'"),
        ('a = 1\n\nb = a / 0\n', r'a\.py:3: .*ZeroDivisionError'),
        ("_base_ = './missing.py'\n", r'a\.py:1: Config file .*missing\.py does not exist'),
        ("_base_ = './a.py'\n", r'more than 100 files, or its own base'),
        ('a = "\0"\n', r'cannot be read'),
    ],
)
def test_a_mistake_is_named_with_its_line(write, text, words):
    with pytest.raises(BCE3SError, match=words):
        read_config(write(text))


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(BCE3SError, match=r'Config file .*x\.py does not exist'):
        read_config(str(tmp_path / 'x.py'))


def test_a_pipe_is_not_waited_for(tmp_path):
    pipe = tmp_path / 'pipe.py'
    os.mkfifo(pipe)
    with pytest.raises(BCE3SError, match='no regular file'):
        check_local(str(pipe))
