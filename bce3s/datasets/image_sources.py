"""The images of a benchmark: out of the published archives, or links to files that lie elsewhere.

Only what a list names is taken out of an archive: ImageNet-LT needs 186,000 of 1.3 million images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bce3s.datasets.archives import extract, require_md5
from bce3s.datasets.benchmarks import Benchmark, ImageArchive
from bce3s.datasets.download import try_fetch
from bce3s.errors import BCE3SError
from bce3s.wording import counted

LARGEST_IMAGE = 64 << 20  # bytes; ImageNet's largest file has 15 MB

Say = Callable[[str], None]
Progress = Callable[[str], Callable[[int, int], None]]  # of a file: bytes done, bytes in all


def missing_images(root: Path, paths: Iterable[str]) -> list[str]:
    """Those of ``paths`` (relative to ``root``, or absolute) that are no files."""
    return [path for path in paths if not (root / path).is_file()]


def obtain_images(
    benchmark: Benchmark,
    root: Path,
    paths: Sequence[str],
    folders: Sequence[Path],
    say: Say,
    progress: Progress,
    download: bool = False,
) -> list[str]:
    """Leaves the images of the lists below ``root``, as far as they can be had.

    Args:
        paths: the images, as in the lists.
        folders: where archives, or what was unpacked of them, may lie.
        say: takes a line for each archive.
        progress: gives, for the name of an archive, what is called with the bytes read.
        download: fetch the archives that have an address and a checksum and are missing.

    Returns:
        Those that are still missing.

    Raises:
        BCE3SError: an archive is not the published one or cannot be unpacked.
    """
    missing = missing_images(root, paths)
    if missing:
        _link(benchmark, root, missing, folders, say)
        missing = missing_images(root, missing)
    for archive in benchmark.archives:
        wanted = {member: path for path in paths if (member := archive.member(path))}
        if not set(wanted.values()) & set(missing):
            continue
        path = find_archive(archive, folders)
        if path is not None and archive.md5:
            say(f'{path}: comparing its MD5 with the published one')
            require_md5(path, archive.md5)
        elif path is None and download:
            path = _fetch(archive, root, say)
        if path is None:
            continue
        done = extract(path, wanted, root, LARGEST_IMAGE, progress(archive.file))
        say(
            f'{path}: {counted(done.written, "image")} unpacked, {done.kept:,} were there, '
            f'{done.passed_over:,} are in no list'
            + (f', {len(done.missing):,} are not in it' if done.missing else '')
        )
        missing = missing_images(root, missing)
    return missing


def _fetch(archive: ImageArchive, root: Path, say: Say) -> Path | None:
    """Downloads an archive that has an address and a checksum; None: it has not, or that failed."""
    if not archive.url or not archive.md5:
        return None
    say(f'{archive.file} ({archive.size}): fetching {archive.url}')
    failures = try_fetch([archive.url], root / archive.file, archive.md5)
    for failure in failures:
        say(f'fetching failed: {failure}')
    return None if failures else root / archive.file


def find_archive(archive: ImageArchive, folders: Sequence[Path]) -> Path | None:
    """Its path in the first folder that has it."""
    return next((d / archive.file for d in folders if (d / archive.file).is_file()), None)


def _link(
    benchmark: Benchmark, root: Path, missing: Sequence[str], folders: Sequence[Path], say: Say
) -> None:
    """Symbolic links to those of ``missing`` that lie in a folder under their name in an archive,
    or under their path in the list: the archive was unpacked there.
    """
    linked = dict.fromkeys(folders, 0)
    for path in missing:
        names = [archive.member(path) for archive in benchmark.archives]
        found = next(
            ((d, d / n) for d in folders for n in [path, *names] if n and (d / n).is_file()), None
        )
        if found is None:
            continue
        target = root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # a link that leads nowhere
            target.symlink_to(found[1].resolve())
        except OSError as error:
            raise BCE3SError(f'{target} cannot be made a link to {found[1]}: {error}') from error
        linked[found[0]] += 1
    for folder, number in linked.items():
        if number:
            say(f'{folder}: {counted(number, "image")} linked')


def instructions(
    benchmark: Benchmark, root: Path, missing: Sequence[str], of: int, folders: Sequence[Path]
) -> str:
    """What to download for the missing images, and where to put it."""
    lines = [
        f'Missing are {len(missing):,} of {counted(of, "image")} below {root}, the first is '
        f'{missing[0]}.'
    ]
    needed = [a for a in benchmark.archives if any(map(a.member, missing))]
    there = [a for a in needed if find_archive(a, folders)]
    if there:
        names = ', '.join(str(find_archive(a, folders)) for a in there)
        lines.append(f'They are not in {names}: is it the published archive?')
    if len(there) < len(needed):
        lines.append(f'Put into {root} (or any folder: --archives DIR) and run this command again:')
    for archive in needed:
        if archive in there:
            continue
        instead = 'instead of the others: ' if archive.instead else ''
        where = archive.url or f'from {benchmark.page}'
        md5 = f'MD5 {archive.md5}' if archive.md5 else 'no MD5 is published'
        lines.append(f'  {instead}{archive.file} ({archive.size}, {md5}): {where}')
    if any(a.url and a.md5 for a in needed if a not in there):
        lines.append('--download-images fetches what has an address and an MD5.')
    if benchmark.terms:
        lines.append(f'{benchmark.terms}.')
    return '\n'.join(lines)
