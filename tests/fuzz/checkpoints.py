"""Checkpoint files that are damaged or crafted, and sound files whose content is not."""

from __future__ import annotations

import atexit
import functools
import io
import json
import pickle
import shutil
import struct
import sys
import tarfile
import tempfile
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzzing import Target
from hypothesis import strategies as st
from mutations import edited, edits, mutated, replaced, texts, values
from torch import nn

from bce3s.engine.checkpoint import load_from_disk, resolve_checkpoint

FOLDER = '/dev/shm' if Path('/dev/shm').is_dir() else None

# A crafted file that names it shows whether anything was called.
canary = types.ModuleType('bce3s_canary')
canary.called = []
canary.sing = lambda *args: canary.called.append(args)
sys.modules['bce3s_canary'] = canary


@functools.cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix='fuzz_', dir=FOLDER))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def load(data: bytes, name: str = 'epoch_1.pth') -> str:
    """'ok' or a BCE3SError; nothing may be called by it."""
    path = folder() / name
    path.write_bytes(data)
    try:
        checkpoint = load_from_disk(path)
        assert isinstance(checkpoint, dict)
        assert 'config' not in (checkpoint.get('meta') or {})
        return 'ok'
    finally:
        assert not canary.called, f'the file called {canary.called}'


# ------------------------------------------------------------ files to begin with
def small() -> dict[str, Any]:
    """A checkpoint of everything that there is, small."""
    state = OrderedDict(
        [('backbone.weight', torch.arange(6.0).reshape(2, 3)), ('head.count', torch.tensor(3))]
    )
    state._metadata = OrderedDict([('', {'version': 1}), ('backbone', {'version': 1})])
    history = dict(
        log_history=torch.ones(2, dtype=torch.float64),
        count_history=torch.ones(2, dtype=torch.float64),
        max_length=1000,
    )
    row = {'epoch': 1, 'stage': 1, 'all': 50.0, 'many': 60.0, 'medium': 50.0, 'few': None}
    return dict(
        meta=dict(epoch=1, iter=7, seed=0, cfg='a = 1', dataset_meta=dict(classes=('a', 'b'))),
        state_dict=state,
        message_hub=dict(
            log_scalars={'train/loss': history},
            runtime_info={'epoch': 1, 'last_ckpt': '/x/epoch_1.pth', 'report_history': [row]},
            resumed_keys={'train/loss': True},
        ),
        optimizer=dict(
            state={0: {'momentum_buffer': torch.zeros(2, 3)}},
            param_groups=[dict(lr=0.1, params=[0], nesterov=False, betas=(0.9, 0.99))],
        ),
        param_schedulers=[dict(last_step=7, _global_step=8, milestones={3: 1})],
    )


def saved(content: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


def _script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1)), buffer)
    return buffer.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({'w': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}}).encode()
    return struct.pack('<Q', len(header)) + header + bytes(4)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        for name in ('storages', 'tensors', 'pickle'):
            data = pickle.dumps(0, 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(3))
    return buffer.getvalue()


@functools.cache
def files() -> list[bytes]:
    plain = small()
    call = b'cbce3s_canary\nsing\n(X\x01\x00\x00\x00atR.'
    return [
        saved(plain),
        saved(plain, _use_new_zipfile_serialization=False),
        saved(plain['state_dict']),
        _script(),
        _safetensors(),
        pickle.dumps({'state_dict': {}}, 2),
        b'\x80\x02' + call,
        _tar(),
        _npz(),
        zipped(call),
    ]


# ------------------------------------------------------------ other pickles in a sound zip
def records() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(files()[0])) as archive:
        return {name.partition('/')[2]: archive.read(name) for name in archive.namelist()}


