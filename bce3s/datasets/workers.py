"""What others' errors mean for a run: a worker process that died, a file that was not fetched."""

from __future__ import annotations

import re
from urllib.error import URLError

_KILLED = re.compile(r'DataLoader worker \(pid (\d+)\) is killed by signal: (.+?)\.(?: |$)')
_GONE = re.compile(r'DataLoader worker \(pid\(s\) ([\d, ]+)\) exited unexpectedly')


def worker_death(error: BaseException) -> str | None:
    """A sentence for the RuntimeError by which PyTorch tells that a worker died; None: another.

    PyTorch notices at once, whatever the main process is doing (SIGCHLD), or at the next batch.
    """
    if not isinstance(error, RuntimeError):
        return None
    # at the next batch another error is raised from that of the signal
    killed, gone = _KILLED.search(f'{error} {error.__cause__} '), _GONE.search(str(error))
    if not (killed or gone):
        return None
    if not killed:
        return f'Processes that read images ({gone[1]}) ended unexpectedly. {_remedy()}'
    process, signal = killed.groups()
    reasons = {
        'Killed': 'most often because the memory was full (dmesg tells)',
        'Bus error': 'most often because the shared memory was full (df /dev/shm)',
    }
    reason = f', {reasons[signal]}' if signal in reasons else ''
    return f'A process that reads images ({process}) was killed: {signal}{reason}. {_remedy()}'


def _remedy() -> str:
    return (
        'Continue with --resume, with a smaller train_dataloader.num_workers or prefetch_factor if '
        'it happens again.'
    )


def not_fetched(error: BaseException) -> str | None:
    """A sentence for pretrained weights that could not be fetched (``init_cfg`` of a backbone);
    None: another error.
    """
    if not isinstance(error, URLError):
        return None
    return (
        f'Something that the config names by its address, such as the pretrained weights of '
        f'model.backbone.init_cfg, cannot be fetched ({error.reason}). Put the file into the '
        "folder 'hub/checkpoints' of torch's cache (TORCH_HOME, ~/.cache/torch), or train without: "
        '--cfg-options model.backbone.init_cfg=None.'
    )
