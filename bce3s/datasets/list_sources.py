"""The published lists of a benchmark: there already, given, made from annotations, or fetched.

Whatever its way, a list gets its name only after its content was found to be the published one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bce3s.datasets.annotations import LARGEST_FILE, list_of_annotations
from bce3s.datasets.archives import extract, require_md5
from bce3s.datasets.benchmarks import Annotations, Benchmark, Manifest, PublishedList
from bce3s.datasets.checks import Problems
from bce3s.datasets.download import fetch_list, try_fetch
from bce3s.datasets.lists import ImageEntries, git_blob_id, list_content, read_list
from bce3s.errors import BCE3SError
from bce3s.files import written_whole

Say = Callable[[str], None]


def obtain_lists(
    benchmark: Benchmark,
    manifest: Manifest,
    root: Path,
    folders: Sequence[Path],
    say: Say,
    lists_from: Path | None = None,
) -> dict[str, ImageEntries]:
    """Leaves every list of the benchmark in ``root``, and reads it.

    Args:
        manifest: what the lists must be.
        folders: where annotations may lie; ``root`` is one of them.
        say: takes a line for each list that is written.
        lists_from: a folder that has the lists, ``NAME.txt`` or ``NAME.txt.gz``.

    Raises:
        BCE3SError: a list is not the published one, or cannot be had; says of every such list what
            to do. Those that are right are there.
    """
    problems, entries = Problems(), {}
    for split, published in benchmark.lists.items():
        path = root / published.file
        try:
            if not path.is_file():
                content, origin = _find(published, benchmark.num_classes, folders, lists_from)
                verify(content, origin, manifest, split)
                root.mkdir(parents=True, exist_ok=True)
                with written_whole(path, shared=True) as file:
                    file.write(content)
                say(f'{path}: from {origin}')
            entries[split] = read_list(path)
            verify(list_content(path), str(path), manifest, split)
        except BCE3SError as error:
            problems.add(path, str(error))
    problems.raise_all('These lists are missing or not the published ones')
    return entries


def verify(content: bytes, origin: str, manifest: Manifest, split: str) -> None:
    """Raises BCE3SError unless ``content`` is the list that the manifest describes: its git blob id
    covers every path, label and line end, hence the counts too.
    """
    facts, found = manifest.splits[split], git_blob_id(content)
    if found != facts.git_blob:
        raise BCE3SError(
            f'{origin} is not the published {facts.list}: its git blob id is {found}, '
            f'{manifest.path.name} has {facts.git_blob}. Remove it and get the published one, '
            'unchanged, with the same line ends'
        )


def _find(
    published: PublishedList, num_classes: int, folders: Sequence[Path], lists_from: Path | None
) -> tuple[bytes, str]:
    """The list's content and where it is from."""
    if lists_from is not None:
        for path in (lists_from / published.file, lists_from / f'{published.file}.gz'):
            if path.exists():
                return list_content(path), str(path)
    source, failures = published.annotations, []
    json = _annotations(source, folders) if source else None
    if json is None and published.url:
        try:
            return fetch_list(published.url), published.url
        except BCE3SError as error:
            failures.append(str(error))
    if json is None and source:
        failures += try_fetch([source.url], folders[0] / source.archive, source.md5)
        json = _annotations(source, folders)
    if json is None:
        raise BCE3SError(_by_hand(published, folders[0], failures))
    return list_of_annotations(json, num_classes), str(json)


def _annotations(source: Annotations, folders: Sequence[Path]) -> Path | None:
    """The JSON file, in one of the folders or out of the archive there."""
    for folder in folders:
        if (folder / source.file).is_file():
            return folder / source.file
    for folder in folders:
        archive = folder / source.archive
        if archive.is_file():
            require_md5(archive, source.md5)
            extract(archive, {source.file: source.file}, folders[0], LARGEST_FILE)
            return folders[0] / source.file
    return None


def _by_hand(published: PublishedList, root: Path, failures: Sequence[str]) -> str:
    """What to download and where to put it."""
    ways = []
    if published.url:
        ways.append(f'download {published.url} to {root / published.file}')
    if published.annotations:
        source = published.annotations
        ways.append(
            f'download {source.url} (26 MB, MD5 {source.md5}), from which the list is made, to '
            f'{root / source.archive}'
        )
    if published.by_hand:
        ways.append(f'{published.by_hand}, and put the list at {root / published.file}')
    why = f' (fetching failed: {"; ".join(failures)})' if failures else ''
    return (
        f'is missing{why}: {", or ".join(ways)}; or name the folder that has it: --lists-from DIR'
    )
