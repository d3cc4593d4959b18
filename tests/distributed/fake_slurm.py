"""``srun`` and ``scontrol`` for tests: this file under these names on PATH.

``srun`` starts the tasks here, "node" by node on loopback, with the variables that Slurm sets, and
hands SIGTERM and SIGUSR1 on to them; a task that fails ends the others (--kill-on-bad-exit).
``scontrol`` names the hosts, and notes in FAKE_SLURM_LOG what else it was asked.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def srun(arguments):
    flags = [a for a in arguments if a.startswith('--')][: arguments.index(os.environ['PYTHON'])]
    asked = dict(flag[2:].split('=', 1) for flag in flags if '=' in flag)
    command = arguments[arguments.index(os.environ['PYTHON']) :]
    note('srun ' + ' '.join(arguments[: arguments.index(os.environ['PYTHON'])]))
    tasks, size, each = [], int(asked['ntasks']), int(asked['ntasks-per-node'])
    for rank in range(size):
        own = dict(
            SLURM_JOB_ID=os.environ.get('SLURM_JOB_ID', '4321'),
            SLURM_PROCID=str(rank),
            SLURM_NTASKS=str(size),
            SLURM_LOCALID=str(rank % each),
            SLURM_NODEID=str(rank // each),
            SLURM_NODELIST=f'node[0-{size // each - 1}]',
        )
        tasks.append(subprocess.Popen(command, env=os.environ | own))

    def hand_on(number, _):
        for task in tasks:
            task.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    signal.signal(signal.SIGUSR1, hand_on)
    while None in (ends := [task.poll() for task in tasks]):
        if any(ends):
            hand_on(signal.SIGKILL, None)
        time.sleep(0.05)
    return next((end for end in ends if end), 0)


def scontrol(arguments):
    if arguments[:2] == ['show', 'hostnames']:
        print('127.0.0.1\n127.0.0.2')  # each of the "nodes" by an address of its own
    else:
        note('scontrol ' + ' '.join(arguments))
    return 0


def note(text):
    with Path(os.environ['FAKE_SLURM_LOG']).open('a') as file:
        file.write(text + '\n')


if __name__ == '__main__':
    sys.exit({'srun': srun, 'scontrol': scontrol}[Path(sys.argv[0]).name](sys.argv[1:]))
