"""Lists, manifests, annotations, archives and images that are nearly right."""

from __future__ import annotations

import functools
import gzip
import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import folder
from fuzzing import Target
from hypothesis import strategies as st
from mutations import edited, edits, mutated, replaced, values
from PIL import Image

from bce3s.errors import BCE3SError

ROOT = Path(__file__).resolve().parents[2]

# ------------------------------------------------------------ lists and tables
LISTS = [
    b'train/a/1.jpg 0\ntrain/b b/2.jpg 1\r\n\ntrain/\xc3\xa9/3.jpg 2\n',
    b'\xef\xbb\xbfx.jpg 0\n',
    b'path,label\na.jpg,0\n"b,c.jpg",1\n',
    b'path\tlabel\na.jpg\tcat\nb.jpg\tdog\n',
    b'',
]
NAMES = ['list.txt', 'list.csv', 'list.tsv', 'list.txt.gz', 'list.csv.gz', 'list']
LIST_TOKENS = [
    *(b' ', b'\t', b'\n', b'\r', b'\r\n', b',', b'"', b"'", b'\xef\xbb\xbf', b'\xff\xfe', b'\x0b'),
    *(b'-1', b'1e9', b'9' * 30, b'9' * 5000, b'\xc2\x85', b'\xe2\x80\xa8', b'\xd9\xa3', b'0x1'),
    *(b'path', b'label', b'../../x', b'/etc/passwd', b'a' * 300, b'+1', b'1_0', b'\xed\xa0\x80'),
]


def _list_cases() -> st.SearchStrategy[tuple]:
    base = st.integers(0, len(LISTS) - 1)
    names = st.sampled_from([None, ['cat', 'dog'], []])
    pack = st.sampled_from(['plain', 'plain', 'gzip', 'gzip, then edited'])
    raw = st.binary(max_size=60).map(lambda b: [(1, 0, 0, b)])
    return st.tuples(base, edits(LIST_TOKENS) | raw, st.sampled_from(NAMES), pack, names)


def run_list(case: tuple) -> str:
    from bce3s.datasets.lists import MAX_LABEL, git_blob_id, read_list

    base, changes, name, pack, classes = case
    data = LISTS[base]
    if pack == 'gzip, then edited':
        content = edited(gzip.compress(data, mtime=0), changes)
    else:
        data = edited(data, changes)
        content = gzip.compress(data, mtime=0) if pack == 'gzip' else data
    path = folder() / name
    path.write_bytes(content)
    entries = read_list(path, classes)
    lengths = {len(entries.paths), len(entries.labels), len(entries.lines)}
    assert lengths == {len(entries.paths)}
    assert entries.paths
    assert all(type(label) is int and 0 <= label <= MAX_LABEL for label in entries.labels)
    assert all('\0' not in path and path for path in entries.paths)
    assert list(entries.lines) == sorted(set(entries.lines))
    if not name.endswith('.gz'):
        assert entries.git_blob == git_blob_id(content)
    return 'ok'


# ------------------------------------------------------------ manifests and annotations
@functools.cache
def manifests() -> list[dict]:
    names = ('places_lt', 'inaturalist2018', 'imagenet_lt')
    made = [json.loads((ROOT / f'data_lists/{name}.json').read_text()) for name in names]
    split = dict(list='a.txt', images=5, git_blob='0' * 40, class_counts=[3, 2])
    test = dict(split, list='b.txt', class_counts=1, images=2, git_blob=None)
    return [
        dict(
            benchmark='a', num_classes=2, most_and_least=[3, 2], splits=dict(train=split, test=test)
        ),
        *made,
    ]


ANNOTATIONS = dict(
    images=[dict(id=i, file_name=f'train/{i}/{i}.jpg') for i in range(3)],
    annotations=[dict(id=i, image_id=i, category_id=i) for i in range(3)],
    categories=[dict(id=i, name=str(i)) for i in range(3)],
)
JSON_KEYS = [
    *('benchmark', 'num_classes', 'splits', 'train', 'test', 'val', 'list', 'images', 'git_blob'),
    *('class_counts', 'most_and_least', 'id', 'file_name', 'image_id', 'category_id', 'dataset'),
]
JSON_TOKENS = [b'{', b'}', b'[', b']', b'"', b',', b':', b'null', b'NaN', b'1e999', b'[' * 3000]
JSON_TOKENS += [b'9' * 5000, b'"\\ud800"', b'-', b'Infinity', b'../', b'\\u0000', b'{"a":' * 2000]


def _tree_cases(bases: int) -> st.SearchStrategy[tuple]:
    path = st.lists(st.integers(0, 20), min_size=1, max_size=4)
    change = st.tuples(path, values(JSON_KEYS), st.booleans())
    whole = st.tuples(st.lists(change, max_size=3), st.just([]))
    text = st.tuples(st.just([]), edits(JSON_TOKENS))
    return st.tuples(st.integers(0, bases - 1), whole | text)


