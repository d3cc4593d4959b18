"""tools/normalized_space.py: what it prints and writes, its laws on known rows, its errors."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from bce3s.errors import BCE3SError
from bce3s.theory.normalized import LOSSES, convergence_rate
from studies import normalized_study as study
from studies.normalized_figures import draw_rates
from studies.normalized_report import text
from studies.sections.common import png

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'normalized_space.py'
PNG = b'\x89PNG\r\n\x1a\n'


def load():
    spec = importlib.util.spec_from_file_location('normalized_space', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def result():
    return study.run(
        study.Options(scales=(0.5, 2.0, 8.0), classes=4, samples=2, dim=5, budget=30.0)
    )


def test_the_tool_writes_its_tables_figures_and_json(tmp_path, capsys):
    options = '--scales 2 0.5 2 --classes 3 --samples 2 --dim 4 --budget 5 --seed 1 --out'
    assert load().main([*options.split(), str(tmp_path / 'new')]) == 0
    said = capsys.readouterr().out
    for words in ('K = 3, n = 2, d = 4', '(a) gamma grows', '6 runs in', 'At time 5:'):
        assert words in said
    assert 'nan' not in said.lower()
    result = json.loads((tmp_path / 'new' / 'normalized_space.json').read_text())
    assert result['options']['scales'] == [0.5, 2.0]  # sorted, once each
    assert len(result['rows']) == 2 * len(study.VARIANTS)
    for name in ('rates', 'budget', 'courses'):
        assert (tmp_path / 'new' / f'{name}.png').read_bytes().startswith(PNG)


def test_rows_agree_with_the_theory(result):
    for row in result['rows']:
        rate = convergence_rate(row['loss'], row['scale'], 4, 2, 5)
        assert row['predicted_rate'] == rate
        assert row['measured_rate'] == pytest.approx(rate, rel=0.03)
        assert row['time_to_accuracy'] < row['time_to_alignment']
        assert row['budget']['time'] <= 30
        times, distances, percents = zip(*row['course'], strict=True)
        assert list(times) == sorted(set(times))
        assert distances[-1] < 1e-6
        assert percents[-1] == 100


def test_the_budget_is_examined_by_its_clock(result):
    for name in ('ce', 'bce_best'):
        at = {row['scale']: row['budget'] for row in study.of_variant(result, name)}
        assert at[2.0]['e_com'] == pytest.approx(100, abs=1e-6)
        assert at[2.0]['positive_cosine'] == pytest.approx(1)
        assert at[2.0]['negative_cosine'] == pytest.approx(-1 / 3)
        assert at[2.0]['disturbance']['margin']['0.05'] == pytest.approx(math.sqrt(2 / 3), abs=1e-4)
        assert at[8.0]['alignment'] > at[2.0]['alignment']


@pytest.mark.parametrize('loss', LOSSES)
def test_fastest_scale_is_a_maximum(loss):
    best = study.fastest_scale(loss, 10, 5, 16)
    rates = [convergence_rate(loss, best * f, 10, 5, 16) for f in (0.97, 1.0, 1.03)]
    assert max(rates) == rates[1]


def test_powers_and_exponents_of_known_rows():
    rows = [{'scale': s, 'x': 5 * s**-1.5, 'y': 3 * s * math.exp(-0.7 * s)} for s in (2.0, 5.0)]
    assert study.power(rows, 'x') == pytest.approx(-1.5)
    assert study.exponent(rows, 'y') == pytest.approx(-0.7)
    for broken in (
        [rows[0]] * 2,
        [rows[0], {**rows[1], 'x': None}],
        [rows[0], {**rows[1], 'x': 0}],
    ):
        assert study.power(broken, 'x') is None


def test_right_for_good_is_after_the_last_mistake():
    record = study.Record(0.0, 1.0, 1.0, 0.0, 0.0)
    records = [
        record._replace(time=float(t), accuracy=a) for t, a in enumerate((10.0, 100, 10, 99, 100))
    ]
    assert study._learnt_for_good(records) == 3.0
    assert study._learnt_for_good(records[:3]) is None
    assert study._learnt_for_good(records[3:]) == 3.0


@pytest.mark.parametrize(
    'options',
    [
        study.Options(scales=(1.0,), classes=2, samples=1, dim=1, max_steps=40),
        study.Options(scales=(1.0, 900.0), classes=3, samples=2, dim=2, max_steps=40),
    ],
)
def test_small_models_and_runs_cut_short_have_no_nan(options):
    result = study.run(options)
    json.dumps(result, allow_nan=False)
    said = text(result)
    assert 'nan' not in said.lower()
    assert ('Two scales are needed' in said) == (len(options.scales) == 1)
    assert png(draw_rates(result)).startswith(PNG)  # also with nothing measured


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ('--scales 1 -2', 'gamma is -2.0: it must be positive'),
        ('--scales nan', 'gamma is nan'),
        ('--classes 1', 'needs at least 2'),
        ('--classes 30', '30 classes do not fit into 16 dimensions'),
        ('--samples 0', '0 features a class'),
        ('--budget 0', '--budget 0 must be a positive time'),
        ('--max-steps 0', '--max-steps 0 must be at least 1'),
    ],
)
def test_errors_are_one_sentence_and_exit_1(options, said, capsys, tmp_path):
    assert load().main([*options.split(), '--out', str(tmp_path / 'x')]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    assert not (tmp_path / 'x' / 'normalized_space.json').exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert load().main(['--scales', '1', '--out', str(tmp_path / 'file')]) == 1
    assert 'error: cannot write to' in capsys.readouterr().err


def test_options_of_the_study_alone_are_checked_too():
    with pytest.raises(BCE3SError, match='do not fit'):
        study.run(study.Options(classes=5, dim=2))


def test_help_imports_no_torch():
    code = (
        'import sys, runpy\n'
        f'sys.argv = ["normalized_space.py", "--help"]\n'
        'try:\n'
        f'    runpy.run_path({str(TOOL)!r}, run_name="__main__")\n'
        'except SystemExit:\n'
        '    pass\n'
        'assert not {"torch", "numpy"} & set(sys.modules), "heavy imports"\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert '--budget' in done.stdout


@pytest.mark.slow
def test_the_default_sweep_takes_less_than_a_minute(tmp_path):
    subprocess.run([sys.executable, TOOL, '--out', tmp_path], check=True, timeout=600)
