"""Times, memory and ceilings of what is known."""

from __future__ import annotations

import pytest
import torch

from benchmarks import timing
from benchmarks.step import ceilings
from benchmarks.timing import Options, Timing, compare, measuring, peak_memory


class Clock:
    """What :mod:`timing` takes for the time: it goes on by what the functions say they take."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def taking(self, seconds):
        def work():
            self.now += seconds

        return work


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(timing, 'time', Clock())
    return timing.time


def test_twice_the_work_takes_twice_as_long(clock):
    work = dict(one=clock.taking(0.25), two=clock.taking(0.5))
    times = compare(work, Options(seconds=3.0))
    assert (times['one'].best, times['two'].best) == pytest.approx((0.25, 0.5))
    # both together had their seconds
    assert times['one'].calls == times['two'].calls == 8


def test_functions_take_turns_and_short_ones_many_calls_a_turn(clock):
    calls = []

    def timed(name, seconds):
        work = clock.taking(seconds)
        return lambda: (calls.append(name), work())

    functions = dict(a=timed('a', 1e-5), b=timed('b', 5e-3))
    times = compare(functions, Options(seconds=0.02), warmup=2)
    assert calls[:4] == ['a', 'a', 'b', 'b']
    assert ''.join(calls[4:]) == (200 * 'a' + 'b') * (times['b'].calls)
    assert times['a'].calls == 200 * times['b'].calls
    assert len(times['a'].rounds) == len(times['b'].rounds) >= 5
    assert (times['a'].median, times['b'].median) == pytest.approx((1e-5, 5e-3))


def test_slow_functions_have_three_rounds(clock):
    times = compare(dict(slow=clock.taking(0.02)), Options(seconds=0.01), warmup=1)
    assert times['slow'].calls == 3


def test_a_timing_of_its_rounds():
    one = Timing.of([4.0, 1.0, 2.0, 3.0, 5.0], calls=2)
    assert (one.median, one.best, one.spread, one.calls) == (3, 1, 2 / 3, 10)
    assert one.divided(2) == Timing(1.5, 0.5, 2 / 3, 20, (2.0, 0.5, 1.0, 1.5, 2.5))
    other = Timing.of([3.5, 0.5, 1.5, 9.0, 1.0])
    assert one.beyond(other) == 0.5  # an outlier in one round does not matter


def test_peak_memory_of_a_known_allocation():
    size = 60_000_000
    if peak_memory(lambda: None, 'cpu') is None:
        pytest.skip('this kernel does not reset the peak')
    assert peak_memory(lambda: None, 'cpu') < size / 20
    for _ in range(2):  # what the first gave back must not hide the second
        used = peak_memory(lambda: torch.ones(size, dtype=torch.uint8), 'cpu')
        assert used == pytest.approx(size, rel=0.1)


def test_ceilings_are_measured_once():
    options = Options(quick=True, seconds=0.02)
    ceiling = ceilings(options)
    assert ceiling is ceilings(options)
    assert ceiling.flops.keys() == {'fp32', 'bf16'}


def test_progress_goes_to_stderr(capsys):
    measuring('something')
    out, err = capsys.readouterr()
    assert (out, err) == ('', 'measuring something\n')
