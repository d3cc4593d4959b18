"""Checkpoint files that are damaged, of another kind, or name what must not be called."""

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
from mutations import edited, mutated
from torch import nn

from bce3s.engine.checkpoint import load_from_disk

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


def zipped(pickled: bytes) -> bytes:
    """A torch zip with this ``data.pkl``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, data in (('data.pkl', pickled), ('version', b'3\n'), ('byteorder', b'little')):
            archive.writestr(f'archive/{name}', data)
    return buffer.getvalue()


TEXTS = [b'storage', b'0', b'1', b'cpu', b'latin1', b'meta', b'state_dict', b'config']


def run_bytes(case: tuple) -> str:
    base, changes = case
    return load(edited(files()[base % len(files())], changes))


TARGETS = [Target('checkpoint_bytes', lambda: mutated(files(), TEXTS), run_bytes, share=1.5)]