def _json(tree: Any, case: tuple) -> bytes:
    changes, text = case
    for path, value, remove in changes:
        tree = replaced(tree, path, value, remove)
    return edited(json.dumps(tree).encode('utf-8', 'surrogatepass'), text)


def run_manifest(case: tuple) -> str:
    from bce3s.datasets.benchmarks import read_manifest

    base, changes = case
    path = folder() / 'manifest.json'
    path.write_bytes(_json(manifests()[base], changes))
    manifest = read_manifest(path)
    assert 'train' in manifest.splits
    return 'ok'


def run_annotations(case: tuple) -> str:
    from bce3s.datasets.benchmark_files import list_of_annotations
    from bce3s.datasets.lists import read_list

    _, changes = case
    path, made = folder() / 'annotations.json', folder() / 'made.txt'
    path.write_bytes(_json(ANNOTATIONS, changes))
    made.write_bytes(list_of_annotations(path, 3))
    read_list(made)
    return 'ok'


# ------------------------------------------------------------ archives
def _tar(kind: str, mode: str) -> bytes:
    buffer = io.BytesIO()
    long = 'd/' + 'l' * (90 if kind == 'USTAR_FORMAT' else 120)
    with tarfile.open(fileobj=buffer, mode=mode, format=getattr(tarfile, kind)) as tar:
        for name, data in (('d/a.bin', b'aaaa'), ('d/b.bin', b'bb'), (long, b'c')):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for type_, link in ((tarfile.SYMTYPE, '/etc'), (tarfile.LNKTYPE, 'd/a.bin')):
            info = tarfile.TarInfo(f'd/link{type_.decode()}')
            info.type, info.linkname = type_, link
            tar.addfile(info)
        escape = tarfile.TarInfo('../../escaped')
        escape.size = 1
        tar.addfile(escape, io.BytesIO(b'x'))
    return buffer.getvalue()


@functools.cache
def archives() -> list[bytes]:
    kinds = ('USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT')
    inner = _tar('USTAR_FORMAT', 'w')
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode='w') as tar:
        info = tarfile.TarInfo('inner.tar')
        info.size = len(inner)
        tar.addfile(info, io.BytesIO(inner))
    bomb = gzip.compress(bytes(8 << 20), mtime=0)
    packed = gzip.compress(_tar('PAX_FORMAT', 'w'), mtime=0)
    return [*(_tar(kind, 'w') for kind in kinds), packed, outer.getvalue(), bomb]


TAR_TOKENS = [
    b'ustar\x0000',
    b'ustar  \0',
    b'../',
    b'/',
    b'd/a.bin',
    b'7777777',
    b'\x80' + b'\xff' * 7,
]
TAR_TOKENS += [
    b'0',
    b'1',
    b'2',
    b'3',
    b'5',
    b'6',
    b'7',
    b'L',
    b'K',
    b'S',
    b'x',
    b'g',
    b'30 path=../x\n',
]
TAR_FIELDS = [0, 100, 108, 116, 124, 136, 148, 156, 157, 257, 263, 297, 345]


def _archive_cases() -> st.SearchStrategy[tuple]:
    """Edits also of single fields of a header, its checksum made right again."""
    field = st.tuples(
        st.integers(0, 8),
        st.sampled_from(TAR_FIELDS),
        st.sampled_from(TAR_TOKENS) | st.binary(max_size=9),
    )
    base = st.integers(0, 5)
    return st.tuples(base, st.lists(field, max_size=3), edits(TAR_TOKENS, most=2) | st.just([]))


def _with_fields(data: bytes, fields: list) -> bytes:
    data = bytearray(data)
    for block, at, new in fields:
        start = 512 * block
        if start + 512 > len(data):
            continue
        data[start + at : start + at + len(new)] = new[: 512 - at]
        header = data[start : start + 148] + b' ' * 8 + data[start + 156 : start + 512]
        data[start + 148 : start + 156] = b'%06o\0 ' % sum(header)
    return bytes(data)


def run_archive(case: tuple) -> str:
    from bce3s.datasets.archives import extract

    base, fields, changes = case
    root = folder() / 'unpacked'
    shutil.rmtree(root, ignore_errors=True)
    (root / 'in').mkdir(parents=True)
    path = root / 'a.tar'
    path.write_bytes(edited(_with_fields(archives()[base], fields), changes))
    wanted = {'d/a.bin': 'x/a.bin', 'd/b.bin': 'b.bin', 'inner.tar/d/a.bin': 'i/a.bin'}
    try:
        extract(path, wanted, root / 'in', largest=1000)
    finally:
        made = {str(p.relative_to(root / 'in')) for p in (root / 'in').rglob('*') if not p.is_dir()}
        assert made <= set(wanted.values()), f'it wrote {made}'
        assert not any(p.is_symlink() for p in (root / 'in').rglob('*'))
        assert sorted(p.name for p in root.iterdir()) == ['a.tar', 'in']
    return 'ok'


