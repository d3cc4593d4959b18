"""A few hundred cases of every target; what was found before; a hundred thousand when asked to."""

import ast
import logging
import pickle

import checkpoints
import pytest
from fuzzing import EXAMPLES, Target, check, examples, explore
from hypothesis import strategies as st
from run import TARGETS, main

from bce3s.errors import BCE3SError

FEW = {'options_build': 25}


@pytest.fixture(autouse=True)
def _logs_again():
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize('name', TARGETS)
def test_a_few_hundred_cases(name):
    outcome = explore(TARGETS[name], FEW.get(name, 150), seed=7)
    assert not outcome.failures, next(iter(outcome.failures.values()))
    assert outcome.cases >= 20
    assert sum(n for end, n in outcome.ends.items() if end.startswith('BCE3SError')) > 5


@pytest.mark.parametrize('name', TARGETS)
def test_what_was_found_stays_mended(name):
    for case in examples(name):
        check(TARGETS[name], case)


def test_examples_belong_to_targets():
    assert {path.stem for path in EXAMPLES.glob('*.txt')} <= set(TARGETS)


@pytest.mark.slow
def test_a_hundred_thousand_cases():
    assert main(['--cases', '100000']) == 0


# ------------------------------------------------------------ does the harness notice?
def target(run, seconds=1.0):
    return Target('own', lambda: st.integers(0, 1000), run, seconds)


def test_another_exception_is_a_failure_and_made_small():
    def run(number):
        if number > 17:
            raise KeyError(number)
        raise BCE3SError('17 is the largest')

    outcome = explore(target(run), 100, seed=0)
    (failure,) = outcome.failures.values()
    assert failure.case == 18
    assert 'KeyError' in failure.where
    assert outcome.cases == 100


def test_a_hang_is_a_failure_even_where_all_exceptions_are_caught():
    def run(number):
        try:
            while number >= 0:
                pass
        except Exception:
            return 'ok'

    outcome = explore(target(run, seconds=0.1), 2, seed=0)
    assert [failure.text for failure in outcome.failures.values()] == ['Hang: took more than 0.1 s']


def test_memory_is_limited():
    with pytest.raises(MemoryError):
        check(target(lambda _: str(len(bytearray(4 << 30)))), 0, memory=1 << 30)


def test_the_same_seed_draws_the_same_cases():
    def seen(seed):
        cases = []
        explore(target(lambda case: str(cases.append(case))), 50, seed)
        return cases

    assert seen(1) == seen(1) != seen(2)


def test_the_crafted_files_would_call_what_they_name():
    called = checkpoints.canary.called
    pickle.loads(checkpoints.files()[6])
    assert called.pop() == ('a',)
    assert not called


def test_examples_are_literals():
    for path in EXAMPLES.glob('*.txt'):
        assert examples(path.stem)
        assert path.read_text().isascii()
        for case in examples(path.stem):
            assert ast.literal_eval(ascii(case)) == case
