"""Fuzzes everything that reads what somebody else wrote.

    python tests/fuzz/run.py --cases 100000
    python tests/fuzz/run.py --target lists --seconds 60 --seed 3

Cases are drawn in blocks, each in a process of its own that is forked from this one, so that a
crash of the interpreter or a hang in C ends a block and no more. A failure is made as small as
hypothesis can make it and kept in ``examples/``, from where pytest runs it. The cases are a
function of seed and number; where ``--seconds`` ends the run, so many of them.
"""

from __future__ import annotations

import argparse
import os
import pickle
import signal
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

import checkpoints  # noqa: E402
import inputs  # noqa: E402
import options  # noqa: E402
from fuzzing import Failure, Outcome, Target, explore, keep  # noqa: E402

TARGETS: dict[str, Target] = {
    target.name: target for module in (inputs, checkpoints, options) for target in module.TARGETS
}
BLOCK = 1000
MEMORY = 2 << 30  # bytes that a case may take beside what the process has
HEADS = ('target', 'cases', 'ok', 'refused', 'kinds', 'slowest', 'memory', 'a second', 'failures')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=100_000, help='over all targets')
    parser.add_argument('--target', action='append', choices=sorted(TARGETS))
    parser.add_argument('--seconds', type=float, default=float('inf'), help='over all targets')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kinds', action='store_true', help='print how often which sentence came')
    args = parser.parse_args(argv)
    chosen = [TARGETS[name] for name in args.target or TARGETS]
    shares = sum(target.share for target in chosen)
    print('| ' + ' | '.join(HEADS) + ' |\n| --- |' + ' ---: |' * (len(HEADS) - 1), flush=True)
    total, failed = Outcome(), 0
    started = time.monotonic()
    for target in chosen:
        part = target.share / shares
        start = time.monotonic()
        outcome = blocks(target, round(args.cases * part), args.seed, args.seconds * part)
        print(row(target.name, outcome, time.monotonic() - start), flush=True)
        if args.kinds:
            print(''.join(f'  {n:7} {kind}\n' for kind, n in outcome.ends.most_common()))
        for failure in outcome.failures.values():
            keep(target.name, failure)
            print(f'FAILURE {failure.where}: {failure.text}\n  {ascii(failure.case)[:1000]}')
        failed += len(outcome.failures)
        total.add(outcome)
    print(row('all', total, time.monotonic() - started))
    return 1 if failed else 0


def row(name: str, outcome: Outcome, seconds: float) -> str:
    refused = {kind: n for kind, n in outcome.ends.items() if kind.startswith('BCE3SError')}
    failures = sum(n for kind, n in outcome.ends.items() if kind.startswith('FAILURE'))
    cells = [
        name,
        f'{outcome.cases:,}',
        f'{outcome.cases - sum(refused.values()) - failures:,}',
        f'{sum(refused.values()):,}',
        len(refused),
        f'{1000 * outcome.slowest:.0f} ms',
        f'{outcome.memory} MiB',
        f'{outcome.cases / max(seconds, 1e-9):.0f}',
        f'{failures} ({len(outcome.failures)} kinds)' if failures else 0,
    ]
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def blocks(target: Target, cases: int, seed: int, seconds: float) -> Outcome:
    """``cases`` cases in blocks, fewer when the time is over."""
    outcome, end = Outcome(), time.monotonic() + seconds
    number = 0
    if cases:  # what is imported and made once is there before the fork
        explore(target, 3, seed)
    while outcome.cases < cases and time.monotonic() < end:
        size = min(BLOCK, cases - outcome.cases)
        known = frozenset(outcome.failures)
        outcome.add(_forked(target, size, seed * 1_000_003 + number, known))
        number += 1
    return outcome


def _forked(target: Target, size: int, seed: int, known: frozenset[str]) -> Outcome:
    """:func:`explore` in a child; what kills it is a failure of the case that it was at."""
    read, write = os.pipe()
    note = checkpoints.folder() / f'{target.name}.case'
    note.write_text('None')
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libjpeg and libtiff write there
            found = explore(_noting(target, note), size, seed, MEMORY, known)
            with os.fdopen(write, 'wb') as file:
                pickle.dump(found, file)  # between these two processes
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, 'rb') as file:
        sent = _watched(child, file, note, target.seconds)
    if sent:
        return pickle.loads(sent)
    case = _noted(note)
    where = f'{target.name}: the process died or hung'
    return Outcome(size, {f'FAILURE {where}': 1}, failures={where: Failure(where, where, case)})


def _watched(child: int, file, note: Path, seconds: float) -> bytes:
    """What the child sends; nothing if it died, or was longer at one case than it may be."""
    os.set_blocking(file.fileno(), False)
    sent = b''
    while True:
        piece = file.read()
        sent += piece or b''
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            sent += file.read() or b''
            return sent if status == 0 else b''
        if time.time() - note.stat().st_mtime > 10 * seconds + 120:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _noting(target: Target, note: Path) -> Target:
    """The target, writing down each case before it runs it."""

    def run(case):
        with note.open('w') as file:
            file.write(ascii(case))
        return target.run(case)

    return Target(target.name, target.cases, run, target.seconds, target.share)


def _noted(note: Path):
    import ast

    return ast.literal_eval(note.read_text())


if __name__ == '__main__':
    sys.exit(main())