# ------------------------------------------------------------ images
@functools.cache
def images() -> list[bytes]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for image, kind, options in (
        (colour, 'JPEG', dict(quality=60)),
        (colour, 'JPEG', dict(progressive=True, quality=60)),
        (colour, 'JPEG', dict(exif=exif)),
        (colour.convert('L'), 'JPEG', {}),
        (colour.convert('CMYK'), 'JPEG', {}),
        (colour.convert('RGBA'), 'PNG', {}),
        (colour.convert('P'), 'PNG', {}),
        (Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)), 'PNG', {}),
        (colour, 'WEBP', {}),
        (colour, 'TIFF', dict(compression='tiff_lzw')),
        (colour, 'TIFF', {}),
        (colour, 'GIF', {}),
        (colour, 'BMP', {}),
        (colour, 'PPM', {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        made.append(buffer.getvalue())
    return made


IMAGE_TOKENS = [
    b'\xff\xd8',
    b'\xff\xd9',
    b'\xff\xda',
    b'\xff\xc0\0\x11\x08',
    b'\xff\xe1',
    b'Exif\0\0',
]
IMAGE_TOKENS += [
    b'IHDR',
    b'IDAT',
    b'IEND',
    b'PLTE',
    b'\0\0\xff\xff',
    b'RIFF',
    b'WEBPVP8 ',
    b'II*\0',
]
IMAGE_TOKENS += [b'\xff\xff\xff\xff', b'\0\x01\0\0', b'P6 99999 99999 255\n', b'MM\0*', b'\x7f\xff']


def run_image(case: tuple) -> str:
    from bce3s.datasets.decoding import read_centre, read_random_crop

    base, changes = case
    path = folder() / 'image.bin'
    path.write_bytes(edited(images()[base], changes))
    ends = []
    for read in (
        lambda: read_random_crop(str(path), 16, 3),
        lambda: read_centre(str(path), 16, 20),
    ):
        try:
            pixels = read()
            assert tuple(pixels.shape) == (3, 16, 16)
            assert str(pixels.dtype) == 'torch.uint8'
            ends.append('ok')
        except BCE3SError as error:
            ends.append(error)
    if isinstance(ends[0], BCE3SError):
        raise ends[0]
    return 'ok' if ends[1] == 'ok' else 'crop only'


# ------------------------------------------------------------ CIFAR's pickles, IDX files
@functools.cache
def arrays() -> list[bytes]:
    pixels = np.zeros((2, 3072), np.uint8)
    entry = {b'data': pixels, b'labels': [0, 1], b'fine_labels': [0, 1]}
    idx = b'\0\0\x08\x01\0\0\0\x02ab'
    call = b'\x80\x02cbce3s_canary\nsing\n(K\x01tR.'
    made = [pickle.dumps(entry, protocol) for protocol in (0, 2, 4)]
    return [*made, call, idx, gzip.compress(idx, mtime=0)]


PICKLE_TOKENS = [
    b'cnumpy\nndarray\n',
    b'cbce3s_canary\nsing\n',
    b'R',
    b'b',
    b'.',
    b'(',
    b't',
    b'K\xff',
]
PICKLE_TOKENS += [
    b'cnumpy.core.multiarray\n_reconstruct\n',
    b'cos\nsystem\n',
    b'\x93',
    b'\x81',
    b'i\n',
]


def run_arrays(case: tuple) -> str:
    from checkpoints import canary

    from bce3s.datasets.in_memory import read_cifar, read_idx

    base, changes = case
    data = edited(arrays()[base], changes)
    path = folder() / ('arrays.gz' if data[:2] == b'\x1f\x8b' else 'arrays')
    path.write_bytes(data)
    try:
        if base < 4:
            read_cifar(path)
        else:
            read_idx(path)
        return 'ok'
    finally:
        assert not canary.called, f'the file called {canary.called}'


TARGETS = [
    Target('lists', _list_cases, run_list, share=5),
    Target('manifests', lambda: _tree_cases(4), run_manifest, share=2.5),
    Target('annotations', lambda: _tree_cases(1), run_annotations, share=2),
    Target('archives', _archive_cases, run_archive, share=1.5),
    Target('images', lambda: mutated(images(), IMAGE_TOKENS), run_image, seconds=10, share=2),
    Target('arrays', lambda: mutated(arrays(), PICKLE_TOKENS), run_arrays, share=1),
]
