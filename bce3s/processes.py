"""The CPUs of a process; joining and leaving the process group of a run."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bce3s.errors import BCE3SError
from bce3s.wording import counted

if TYPE_CHECKING:
    from mmengine.config import Config

TIMEOUT = 600  # seconds that a process waits for the others; env_cfg.dist_cfg.timeout
STARTERS = {'slurm': 'tools/slurm_train.sh', 'pytorch': 'tools/dist_train.sh'}
# How gloo names the end of another process, in errors that have no type of their own.
LOST = ('gloo', 'Connection closed by peer', 'Connection reset by peer', 'NCCL')


def cores() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ------------------------------------------------------------ joining
def start_processes(cfg: Config, launcher: str) -> None:
    """Joins the process group, with nccl on GPUs (``env_cfg.dist_cfg.backend``) and gloo on CPUs,
    and says in ``cfg`` how the model is wrapped.

    ``env_cfg.dist_cfg.timeout`` (seconds, 600) is how long a process waits for the others before it
    ends with an error: in the beginning, and later in each exchange.

    Raises:
        BCE3SError: the environment that the launcher should have set is not there or wrong, too few
            GPUs, not all processes came, or synchronised BatchNorm without a GPU.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    import torch

    adopt_environment(launcher)
    cfg.launcher = 'pytorch'  # whose variables are set by now
    _check_set(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), launcher)
    gpus, local_rank = torch.cuda.device_count(), int(os.environ['LOCAL_RANK'])
    if launcher == 'slurm' and gpus == 1:  # each task sees one of its own
        local_rank = 0
        os.environ['LOCAL_RANK'] = '0'
    if cfg.get('sync_bn') and not gpus:
        raise BCE3SError(
            f'sync_bn={cfg.sync_bn!r}: PyTorch synchronises BatchNorm on GPUs only, and there is '
            'none. Leave sync_bn out: each process then normalises by its own share of the batch.'
        )
    if gpus:
        if local_rank >= gpus:
            raise BCE3SError(
                f'This is process {local_rank + 1} on a machine with {counted(gpus, "GPU")}, and '
                f'each needs one: start {gpus} of them here (the GPUS of {STARTERS[launcher]}).'
            )
        torch.cuda.set_device(local_rank)
    _join(cfg, gpus)
    warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated', FutureWarning)
    wrapper: dict[str, Any] = dict(
        type='BCE3SDataParallel',
        broadcast_buffers=False,
        # a second stage uses the classifier only
        find_unused_parameters=bool((cfg.get('train_cfg') or {}).get('finetune_epochs')),
    )
    if 'find_unused_parameters' in cfg:
        wrapper['find_unused_parameters'] = cfg.find_unused_parameters
    if not gpus:
        wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = wrapper | dict(cfg.get('model_wrapper_cfg') or {})


def _check_set(names: Iterable[str], launcher: str) -> None:
    if absent := [name for name in names if name not in os.environ]:
        raise BCE3SError(
            f'--launcher {launcher} needs {", ".join(absent)}. Start with {STARTERS[launcher]}.'
        )


def _join(cfg: Config, gpus: int) -> None:
    from torch import distributed

    options = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    backend = options.get('backend', 'nccl') if gpus else 'gloo'
    try:
        seconds = timedelta(seconds=options.get('timeout', TIMEOUT))
        distributed.init_process_group(backend, timeout=seconds)
    except (RuntimeError, ValueError, TypeError) as error:
        where = ':'.join(os.environ.get(k, '?') for k in ('MASTER_ADDR', 'MASTER_PORT'))
        raise BCE3SError(
            f'Process {os.environ["RANK"]} of {os.environ["WORLD_SIZE"]} could not join the others '
            f'at {where} ({_first_line(error)}). Are all machines started with the same '
            'MASTER_ADDR, PORT and number of processes, and is the port open between them? Where a '
            'machine has several networks, GLOO_SOCKET_IFNAME (CPU) or NCCL_SOCKET_IFNAME (GPU) '
            'names the interface.'
        ) from error


def adopt_environment(launcher: str) -> None:
    """Sets torch's variables (RANK, ...) from Slurm's, if that is the launcher. To be called before
    anything asks which process this is; imports nothing.

    Raises:
        BCE3SError: Slurm's are not there.
    """
    if launcher != 'slurm':
        return
    names = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}
    _check_set(names.values(), launcher)
    os.environ.update({name: os.environ[source] for name, source in names.items()})
    nodes = os.environ.get('SLURM_STEP_NODELIST') or os.environ.get('SLURM_NODELIST')
    if 'MASTER_ADDR' not in os.environ and nodes:
        os.environ['MASTER_ADDR'] = _first_host(nodes)
    if 'MASTER_PORT' not in os.environ:  # two jobs may share a machine
        job = os.environ.get('SLURM_JOB_ID', '0')
        os.environ['MASTER_PORT'] = str(15000 + int(job) % 15000 if job.isdigit() else 29500)


def _first_host(nodes: str) -> str:
    command = ['scontrol', 'show', 'hostnames', nodes]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise BCE3SError(
            f'`{" ".join(command)}` does not say which machine is the first ({error}): set '
            'MASTER_ADDR to its name.'
        ) from error


# ------------------------------------------------------------ leaving
def lost_process(error: BaseException) -> str | None:
    """A sentence for an error of torch.distributed, which means that another process ended or does
    not answer; None: it is another error.
    """
    distributed = _joined()
    if distributed is None or not isinstance(error, RuntimeError):
        return None
    text = str(error)
    known = isinstance(error, getattr(distributed, 'DistError', ()))
    if not known and not any(part in text for part in LOST):
        return None
    return (
        'Another process of this run ended or does not answer, so this one stops too: the cause is '
        f'what the first of them printed ({_first_line(error)}).'
    )


def _first_line(error: BaseException) -> str:
    """Without the place in gloo's source, and without what follows a full stop."""
    text = re.sub(r'^(\[[^]]*\] *)+', '', str(error).strip())
    return re.split(r'\n|\. ', text or type(error).__name__)[0][:200]


def _joined() -> Any:
    """``torch.distributed`` if this process is in a group; torch is not imported for it."""
    distributed = sys.modules.get('torch.distributed')
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def stop_processes() -> None:
    """Leaves the process group. The caller has dropped its runner: gloo aborts at exit while a
    model still holds it.
    """
    if (distributed := _joined()) is not None:
        gc.collect()
        distributed.barrier()
        distributed.destroy_process_group()


def abandon_processes() -> None:
    """Leaves the process group after an error, if it is still joined, without waiting for anyone:
    the others find their connection closed. The error is handled, so that nothing holds its frames.
    """
    if (distributed := _joined()) is not None:
        gc.collect()
        distributed.destroy_process_group()
