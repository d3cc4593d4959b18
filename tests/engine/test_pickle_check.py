"""Crafted torch files are refused before anything of them is built."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch

from bce3s.engine.checkpoint import load_from_disk
from bce3s.errors import BCE3SError

TEXT = b'X\x01\0\0\0a'


def rezipped(data, pickled=None, compressed=False, further=()):
    """The records of a torch file, some of them changed."""
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, 'w', kind) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith('/data.pkl') and pickled is not None:
                content = pickled(content) if callable(pickled) else pickled
            new.writestr(name, content)
        for name, content in further:
            new.writestr(name, content)
    return buffer.getvalue()


def saved(content, **kwargs):
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


@pytest.fixture
def load(tmp_path):
    def run(data):
        path = tmp_path / 'a.pth'
        path.write_bytes(data)
        return load_from_disk(path)

    return run


SOUND = saved({'state_dict': {'a': torch.arange(4.0)}, 'meta': {}})


@pytest.mark.parametrize('new_format', [True, False])
def test_everything_that_a_checkpoint_may_hold_is_read(load, new_format):
    states = OrderedDict(a=torch.arange(4.0), b=torch.zeros(3, dtype=torch.bfloat16))
    states['c'] = torch.nn.Parameter(torch.ones(2, 3).T)
    states['d'] = torch.zeros(0, dtype=torch.int64)
    states['e'] = torch.tensor(True)
    meta = dict(a=(1, 2.5, None, True), b=b'\xff\0', c=10**20, d=complex(1, 2), e=torch.float16)
    meta |= dict(f=torch.Size([1, 2]), g=Counter('aab'), h={1, 2}, i={3: 'x'}, j='\xe9', k=[[]])
    read = load(
        saved(dict(state_dict=states, meta=meta), _use_new_zipfile_serialization=new_format)
    )
    assert read['meta'] == meta
    assert read['state_dict'].keys() == states.keys()
    assert all(torch.equal(read['state_dict'][k], states[k]) for k in states)


def test_a_key_whose_hash_would_take_for_ever_is_refused_at_once(load):
    """40 levels of (t, t): 2**40 hashes. torch itself hangs."""
    tuples = b')q\1' + b'h\1h\1\x86q\1' * 40
    bomb = rezipped(SOUND, pickled=b'\x80\2}(' + tuples + b'Nu.')
    with pytest.raises(BCE3SError, match='a key is no plain value'):
        load(bomb)


@pytest.mark.parametrize(
    ('pickled', 'words'),
    [
        (b'cos\nsystem\n(X\4\0\0\0truetR.', r'os\.system'),
        (b'cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.', r'builtins\.bytearray'),
        (b'ctorch\nTensor\n(K\1tR.', r'torch\.Tensor'),
        (b'ctorch._tensor\n_rebuild_from_type_v2\n)R.', '_rebuild_from_type_v2'),
        (b'c_codecs\nencode\n(' + TEXT + b'X\x08\0\0\0punycodetR.', '_codecs.encode'),
        (b'ccollections\nOrderedDict\n)\x81.', 'NEWOBJ'),
        (b'ccollections\nOrderedDict\n(]tR.', 'OrderedDict'),
        (b']' * 200 + b'a' * 199 + b'.', 'deep'),
        (b'R.', 'stack runs empty'),
        (b'Pperson\n.', 'PERSID'),
        (b'}]K\1s.', 'a key is no plain value'),
    ],
)
def test_what_torch_would_call_or_build_is_named(load, pickled, words):
    with pytest.raises(BCE3SError, match=words):
        load(rezipped(SOUND, pickled=b'\x80\2' + pickled))


def test_no_storage_is_larger_than_its_record(load):
    """Read without a check, it would be memory behind the record."""

    def larger(content):
        return content.replace(b'K\4tq', b'M\xff\xfftq')

    assert larger(b'K\4tq') != b'K\4tq'
    with pytest.raises(BCE3SError, match='is said to have 262140 bytes; the file has 16'):
        load(rezipped(SOUND, pickled=larger))


def test_a_storage_of_the_former_format_is_not_larger_than_the_file(load):
    data = saved({'a': torch.zeros(4)}, _use_new_zipfile_serialization=False)
    assert list(load(data)) == ['a']
    with pytest.raises(BCE3SError, match='is said to have'):
        load(data.replace(b'K\4N', b'J' + struct.pack('<i', 2**31 - 1) + b'N', 1))


def test_a_zip_that_unpacks_to_more_is_refused(load):
    with pytest.raises(BCE3SError, match='is compressed, which torch never does'):
        load(rezipped(saved({'a': torch.zeros(1 << 20)}), compressed=True))


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('name', ['data.pkl', 'DATA.PKL', 'data/0'])
def test_two_records_of_one_name_are_refused(load, name):
    with zipfile.ZipFile(io.BytesIO(SOUND)) as archive:
        folder = archive.namelist()[0].partition('/')[0]
    with pytest.raises(BCE3SError, match='two records'):
        load(rezipped(SOUND, further=[(f'{folder}/{name}', b'')]))


def test_other_files_are_refused(load):
    for data in (b'', b'PK\3\4', pickle.dumps({}), b'\0' * 100, SOUND[:-50]):
        with pytest.raises(BCE3SError):
            load(data)
