"""The command: sections, the file, errors, Ctrl-C."""

import json
import sys
import types

import pytest

from bce3s.errors import BCE3SError
from benchmarks import command
from benchmarks.tables import Table


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # which the command sets; restored afterwards


@pytest.fixture
def sections(monkeypatch):
    """Registers the sections `first` and `second`; returns how to set what they do."""
    monkeypatch.setattr(command, 'SECTIONS', {})

    def add(name, run):
        module = types.ModuleType(f'benchmarks.{name}')
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
        command.SECTIONS[name] = f'what {name} measures'

    return add


def table(title, value):
    return Table(title, ('x',), [dict(x=value)], ['Noted.'])


def test_tables_are_printed_and_written(sections, tmp_path, capsys):
    seen = []

    def first(options):
        seen.append(options)
        yield table('A', 1.23456)
        yield table('B', 2)

    sections('first', first)
    sections('second', lambda _: [table('C', None)])
    arguments = ['--json', f'{tmp_path}/o.json', '--quick', '--data-root', 'nowhere']
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.index('== first: what first measures') < out.index(' 1.23 |')
    assert 'quick' in out
    assert (seen[0].quick, seen[0].device, seen[0].data_root) == (True, 'cpu', 'nowhere')
    result = json.loads((tmp_path / 'o.json').read_text())
    assert result['complete']
    assert [t['title'] for t in result['sections']['first']] == ['A', 'B']
    assert result['sections']['first'][0]['rows'] == [{'x': 1.23456}]
    assert result['machine']['threads'] >= 1


def test_mistakes_are_sentences(sections, tmp_path, capsys):
    sections('first', lambda _: pytest.fail('measured'))
    assert command.main(['frist']) == 1
    assert capsys.readouterr().err.startswith(
        "error: No section is called 'frist'; there are first"
    )
    assert command.main(['--json', f'{tmp_path}/absent/o.json']) == 1
    assert 'error: cannot write to' in capsys.readouterr().err


def test_a_section_that_fails_does_not_stop_the_others(sections, tmp_path, capsys):
    def first(_options):
        yield table('A', 1)
        raise BCE3SError('No data here.')

    sections('first', first)
    sections('second', lambda _: [table('B', 2)])
    assert command.main(['--json', f'{tmp_path}/o.json']) == 1
    assert 'error: No data here.' in capsys.readouterr().err
    result = json.loads((tmp_path / 'o.json').read_text())
    assert not result['complete']
    assert [len(result['sections'][name]) for name in ('first', 'second')] == [1, 1]


def test_an_interrupted_run_keeps_what_it_has(sections, tmp_path, capsys):
    def first(_options):
        yield table('A', 1)
        raise KeyboardInterrupt

    sections('first', first)
    assert command.main(['--json', f'{tmp_path}/o.json']) == 130
    assert 'Interrupted' in capsys.readouterr().err
    result = json.loads((tmp_path / 'o.json').read_text())
    assert not result['complete']
    assert [t['title'] for t in result['sections']['first']] == ['A']
