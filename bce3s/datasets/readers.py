"""Bytes of a published file -> arrays. Reading executes nothing: pickles go through an allow-list.

Every function raises BCE3SError with the path where a file is truncated, damaged or not what its
name says.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bce3s.errors import BCE3SError

ACCEPT = 'to use it all the same: --cfg-options train_dataloader.dataset.verify=False'

_NUMPY_GLOBALS = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    # NumPy's own name for it moved in version 2; the published files have the old one
    ('numpy.core.multiarray', '_reconstruct'): np.empty(0).__reduce__()[0],
    ('numpy._core.multiarray', '_reconstruct'): np.empty(0).__reduce__()[0],
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds containers, numbers, strings and NumPy arrays; anything else is refused, not called.

    Raises:
        BCE3SError: the pickle asks for another global (named).
    """

    def find_class(self, module: str, name: str) -> object:
        try:
            return _NUMPY_GLOBALS[module, name]
        except KeyError:
            raise BCE3SError(
                f'it asks for {module}.{name}, which no CIFAR file needs; nothing of it was '
                'executed. Remove it and fetch the data set again'
            ) from None


def read_bytes(path: Path) -> bytes:
    """The content of ``path``, or BCE3SError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def require_md5(path: Path, found: str, *expected: str | None) -> None:
    """Raises BCE3SError unless ``found`` is one of the ``expected`` checksums."""
    if found not in expected:
        raise BCE3SError(
            f'{path}: MD5 {found}, published is {expected[0]}: the file is damaged or another '
            f'copy of the data set. Delete it to fetch it again, or {ACCEPT}'
        )


def require_file_md5(path: Path, md5: str) -> None:
    """:func:`require_md5` of what ``path`` holds, read in pieces."""
    with path.open('rb') as file:
        require_md5(path, hashlib.file_digest(file, 'md5').hexdigest(), md5)


def read_cifar_pickle(
    path: Path, md5: str | None, verify: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One batch file of the Python layout -> images (N, 3, 32, 32) uint8, labels (N,) int64.

    With ``verify`` its MD5 must be ``md5`` (None: not published).
    """
    try:
        if verify and md5 is not None:
            require_file_md5(path, md5)
        with path.open('rb') as file:
            return _load_cifar_pickle(path, file)
    except OSError as error:
        raise _unreadable(path, error) from error


def _load_cifar_pickle(path: Path, file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    try:
        entry = ArrayUnpickler(file, encoding='bytes').load()
        entry = {k.decode() if isinstance(k, bytes) else k: v for k, v in entry.items()}
        images = np.asarray(entry['data'])
        labels = np.asarray(entry['fine_labels' if 'fine_labels' in entry else 'labels'])
        if images.dtype != np.uint8 or labels.dtype.kind not in 'iu':
            raise ValueError(f'pixels are {images.dtype}, labels {labels.dtype}')
        return images.reshape(len(labels), 3, 32, 32), labels.astype(np.int64)
    except BCE3SError as error:
        raise BCE3SError(f'{path} is not safe to read: {error}') from None
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, f'{type(error).__name__}: {error}') from error


def read_cifar_binary(
    path: Path, label_bytes: int, expected: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One file of the binary layout -> images (N, 3, 32, 32) uint8, labels (N,) int64.

    A record is ``label_bytes`` bytes, the last of them the class, then 3072 pixels. ``expected``:
    the published number of records, None to accept any.
    """
    content = read_bytes(path)
    count, rest = divmod(len(content), label_bytes + 3072)
    if rest or not count or (expected is not None and count != expected):
        whole = f'{expected} records' if expected else 'whole records'
        raise _damaged(
            path, f'{len(content)} bytes are not {whole} of {label_bytes + 3072} bytes', expected
        )
    records = np.frombuffer(content, np.uint8).reshape(count, -1)
    images = records[:, label_bytes:].reshape(count, 3, 32, 32)
    return images, records[:, label_bytes - 1].astype(np.int64)


def read_idx(path: Path, md5: str | None, unpacked_md5: str | None, verify: bool) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped or not -> uint8 array of its shape.

    ``md5`` is that of the published ``.gz``, ``unpacked_md5`` that of its content: either will do,
    so a file packed anew still counts as the published one.
    """
    content = raw = read_bytes(path)
    if path.suffix == '.gz':
        try:
            content = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, str(error)) from error
    array = _parse_idx(path, content)
    if verify:
        _verify_idx(path, raw, content, md5, unpacked_md5)
    return array


def require_pair(paths: Sequence[Path], images: np.ndarray, labels: np.ndarray) -> None:
    """Raises BCE3SError unless images (N, H, W) and labels (N,) belong together."""
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise BCE3SError(
            f'{paths[0]} {images.shape} and {paths[1]} {labels.shape} do not belong together: '
            'delete both and fetch them again'
        )


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits in file order: images (1797, 1, 8, 8) uint8, labels (1797,) int64.

    Values 0..16 become ``round(v * 255 / 16)``.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return images[:, None], digits.target.astype(np.int64)


def _verify_idx(
    path: Path, raw: bytes, content: bytes, md5: str | None, unpacked_md5: str | None
) -> None:
    if unpacked_md5 and _md5(content) == unpacked_md5:
        return
    if path.suffix == '.gz':
        require_md5(path, _md5(raw), md5)
    elif unpacked_md5:
        require_md5(path, _md5(content), unpacked_md5)


def _unreadable(path: Path, error: OSError) -> BCE3SError:
    return BCE3SError(f'{path} cannot be read ({error.strerror}): check the disk and permissions')


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _parse_idx(path: Path, content: bytes) -> np.ndarray:
    if len(content) < 4 or content[:3] != b'\0\0\x08' or content[3] not in (1, 3):
        raise _damaged(path, f'it starts with {content[:4].hex(" ")}, not an IDX file of bytes')
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4], 'big') for i in range(4, start, 4)]
    size = int(np.prod(shape, dtype=object))
    if len(content) != start + size:
        raise _damaged(
            path, f'its header says {start + size} bytes, it has {len(content)} (shape {shape})'
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _damaged(path: Path, what: str, expected: int | None = None) -> BCE3SError:
    remedy = f', or {ACCEPT}' if expected else ''
    return BCE3SError(
        f'{path} is truncated or damaged ({what}): delete it and fetch it again{remedy}'
    )
