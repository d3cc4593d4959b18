"""The command: sections, files, errors, Ctrl-C."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

import bce3s
from bce3s.errors import BCE3SError
from benchmarks import command
from benchmarks.tables import Table

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # which the command sets; restored afterwards


@pytest.fixture
def sections(monkeypatch):
    """Registers modules for the sections `first` and `second`; returns how to set what they do."""
    monkeypatch.setattr(command, 'SECTIONS', {})

    def add(name, run):
        module = types.ModuleType(f'benchmarks.fake_{name}')
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
        command.SECTIONS[name] = (f'fake_{name}', f'what {name} measures')

    return add


def table(title, value):
    return Table(title, ('x',), [dict(x=value)], ['Noted.'])


def test_every_section_is_a_module_that_runs():
    for name, (module, what) in command.SECTIONS.items():
        assert (ROOT / 'tools/benchmarks' / f'{module}.py').is_file(), name
        assert what


def test_tables_are_printed_and_written(sections, tmp_path, capsys):
    seen = []

    def first(options):
        seen.append(options)
        yield table('A', 1.23456)
        yield table('B', 2)

    sections('first', first)
    sections('second', lambda _: [table('C', None)])
    files = ['--json', f'{tmp_path}/o.json']
    assert command.main([*files, '--quick', '--data-root', 'nowhere']) == 0
    out = capsys.readouterr().out
    assert '== first: what first measures' in out
    assert out.index(' 1.23 |') < out.index('== second')
    assert 'quick' in out.splitlines()[0]
    assert (seen[0].quick, seen[0].device, seen[0].data_root) == (True, 'cpu', 'nowhere')
    assert seen[0].seconds < 1
    result = json.loads((tmp_path / 'o.json').read_text())
    assert result['complete']
    assert list(result['sections']) == ['first', 'second']
    assert [t['title'] for t in result['sections']['first']['tables']] == ['A', 'B']
    assert result['sections']['first']['tables'][0]['rows'] == [{'x': 1.23456}]
    assert result['sections']['first']['seconds'] >= 0
    assert result['versions']['bce3s'] == bce3s.__version__
    assert result['machine']['threads'] >= 1
    assert result['options']['quick']
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unknown_section_is_a_sentence(capsys):
    assert command.main(['dta']) == 1
    assert capsys.readouterr().err.startswith("error: No section is called 'dta'; there are data,")


def test_a_file_that_cannot_be_written_is_found_before_measuring(sections, tmp_path, capsys):
    sections('first', lambda _: pytest.fail('measured'))
    assert command.main(['--json', f'{tmp_path}/absent/o.json']) == 1
    assert 'make its folder' in capsys.readouterr().err


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
    assert result['sections']['first']['error'] == 'No data here.'
    assert len(result['sections']['first']['tables']) == 1
    assert len(result['sections']['second']['tables']) == 1


def test_an_interrupted_run_keeps_what_it_has(sections, tmp_path, capsys):
    def first(_options):
        yield table('A', 1)
        raise KeyboardInterrupt

    sections('first', first)
    sections('second', lambda _: pytest.fail('measured'))
    assert command.main(['--json', f'{tmp_path}/o.json']) == 130
    assert 'Interrupted' in capsys.readouterr().err
    result = json.loads((tmp_path / 'o.json').read_text())
    assert not result['complete']
    assert [t['title'] for t in result['sections']['first']['tables']] == ['A']


@pytest.mark.parametrize('wrong', [['--threads', '0'], ['--seconds', '-1'], ['--device', 'tpu']])
def test_wrong_arguments(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(wrong)
    assert end.value.code == 2
    assert wrong[0] in capsys.readouterr().err
