"""``tools/unconstrained.py`` and ``tools/normalized_space.py`` on small sizes."""

import importlib
import json

import pytest

from studies import beyond, imbalance, more_classes

SMALL = ['--classes', '4', '--dim', '5', '--samples', '20']


def load(name):
    return importlib.import_module(name)


def test_every_section(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(beyond, 'SWEEP', (1, 2, 20))
    monkeypatch.setattr(imbalance, 'RATIOS', (1, 10, 40))
    monkeypatch.setattr(imbalance, 'STRENGTHS', (0.5,))
    monkeypatch.setattr(more_classes, 'CODES', more_classes.CODES[:1])
    monkeypatch.setattr(more_classes, 'STARTS', 2)
    tool = load('unconstrained')
    assert tool.main([*SMALL, '--out', str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    results = json.loads((tmp_path / 'out' / 'unconstrained.json').read_text())
    assert list(results) == list(tool.SECTIONS)
    assert all(row['bias_error'] < 1e-5 for row in results['collapse']['rows'])
    assert all(abs(row['above_closed_form']) < 1e-9 for row in results['beyond']['rows'])
    # the paper's tables stand beside K = 10 only
    assert 'AdamW' not in out[out.index('== ridge') : out.index('== imbalance')]
    threshold = results['imbalance']['thresholds'][0]
    for loss in ('ce', 'bce'):
        assert threshold[f'{loss}_difference'] == pytest.approx(threshold['predicted'], rel=0.01)
    for name in ('beyond', 'table11', 'imbalance', 'kd'):
        assert (tmp_path / 'out' / f'{name}.png').read_bytes().startswith(b'\x89PNG')


def test_options_reach_the_section(tmp_path, capsys):
    args = ['--only', 'collapse', '--lambda-w', '1e-3', '--lambda-h', '2e-3', '--lambda-b', '0']
    assert load('unconstrained').main([*SMALL, *args, '--seed', '7', '--out', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert 'K = 4, d = 5, n = 20, decays W/H/b = 0.001/0.002/0' in out
    assert 'cap none' in out
    row = json.loads((tmp_path / 'unconstrained.json').read_text())['collapse']['rows'][0]
    assert row['seed'] == 7


def test_rates_measured_from_random_starts_are_those_of_the_closed_form(tmp_path):
    args = '--scales 2 0.5 8 2 --classes 4 --samples 2 --dim 5 --seed 1'
    assert load('normalized_space').main([*args.split(), '--out', str(tmp_path)]) == 0
    rows = json.loads((tmp_path / 'normalized_space.json').read_text())
    assert [row['scale'] for row in rows] == [0.5, 0.5, 2, 2, 8, 8]  # sorted, once each
    for row in rows:
        assert row['measured_rate'] == pytest.approx(row['rate'], rel=0.03)
        assert row['distance'] < 1e-6
    assert (tmp_path / 'rates.png').read_bytes().startswith(b'\x89PNG')


def test_a_run_cut_short_has_dashes(tmp_path, capsys):
    args = '--scales 1 900 --classes 3 --samples 2 --dim 2 --steps 9'
    assert load('normalized_space').main([*args.split(), '--out', str(tmp_path)]) == 0
    assert 'nan' not in capsys.readouterr().out.lower()


@pytest.mark.parametrize(
    ('tool', 'args', 'said'),
    [
        ('unconstrained', '--classes 1', '1 classes'),
        ('unconstrained', '--lambda-w 0', 'lambda_W is 0.0'),
        ('unconstrained', '--lambda-h 10', 'does not tell the classes apart'),
        ('unconstrained', '--dim 3', '--dim 3 is below --classes 10'),
        ('unconstrained', '--seed -1', '--seed -1'),
        ('normalized_space', '--scales 1 -2', 'gamma is -2.0: it must be positive'),
        ('normalized_space', '--classes 30', '30 classes do not fit into 16 dimensions'),
    ],
)
def test_mistakes_are_sentences(tool, args, said, tmp_path, capsys):
    assert load(tool).main([*args.split(), '--out', str(tmp_path / 'out')]) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert said in error
    assert not (tmp_path / 'out').exists()
