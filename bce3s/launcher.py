"""Starts a tool in several processes through torchrun, and hands signals on to them.

torchrun by itself takes SIGTERM for the end: it kills its processes after 30 s and fails. Here it
runs as a child of the launcher, which sends SIGTERM, SIGUSR1, SIGHUP and the first Ctrl-C to the
processes themselves; they save and end, and torchrun ends as they do. Nothing here imports torch
but torchrun's own process.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bce3s.errors import BCE3SError
from bce3s.processes import cores
from bce3s.signals import STOPPING

ROOT = Path(__file__).resolve().parents[1]
AGENT = '--agent'
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """``TOOL GPUS [arguments of the tool]`` -> exit status; ``tools/dist_train.sh`` says what is
    read from the environment.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == [AGENT]:
        return agent(argv[1:])
    if argv[:1] in (['-h'], ['--help']):
        print('usage: launch.py train|test GPUS CONFIG [arguments]; see tools/dist_train.sh')
        return 0
    try:
        tool, gpus, *arguments = argv
        options = torchrun_options(gpus, os.environ)
    except (ValueError, BCE3SError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    script = [str(ROOT / 'tools' / f'{tool}.py'), *arguments, '--launcher', 'pytorch']
    environ = dict(os.environ)
    # torch would take all cores in every process (or, under torchrun, one)
    threads = environ.setdefault('OMP_NUM_THREADS', str(max(1, cores() // int(gpus))))
    # A store for each start: in one that is kept, processes that begin again find the addresses of
    # those before them.
    environ.setdefault('TORCH_DISABLE_SHARE_RDZV_TCP_STORE', '1')
    environ.setdefault('MKL_NUM_THREADS', threads)  # or MMEngine would set it, and say so
    command = [sys.executable, str(ROOT / 'tools' / 'launch.py'), AGENT, *options, *script]
    return supervise(command, environ)


# ------------------------------------------------------------ what torchrun is told
def torchrun_options(gpus: str, environ: Mapping[str, str]) -> list[str]:
    """How many processes there are, on which machines, and where they meet.

    Without restarts they meet at MASTER_ADDR:PORT, in the order of NODE_RANK. With restarts it is
    torchrun's own rendezvous there (c10d), for all must begin anew, and without what the processes
    before have left in the store, when one of them ends; it gives the ranks itself.

    Raises:
        BCE3SError: a value is wrong, or one is missing.
    """
    here = _number('the number of GPUs', gpus, 1)
    if ':' in environ.get('NNODES', ''):
        raise BCE3SError(
            f'NNODES={environ["NNODES"]}: the number of machines is fixed, for with another number '
            'of processes the batches, and so the steps, would be others. Give one number.'
        )
    nodes = _number('NNODES', environ.get('NNODES', '1'), 1)
    restarts = _number('MAX_RESTARTS', environ.get('MAX_RESTARTS', '0'), 0)
    if nodes > 1 and (absent := [k for k in ('NODE_RANK', 'MASTER_ADDR') if not environ.get(k)]):
        raise BCE3SError(
            f'NNODES={nodes} needs {" and ".join(absent)}: NODE_RANK is the number of this machine '
            f'(0 to {nodes - 1}), MASTER_ADDR the address of number 0.'
        )
    node = _number('NODE_RANK', environ.get('NODE_RANK') or '0', 0, nodes - 1)
    address = environ.get('MASTER_ADDR') or '127.0.0.1'
    port = environ.get('PORT') or ('29500' if nodes > 1 else _free_port())
    _number('PORT', port, 1, 65535)
    options = [f'--nnodes={nodes}', f'--nproc_per_node={here}', f'--max_restarts={restarts}']
    if local := environ.get('LOCAL_ADDR') or (address if node == 0 else ''):
        options.append(f'--local_addr={local}')
    if restarts:
        return [
            *options,
            '--rdzv_backend=c10d',
            f'--rdzv_endpoint={address}:{port}',
            f'--rdzv_id={environ.get("RDZV_ID") or f"bce3s-{port}"}',
            f'--rdzv_conf=is_host={int(node == 0)}',
        ]
    return [*options, f'--node_rank={node}', f'--master_addr={address}', f'--master_port={port}']


def _number(name: str, text: str, least: int, most: int | None = None) -> int:
    value = int(text) if re.fullmatch('[0-9]{1,9}', text) else -1
    if value < least or (most is not None and value > most):
        kind = 'a positive number' if least == 1 else f'a number of at least {least}'
        bounds = kind if most is None else f'a number from {least} to {most}'
        raise BCE3SError(f'{name} must be {bounds}, not {text!r}')
    return value


def _free_port() -> str:
    """So that two runs on a machine do not meet."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


# ------------------------------------------------------------ torchrun, and who watches it
def agent(arguments: Sequence[str]) -> int:
    """Runs torchrun here; a failure ends as one sentence, after those of the processes."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError

    # it would say what is said below, at length
    logging.getLogger('torch.distributed.elastic.multiprocessing.api').setLevel(logging.CRITICAL)
    args = run.parse_args(list(arguments))
    try:
        run.run(args)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == INTERRUPTED:
            return INTERRUPTED
        end = failure.signal_name() if failure.exitcode < 0 else f'status {failure.exitcode}'
        return _failed(f'process {rank} ended first, with {end}; what it printed is above.')
    except (RendezvousError, RuntimeError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        return _failed(
            f'the {args.nnodes} machine(s) did not come together ({text}). Are NNODES, MASTER_ADDR '
            'and PORT the same on all of them, and is the port free and open?'
        )
    except SignalException as stopped:
        return 128 + stopped.sigval
    return 0


def _failed(text: str) -> int:
    print(f'error: {text}', file=sys.stderr, flush=True)
    return 1


def supervise(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs torchrun's process until it ends, handing signals on; returns its exit status."""
    torchrun: list[subprocess.Popen] = []
    interrupted = 0

    def hand_on(number: int, _: object) -> None:
        nonlocal interrupted
        interrupted += number == signal.SIGINT
        agents = [process.pid for process in torchrun]
        pids = [pid for agent in agents for pid in children(agent)]
        if interrupted > 1 or not pids:
            pids = agents  # to end, with all its processes
            number = signal.SIGTERM if number != signal.SIGINT else number
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)

    for number in STOPPING:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # under nohup
        signal.signal(number, hand_on)
    # A session of its own: what its group is sent (Ctrl-C, `timeout`, Slurm) comes through here.
    start = dict(start_new_session=True, preexec_fn=_end_with_the_launcher)
    torchrun.append(subprocess.Popen(list(command), env=dict(environ), **start))
    status = torchrun[0].wait()
    return status if status >= 0 else 128 - status


def _end_with_the_launcher() -> None:
    """On Linux torchrun gets SIGTERM when its launcher is killed, and ends its processes."""
    if sys.platform == 'linux':
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    return [child for child, parent in _processes() if parent == pid]


def _processes() -> Iterator[tuple[int, int]]:
    """(process, parent) of all."""
    if not Path('/proc/self/stat').is_file():
        command = ['ps', '-A', '-o', 'pid=', '-o', 'ppid=']
        table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        yield from ((int(a), int(b)) for a, b in map(str.split, table.splitlines()))
        return
    for folder in Path('/proc').glob('[0-9]*'):
        try:  # "pid (name) state parent ...", and the name may hold anything
            yield int(folder.name), int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[1])
        except OSError:  # it has just ended
            continue