def zipped(pickled: bytes, compressed: bool = False, further: tuple = ()) -> bytes:
    """A torch zip with this ``data.pkl``; ``further``: (name, bytes) of other records."""
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    content = {'data.pkl': pickled, 'version': b'3\n', 'byteorder': b'little'}
    content |= {f'data/{i}': bytes(64) for i in range(4)}
    with zipfile.ZipFile(buffer, 'w', kind) as archive:
        for name, data in [*content.items(), *further]:
            archive.writestr(f'archive/{name}', data)
    return buffer.getvalue()


def _zip_names() -> st.SearchStrategy[str]:
    known = ['data.pkl', 'DATA.PKL', 'version', 'data/0', 'constants.pkl', '../x', 'byteorder']
    # what a zip can hold as a name
    return st.sampled_from(known) | st.text(st.characters(codec='utf-8'), max_size=8)


def _allowed() -> list[str]:
    """Every global that torch itself would let through, and some that it must not."""
    from torch._weights_only_unpickler import _get_allowed_globals

    names = sorted(_get_allowed_globals())
    evil = ['os.system', 'builtins.eval', 'builtins.getattr', 'posix.system', 'bce3s_canary.sing']
    return [*names, *evil, 'torch.hub.load', 'nt.system', 'torch.load', '__builtin__.set']


@functools.cache
def _global_opcodes() -> list[bytes]:
    return [b'c%s\n%s\n' % tuple(n.encode().rsplit(b'.', 1)) for n in _allowed() if '.' in n]


TEXTS = [b'storage', b'0', b'1', b'cpu', b'latin1', b'punycode', b'meta', b'state_dict', b'config']


def _text(data: bytes) -> bytes:
    return b'X' + struct.pack('<I', len(data)) + data


def _opcodes() -> st.SearchStrategy[bytes]:
    """One opcode with its argument, or a few that belong together."""
    storage = b'(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\x04tQ'
    tensor = (
        b'ctorch._utils\n_rebuild_tensor_v2\n('
        + storage
        + b'K\0K\x04\x85K\1\x85\x89ccollections\nOrderedDict\n)RtR'
    )
    fixed = [bytes([c]) for c in b'}])(t\x85\x86\x87NR\x81bQase0u\x89\x88\x8f.02']
    whole = [
        storage,
        tensor,
        b'ccollections\nOrderedDict\n)R',
        b'q\x01\x86h\x01',
        b'h\x01h\x01\x86q\x01',
    ]
    integers = st.sampled_from([0, 1, 4, 255, -1, 2**31 - 1, -(2**31)]).map(
        lambda n: b'J' + struct.pack('<i', n)
    )
    long = st.binary(max_size=12).map(lambda b: b'\x8a' + bytes([len(b)]) + b)
    memo = st.integers(0, 3).flatmap(
        lambda i: st.sampled_from([b'q' + bytes([i]), b'h' + bytes([i])])
    )
    words = st.sampled_from(TEXTS).map(_text) | st.binary(max_size=4).map(_text)
    return st.one_of(
        st.sampled_from(fixed),
        st.sampled_from(whole),
        st.deferred(lambda: st.sampled_from(_global_opcodes())),
        integers,
        long,
        memo,
        words,
        st.binary(min_size=1, max_size=1),
    )


def _pickle_cases() -> st.SearchStrategy[tuple]:
    tokens = [*TEXTS, *_global_opcodes()[::7], b'h\x01h\x01\x86q\x01', b'}', b')R', b'tR', b'u.']
    further = st.lists(st.tuples(_zip_names(), st.binary(max_size=8)), max_size=2)
    new = st.lists(_opcodes(), max_size=30).map(b''.join)
    repeated = st.tuples(_opcodes(), st.sampled_from([1, 50, 2000]))
    bombs = st.lists(repeated, max_size=5).map(lambda parts: b''.join(o * n for o, n in parts))
    return st.tuples(
        st.just('edits') | st.just('pickle'),
        st.one_of(edits(tokens), new, bombs),
        st.sampled_from([False] * 7 + [True]),
        further | st.just([]),
    )


