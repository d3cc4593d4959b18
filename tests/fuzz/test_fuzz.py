"""Everything that reads what somebody else wrote: 150 cases of each kind, or as many as asked for:

FUZZ=10000 python -m pytest tests/fuzz
"""

import ast
import logging
import os
import pickle
from collections import Counter
from pathlib import Path

import checkpoints
import hypothesis
import inputs
import options
import pytest
from fuzzing import Target, check
from hypothesis import HealthCheck
from hypothesis import strategies as st

from bce3s.errors import BCE3SError

TARGETS = {t.name: t for module in (inputs, checkpoints, options) for t in module.TARGETS}
CASES = int(os.environ.get('FUZZ', '150'))
EXAMPLES = {path.stem: path for path in (Path(__file__).parent / 'examples').glob('*.txt')}


@pytest.fixture(autouse=True)
def _logs_again():
    yield
    logging.disable(logging.NOTSET)


def explore(target: Target, cases: int) -> Counter:
    """How many cases ended how; the smallest that fails is raised and printed."""
    ends: Counter = Counter()

    @hypothesis.seed(7)
    @hypothesis.settings(
        max_examples=cases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(target.cases())
    def attempt(case):
        ends[check(target, case)] += 1

    attempt()
    return ends


@pytest.mark.parametrize('name', TARGETS)
def test_nothing_but_success_or_a_sentence(name):
    target = TARGETS[name]
    ends = explore(target, max(25, round(CASES * min(1.0, target.share))))
    assert ends['refused'] > 5
    assert not ends['refused at length']


@pytest.mark.parametrize('name', EXAMPLES)
def test_what_was_found_stays_mended(name):
    for line in EXAMPLES[name].read_text(encoding='ascii').splitlines():
        if not line.startswith('#'):
            check(TARGETS[name], ast.literal_eval(line))


# ------------------------------------------------------------ does it notice?
def target(run, seconds=1.0):
    return Target('own', lambda: st.integers(0, 1000), run, seconds)


def test_another_exception_is_a_failure_and_made_small():
    def run(number):
        if number > 17:
            raise KeyError(number)
        raise BCE3SError('17 is the largest')

    with pytest.raises(KeyError, match='18'):
        explore(target(run), 100)


def test_a_hang_is_a_failure_even_where_all_exceptions_are_caught():
    def run(_):
        try:
            while True:
                pass
        except Exception:
            return 'ok'

    with pytest.raises(AssertionError, match=r'took more than 0\.1 s'):
        check(target(run, seconds=0.1), 0)


def test_memory_is_limited():
    with pytest.raises(MemoryError):
        check(target(lambda _: str(len(bytearray(4 << 30)))), 0)


def test_the_crafted_files_would_call_what_they_name():
    called = checkpoints.canary.called
    pickle.loads(checkpoints.files()[6])
    assert called.pop() == ('a',)
    assert not called
