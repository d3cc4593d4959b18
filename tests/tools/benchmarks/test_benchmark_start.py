"""The section ``start``: processes are started, watched and judged."""

import sys

import pytest

from bce3s.errors import BCE3SError
from benchmarks import start
from benchmarks.timing import Options, Timing


def test_quick_section():
    (table,) = start.run(Options(quick=True, seconds=0.01))
    rows = {row['process']: row for row in table.rows}
    assert list(rows) == list(start.processes(True, None))
    assert all(0 < row['best s'] <= row['median s'] < 5 for row in rows.values())
    # argparse and our parser: not a framework, which takes seconds
    assert rows['train.py --help']['over the floor'] < 30
    assert rows['import bce3s']['floor s'] == rows['python -c pass']['best s']


def test_every_floor_and_the_plain_way_are_measured(tmp_path):
    names = set(start.processes(False, tmp_path))
    assert {*start.FLOORS, *start.FLOORS.values(), start.EVERYTHING} <= names
    table = start.table({name: Timing(2.0, 1.0 + i, 0.1, 3) for i, name in enumerate(names)})
    best = {row['process']: row['best s'] for row in table.rows}
    for row in table.rows:
        if row['process'] in start.FLOORS:
            floor = best[start.FLOORS[row['process']]]
            assert row['over the floor'] == row['best s'] / floor
            assert row['plain / ours'] == best[start.EVERYTHING] / row['best s']


def test_a_process_is_stopped_at_its_line():

    code = 'import time; print("a", flush=True); print("Epoch b", flush=True); time.sleep(60)'
    start.until(['-c', code], 'Epoch')


def test_processes_that_fail_are_told():
    with pytest.raises(BCE3SError, match='ended with status 3: why'):
        start.ended(['-c', 'import sys; print("why", file=sys.stderr); sys.exit(3)'], 0)
    with pytest.raises(BCE3SError, match='status 0: something else'):
        start.until(['-c', 'print("something else")'], 'Epoch')
    start.ended(['-c', 'import sys; sys.exit(2)'], 2)
    assert sys.executable


@pytest.mark.slow
def test_a_training_is_watched_to_its_first_iteration(tmp_path):
    start.processes(False, tmp_path)['train.py digits, to its first iteration']()
    assert not list(tmp_path.glob('*.pth'))