def run_pickle(case: tuple) -> str:
    _, made, compressed, further = case
    base = records()['data.pkl']
    if isinstance(made, list):
        pickled = edited(base, made)
    else:
        pickled = b'\x80\x02' + made + (b'' if made.endswith(b'.') else b'.')
    return load(zipped(pickled, compressed, tuple(further)))


def run_bytes(case: tuple) -> str:
    base, changes = case
    return load(edited(files()[base % len(files())], changes))


# ------------------------------------------------------------ wrong content in a sound file
def tensors() -> st.SearchStrategy[tuple]:
    """('tensor', shape, dtype, kind), made by :func:`made`."""
    shape = st.lists(st.sampled_from([0, 1, 2, 3, 10, 64]), max_size=3).map(tuple)
    dtypes = ['float32', 'float64', 'bfloat16', 'int64', 'bool', 'complex64', 'uint8']
    kinds = ['zeros', 'nan', 'huge', 'sparse', 'meta', 'parameter', 'expanded']
    return st.tuples(st.just('tensor'), shape, st.sampled_from(dtypes), st.sampled_from(kinds))


def made(value: Any) -> Any:
    """With the tensors that tuples stand for."""
    if isinstance(value, tuple) and value[:1] == ('tensor',):
        return _tensor(*value[1:])
    if isinstance(value, list):
        return [made(v) for v in value]
    if isinstance(value, dict):
        return {k: made(v) for k, v in value.items()}
    return value


def _tensor(shape: tuple, dtype: str, kind: str) -> torch.Tensor:
    tensor = torch.zeros(shape, dtype=getattr(torch, dtype))
    if kind == 'nan' and tensor.dtype.is_floating_point:
        return tensor.fill_(float('nan'))
    if kind == 'huge' and tensor.dtype != torch.bool:
        return tensor.fill_(2)
    if kind == 'sparse':
        return tensor.to_sparse()
    if kind == 'meta':
        return tensor.to('meta')
    if kind == 'parameter' and tensor.dtype.is_floating_point:
        return nn.Parameter(tensor)
    if kind == 'expanded':
        return tensor.new_zeros(1).expand(2**40)
    return tensor


KEYS = [
    *('state_dict', 'meta', 'message_hub', 'optimizer', 'param_schedulers', 'epoch', 'iter'),
    *('seed', 'config', 'log_scalars', 'runtime_info', 'resumed_keys', 'state', 'param_groups'),
    *('params', 'lr', 'momentum_buffer', 'log_history', 'count_history', 'max_length'),
    *('report_history', 'best_ckpt', 'last_ckpt', 'dataset_meta', 'subset', 'all', 'stage'),
]


def _content_cases() -> st.SearchStrategy[list]:
    path = st.lists(st.integers(0, 40), min_size=1, max_size=6)
    value = st.one_of(values(KEYS), tensors(), st.lists(tensors(), max_size=2), texts())
    change = st.tuples(path, value, st.booleans())
    return st.lists(change, min_size=1, max_size=2)


def changed(base: dict, changes: list) -> dict:
    for path, value, remove in changes:
        base = replaced(base, path, made(value), remove)
    return base


def run_content(case: list) -> str:
    """Loads it as a resume does, and hands it to all that read a checkpoint."""
    from resumable import resume

    base, real = resume()
    path = folder() / 'epoch_3.pth'
    content = changed(real, case)
    if not isinstance(content, dict):
        content = {'state_dict': content}
    try:
        path.write_bytes(saved(content))
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError, pickle.PicklingError):
        return 'cannot be saved'
    resolved = resolve_checkpoint(path.parent, str(path))
    base(resolved)
    return 'ok'


TARGETS = [
    Target('checkpoint_bytes', lambda: mutated(files(), TEXTS), run_bytes, share=1.5),
    Target('checkpoint_pickle', _pickle_cases, run_pickle, share=2),
    Target('checkpoint_content', _content_cases, run_content, seconds=10, share=0.15),
]
