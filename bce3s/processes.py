"""The CPUs of a process; joining and leaving the process group of a run."""

from __future__ import annotations

import gc
import os
import subprocess
from typing import TYPE_CHECKING

from bce3s.errors import BCE3SError

if TYPE_CHECKING:
    from mmengine.config import Config


def cores() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_processes(cfg: Config, launcher: str) -> None:
    """Joins the process group. On GPUs MMEngine does so with nccl; on CPUs, where it cannot, gloo
    is begun here.

    Raises:
        BCE3SError: the environment that the launcher should have set is not there.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    import torch

    if launcher == 'slurm' and not torch.cuda.is_available():
        _slurm_environment()
    needed = ['SLURM_PROCID'] if launcher == 'slurm' else ['RANK', 'WORLD_SIZE', 'LOCAL_RANK']
    if absent := [name for name in needed if name not in os.environ]:
        tool = 'tools/slurm_train.sh' if launcher == 'slurm' else 'tools/dist_train.sh'
        raise BCE3SError(f'--launcher {launcher} needs {", ".join(absent)}. Start with {tool}.')
    if torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


def _slurm_environment() -> None:
    """torch's variables from Slurm's."""
    names = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}
    for name, source in names.items():
        if source in os.environ:
            os.environ[name] = os.environ[source]
    if 'MASTER_ADDR' not in os.environ and 'SLURM_NODELIST' in os.environ:
        command = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
        hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        os.environ['MASTER_ADDR'] = hosts[0]
    os.environ.setdefault('MASTER_PORT', '29500')


def stop_processes() -> None:
    """Leaves the process group. The caller has dropped its runner: gloo aborts at exit while a
    model still holds it.
    """
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return
    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()
