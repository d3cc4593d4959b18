"""Cases drawn by hypothesis go to a target under limits of time and memory; what comes out counts.

A case is a Python literal, so that one that failed can be written down, read back with
``ast.literal_eval`` (nothing is unpickled) and kept as a regression example. A target may return
(``ok`` or another word) or raise :class:`BCE3SError`; everything else is a failure: another
exception, longer than its limit, more memory than its limit.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import re
import resource
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from bce3s.errors import BCE3SError

EXAMPLES = Path(__file__).parent / 'examples'


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        cases: makes the strategy of its cases, Python literals.
        run: takes one; returns a word for what happened, or raises.
        seconds: that a case may take.
        share: of the cases of a run over all targets, beside the shares of the others.
    """

    name: str
    cases: Callable[[], SearchStrategy]
    run: Callable[[Any], str]
    seconds: float = 5.0
    share: float = 1.0


@dataclass(frozen=True)
class Failure:
    """``where`` tells it from other failures; ``case`` is the smallest that was found."""

    where: str
    text: str
    case: Any


@dataclass
class Outcome:
    """Of some cases: how many ended how, the slowest, the failures by where they were raised."""

    cases: int = 0
    ends: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_case: str = ''
    memory: int = 0  # MiB that the process grew by
    failures: dict[str, Failure] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        self.cases += other.cases
        self.ends += other.ends
        if other.slowest > self.slowest:
            self.slowest, self.slowest_case = other.slowest, other.slowest_case
        self.memory = max(self.memory, other.memory)
        for where, failure in other.failures.items():
            self.failures.setdefault(where, failure)


class Hang(BaseException):
    """Not an Exception, so that no ``except Exception`` takes it for a damaged file."""


@contextlib.contextmanager
def limits(seconds: float, memory: int = 0) -> Iterator[None]:
    """Raises :class:`Hang` after ``seconds``; ``memory`` more bytes can be had than now."""

    def stop(*_):
        raise Hang(f'took more than {seconds:g} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (_in_use() + memory, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _in_use() -> int:
    return int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()


def check(target: Target, case: Any, memory: int = 0, slower: float = 1.0) -> str:
    """How one case ended: the word of the target, or the kind of the BCE3SError."""
    try:
        quiet = contextlib.redirect_stdout(io.StringIO())
        with quiet, limits(target.seconds * slower, memory), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return target.run(case)
    except BCE3SError as error:
        if len(str(error)) > 20_000:
            raise AssertionError(f'a sentence of {len(str(error))} characters') from error
        return kind_of(error)


def kind_of(error: BCE3SError) -> str:
    """Its sentence without names, paths and numbers, cut short."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\S*[/\\=.\d]\S*|[^ -~]+", '#', str(error))
    return 'BCE3SError: ' + ' '.join(text.split()[:7])


def where_raised(error: BaseException) -> str:
    """The type, and the last line of this package and of all that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if '/tests/fuzz/' not in f.filename and 'hypothesis' not in f.name]
    ours = [f for f in inside if '/bce3s/' in f.filename or '/tools/' in f.filename]
    lines = [f'{Path(f.filename).name}:{f.lineno}' for f in (ours[-1:] + inside[-1:])]
    return ' '.join([type(error).__name__, *dict.fromkeys(lines)])


def explore(
    target: Target, cases: int, seed: int, memory: int = 0, known: frozenset[str] = frozenset()
) -> Outcome:
    """Draws ``cases`` cases, a function of ``seed``; each new failure is made small once.

    ``known``: failures of which only the number is wanted.
    """
    outcome = Outcome()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while (left := cases - outcome.cases) > 0:
        found = _search(target, left, seed + outcome.cases, memory, known, outcome)
        if found is None:
            break
        outcome.failures[found.where] = found
        known = known | {found.where}
    outcome.memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return outcome


def _search(
    target: Target, cases: int, seed: int, memory: int, known: frozenset[str], outcome: Outcome
) -> Failure | None:
    """Until the first failure that is not known."""
    smallest: list[Failure] = []
    shrinking = [False]

    def attempt(case: Any) -> None:
        start = time.perf_counter()
        try:
            end = check(target, case, memory)
        except (Exception, Hang) as error:
            where = where_raised(error)
            end = f'FAILURE {where}'
            if where not in known:
                if isinstance(error, MemoryError):
                    gc.collect()
                shrinking[0] = True
                smallest[:] = [Failure(where, f'{type(error).__name__}: {error}'[:2000], case)]
                raise AssertionError(where) from error
        if not shrinking[0]:
            _count(outcome, end, time.perf_counter() - start, case)

    test = hypothesis.given(target.cases())(attempt)
    test = hypothesis.seed(seed)(test)
    test = hypothesis.settings(
        max_examples=cases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )(test)
    try:
        test()
    except (AssertionError, Flaky) as error:
        if not smallest:
            raise
        outcome.cases += 1
        outcome.ends[f'FAILURE {smallest[0].where}'] += 1
        if isinstance(error, Flaky):
            return Failure(
                smallest[0].where, 'not each time: ' + smallest[0].text, smallest[0].case
            )
        return smallest[0]
    return None


def _count(outcome: Outcome, end: str, seconds: float, case: Any) -> None:
    outcome.cases += 1
    outcome.ends[end] += 1
    if seconds > outcome.slowest:
        outcome.slowest, outcome.slowest_case = seconds, repr(case)[:500]


# ------------------------------------------------------------ regression examples
def examples(name: str) -> list[Any]:
    """The cases of ``examples/NAME.txt``: a literal a line, lines beginning with # are remarks."""
    file = EXAMPLES / f'{name}.txt'
    if not file.is_file():
        return []
    lines = file.read_text(encoding='utf-8').splitlines()
    return [ast.literal_eval(line) for line in lines if line.strip() and line[0] != '#']


def keep(name: str, failure: Failure) -> None:
    """Adds the case of a failure to ``examples/NAME.txt``, in plain ASCII."""
    file = EXAMPLES / f'{name}.txt'
    text = file.read_text(encoding='utf-8') if file.is_file() else ''
    line = ascii(failure.case)
    if line not in text.splitlines():
        remark = ascii(f'{failure.where}: {failure.text}'[:160])[1:-1]
        file.write_text(f'{text}# {remark}\n{line}\n', encoding='utf-8')
