"""Fetching published files: to a temporary name, which becomes the real one once its checksum is
right. Whatever is found under its name is therefore complete.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bce3s.errors import BCE3SError

TIMEOUT = (10, 30)  # seconds to connect, seconds without a byte


def once_per_node(fetch: Callable[[], None]) -> None:
    """Rank 0 of every node fetches, the others wait for it.

    A failure is raised on that rank; the others then find nothing and raise by themselves. All
    ranks must call it. The process group's timeout bounds the wait: fetch large files beforehand.
    """
    from torch import distributed  # a tool that only fetches does not wait for torch

    together = distributed.is_available() and distributed.is_initialized()
    rank = distributed.get_rank() if together else 0
    try:
        if int(os.environ.get('LOCAL_RANK', rank)) == 0:
            fetch()
    finally:
        if together:
            distributed.barrier()


def try_fetch(urls: Sequence[str], path: Path, md5: str) -> list[str]:
    """Downloads to ``path`` from the first of ``urls`` that gives a file with this MD5; returns
    what went wrong with each address if none did.
    """
    import pooch

    failures = []
    for url in urls:
        try:
            pooch.retrieve(url, f'md5:{md5}', path.name, path.parent, downloader=_downloader())
            return []
        except ValueError:
            failures.append(f'{url}: the download does not have the published MD5 {md5}')
        except OSError as error:  # requests' errors are OSErrors too
            failures.append(f'{url}: {_reason(error)}')
    return failures


def fetch_list(url: str) -> bytes:
    """What lies at ``url``.

    Raises:
        BCE3SError: why it cannot be had.
    """
    content = io.BytesIO()
    try:
        _downloader()(url, content, None)
    except OSError as error:
        raise BCE3SError(f'{url}: {_reason(error)}') from error
    return content.getvalue()


def _downloader() -> Callable:
    import pooch

    return pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT
    )


def _reason(error: OSError) -> str:
    """The innermost cause that requests and urllib3 wrapped, without their chain of names."""
    cause = error.args[0] if error.args else error
    return str(getattr(cause, 'reason', cause))
