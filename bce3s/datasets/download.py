"""Find the published files below the data root; fetch what is missing.

A download goes to a temporary name and gets its own name only once its checksum is right; so does
every file out of an archive. Whatever is found under its name is therefore complete.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bce3s.datasets.archives import extract
from bce3s.datasets.readers import require_file_md5
from bce3s.datasets.sources import Archive, Idx
from bce3s.errors import BCE3SError

TIMEOUT = (10, 30)  # seconds to connect, seconds without a byte
LARGEST_LIST = 256 << 20  # bytes of what is fetched into memory


def once_per_node(fetch: Callable[[], None]) -> None:
    """Rank 0 of every node fetches, the others wait for it.

    A failure is raised on that rank; the others then find nothing and raise by themselves. All
    ranks must call it. The process group's timeout bounds the wait: fetch large files beforehand.
    """
    # not at the top: a tool that only fetches does not wait for torch
    from mmengine.dist import barrier, get_rank

    try:
        if int(os.environ.get('LOCAL_RANK', get_rank())) == 0:
            fetch()
    finally:
        barrier()


def find_archive(archives: Sequence[Archive], root: Path, split: str) -> Archive | None:
    """The first layout that has every file of ``split`` below ``root``."""
    for archive in archives:
        if not missing_files(archive, root, split):
            return archive
    return None


def missing_files(archive: Archive, root: Path, split: str) -> list[Path]:
    """What ``split`` needs of this layout and is not below ``root``."""
    paths = [root / archive.folder / file.name for file in getattr(archive, split)]
    return [path for path in paths if not path.is_file()]


def obtain_archive(
    archives: Sequence[Archive], root: Path, split: str, download: bool, verify: bool
) -> None:
    """Leaves the files of ``split`` below ``root``: there already, out of an archive that lies in
    ``root``, or, with ``download``, out of the first archive's address.
    """
    if find_archive(archives, root, split):
        return
    lying_there = [a for a in archives if (root / a.name).is_file()]
    if not lying_there and not download:
        return
    archive = (lying_there or archives)[0]
    path = root / archive.name
    if not lying_there:
        fetch(archive.urls, path, archive.md5, missing_files(archive, root, split)[0])
    elif verify:
        require_file_md5(path, archive.md5)
    unpack(archive, root)


def require_archive(archives: Sequence[Archive], root: Path, split: str) -> Archive:
    """:func:`find_archive`, or BCE3SError: what is missing, from where, where to put it."""
    found = find_archive(archives, root, split)
    if found:
        return found
    # name what a started copy lacks, if there is one
    archive = min(archives, key=lambda a: not (root / a.folder).is_dir())
    path = missing_files(archive, root, split)[0]
    raise BCE3SError(_missing(path, archive.urls, root / archive.name))


def obtain_idx(source: Idx, root: Path, names: Sequence[str], download: bool) -> None:
    """Leaves each IDX file of ``names`` below ``root``, downloaded if it is in no folder."""
    for name in names:
        if download and find_idx(source, root, name) is None:
            path = root / source.folders[0] / f'{name}.gz'
            fetch([f'{m}{name}.gz' for m in source.mirrors], path, source.md5[name], path)


def find_idx(source: Idx, root: Path, name: str) -> Path | None:
    """The file ``name`` or ``name.gz`` in the first folder that has it."""
    for folder in source.folders:
        for path in (root / folder / name, root / folder / f'{name}.gz'):
            if path.is_file():
                return path
    return None


def require_idx(source: Idx, root: Path, name: str) -> Path:
    """:func:`find_idx`, or BCE3SError: what is missing, from where, where to put it."""
    path = find_idx(source, root, name)
    if path is None:
        path = root / source.folders[0] / f'{name}.gz'
        raise BCE3SError(_missing(path, [f'{m}{name}.gz' for m in source.mirrors], path))
    return path


def fetch(urls: Sequence[str], path: Path, md5: str, missing: Path) -> None:
    """Downloads to ``path`` from the first of ``urls`` that gives a file with this MD5.

    Raises:
        BCE3SError: none did; says of each what went wrong, and how to do it by hand.
    """
    failures = try_fetch(urls, path, md5)
    if failures:
        raise BCE3SError(_missing(missing, urls, path, failures))


def try_fetch(urls: Sequence[str], path: Path, md5: str) -> list[str]:
    """:func:`fetch`; returns what went wrong with each address if none gave the file."""
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
    """What lies at ``url``, a list of at most ``LARGEST_LIST`` bytes.

    Raises:
        BCE3SError: why it cannot be had.
    """
    content = _BoundedBytes()
    try:
        _downloader()(url, content, None)
    except OSError as error:
        raise BCE3SError(f'{url}: {_reason(error)}') from error
    return content.getvalue()


class _BoundedBytes(io.BytesIO):
    def write(self, data: bytes) -> int:
        if self.tell() + len(data) > LARGEST_LIST:
            raise OSError(f'more than {LARGEST_LIST >> 20} MiB, which is no list')
        return super().write(data)


def _downloader() -> Callable:
    import pooch

    return pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT
    )


def _reason(error: OSError) -> str:
    """The innermost cause that requests and urllib3 wrapped, without their chain of names."""
    cause = error.args[0] if error.args else error
    return str(getattr(cause, 'reason', cause))


def unpack(archive: Archive, root: Path) -> None:
    """Takes the files of both splits out of ``root / archive.name``, and nothing else.

    Raises:
        BCE3SError: see :func:`bce3s.datasets.archives.extract`, or a file is not in it.
    """
    path = root / archive.name
    names = [f'{archive.folder}/{file.name}' for file in archive.train + archive.test]
    lacking = extract(path, {name: name for name in names}, root).missing
    if lacking:
        raise BCE3SError(
            f'{path} cannot be unpacked: it has no {lacking[0]}; delete it and fetch '
            f'{archive.urls[0]} again'
        )


def _missing(path: Path, urls: Sequence[str], target: Path, failures: Sequence[str] = ()) -> str:
    why = f' Downloading failed: {"; ".join(failures)}.' if failures else ''
    return (
        f'{path} is missing.{why} Download {" or ".join(urls)} and put it at {target}, or name the '
        'folder that has the data: --cfg-options train_dataloader.dataset.data_root=DIR'
    )
