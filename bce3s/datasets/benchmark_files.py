"""The lists and images of a benchmark into their places: there already, given, made from
annotations, out of the published archives, fetched, or links to files that lie elsewhere.

A list gets its name only after its content was found to be the published one. Only what a list
names is taken out of an archive: ImageNet-LT needs 186,000 of 1.3 million images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bce3s.datasets.archives import extract, require_md5
from bce3s.datasets.benchmarks import Annotations, ImageArchive, Manifest, PublishedList
from bce3s.datasets.checks import Problems
from bce3s.datasets.download import fetch_list, try_fetch
from bce3s.datasets.lists import ImageEntries, git_blob_id, list_content, read_list
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.wording import counted

LARGEST_IMAGE = 64 << 20  # bytes; ImageNet's largest file has 15 MB
LARGEST_ANNOTATIONS = 1 << 30  # bytes; those of the training set of 2018 have about 10^8

Say = Callable[[str], None]  # takes a line of what is being done
# of a file: what takes the bytes done, and those in all
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


# ------------------------------------------------------------ lists
def obtain_lists(
    manifest: Manifest,
    root: Path,
    folders: Sequence[Path],
    say: Say,
    lists_from: Path | None = None,
) -> dict[str, ImageEntries]:
    """Leaves every list of the benchmark in ``root``, and reads it.

    Args:
        folders: where annotations may lie; ``root`` is the first of them.
        lists_from: a folder that has the lists, ``NAME.txt`` or ``NAME.txt.gz``.

    Raises:
        BCE3SError: a list is not the published one, or cannot be had; says of every such list what
            to do. Those that are right are there.
    """
    problems, entries = Problems(), {}
    for split, published in manifest.splits.items():
        path = root / published.file
        try:
            if not path.is_file():
                content, origin = _find(published, manifest.num_classes, folders, lists_from)
                _verify(content, origin, published)
                root.mkdir(parents=True, exist_ok=True)
                with written_whole(path, shared=True) as file:
                    file.write(content)
                say(f'{path}: from {origin}')
            train = entries.get('train')
            several = train.multilabel if train else None
            entries[split] = read_list(path, several and train.classes, multilabel=several)
            _verify(list_content(path), str(path), published)
        except BCE3SError as error:
            problems.add(path, str(error))
    problems.raise_all('These lists are missing or not the published ones')
    return entries


def _verify(content: bytes, origin: str, published: PublishedList) -> None:
    """By the git blob id, where one is known: it covers every path, label and line end."""
    found = git_blob_id(content)
    if published.git_blob and found != published.git_blob:
        raise BCE3SError(
            f'{origin} is not the published {published.file}: its git blob id is {found}, not '
            f'{published.git_blob}. Remove it and get the published one, unchanged, with the same '
            'line ends'
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
    found = _annotations(source, folders) if source else None
    if found is None and published.url:
        try:
            return fetch_list(published.url), published.url
        except BCE3SError as error:
            failures.append(str(error))
    if found is None and source:
        failures += try_fetch([source.url], folders[0] / source.archive, source.md5)
        found = _annotations(source, folders)
    if found is None:
        raise BCE3SError(_by_hand(published, folders[0], failures))
    return list_of_annotations(found, num_classes), str(found)


def _annotations(source: Annotations, folders: Sequence[Path]) -> Path | None:
    """The JSON file, in one of the folders or out of the archive there."""
    for folder in folders:
        if (folder / source.file).is_file():
            return folder / source.file
    for folder in folders:
        archive = folder / source.archive
        if archive.is_file():
            require_md5(archive, source.md5)
            extract(archive, {source.file: source.file}, folders[0], LARGEST_ANNOTATIONS)
            return folders[0] / source.file
    return None


def list_of_annotations(path: Path, num_classes: int) -> bytes:
    """iNaturalist's annotations (JSON in the format of COCO) as lines ``path label``, in the order
    of ``images``: ``train_val2018/Plantae/7477/HASH.jpg 7477``, the category's id being the label.
    The lists of Kang et al. (arXiv 1910.09217) have this order and form.

    Raises:
        BCE3SError: the file cannot be read, is no such JSON, or has a category out of range.
    """
    try:
        content = json.loads(path.read_bytes())
        category = {each['image_id']: each['category_id'] for each in content['annotations']}
        images = [(each['file_name'], category[each['id']]) for each in content['images']]
        if any(not 0 <= label < num_classes for _, label in images):
            raise ValueError(f'a category is not in 0..{num_classes - 1}')
        return ''.join(f'{name} {label}\n' for name, label in images).encode()
    except OSError as error:
        raise BCE3SError(f'{path} cannot be read ({error.strerror}).') from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BCE3SError(
            f'{path} does not hold the annotations of one class an image '
            f'({type(error).__name__}: {error}): fetch it again.'
        ) from error


def _by_hand(published: PublishedList, root: Path, failures: Sequence[str]) -> str:
    """What to download and where to put it."""
    ways, source = [], published.annotations
    if published.url:
        ways.append(f'download {published.url} to {root / published.file}')
    if source:
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


# ------------------------------------------------------------ images
def obtain_images(
    manifest: Manifest,
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
        download: fetch the archives that have an address and a checksum and are missing.

    Returns:
        Those that are still missing.

    Raises:
        BCE3SError: an archive is not the published one or cannot be unpacked.
    """
    missing = _link(manifest, root, _missing(root, paths), folders, say)
    for archive in manifest.archives:
        wanted = {member: path for path in paths if (member := archive.member(path))}
        if not set(wanted.values()) & set(missing):
            continue
        path = _find_archive(archive, folders)
        if path is not None and archive.md5:
            say(f'{path}: comparing its MD5 with the published one')
            require_md5(path, archive.md5)
        elif path is None and download and archive.url and archive.md5:
            path = root / archive.file
            say(f'{archive.file} ({archive.size}): fetching {archive.url}')
            if failures := try_fetch([archive.url], path, archive.md5):
                say(f'fetching failed: {"; ".join(failures)}')
                continue
        if path is None:
            continue
        with progress(archive.file) as show:
            done = extract(path, wanted, root, LARGEST_IMAGE, show)
        say(
            f'{path}: {counted(done.written, "image")} unpacked, {done.kept:,} were there, '
            f'{done.passed_over:,} are in no list'
            + (f', {len(done.missing):,} are not in it' if done.missing else '')
        )
        missing = _missing(root, missing)
    return missing


