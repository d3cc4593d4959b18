"""Starts a tool in several processes through torchrun, and hands signals on to them.

torchrun by itself takes SIGTERM for the end: it kills its processes and fails. Here it runs in a
thread, where it listens for no signals, while the main thread hands SIGTERM, SIGUSR1, SIGHUP and
the first Ctrl-C to the processes: they save and end, and torchrun ends as they do.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bce3s.errors import BCE3SError
from bce3s.processes import cores
from bce3s.signals import STOPPING

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """``TOOL GPUS [arguments of the tool]`` -> exit status; ``tools/dist_train.sh`` says what is
    read from the environment.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    asked = argv[:1] in (['-h'], ['--help'])
    if asked or len(argv) < 2:
        print('usage: bce3s launch train|test GPUS CONFIG [arguments]; see tools/dist_train.sh')
        return 0 if asked else 2
    try:
        tool, gpus, *arguments = argv
        options = torchrun_options(gpus, os.environ)
    except (ValueError, BCE3SError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    # torch would take all cores in every process (or, under torchrun, one)
    threads = os.environ.setdefault('OMP_NUM_THREADS', str(max(1, cores() // int(gpus))))
    os.environ.setdefault('MKL_NUM_THREADS', threads)  # or MMEngine would set it, and say so
    # A store for each start: in one that is kept, processes that begin again find the addresses of
    # those before them.
    os.environ.setdefault('TORCH_DISABLE_SHARE_RDZV_TCP_STORE', '1')
    path = [str(ROOT), os.environ.get('PYTHONPATH')]  # of the checkout, from any folder
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    return supervise([*options, '--module', 'bce3s', tool, *arguments, '--launcher', 'pytorch'])


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


def _number(name: str, text: str, least: int, most: int = 10**9) -> int:
    value = int(text) if re.fullmatch('[0-9]{1,9}', text) else -1
    if not least <= value <= most:
        bounds = f'of at least {least}' if most == 10**9 else f'from {least} to {most}'
        raise BCE3SError(f'{name} must be a number {bounds}, not {text!r}')
    return value


def _free_port() -> str:
    """So that two runs on a machine do not meet."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


# ------------------------------------------------------------ torchrun, and who watches it
def supervise(arguments: Sequence[str]) -> int:
    """Runs torchrun until it ends, handing signals on to its processes; returns the exit status."""
    running: list = []  # torch's handle on the processes, of each start one
    interrupted = 0

    def hand_on(number: int, _: object) -> None:
        nonlocal interrupted
        interrupted += number == signal.SIGINT
        pids = running[-1].pids().values() if running else ()
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL if interrupted > 1 else number)
        if interrupted > 1 or not pids:
            os._exit(128 + number)

    for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # under nohup
            signal.signal(number, hand_on)
    status = [1]
    torchrun = threading.Thread(
        target=lambda: status.append(_torchrun(arguments, running)), daemon=True
    )
    torchrun.start()
    torchrun.join()
    return status[-1]


def _torchrun(arguments: Sequence[str], running: list) -> int:
    """torchrun in this thread; a failure ends as one sentence, after those of the processes."""
    from torch.distributed import run
    from torch.distributed.elastic.agent.server import local_elastic_agent
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError

    # it would say what is said below, at length
    logging.getLogger('torch.distributed.elastic.multiprocessing.api').setLevel(logging.CRITICAL)
    start = local_elastic_agent.start_processes

    def started(*args, **kwargs):
        running.append(start(*args, **kwargs))
        return running[-1]

    local_elastic_agent.start_processes = started
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
    return 0


def _failed(text: str) -> int:
    print(f'error: {text}', file=sys.stderr, flush=True)
    return 1
