"""``tools/unconstrained.py`` on small sizes: tables, figures, JSON, and sentences for mistakes."""

import importlib.util
import json
from pathlib import Path

import pytest

from studies.sections import beyond, imbalance, more_classes

PATH = Path(__file__).resolve().parents[2] / 'tools' / 'unconstrained.py'
SMALL = ['--classes', '4', '--dim', '5', '--samples', '20']


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('unconstrained_tool', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_section(tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(beyond, 'SWEEP', (1, 2, 20))
    monkeypatch.setattr(imbalance, 'RATIOS', (1, 10, 40))
    monkeypatch.setattr(imbalance, 'STRENGTHS', (0.5,))
    monkeypatch.setattr(more_classes, 'CODES', more_classes.CODES[:1])
    monkeypatch.setattr(more_classes, 'STARTS', 2)
    assert tool.main([*SMALL, '--out', str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    results = json.loads((tmp_path / 'out' / 'unconstrained.json').read_text())
    assert list(results) == list(tool.SECTIONS)
    for name in tool.SECTIONS:
        assert f'== {name}' in out
        image = (tmp_path / 'out' / f'{name}.png').read_bytes()
        assert image.startswith(b'\x89PNG')
    assert all(row['bias_error'] < 1e-5 for row in results['collapse']['rows'])
    for row in results['beyond']['sweep']:
        assert row['found_objective'] == pytest.approx(row['objective'], abs=1e-9)
    # the paper's tables stand beside K = 10 only
    assert 'AdamW' not in out[out.index('== ridge') : out.index('== imbalance')]
    threshold = results['imbalance']['thresholds'][0]
    for loss in ('ce', 'bce'):
        assert threshold[f'{loss}_difference'] == pytest.approx(threshold['predicted'], rel=0.01)


def test_options_reach_the_section(tool, tmp_path, capsys):
    args = ['--only', 'collapse', '--lambda-w', '1e-3', '--lambda-h', '2e-3', '--lambda-b', '0']
    assert tool.main([*SMALL, *args, '--seed', '7', '--out', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert 'K = 4, d = 5, n = 20, decays W/H/b = 0.001/0.002/0' in out
    assert 'cap none' in out
    row = json.loads((tmp_path / 'unconstrained.json').read_text())['collapse']['rows'][0]
    assert row['seed'] == 7
    assert not (tmp_path / 'beyond.png').exists()


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        (['--classes', '1'], '1 classes'),
        (['--samples', '0'], '0 samples per class'),
        (['--lambda-w', '0'], 'lambda_W is 0.0'),
        (['--lambda-b', '-1'], 'lambda_b is -1.0'),
        (['--lambda-h', '10'], 'does not tell the classes apart'),
        (['--dim', '3'], '--dim 3 is below --classes 4'),
        (['--seed', '-1'], '--seed -1'),
    ],
)
def test_mistakes_are_sentences(tool, tmp_path, capsys, args, said):
    assert tool.main([*SMALL, '--out', str(tmp_path / 'out'), *args]) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert said in error
    assert not (tmp_path / 'out').exists()


def test_folder_that_cannot_be_written(tool, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert tool.main([*SMALL, '--only', 'ridge', '--out', str(tmp_path / 'file')]) == 1
    assert 'cannot write' in capsys.readouterr().err
