"""Times, memory and ceilings of what is known."""

from __future__ import annotations

import time

import pytest
import torch

from bce3s.benchmark import ceilings
from bce3s.benchmark.timing import Options, Timing, compare, measuring, peak_memory


def test_twice_the_work_takes_twice_as_long():
    x = torch.randn(200, 200)

    def work(times):
        for _ in range(times):
            x @ x

    times = compare(dict(one=lambda: work(4), two=lambda: work(8)), Options(seconds=0.3))
    assert times['two'].best / times['one'].best == pytest.approx(2, rel=0.3)


def test_functions_take_turns_and_short_ones_many_calls_a_turn():
    calls = []
    functions = dict(a=lambda: calls.append('a'), b=lambda: (calls.append('b'), time.sleep(5e-3)))
    times = compare(functions, Options(seconds=0.02), warmup=2)
    assert calls[:4] == ['a', 'a', 'b', 'b']
    turns = ''.join(calls[4:]).replace('aa', 'a')
    while 'aa' in turns:
        turns = turns.replace('aa', 'a')
    assert set(turns.split('ab')) == {''}
    assert times['a'].calls > 100 * times['b'].calls
    assert len(times['a'].rounds) == len(times['b'].rounds) >= 5
    assert times['b'].median > 5e-3 > times['a'].median


def test_slow_functions_have_three_rounds():
    times = compare(dict(slow=lambda: time.sleep(0.02)), Options(seconds=0.01), warmup=1)
    assert times['slow'].calls == 3


def test_a_timing_of_its_rounds():
    timing = Timing.of([4.0, 1.0, 2.0, 3.0, 5.0], calls=2)
    assert (timing.median, timing.best, timing.spread, timing.calls) == (3, 1, 2 / 3, 10)
    assert timing.divided(2) == Timing(1.5, 0.5, 2 / 3, 20, (2.0, 0.5, 1.0, 1.5, 2.5))
    other = Timing.of([3.5, 0.5, 1.5, 9.0, 1.0])
    assert timing.beyond(other) == 0.5  # an outlier in one round does not matter


def test_peak_memory_of_a_known_allocation():
    size = 60_000_000
    if peak_memory(lambda: None, 'cpu') is None:
        pytest.skip('this kernel does not reset the peak')
    assert peak_memory(lambda: None, 'cpu') < size / 20
    for _ in range(2):  # what the first gave back must not hide the second
        used = peak_memory(lambda: torch.ones(size, dtype=torch.uint8), 'cpu')
        assert used == pytest.approx(size, rel=0.1)


def test_ceilings_are_plausible_and_measured_once():
    options = Options(quick=True, seconds=0.02)
    ceiling = ceilings.measured(options)
    assert ceiling is ceilings.measured(options)
    assert ceiling.flops.keys() == {'fp32', 'bf16'}
    assert 1e8 < ceiling.flops['fp32'] < 1e16
    assert 1e6 < ceiling.flops['bf16'] < 1e16
    assert 1e7 < ceiling.bandwidth < 1e14


def test_progress_goes_to_stderr(capsys):
    measuring('something')
    out, err = capsys.readouterr()
    assert (out, err) == ('', 'measuring something\n')