def _missing(root: Path, paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not (root / path).is_file()]


def _find_archive(archive: ImageArchive, folders: Sequence[Path]) -> Path | None:
    """Its path in the first folder that has it."""
    return next((d / archive.file for d in folders if (d / archive.file).is_file()), None)


def _link(
    manifest: Manifest, root: Path, missing: Sequence[str], folders: Sequence[Path], say: Say
) -> list[str]:
    """Symbolic links to those of ``missing`` that lie in a folder under their name in an archive,
    or under their path in the list: the archive was unpacked there. Returns the others.
    """
    left = []
    for path in missing:
        names = [path, *(archive.member(path) for archive in manifest.archives)]
        found = next((d / n for d in folders for n in names if n and (d / n).is_file()), None)
        if found is None:
            left.append(path)
            continue
        target = root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # a link that leads nowhere
            target.symlink_to(found.resolve())
        except OSError as error:
            raise BCE3SError(f'{target} cannot be made a link to {found}: {error}') from error
    if linked := len(missing) - len(left):
        say(f'{root}: {counted(linked, "image")} linked')
    return left


def instructions(
    manifest: Manifest, root: Path, missing: Sequence[str], of: int, folders: Sequence[Path]
) -> str:
    """What to download for the missing images, and where to put it."""
    lines = [
        f'Missing are {len(missing):,} of {counted(of, "image")} below {root}, the first is '
        f'{missing[0]}.'
    ]
    needed = [a for a in manifest.archives if any(map(a.member, missing))]
    there = [path for a in needed if (path := _find_archive(a, folders))]
    absent = [a for a in needed if not _find_archive(a, folders)]
    if there:
        lines.append(f'They are not in {", ".join(map(str, there))}: is it the published archive?')
    if absent:
        lines.append(f'Put into {root} (or any folder: --archives DIR) and run this command again:')
    for archive in absent:
        instead = 'instead of the others: ' if archive.instead else ''
        where = archive.url or f'from {manifest.page}'
        md5 = f'MD5 {archive.md5}' if archive.md5 else 'no MD5 is published'
        lines.append(f'  {instead}{archive.file} ({archive.size}, {md5}): {where}')
    if any(a.url and a.md5 for a in absent):
        lines.append('--download-images fetches what has an address and an MD5.')
    return '\n'.join([*lines, *([f'{manifest.terms}.'] if manifest.terms else [])])
