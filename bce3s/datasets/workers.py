"""What others' errors mean for a run: a worker process that died, a file that was not fetched."""

from __future__ import annotations

import re
from urllib.error import URLError

_ENDED = re.compile(r'DataLoader worker \(pid.*?(?:signal: [^.]*|unexpectedly)')


def worker_death(error: BaseException) -> str | None:
    """A sentence for the RuntimeError by which PyTorch tells that a worker died; None: another.

    PyTorch notices at once, whatever the main process is doing (SIGCHLD), or at the next batch.
    """
    # at the next batch another error is raised from that of the signal
    found = _ENDED.search(f'{error.__cause__} {error}')
    if not isinstance(error, RuntimeError) or not found:
        return None
    return (
        f'A process that reads images ended ({found[0]}), most often because the memory (dmesg '
        'tells) or the shared memory (df /dev/shm) was full. Continue with --resume, with a '
        'smaller train_dataloader.num_workers or prefetch_factor if it happens again.'
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
